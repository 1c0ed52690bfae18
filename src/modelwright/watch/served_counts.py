"""What of a server's page is watched, and by how much it grew since the last look.

A server that was started again counts from 0. All its counters start together, so that one of them
that fell, or workers that are all younger than any of before, tell that all did.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from modelwright.serve.doors import INFER, INVOCATIONS, PREDICT
from modelwright.serve.metrics import STATES
from modelwright.watch.scrape import Samples

DOORS = (PREDICT, INFER, INVOCATIONS, "grpc")
"""By which models are asked; mirrored requests to a shadow harm nobody."""
_YOUNGER = 2.0
"""Seconds; start times are that exact."""
Edges = dict[float, float]
"""Upper edge in seconds -> answers that took at most so long."""


class Counted(msgspec.Struct, frozen=True):
    """Counters of one model at one server, or how much they grew.

    Attributes:
        asked: requests for predictions that found the model, and those that found no room.
        answered, failed, refused, unfit: with 200, with any 5xx, with 503, with 422.
        stood_in: answers by stand-ins.
        rows: that the champion answered.
        not_finite: requests whose answer by the champion was NaN or infinite.
        restarts: of workers.
        kept, lost: rows of the journal, of all models.
        within: of the champion's answers; empty while there is none.
    """

    asked: float = 0.0
    answered: float = 0.0
    failed: float = 0.0
    refused: float = 0.0
    unfit: float = 0.0
    stood_in: float = 0.0
    rows: float = 0.0
    restarts: float = 0.0
    kept: float = 0.0
    lost: float = 0.0
    not_finite: float = 0.0
    within: Edges = {}

    def plus(self, other: Counted) -> Counted:
        """Both added up, of histograms the edges that both have.

        Example:
            >>> Counted(asked=1, within={0.1: 1, 0.2: 1}).plus(Counted(asked=2, within={0.2: 2}))
            Counted(asked=3, answered=0.0, ..., within={0.2: 3})
        """
        sums = {name: getattr(self, name) + getattr(other, name) for name in _PLAIN}
        if not self.within or not other.within:
            return Counted(**sums, within=self.within or other.within)
        within = {e: n + other.within[e] for e, n in self.within.items() if e in other.within}
        return Counted(**sums, within=within)


_PLAIN = tuple(name for name in Counted.__struct_fields__ if name != "within")
_OWN = ("rows", "not_finite")
"""Those of the champion alone."""


class Standing(msgspec.Struct, frozen=True):
    """What a server is like now.

    Attributes:
        has: whether the champion is loaded there.
        others: versions of the model that are loaded, where the champion is not.
        open: whether its breaker has taken the champion out.
        memory: bytes (value, least, most); None where the server does not tell.
        shared_once: whether memory is as the gate measures it.
        workers, versions: alive, and loaded of this model, stand-ins included.
        models: loaded, of all names.
    """

    has: bool
    others: tuple[str, ...] = ()
    open: bool = False
    memory: tuple[float, float, float] | None = None
    shared_once: bool = True
    workers: int = 1
    versions: int = 1
    models: int = 1


class Seen(msgspec.Struct, frozen=True):
    """A server at its last look: `version` is the champion's, `started` of its youngest worker."""

    at: float
    version: str
    oldest: float
    youngest: float
    counted: Counted


def seen(page: Samples, model: str, version: str, at: float) -> Seen:
    """What is remembered of a page.

    Args:
        page: of one server.
        model, version: the champion.
        at: Unix time of the look.
    """
    starts = [value for _, value in page.of("process_start_time_seconds")]
    return Seen(
        at, version, min(starts, default=0.0), max(starts, default=0.0),
        counted(page, model, version),
    )  # fmt: skip


def counted(page: Samples, model: str, version: str) -> Counted:
    """The counters of a page."""
    asked = answered = failed = refused = unfit = 0.0
    for labels, value in page.of("modelwright_requests_total"):
        code, owner = int(labels.get("code", 0)), labels.get("model", "")
        homeless = not owner and code >= 500  # there was no room before the model was looked up
        if labels.get("door") not in DOORS or not (owner == model or homeless):
            continue
        asked += value
        answered += value if code == 200 else 0
        failed += value if code >= 500 else 0
        refused += value if code == 503 else 0
        unfit += value if code == 422 else 0
    within: Edges = {}
    own = {"model": model, "version": version}
    for labels, value in page.of("modelwright_request_seconds_bucket", **own):
        edge = float(labels.get("le", "inf"))
        within[edge] = within.get(edge, 0.0) + value
    return Counted(
        asked, answered, failed, refused, unfit,
        stood_in=page.total("modelwright_fallback_total", model=model),
        rows=page.total("modelwright_rows_total", **own),
        restarts=page.total("modelwright_worker_restarts_total"),
        kept=page.total("modelwright_journal_rows_total"),
        lost=page.total("modelwright_journal_dropped_total"),
        not_finite=page.total("modelwright_not_finite_total", **own),
        within=within,
    )  # fmt: skip


def standing(page: Samples, model: str, version: str) -> Standing:
    """The gauges of a page."""
    loaded = page.of("modelwright_model_info")
    versions = {labels.get("version", "") for labels, _ in loaded if labels.get("model") == model}
    own = {"model": model, "version": version}
    memory, once = _memory(page)
    return Standing(
        has=version in versions,
        others=tuple(sorted(versions)),
        open=page.largest("modelwright_breaker_state", **own) == STATES["open"],
        memory=memory,
        shared_once=once,
        workers=max(1, int(page.total("modelwright_workers"))),
        versions=max(1, len(versions)),
        models=len({labels.get("model") for labels, _ in loaded}),
    )


def growth(before: Seen, after: Seen) -> Counted:
    """By how much the counters of a server grew; from 0 where it was started again.

    The champion's own are left out where it became champion in between: nobody knows how many of
    them are from before.

    Example:
        >>> one = Seen(0.0, "3", 10.0, 10.0, Counted(asked=9))
        >>> two = Seen(60.0, "3", 50.0, 50.0, Counted(asked=2))
        >>> growth(one, two).asked
        2.0
    """
    now = after.counted
    if before.version != after.version:
        then = msgspec.structs.replace(
            before.counted, rows=now.rows, not_finite=now.not_finite, within=now.within
        )
    else:
        then = before.counted
    if started_again(before, after):
        then = Counted()
        if before.version != after.version:  # they may have come before it was champion
            now = msgspec.structs.replace(now, rows=0.0, not_finite=0.0, within={})
    grown = {name: max(0.0, getattr(now, name) - getattr(then, name)) for name in _PLAIN}
    within = now.within
    if then.within:
        within = {e: n - then.within[e] for e, n in within.items() if e in then.within}
    return Counted(**grown, within=within)


def started_again(before: Seen, after: Seen) -> bool:
    """Whether the server of `after` is another process than that of `before`."""
    then, now = before.counted, after.counted
    if any(getattr(now, name) < getattr(then, name) for name in _PLAIN if name not in _OWN):
        return True
    if before.version == after.version:
        every = then.within.get(math.inf, 0.0)
        both = then.within.keys() & now.within.keys()
        if (
            any(getattr(now, name) < getattr(then, name) for name in _OWN)
            or now.within.get(math.inf, 0.0) < every
        ):
            return True
        if any(now.within[edge] < then.within[edge] for edge in both):
            return True
    younger = after.oldest > before.youngest + _YOUNGER
    return younger and now.restarts <= then.restarts


def total(parts: Iterable[Counted]) -> Counted:
    """Those of several servers added up."""
    found = Counted()
    for part in parts:
        found = found.plus(part)
    return found


def _memory(page: Samples) -> tuple[tuple[float, float, float] | None, bool]:
    """Bytes as the gate counts them; else between that of the largest worker and of all."""
    exact = page.largest("modelwright_memory_bytes")
    if exact is not None:
        return (exact, exact, exact), True
    workers = [value for _, value in page.of("process_resident_memory_bytes")]
    if not workers:
        return None, False
    return (sum(workers), max(workers), sum(workers)), False
