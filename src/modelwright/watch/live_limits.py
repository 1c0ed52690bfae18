"""The limits of a release held against what its servers counted in a window.

A share (of slow answers, of errors) is over its bound where its Clopper-Pearson interval is: by
chance that is so in one window of two thousand at most, and an episode needs two in a row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from scipy.special import betaincinv

from modelwright.core.limits import Limit, show
from modelwright.core.records import Finding, Interval, Severity, Verdict
from modelwright.core.spec_watch import LiveLimitsSpec
from modelwright.watch.served_counts import Counted, Edges, Standing

CONFIDENCE = 0.999
BEYOND = 0.05
"""Share of answers that a p95 lets take longer."""
PATIENCE = 12
"""Times its length after which a window is closed however few requests it holds."""
_UNDER_LOAD = 2
"""Looks in a row that must see a server refuse; a burst is over by the second."""


class Tally(msgspec.Struct, frozen=True):
    """A window that is open: everything since `began`, up to `until`.

    Attributes:
        began, until: Unix time.
        servers: most that answered a look.
        looks, loaded: how many there were, and how many of them saw more refused than `refused`.
        asked: the highest rate of requests at one server between two looks.
        opened: looks that found a breaker open.
        memory: of the largest server, a worker and version: (now, least, most) of all looks.
        shared_once, models: as in `Standing`.
    """

    began: float
    until: float
    counted: Counted = Counted()
    servers: int = 1
    looks: int = 0
    loaded: int = 0
    asked: float = 0.0
    opened: int = 0
    memory: tuple[float, float, float] | None = None
    whole: float = 0.0
    room: int = 1
    shared_once: bool = True
    models: int = 1

    @property
    def seconds(self) -> float:
        """Its length."""
        return max(self.until - self.began, 1e-3)

    def is_over(self, spec: LiveLimitsSpec) -> bool:
        """Whether it is long and full enough, or has waited for that long enough."""
        if self.seconds < spec.window:
            return False
        return self.counted.asked >= spec.requests or self.seconds >= PATIENCE * spec.window


def take(
    tally: Tally, grown: Counted, standings: Sequence[Standing], now: float, spec: LiveLimitsSpec
) -> Tally:
    """The window with one look more.

    Args:
        tally: up to the look before.
        grown: of all servers since then.
        standings: of the servers that answered.
        now: Unix time of the look.
        spec: the share that may be refused.
    """
    seconds, servers = max(now - tally.until, 1e-3), max(1, len(standings))
    refused = interval(grown.refused, grown.asked)
    found = msgspec.structs.replace(
        tally,
        until=now,
        counted=tally.counted.plus(grown),
        servers=max(tally.servers, servers),
        looks=tally.looks + 1,
        loaded=tally.loaded + (refused.low > spec.refused),
        asked=max(tally.asked, grown.asked / seconds / servers),
        opened=tally.opened + any(one.open for one in standings),
        models=max([tally.models, *(one.models for one in standings)]),
    )
    return _with_memory(found, standings)


def _with_memory(tally: Tally, standings: Sequence[Standing]) -> Tally:
    known = [one for one in standings if one.memory is not None]
    if not known:
        return tally
    one = max(known, key=lambda one: (one.memory or (0.0,))[0] / (one.workers * one.versions))
    assert one.memory is not None
    room = one.workers * one.versions
    value, low, high = (part / room for part in one.memory)
    if tally.memory is not None:
        low, high = min(low, tally.memory[1]), max(high, tally.memory[2])
    return msgspec.structs.replace(
        tally, memory=(value, low, high), whole=one.memory[0], room=room,
        shared_once=one.shared_once,
    )  # fmt: skip


class Ruling(msgspec.Struct, frozen=True):
    """What is said of a cause; `judged`: whether an episode of it may end by that."""

    cause: str
    finding: Finding
    judged: bool = True


def rulings(tally: Tally, limits: Sequence[Limit], spec: LiveLimitsSpec) -> list[Ruling]:
    """Everything that a window is asked, the limits of the release first.

    Args:
        tally: that is over.
        limits: of the version that is watched; its quality is judged by labels, not here.
        spec: the other bounds.
    """
    own = {one.metric: one for one in limits if one.slice_column is None and not one.relative}
    found = []
    if "latency_p95" in own:
        found.append(latency(own["latency_p95"], tally, spec))
    if "throughput" in own:
        found.append(throughput(own["throughput"], tally))
    if "memory" in own:
        found.append(memory(own["memory"], tally))
    found += [errors(tally, spec), not_finite(tally, spec), contract(tally, spec)]
    found.append(fallback(tally, spec))
    return [*found, *journal(tally, spec)]


def latency(limit: Limit, tally: Tally, spec: LiveLimitsSpec) -> Ruling:
    """Whether surely more than 5 % of the answers took longer than the limit on p95."""
    within = tally.counted.within
    answers = within.get(math.inf, 0.0)
    if not answers:
        return _nothing("latency", limit, "the champion answered nothing")
    p95, beyond = quantile_p95(within), share_beyond(within, limit.bound)
    verdict = _verdict(beyond, BEYOND)
    rows = tally.counted.rows / answers
    why = "the gate measured at the client, one row a request; this is from the first byte of a "
    why += f"request to its answer, {rows:.3g} row{'' if rows == 1 else 's'} a request"
    advice = "" if verdict != "fail" else (
        "is the queue long, it is the load: add a worker or a server; are runs slow, it is the "
        "version or the machine: modelwright_queue_seconds_total, modelwright_inference_seconds"
    )  # fmt: skip
    told = f"p95 {show('latency_p95', p95.value)} ({_between(p95)}); {_told(beyond)} of "
    told += f"{answers:,.0f} answers took longer than {show('latency_p95', limit.bound)}"
    finding = Finding("limit", limit.metric, verdict, told, str(limit), why, advice, "error", p95)
    return Ruling("latency", finding, _is_judged(verdict, beyond, BEYOND, answers, spec))


def throughput(limit: Limit, tally: Tally) -> Ruling:
    """Whether requests were refused all the time although fewer than the limit came."""
    seconds = tally.seconds * tally.servers
    rate = tally.counted.answered / seconds
    told = f"{show('throughput', rate)} answered, {show('throughput', tally.asked)} asked at most"
    refused = tally.counted.refused
    told += f", {refused:,.0f} refused with 503" if refused else ", nothing refused"
    told += " (of each server)" if tally.servers > 1 else ""
    loaded = tally.loaded == tally.looks >= _UNDER_LOAD
    verdict: Verdict = "undecided"
    judged, advice = True, ""
    why = "not loaded: with room for all requests nobody sees how many more there would be for"
    if rate >= limit.bound:
        verdict, why = "pass", "so many were answered"
    elif loaded and tally.asked >= limit.bound:
        why = "loaded; at times more was asked than the limit, and what was refused is no fault"
    elif loaded and (tally.opened or tally.counted.stood_in):
        judged, why = False, "loaded, or out of service: the breaker was open, stand-ins answered"
    elif loaded:
        verdict = "fail"
        why = "it refused at every look, and less was asked of it than it was released for"
        advice = "does something else use its cores? have requests more than one row? then add "
        advice += "workers (serve.workers) or a server"
    elif tally.loaded:
        judged, why = False, "it refused for a while, at a rate that was not seen"
    finding = Finding(
        "limit", limit.metric, verdict, told, str(limit), why, advice,
        "error" if verdict == "fail" else "info", Interval(rate, rate, rate),
    )  # fmt: skip
    return Ruling("throughput", finding, judged)


def memory(limit: Limit, tally: Tally) -> Ruling:
    """Whether it was above the limit at every look."""
    if tally.memory is None:
        return _nothing("memory", limit, "the server does not tell its memory")
    found = Interval(*tally.memory)
    verdict: Verdict = "pass" if found.high <= limit.bound else "undecided"
    verdict = "fail" if found.low > limit.bound else verdict
    why = "supervisor and workers, what they share counted once, as at the gate"
    if not tally.shared_once:
        why = "resident memory of the workers: unlike at the gate, what they share counts once a "
        why += "worker and the supervisor does not count"
    if tally.room > 1:
        why += f"; {show('memory', tally.whole)} divided by {tally.room} loaded versions and "
        why += "workers, since the gate had one of each"
    if tally.models > 1:
        verdict, why = "undecided", f"the server holds {tally.models} models; {why}"
    told = show("memory", found.value) + (
        f" ({show('memory', found.low)} to {show('memory', found.high)})"
        if found.low < found.high else ""
    )  # fmt: skip
    advice = "memory that grows with time is a leak: restart the workers, and look at what grows"
    finding = Finding(
        "limit", limit.metric, verdict, told, str(limit), why,
        advice if verdict == "fail" else "", "error", found,
    )  # fmt: skip
    return Ruling("memory", finding, verdict != "undecided")


def errors(tally: Tally, spec: LiveLimitsSpec) -> Ruling:
    """Whether surely more requests failed than may."""
    return _share_of(
        "errors", tally.counted.failed, tally.counted.asked, spec.errors, spec,
        what="requests failed with 5xx", severity="error",
        advice="modelwright_errors_total and the server's log say why; take a version that is to "
        "blame back with modelwright rollback",
    )  # fmt: skip


def not_finite(tally: Tally, spec: LiveLimitsSpec) -> Ruling:
    """Whether the champion surely answered more requests than it may with NaN or an infinity; where
    it never did, nothing is in doubt."""
    found = _share_of(
        "not_finite", tally.counted.not_finite, tally.counted.asked, spec.not_finite, spec,
        what="requests had an answer that is no finite number (NaN or infinite), which was not "
        "given", severity="error",
        advice="look at what these rows have in common, such as far-out or missing values; if no "
        "data changed it is the version: modelwright rollback",
    )  # fmt: skip
    if tally.counted.not_finite:
        return found
    return msgspec.structs.replace(
        found, finding=msgspec.structs.replace(found.finding, verdict="pass")
    )


def contract(tally: Tally, spec: LiveLimitsSpec) -> Ruling:
    """Whether surely more requests than may had rows that the model does not take."""
    return _share_of(
        "contract", tally.counted.unfit, tally.counted.asked, spec.contract, spec,
        what="requests were refused with 422", severity="error",
        advice="each answer names row and column, the access log (serve.access_log) its caller: "
        "mend what fills the column, or expect: in the spec",
    )  # fmt: skip


def fallback(tally: Tally, spec: LiveLimitsSpec) -> Ruling:
    """Whether surely more answers came from stand-ins than may."""
    return _share_of(
        "fallback", tally.counted.stood_in, tally.counted.answered, spec.fallback, spec,
        what="answers are by stand-ins", severity="warning",
        advice="the version fails or is too slow; the server's log says why",
    )  # fmt: skip


def journal(tally: Tally, spec: LiveLimitsSpec) -> list[Ruling]:
    """Whether surely more rows were lost than may; none where none were recorded."""
    rows = tally.counted.kept + tally.counted.lost
    if not rows:
        return []
    return [_share_of(
        "journal", tally.counted.lost, rows, spec.journal, spec,
        what="rows are missing in the journal", severity="warning",
        advice="queue: more is answered than can be written, lower serve.journal.sample; write: "
        "the disk is full or the store is away",
    )]  # fmt: skip


def interval(events: float, trials: float) -> Interval:
    """Clopper-Pearson interval of a share.

    Example:
        >>> found = interval(6, 100)
        >>> round(found.low, 3), round(found.high, 3)
        (0.01, 0.178)
    """
    if trials <= 0:
        return Interval(math.nan, 0.0, 1.0, CONFIDENCE)
    tail, events = (1 - CONFIDENCE) / 2, min(events, trials)
    low = 0.0 if events == 0 else float(betaincinv(events, trials - events + 1, tail))
    whole = events == trials
    high = 1.0 if whole else float(betaincinv(events + 1, trials - events, 1 - tail))
    return Interval(events / trials, low, high, CONFIDENCE)


def share_beyond(within: Edges, bound: float) -> Interval:
    """Of the answers that took longer; without an edge at the bound it lies between two others.

    Example:
        >>> share_beyond({0.1: 90.0, 0.2: 95.0, float("inf"): 100.0}, 0.2).value
        0.05
    """
    trials = within[math.inf]
    surely = within[min(edge for edge in within if edge >= bound)]
    perhaps = within[max(below)] if (below := [e for e in within if e <= bound]) else 0.0
    least, most = interval(trials - surely, trials), interval(trials - perhaps, trials)
    value = least.value if surely == perhaps else (least.value + most.value) / 2
    return Interval(value, least.low, most.high, CONFIDENCE)


def quantile_p95(within: Edges) -> Interval:
    """The 95th percentile: between the last edge that surely more than 5 % are beyond and the
    first that surely fewer are. Its value is taken as if answers lay evenly between two edges.

    Example:
        >>> found = quantile_p95({0.1: 500.0, 0.2: 990.0, 0.5: 1000.0, float("inf"): 1000.0})
        >>> round(found.value, 3), found.low, found.high
        (0.192, 0.1, 0.2)
    """
    edges = np.array(sorted(within))
    counts = np.array([within[edge] for edge in edges.tolist()])
    shares = [interval(counts[-1] - count, counts[-1]) for count in counts.tolist()]
    low = max((e for e, s in zip(edges, shares, strict=True) if s.low > BEYOND), default=0.0)
    high = min((e for e, s in zip(edges, shares, strict=True) if s.high < BEYOND), default=math.inf)
    rank = (1 - BEYOND) * counts[-1]
    place = int(np.searchsorted(counts, rank, side="left"))
    begin, before = (edges[place - 1], counts[place - 1]) if place else (0.0, 0.0)
    if math.isinf(edges[place]):
        value = float(begin)
    else:
        part = (rank - before) / max(counts[place] - before, 1e-9)
        value = float(begin + part * (edges[place] - begin))
    return Interval(value, float(low), float(high), CONFIDENCE)


def _share_of(
    cause: str, events: float, trials: float, bound: float, spec: LiveLimitsSpec, *,
    what: str, severity: Severity, advice: str,
) -> Ruling:  # fmt: skip
    found = interval(events, trials)
    verdict = _verdict(found, bound)
    told = f"{_told(found)} of {trials:,.0f} {what}" if trials else f"none of 0 {what}"
    finding = Finding(
        cause, "server", verdict, told, f"at most {bound * 100:.3g} % (watch.limits.{cause})",
        f"interval of {found.confidence:.1%}", advice if verdict == "fail" else "", severity, found,
    )  # fmt: skip
    return Ruling(cause, finding, _is_judged(verdict, found, bound, trials, spec))


def _verdict(found: Interval, bound: float) -> Verdict:
    return "fail" if found.low > bound else "pass" if found.high <= bound else "undecided"


def _is_judged(
    verdict: Verdict, found: Interval, bound: float, trials: float, spec: LiveLimitsSpec
) -> bool:
    """What is over the bound, though not surely, neither begins an episode nor ends one."""
    return verdict == "fail" or (trials >= spec.requests and found.value <= bound)


def _nothing(cause: str, limit: Limit, why: str) -> Ruling:
    found = Finding("limit", limit.metric, "undecided", "nothing", str(limit), why, severity="info")
    return Ruling(cause, found, judged=False)


def _told(share: Interval) -> str:
    return f"{share.value * 100:.3g} % ({share.low * 100:.2g} to {share.high * 100:.3g} %)"


def _between(found: Interval) -> str:
    if math.isinf(found.high):
        return f"more than {show('latency_p95', found.low)}"
    return f"{show('latency_p95', found.low)} to {show('latency_p95', found.high)}"
