"""Part: do the servers keep the limits that the champion was released under?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import get_args

import msgspec

from modelwright.core.errors import ScrapeError, UsageError
from modelwright.core.records import Finding, Interval
from modelwright.core.spec_watch import LiveLimit, LiveLimitsSpec
from modelwright.watch.episodes import Window
from modelwright.watch.live_limits import (
    Ruling,
    Tally,
    contract,
    interval,
    quantile_p95,
    rulings,
    take,
)
from modelwright.watch.look import Looked
from modelwright.watch.scrape import Samples, Server, scrape, servers
from modelwright.watch.served_counts import (
    Counted,
    Seen,
    Standing,
    growth,
    seen,
    standing,
    total,
)
from modelwright.watch.state import Point
from modelwright.watch.subject import Subject
from modelwright.watch.times import iso

RESTART_SECONDS = 900.0
"""Workers that ended within so long are counted together."""
_DAY = 86_400.0
_VERDICTS, _SEVERITIES = ("fail", "undecided", "pass"), ("error", "warning", "info")


class LimitsState(msgspec.Struct, frozen=True):
    """What is remembered.

    Attributes:
        seen: server -> its last page, of those that answered once.
        open: the window that is not over.
        restarts: (Unix time of a look, workers that had ended since the one before).
        last: findings of the last window.
    """

    version: str = ""
    seen: dict[str, Seen] = {}
    open: Tally | None = None
    restarts: tuple[tuple[float, float], ...] = ()
    last: tuple[Finding, ...] = ()


class LimitsPart:
    """Windows of what the servers counted; some questions are asked at every look.

    Args:
        environ: holds the tokens of the servers.
    """

    name = "limits"
    causes: tuple[str, ...] = get_args(LiveLimit)

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def look(self, subject: Subject, state: bytes | None) -> Looked:
        """Judge what the servers counted since the last look."""
        before = msgspec.json.decode(state, type=LimitsState) if state else LimitsState()
        number, spec = subject.champion.version.number, subject.spec.watch.limits
        if before.version != number:
            before = LimitsState(number, before.seen, restarts=before.restarts)
        try:
            places = servers(subject.spec, subject.folder, self._environ)
        except UsageError as error:
            return Looked(msgspec.json.encode(before), waits=str(error))
        pages, away = _fetched(places)
        now, limits = subject.now, subject.champion.manifest.limits
        standings = {url: standing(page, subject.name, number) for url, page in pages.items()}
        after = {url: seen(page, subject.name, number, now) for url, page in pages.items()}
        grown = total(
            growth(before.seen[url], one) for url, one in after.items() if url in before.seen
        )
        restarts = _recent(before.restarts, now, grown.restarts)
        tally, closed = _window(before.open, grown, tuple(standings.values()), now, spec)
        at_once = _watched(spec, [
            _server(away, standings, number), *_breaker(standings, number),
            *_restarts(restarts, spec, reached=bool(pages)), _age(subject, spec),
        ])  # fmt: skip
        ruled = _watched(spec, rulings(closed, limits, spec)) if closed else []
        early = [contract(tally, spec)] if tally is not None else []  # no window is waited for
        early = _watched(spec, [one for one in early if one.finding.verdict == "fail"])
        if tally is not None and tally.counted.unfit >= spec.contract_requests:
            at_once, early = [*at_once, *early], []
        last = tuple(one.finding for one in ruled) if closed else before.last
        kept = {place.url: before.seen[place.url] for place in places if place.url in before.seen}
        found = LimitsState(number, {**kept, **after}, tally, restarts, last)
        return Looked(
            msgspec.json.encode(found),
            (_as_window([*at_once, *ruled], now, _strict(tally, closed, spec)),),
            _in_order([*(one.finding for one in [*at_once, *early]), *last]),
            _points(closed, number) if closed else {},
            waits="" if closed else _waits(tally, spec),
        )


def _watched(spec: LiveLimitsSpec, found: Sequence[Ruling]) -> list[Ruling]:
    return [one for one in found if one.cause not in spec.ignore]


def _fetched(places: Sequence[Server]) -> tuple[dict[str, Samples], dict[str, ScrapeError]]:
    pages: dict[str, Samples] = {}
    away: dict[str, ScrapeError] = {}
    for place in places:
        try:
            pages[place.url] = scrape(place)
        except ScrapeError as error:
            away[place.url] = error
    return pages, away


def _window(
    tally: Tally | None,
    grown: Counted,
    standings: Sequence[Standing],
    now: float,
    spec: LiveLimitsSpec,
) -> tuple[Tally | None, Tally | None]:
    """The window that is open after the look, and the one that is over."""
    if not standings:
        return tally, None
    if tally is None or now <= tally.until:  # the first look, or a clock that was put back
        return Tally(now, now), None
    tally = take(tally, grown, standings, now, spec)
    return (Tally(now, now), tally) if tally.is_over(spec) else (tally, None)


def _strict(tally: Tally | None, closed: Tally | None, spec: LiveLimitsSpec) -> frozenset[str]:
    """What needs no second window: a contract that so many requests broke, which one cannot."""
    most = max((one.counted.unfit for one in (tally, closed) if one is not None), default=0.0)
    return frozenset({"contract"}) if most >= spec.contract_requests else frozenset()


def _as_window(judged: Sequence[Ruling], now: float, strict: frozenset[str]) -> Window:
    bad = {one.cause: one.finding for one in judged if one.finding.verdict == "fail"}
    causes = {one.cause for one in judged if one.judged}
    return Window(iso(now), frozenset({*causes, *bad}), bad, strict & bad.keys())


def _server(
    away: Mapping[str, ScrapeError], standings: Mapping[str, Standing], number: str
) -> Ruling:
    """Whether each can be reached and has the champion."""
    wanted = f"an answer, with version {number} loaded"
    for url, error in away.items():
        others = f"; {len(away)} of {len(away) + len(standings)} do not" if len(away) > 1 else ""
        return Ruling("server", Finding(
            "server", url, "fail", error.message, wanted,
            f"what the watcher cannot ask is perhaps away for callers too{others}",
            error.hint or "is the server running, and is watch.server its address?",
        ))  # fmt: skip
    for url, one in standings.items():
        if not one.has:
            loaded = f"loaded: {', '.join(one.others)}" if one.others else "no version is loaded"
            return Ruling("server", Finding(
                "server", url, "fail", loaded, wanted,
                "callers are answered by another version, or not at all",
                "the server's log says why the champion could not be loaded",
            ))  # fmt: skip
    told = ", ".join(standings)
    return Ruling("server", Finding("server", told, "pass", f"version {number} is loaded", wanted))


def _breaker(standings: Mapping[str, Standing], number: str) -> list[Ruling]:
    if not standings:
        return []
    opened = [url for url, one in standings.items() if one.open]
    return [Ruling("breaker", Finding(
        "breaker", f"version {number}", "fail" if opened else "pass",
        f"open at {', '.join(opened)}" if opened else "closed", "closed",
        "too many answers failed or were slow, and stand-ins answer" if opened else "",
        "it is tried again by itself; if it stays open: modelwright rollback" if opened else "",
    ))]  # fmt: skip


def _recent(
    before: Sequence[tuple[float, float]], now: float, ended: float
) -> tuple[tuple[float, float], ...]:
    kept = tuple(pair for pair in before if now - RESTART_SECONDS < pair[0] <= now)
    return (*kept, (now, ended)) if ended else kept


def _restarts(
    recent: Sequence[tuple[float, float]], spec: LiveLimitsSpec, *, reached: bool
) -> list[Ruling]:
    if not reached:
        return []
    ended = sum(count for _, count in recent)
    bad = ended >= spec.restarts
    return [Ruling("restarts", Finding(
        "restarts", "workers", "fail" if bad else "pass",
        f"{ended:,.0f} ended in {RESTART_SECONDS / 60:.0f} minutes",
        f"fewer than {spec.restarts} (watch.limits.restarts)",
        "they are started again; the open requests of each are lost" if bad else "",
        "the server's log says why; a kill without a word is mostly the kernel's, for memory"
        if bad else "", "warning",
    ))]  # fmt: skip


def _age(subject: Subject, spec: LiveLimitsSpec) -> Ruling:
    age = max(0.0, subject.now - subject.champion.version.created / 1e3)
    bad = age > spec.age
    return Ruling("age", Finding(
        "age", f"version {subject.champion.version.number}", "fail" if bad else "pass",
        f"{age / _DAY:,.1f} days since it was registered",
        f"at most {spec.age / _DAY:,.4g} days (watch.limits.age)", "",
        "train it again: modelwright run" if bad else "", "warning", Interval(age, age, age),
    ))  # fmt: skip


def _points(tally: Tally, number: str) -> dict[str, list[Point]]:
    """Series of a window; those of a limit go by its metric, so that the report draws both."""
    counted, at, rows = tally.counted, tally.until, int(tally.counted.answered)
    rate = counted.answered / tally.seconds
    found = {"rate": [Point(at, rate, rows=rows, version=number)]}
    if counted.within and max(counted.within.values()):
        p95 = quantile_p95(counted.within)
        answers = int(max(counted.within.values()))
        found["latency_p95"] = [Point(at, p95.value, p95.low, p95.high, answers, number)]
    if counted.asked:
        share = interval(counted.failed, counted.asked)
        found["error share"] = [
            Point(at, share.value, share.low, share.high, int(counted.asked), number)
        ]
    if tally.memory is not None:
        found["memory"] = [Point(at, *tally.memory, version=number)]
    return found


def _waits(tally: Tally | None, spec: LiveLimitsSpec) -> str:
    if tally is None:
        return "no server has answered yet"
    return (
        f"{tally.counted.asked:,.0f} of {spec.requests:,} requests and {tally.seconds:,.0f} of "
        f"{spec.window:,.0f} s of a window"
    )


def _in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The worst first."""

    def weight(finding: Finding) -> tuple[int, int]:
        return _VERDICTS.index(finding.verdict), _SEVERITIES.index(finding.severity)

    return tuple(sorted(findings, key=weight))
