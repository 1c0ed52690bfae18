"""Part: is the canary worse than the champion? Counted from the journal, minute by minute.

An error is an answer that somebody else had to give, or nobody: the version failed, was too late,
or its breaker was open.
Slow answers are those beyond the champion's own p50, p95 and p99 of the hour before the canary
began, each with `watch.canary.slower` on top: a tenth of a millisecond is no reason to go back.
Wrong labels are counted as they arrive, one of each caller that keeps to an arm, else one of each
request: what comes in clumps is no evidence by the piece. Where values are predicted, their
absolute errors are bet on, divided by the champion's p99 in training and cut there. Of a minute in
which the canary's share changed only the time counts, and labels are counted for each share by
itself: else an incident in a ramp would look like harm.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from modelwright.core.errors import UsageError
from modelwright.core.intake import Array
from modelwright.core.records import Finding
from modelwright.core.spec_watch import CanaryWatchSpec
from modelwright.core.traffic import Canary
from modelwright.serve import journal_files, unanswered
from modelwright.serve.journal_segment import CALLER, FEATURE
from modelwright.serve.journal_store import folder_name, place_of
from modelwright.watch import canary as verdict
from modelwright.watch import lateness
from modelwright.watch.callers import first_of_each
from modelwright.watch.canary import Arms, Decision, Plan, Rule, State, Stratum
from modelwright.watch.ended_canary import Ended
from modelwright.watch.episodes import Window
from modelwright.watch.labels import Cursor, arrived_since
from modelwright.watch.lateness import Truths
from modelwright.watch.look import Advice, Looked
from modelwright.watch.state import Point
from modelwright.watch.subject import Subject
from modelwright.watch.times import iso, lasted
from modelwright.watch.two_means import Losses, Sums

CANARY = "canary"
BEFORE_SECONDS = 3600.0
ENOUGH = 200
"""Answers of the champion from which its percentiles are taken."""
LABELS_RULE, LABELS = "labels", "label errors"
MOST_WAITING = 10_000
PARTS = ("over p50", "over p95", "over p99")
_ASKED = ["request_id", "row", "time", "version", "arm", "fallback", "cached", "ms"]


class CanaryState(msgspec.Struct, frozen=True):
    """One canary so far.

    Attributes:
        began: of the canary, Unix time; with both versions it says which comparison this is.
        since: answers before it do not count.
        until: answers before it were counted.
        edges: milliseconds beyond which an answer is slow; empty until there were enough.
        cursor: of labels.
        decision: the last one.
        waiting: share of the canary -> errors of the champion and of the canary by labels that came
            while the other had none: one arm alone tells nothing, so they are put to the next.
        callers: whose label was counted; see `watch.callers`.
        truths: arm -> labels of its answers, counted or not.
        rule, against: of the last look: the rule, and the champion's number.
        ended: the canary before, while there is none.
    """

    version: str = ""
    began: float = 0.0
    since: int = 0
    until: int = 0
    edges: tuple[float, ...] = ()
    state: State = State()
    cursor: Cursor | None = None
    decision: Decision | None = None
    champion: str = ""
    waiting: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {}
    callers: bytes = b""
    truths: dict[str, Truths] = {}
    rule: Canary | None = None
    against: str = ""
    ended: Ended | None = None


class CanaryPart:
    """The verdict on the canary in force."""

    name = CANARY
    causes: tuple[str, ...] = (CANARY,)

    def look(self, subject: Subject, state: bytes | None) -> Looked:
        """Add the minutes that are over and decide."""
        rule, number = subject.traffic.canary, subject.champion.version.number
        before = msgspec.json.decode(state, type=CanaryState) if state else CanaryState()
        if rule is None or rule.version == number:
            kept = CanaryState(ended=_ended(before, subject))
            return Looked(msgspec.json.encode(kept), (_quiet(subject),), waits="no canary")
        grain = subject.spec.watch.grain
        champion = subject.champion.digest
        if (before.version, before.began) != (rule.version, rule.began):
            start = math.ceil(rule.began / grain) * grain
            before = CanaryState(rule.version, rule.began, start, start, champion=champion)
        elif before.champion != champion:  # whom it was held against answers nobody any more
            start = max(before.until, math.ceil(subject.now / grain) * grain)
            before = CanaryState(rule.version, rule.began, start, start, champion=champion)
        end = int(subject.settled // grain * grain)
        counted = before if end <= before.until else _count(before, rule, subject, end)
        plan = plan_of(subject.spec.watch.canary)
        decision = _with_lateness(verdict.decide(counted.state, plan), counted, subject)
        after = msgspec.structs.replace(counted, decision=decision, rule=rule, against=number)
        return Looked(
            msgspec.json.encode(after), _windows(decision, subject), decision.findings,
            _points(decision, subject), _advice(decision, rule),
            "" if decision.call != "hold" else decision.why,
        )  # fmt: skip


def _ended(before: CanaryState, subject: Subject) -> Ended | None:
    """The canary that was there at the last look, or the one that had ended by then."""
    if before.rule is None:
        return before.ended
    promoted = subject.champion.version.number == before.version
    return Ended(before.rule, before.against, subject.now, promoted, before.decision)


def plan_of(spec: CanaryWatchSpec) -> Plan:
    """`watch.canary` as the verdict takes it."""
    given = {"tolerance": spec.tolerance, "slack": spec.slack, "margin": spec.margin}
    rules = [
        Rule("errors", ("errors",), weight=2.0, budget=spec.budget),
        Rule("latency", PARTS, budget=spec.budget),
        Rule(LABELS_RULE, (LABELS,), needed=False),
    ]
    rules = [msgspec.structs.replace(rule, **given) for rule in rules]
    return Plan(tuple(rules), spec.alpha, spec.beta, spec.minimum / 60, spec.maximum / 60)


def _count(before: CanaryState, rule: Canary, subject: Subject, end: int) -> CanaryState:
    spec, grain = subject.spec.watch.canary, subject.spec.watch.grain
    key = _key_column(subject)
    edges = before.edges or _edges(subject, rule.began - BEFORE_SECONDS, before.until, spec.slower)
    state = before.state
    asked = [*_ASKED, key] if key else _ASKED
    answers = _answers(subject, before.until, end, asked)
    if not edges and answers:
        edges = _percentiles(answers, spec.slower)
    plan = plan_of(spec)
    slots = answers["slot"] if answers else np.zeros(0, np.int64)
    for begin in range(before.until, end, grain):
        inside = slots == begin // grain
        steady = rule.weight_at(begin) == rule.weight_at(begin + grain - 1e-3)
        part = {name: values[inside] for name, values in answers.items()}
        counted = _stratum(part, edges, key) if inside.any() and steady else Stratum({})
        counted = msgspec.structs.replace(counted, minutes=grain / 60)
        state = verdict.look(state, counted, plan)
    after = msgspec.structs.replace(before, until=end, edges=edges, state=state)
    return _with_labels(after, rule, subject, plan)


def _key_column(subject: Subject) -> str:
    """Where the journal has `watch.canary.key`; empty without one."""
    key = subject.spec.watch.canary.key
    if key is None:
        return ""
    schema = subject.champion.manifest.schema
    if key in {column.name for column in schema.features if not column.private}:
        return FEATURE + key
    if key == subject.champion.served.key and key not in {c.name for c in schema.features}:
        return CALLER
    raise UsageError(
        f"watch.canary.key: {key!r} is in no journal of {subject.name}.",
        hint="Name a column of the model that is not private, or the serve.key of the spec that "
        f"version {subject.champion.version.number} was released with.",
    )


def _answers(subject: Subject, begin: float, end: float, columns: list[str]) -> dict[str, Array]:
    """First rows of requests of champion and canary, in columns, and requests that these left
    without an answer; empty where there are none."""
    table = journal_files.rows(subject.journal, subject.name, "", begin, end, columns)
    parts = [] if table is None or not len(table) else [_recorded(table, subject, columns)]
    place = place_of(subject.journal)
    table = unanswered.read(place, folder_name(subject.name), begin, end)
    if table is not None and len(table):
        parts.append(_left_alone(table, subject, columns))
    found = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]} if parts else {}
    return found if found and len(found["slot"]) else {}


def _recorded(table: Any, subject: Subject, columns: list[str]) -> dict[str, Array]:
    arms = np.array(table["arm"].to_pylist())
    kept = np.isin(arms, ("champion", CANARY)) & (table["row"].to_numpy() == 0)
    table = table.filter(pa.array(kept))
    failed = np.array([text != "" for text in table["fallback"].to_pylist()], bool)
    found = _common(table, subject, failed)
    found["cached"] = table["cached"].to_numpy().astype(bool)
    found["ms"] = table["ms"].to_numpy()
    for name in columns[len(_ASKED) :]:
        known = name in table.column_names  # files of before it was recorded
        found[name] = _names(table[name].to_pylist() if known else [None] * len(table), table)
    return found


def _left_alone(table: Any, subject: Subject, columns: list[str]) -> dict[str, Array]:
    found = _common(table, subject, np.ones(len(table), bool))
    found["cached"], found["ms"] = np.zeros(len(table), bool), np.zeros(len(table), np.float32)
    features = [msgspec.json.decode(text) for text in table["features"].to_pylist()]
    for name in columns[len(_ASKED) :]:
        key = name.removeprefix(FEATURE)
        known = [row.get(key) for row in features]
        if name == CALLER:
            known = table[CALLER].to_pylist() if CALLER in table.column_names else []
        found[name] = _names(known or [None] * len(table), table)
    return found


def _names(values: list[Any], table: Any) -> Array:
    """Who asked, as text; a request of nobody's is its own."""
    ids = table["request_id"].to_pylist()
    named = zip(values, ids, strict=True)
    return np.array([f"id {id}" if one is None else f"by {one}" for one, id in named])


def _common(table: Any, subject: Subject, failed: Array) -> dict[str, Array]:
    number = subject.champion.version.number
    seconds = table["time"].cast("int64").to_numpy() / 1e6
    return {
        "canary": np.array([arm == CANARY for arm in table["arm"].to_pylist()], bool),
        "own": np.array([one == number for one in table["version"].to_pylist()], bool),
        "slot": (seconds // subject.spec.watch.grain).astype(np.int64),
        "failed": failed,
    }


def _edges(subject: Subject, begin: float, end: float, slower: float) -> tuple[float, ...]:
    answers = _answers(subject, begin, end, _ASKED)
    return _percentiles(answers, slower) if answers else ()


def _percentiles(answers: dict[str, Array], slower: float) -> tuple[float, ...]:
    """The champion's, in milliseconds, and what is tolerated beyond."""
    usual = answers["own"] & ~answers["canary"] & ~answers["failed"] & ~answers["cached"]
    if usual.sum() < ENOUGH:
        return ()
    ends = np.quantile(answers["ms"][usual], (0.5, 0.95, 0.99)) + 1e3 * slower
    return tuple(ends.tolist())


def _stratum(part: dict[str, Array], edges: tuple[float, ...], key: str) -> Stratum:
    failed, new = part["failed"], part["canary"]
    cells = {"errors": _arms(failed, new) if not key else _by_key(failed, new, part[key])}
    timed = ~failed & ~part["cached"]
    ms, on_canary = part["ms"][timed], new[timed]
    for name, edge in zip(PARTS, edges, strict=False):
        cells[name] = _arms(ms > edge, on_canary)
    latency = Sums(_sums(ms[~on_canary]), _sums(ms[on_canary]))
    return Stratum(cells, latency)


def _arms(event: Array, new: Array) -> Arms:
    return Arms(
        int((~new).sum()), int((event & ~new).sum()), int(new.sum()), int((event & new).sum())
    )


def _by_key(event: Array, new: Array, keys: Array) -> Arms:
    """Callers in the place of requests: one with any error counts once."""
    found = []
    for arm in (~new, new):
        names, place = np.unique(keys[arm], return_inverse=True)
        hit = np.bincount(place, event[arm], len(names)) > 0 if len(names) else np.zeros(0, bool)
        found += [len(names), int(hit.sum())]
    return Arms(*found)


def _sums(ms: Array) -> tuple[int, float, float]:
    seconds = ms.astype(np.float64) / 1e3
    return len(seconds), float(seconds.sum()), float((seconds**2).sum())


def _with_labels(before: CanaryState, rule: Canary, subject: Subject, plan: Plan) -> CanaryState:
    """Labels that arrived since the last look: strata that take no time, one for each share that
    the canary had when it answered."""
    has_classes = bool(subject.champion.manifest.schema.target.levels)
    known = subject.champion.live
    if not has_classes and known is None:
        return before  # nothing says what a large error is
    caller = _key_column(subject) or CALLER
    table, after = arrived_since(
        subject.journal, subject.name, before.cursor,
        columns=["fallback", caller], sample=subject.journaling.sample, now=subject.now,
        remembered=subject.remembered,
    )  # fmt: skip
    if not table.num_rows:
        return msgspec.structs.replace(before, cursor=after)
    arms = np.array(table["arm"].to_pylist())
    kept = np.isin(arms, ("champion", CANARY))
    kept &= np.array([text == "" for text in table["fallback"].to_pylist()])
    kept &= np.array([one is None for one in table["label_before"].to_pylist()])
    times = table["time"].cast("int64").to_numpy() / 1e6
    kept &= times >= before.since
    late = table["label_arrived"].cast("int64").to_numpy() / 1e6 - times
    truths = lateness.more_truths(before.truths, arms[kept], late[kept])
    kept[kept], callers = first_of_each(table, caller, kept, before.callers)
    weights = np.array([rule.weight_at(at) for at in times.tolist()])
    new, scale = arms == CANARY, 1.0 if known is None else known.scale
    found = _wrong(table) if has_classes else np.minimum(_errors(table) / scale, 1.0)
    state, waiting = before.state, dict(before.waiting)
    for weight in np.unique(weights[kept]).tolist():
        same, earlier = kept & (weights == weight), waiting.pop(repr(weight), ((), ()))
        old, fresh = (
            np.concatenate([some, found[same & arm]])
            for some, arm in zip(earlier, (~new, new), strict=True)
        )
        if not (len(old) and len(fresh)):
            waiting[repr(weight)] = _newest(old), _newest(fresh)
            continue
        stratum = Stratum({}, minutes=0.0)
        if has_classes:
            stratum.cells[LABELS] = Arms(len(old), int(old.sum()), len(fresh), int(fresh.sum()))
        else:
            stratum.losses[LABELS] = Losses(old, fresh, scale)
        state = verdict.look(state, stratum, plan)
    return msgspec.structs.replace(
        before, state=state, cursor=after, waiting=waiting, callers=callers, truths=truths
    )  # fmt: skip


def _with_lateness(decision: Decision, state: CanaryState, subject: Subject) -> Decision:
    """The finding on labels says of each arm how many of its answers have one, and how late."""
    numbers = {"champion": subject.champion.version.number, CANARY: state.version}
    late = lateness.of_arms(state.truths, numbers, state.since, state.until, subject)
    if not late:
        return decision
    findings = tuple(
        msgspec.structs.replace(f, why=f"{f.why}; {late}") if f.subject == LABELS_RULE else f
        for f in decision.findings
    )
    return msgspec.structs.replace(decision, findings=findings)


def _newest(values: Array) -> tuple[float, ...]:
    return tuple(values[-MOST_WAITING:].tolist())


def _wrong(table: Any) -> Array:
    said, true = table["prediction"].to_pylist(), table["label"].to_pylist()
    return np.array([str(a) != str(b) for a, b in zip(said, true, strict=True)])


def _errors(table: Any) -> Array:
    said, true = table["prediction"].to_pylist(), table["label"].to_pylist()
    return np.array([abs(a - float(b)) for a, b in zip(said, true, strict=True)])


def _windows(decision: Decision, subject: Subject) -> tuple[Window, ...]:
    """A verdict that asks for somebody opens an episode at once."""
    if decision.call != "roll back" and not decision.over:
        return (_quiet(subject),)
    found = decision.findings[0] if decision.findings else Finding(CANARY, "", "undecided")
    if decision.over:
        found = msgspec.structs.replace(found, severity="warning", advice=decision.why)
    at_once = frozenset({CANARY})
    return (Window(iso(subject.now), at_once, {CANARY: found}, at_once),)


def _quiet(subject: Subject) -> Window:
    return Window(iso(subject.now), frozenset({CANARY}))


def _points(decision: Decision, subject: Subject) -> dict[str, list[Point]]:
    found = {}
    for finding in decision.findings:
        if finding.interval is not None:
            one = finding.interval
            point = Point(subject.now, one.value, one.low, one.high)
            found[f"canary {finding.subject}"] = [point]
    return found


def _advice(decision: Decision, rule: Canary) -> Advice | None:
    if decision.call == "hold":
        return None
    why = f"canary {rule.version} after {lasted(decision.minutes)}: {decision.why}"
    return Advice(decision.call, rule.version, why, decision.findings)
