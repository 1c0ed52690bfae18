"""Whether a window differs from the reference: distributions, missing and strange values, pairs.

Every question to a window gives a distance and a p-value (`watch.distances`). It alarms only where
three things hold: chance does not explain it, judged for all questions of the window together
(Benjamini-Hochberg at q = 0.1 %); the distance matters (a floor, for each column if need be); and
it is 1.25 times larger than any stretch of the reference of the same length showed by itself. The
last is what keeps seasons and slow swings quiet, which no test that takes rows for independent can.
What is sure but small, or usual, is a note.

Prefer it to p < .05 for each column, which alarms in every second quiet window. Drift says where to
look. It hardly tells whether answers got worse: do not roll back for it. Switch a column off by
`ColumnPolicy(ignore=True)` where it must change, such as a date or a counter.

Source: Benjamini, Hochberg (1995); Kolmogorov-Smirnov and chi-square on counts; the measurements
that led here are in docs/watch.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from modelwright.core.errors import DataError
from modelwright.core.intake import Array
from modelwright.core.records import Finding, Interval
from modelwright.watch import distances
from modelwright.watch.counted import Counts, Frame, Reference, total

AT_ONCE = ("unseen category", "far-out value", "missing value", "out of range")
"""Checks that are a broken contract: no second window is waited for; see `watch.contract`."""
FEW_ROWS = 3
"""So many rows with a strange value are needed."""
CAUSES = {
    "missing rate": "data quality",
    "unseen category": "data quality",
    "far-out value": "data quality",
    "missing value": "data quality",
    "out of range": "data quality",
    "drift": "drift",
    "joint change": "joint drift",
}


class ColumnPolicy(msgspec.Struct, frozen=True):
    """What differs for one column: floors, None for those of `Policy`; `ignore` asks nothing."""

    distance: float | None = None
    missing: float | None = None
    unseen: float | None = None
    far: float | None = None
    outside: float | None = None
    joint: float | None = None
    block_factor: float | None = None
    ignore: bool = False


class Policy(msgspec.Struct, frozen=True):
    """When a window alarms.

    Attributes:
        q: false discovery rate of one window.
        distance: least difference of distribution functions, or total variation.
        missing: least change of the share that is missing.
        unseen, far: least share of unseen categories, of far-out numbers.
        outside: least share of numbers outside the range of training, for the contract.
        joint: least change of a correlation.
        block_factor: times the largest distance among stretches of the reference.
        rows: a window with fewer is not judged.
        columns: what differs for single columns.
    """

    q: float = 0.001
    distance: float = 0.05
    missing: float = 0.01
    unseen: float = 0.001
    far: float = 0.001
    outside: float = 0.01
    joint: float = 0.05
    block_factor: float = 1.25
    rows: int = 1000
    columns: dict[str, ColumnPolicy] = {}

    def floor(self, column: str, what: str) -> float:
        """The floor of a column for "distance", "missing", "unseen", "far", "outside" or "joint";
        or its "block_factor"."""
        own = getattr(self.columns.get(column, ColumnPolicy()), what)
        return float(getattr(self, what) if own is None else own)


class Drift(msgspec.Struct, frozen=True):
    """What one window showed: alarms first (verdict fail), score and class before features, the
    worst first; then notes. `closed` is False while it has too few rows to be judged."""

    rows: int
    reference_rows: int
    closed: bool
    findings: tuple[Finding, ...] = ()

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """Those that failed."""
        return tuple(f for f in self.findings if f.verdict == "fail")

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns with an alarm, the worst first."""
        named = [name for f in self.alarms for name in f.columns or (f.subject,)]
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True)
class _Asked:
    """One question and its answer; `usual` is the largest answer among stretches of reference.

    `never`: the reference holds no such value at all. Then p <= q is enough by itself: even at the
    worst true rate, three of a thousand rows do that in 3 of 100,000 windows, with 20,000 rows of
    reference.
    """

    check: str
    subject: str
    effect: float
    p: float
    floor: float
    usual: float
    shown: tuple[str, str]
    interval: Interval
    columns: tuple[str, ...] = ()
    rows: int = FEW_ROWS
    never: bool = False

    def size(self, factor: float) -> float:
        """The effect in units of what would alarm."""
        return abs(self.effect) / max(self.floor, factor * self.usual, 1e-12)


def judge(window: Frame, reference: Reference, policy: Policy | None = None) -> Drift:
    """Hold a window against the reference.

    Args:
        window: its counts, over the edges and levels of the reference.
        reference: what it is held against.
        policy: when it alarms.

    Raises:
        DataError: the window was counted over other bins or columns.
    """
    policy = policy or Policy()
    _comparable(window, reference)
    whole = reference.whole
    if window.rows < policy.rows:
        return Drift(window.rows, whole.rows, closed=False)
    stretches = stretches_of(reference, window.rows)
    asked: list[_Asked] = []
    for name in reference.kinds:
        if name in window.columns and not policy.columns.get(name, ColumnPolicy()).ignore:
            asked += _of_column(name, window, reference, stretches, policy)
    asked += _of_pairs(window, reference, stretches, policy)
    sure = distances.surely_changed(np.array([a.p for a in asked]), policy.q)
    kept = [a for a, yes in zip(asked, sure, strict=True) if yes or (a.never and a.p <= policy.q)]
    pairs = [(a, _alarms(a, policy)) for a in kept]
    pairs.sort(key=lambda pair: _place(pair[0], pair[1], reference, policy))
    findings = tuple(_finding(a, policy, alarm=alarm) for a, alarm in pairs)
    return Drift(window.rows, whole.rows, True, findings)


def by_cause(drift: Drift, first: Iterable[str]) -> dict[str, list[Finding]]:
    """Findings by cause, as episodes want them: score drift, drift, data quality, joint drift.

    Args:
        drift: of a window.
        first: names of score and predicted class (`Reference.first`).
    """
    found: dict[str, list[Finding]] = {"score drift": [], **{c: [] for c in CAUSES.values()}}
    outputs = set(first)
    for finding in drift.findings:
        cause = CAUSES[finding.check]
        of_score = cause == "drift" and finding.subject in outputs
        found["score drift" if of_score else cause].append(finding)
    return found


def _comparable(window: Frame, reference: Reference) -> None:
    for name in reference.kinds:
        mine, theirs = window.columns.get(name), reference.whole.columns[name]
        if mine is not None and mine.bins.shape != theirs.bins.shape:
            raise DataError(
                f"{name}: the window has {len(mine.bins)} bins, the reference {len(theirs.bins)}.",
                hint="Count both over the same edges: those of the model that answered.",
            )
    mine_joint, their_joint = window.joint, reference.whole.joint
    if mine_joint and their_joint and mine_joint.names != their_joint.names:
        raise DataError(
            "Cross products of the window are of other columns than the reference's.",
            hint="Count both for the same model.",
        )


def stretches_of(reference: Reference, rows: int) -> list[tuple[Frame, Frame]]:
    """Contiguous stretches of the reference as long as the window, each with all the others.

    Where the reference does not hold four of that length they are shorter, which is on the safe
    side: chance alone moves them further.
    """
    blocks = reference.blocks
    if len(blocks) < 4:
        return []
    each = max(1, reference.whole.rows // len(blocks))
    many = min(max(1, round(rows / each)), len(blocks) // 4)
    groups = [blocks[i : i + many] for i in range(0, len(blocks) - many + 1, many)]
    parts = [total(group) for group in groups]
    return [(part, reference.whole - part) for part in parts]


def _of_column(
    name: str,
    window: Frame,
    reference: Reference,
    stretches: list[tuple[Frame, Frame]],
    policy: Policy,
) -> list[_Asked]:
    kind, levels = reference.kinds[name], reference.levels.get(name, ())
    seen, known = window.columns[name], reference.whole.columns[name]
    past = [(part.columns[name], rest.columns[name]) for part, rest in stretches]
    distance = distances.numbers if kind == "number" else distances.categories
    effect, p = distance(seen.bins, known.bins)
    usual = max((distance(a.bins, b.bins)[0] for a, b in past), default=0.0)
    present = int(seen.bins.sum()), int(known.bins.sum())
    shown = f"a distance of {effect:.3f}", _where(seen, known, kind, levels)
    band = distances.around_distance(effect, *present)
    floor = policy.floor(name, "distance")
    found = [_Asked("drift", name, effect, p, floor, usual, shown, band)]
    effect, p = distances.rates(seen.missing, seen.rows, known.missing, known.rows)
    usual = max((abs(_share(a, "missing") - _share(b, "missing")) for a, b in past), default=0.0)
    shown = _two_shares(seen, known, "missing")
    band = distances.around_share(seen.missing, seen.rows)
    floor = policy.floor(name, "missing")
    found.append(_Asked("missing rate", name, effect, p, floor, usual, shown, band))
    what, check = ("far", "far-out value") if kind == "number" else ("new", "unseen category")
    strange = getattr(seen, what)
    effect, p = distances.more_often(strange, seen.rows, getattr(known, what), known.rows)
    usual = max((_share(a, what) for a, _ in past), default=0.0)
    shown = _two_shares(seen, known, what)
    band = distances.around_share(strange, seen.rows)
    floor = policy.floor(name, "far" if kind == "number" else "unseen")
    never = not getattr(known, what)
    found.append(_Asked(check, name, effect, p, floor, usual, shown, band, (), strange, never))
    return found


def _of_pairs(
    window: Frame, reference: Reference, stretches: list[tuple[Frame, Frame]], policy: Policy
) -> list[_Asked]:
    whole, spread = reference.whole, reference.spread
    if window.joint is None or whole.joint is None or spread is None:
        return []
    floors = _pair_floors(whole.joint.names, policy)
    effect, p, (a, b) = distances.joint(window.joint, whole.joint, spread, floors)
    if a == b:
        return []
    usual = 0.0
    for part, rest in stretches:
        if part.joint is not None and rest.joint is not None:
            change = part.joint.correlations()[a, b] - rest.joint.correlations()[a, b]
            usual = max(usual, abs(float(change)))
    names = window.joint.names[a], window.joint.names[b]
    before = float(whole.joint.correlations()[a, b])
    after = float(window.joint.correlations()[a, b])
    shown = f"a correlation of {after:.2f}", f"{before:.2f}"
    reach = 1.96 * float(spread.one_row[a, b]) / float(np.sqrt(window.rows))
    band = Interval(after, max(-1.0, after - reach), min(1.0, after + reach))
    subject = " and ".join(names)
    floor = float(floors[a, b])
    return [_Asked("joint change", subject, effect, p, floor, usual, shown, band, names)]


def _pair_floors(names: Sequence[str], policy: Policy) -> Array:
    """The larger floor of each two columns; infinite where one of them is ignored."""
    own = [policy.columns.get(name, ColumnPolicy()) for name in names]
    floors = np.array([math.inf if one.ignore else policy.floor(name, "joint")
                       for name, one in zip(names, own, strict=True)])  # fmt: skip
    return np.asarray(np.maximum.outer(floors, floors))


def _share(counts: Counts, what: str) -> float:
    return float(getattr(counts, what)) / max(1, counts.rows)


def _two_shares(seen: Counts, known: Counts, what: str) -> tuple[str, str]:
    return f"{_share(seen, what):.2%}", f"{_share(known, what):.2%}"


def _where(seen: Counts, known: Counts, kind: str, levels: tuple[str, ...]) -> str:
    """In words, where the window has more than the reference."""
    more = seen.bins / max(1, seen.bins.sum()) - known.bins / max(1, known.bins.sum())
    if kind == "number":
        place = float((more * np.linspace(-1, 1, len(more))).sum())
        return "larger values" if place > 0 else "smaller values"
    top = int(more.argmax())
    return f"more of {levels[top]!r}" if top < len(levels) else "more of the rare ones"


def _alarms(asked: _Asked, policy: Policy) -> bool:
    return asked.size(_factor(asked, policy)) >= 1 and asked.rows >= FEW_ROWS


def _factor(asked: _Asked, policy: Policy) -> float:
    """That of its column; of two columns the larger one."""
    return max(policy.floor(name, "block_factor") for name in asked.columns or (asked.subject,))


def _place(asked: _Asked, alarm: bool, reference: Reference, policy: Policy) -> tuple[float, ...]:
    return (not alarm, asked.subject not in reference.first, -asked.size(_factor(asked, policy)))


_ADVICE: dict[str, Callable[[str], str]] = {
    "drift": lambda name: f"compare {name} with its source; wait for labels before retraining",
    "missing rate": lambda name: f"find out why {name} is no longer filled in as before",
    "unseen category": lambda name: f"is it a new level of {name}, or another spelling?",
    "far-out value": lambda name: f"check the unit of {name} where it is made",
    "joint change": lambda name: f"are {name} still joined for the same rows?",
}


def _finding(asked: _Asked, policy: Policy, *, alarm: bool) -> Finding:
    measured, reference = asked.shown
    words = {"drift": f"{measured}, {reference}", "joint change": f"{measured}, was {reference}"}
    wanted = max(asked.floor, _factor(asked, policy) * asked.usual)
    usual = f", {asked.usual:.3f} among stretches of the reference" if asked.usual else ""
    strict = asked.check in AT_ONCE
    return Finding(
        check=asked.check,
        subject=asked.subject,
        verdict="fail" if alarm else "pass",
        measured=words.get(asked.check, f"{measured} of rows, was {reference}"),
        wanted=f"a change below {wanted:.3g}",
        why=f"chance does it with p = {asked.p:.2g}{usual}",
        advice=_ADVICE[asked.check](asked.subject) if alarm else "",
        severity="info" if not alarm else "error" if strict else "warning",
        interval=asked.interval,
        columns=asked.columns,
    )
