"""Rows that the world will send sooner or later: missing, unseen, extreme, mixed up, nudged.

Every answer must be sane: finite, probabilities that add up to 1, values not absurdly far from all
that training held. How far answers move is told, since it shows what the model hangs on; nothing is
judged by it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from modelwright.core.intake import Array, Feeds
from modelwright.core.records import Finding
from modelwright.core.schema import MISSING_TIME, Column
from modelwright.core.table import take_feeds
from modelwright.release.evidence import Evidence

ROWS = 300
UNSEEN = "\u2603 never seen"
EXTREMES = (-sys.float_info.max, -1e15, 0.0, 5e-324, 1e15, sys.float_info.max)
MOMENTS = (-62_135_596_800_000_000, 253_402_300_799_000_000)
"""The first moment of year 1 and the last of year 9999, in microseconds since 1970."""
NUDGE = 0.01
"""Part of a standard deviation by which numbers are nudged."""
NUDGED_ROWS = 60
ABSURD = 10.0
"""Spans of the training target beyond its ends from which a value is absurd."""


@dataclass(frozen=True)
class _Tried:
    """What became of some answers."""

    insane: str
    moved: float
    flips: float


def robustness(evidence: Evidence) -> list[Finding]:
    """One finding a kind of disturbance."""
    rng = np.random.default_rng(evidence.seed)
    rows = rng.permutation(evidence.holdout.rows)[:ROWS]
    feeds = take_feeds(evidence.holdout.feeds, rows)
    plain = evidence.answers[rows]
    tried = {
        "missing values": _worst(evidence, plain, _missing(evidence, feeds)),
        "unseen values": _worst(evidence, plain, _unseen(evidence, feeds)),
        "extreme values": _worst(evidence, plain, _extreme(evidence, feeds)),
        "shuffled columns": _worst(evidence, plain, _shuffled(evidence, feeds, rng)),
    }
    found = [_finding(what, *one) for what, one in tried.items() if one is not None]
    return [*found, *_nudged(evidence, take_feeds(feeds, slice(0, NUDGED_ROWS)))]


Disturbed = Iterator[tuple[str, Feeds]]


def _missing(evidence: Evidence, feeds: Feeds) -> Disturbed:
    """Each column absent from all rows, then all columns at once."""
    nothing = {c.name: _filled(c, feeds, None) for c in evidence.schema.features}
    for column in evidence.schema.features:
        yield column.name, {**feeds, column.name: nothing[column.name]}
    yield "all columns", nothing


def _filled(column: Column, feeds: Feeds, value: object) -> Array:
    """A column of one value; None stands for missing."""
    like = feeds[column.name]
    if value is None:
        value = {"object": "", "int64": MISSING_TIME}.get(str(like.dtype), np.nan)
    return np.full(len(like), value, dtype=like.dtype)


def _unseen(evidence: Evidence, feeds: Feeds) -> Disturbed:
    for column in evidence.schema.features:
        if column.kind in ("category", "list"):
            yield column.name, {**feeds, column.name: _filled(column, feeds, UNSEEN)}


def _extreme(evidence: Evidence, feeds: Feeds) -> Disturbed:
    for column in evidence.schema.features:
        ends = {"number": EXTREMES, "datetime": MOMENTS}.get(column.kind, ())
        for value in ends:
            yield f"{column.name} {value:.3g}", {
                **feeds, column.name: _filled(column, feeds, value)
            }  # fmt: skip


def _shuffled(evidence: Evidence, feeds: Feeds, rng: np.random.Generator) -> Disturbed:
    """Each column with the values of other rows."""
    for column in evidence.schema.features:
        order = rng.permutation(len(feeds[column.name]))
        yield column.name, {**feeds, column.name: feeds[column.name][order]}


def _worst(
    evidence: Evidence, plain: Array, disturbed: Disturbed
) -> tuple[int, str, _Tried] | None:
    """(how many were tried, which moved the answers most, what it did); insane ones first."""
    count, name, worst = 0, "", _Tried("", -1.0, 0.0)
    for what, feeds in disturbed:
        found = _tried(evidence, plain, evidence.answer(feeds))
        count += 1
        if (bool(found.insane), found.moved) > (bool(worst.insane), worst.moved):
            name, worst = what, found
    return (count, name, worst) if count else None


def _tried(evidence: Evidence, plain: Array, answers: Array) -> _Tried:
    insane = _insane(evidence, answers)
    if answers.ndim == 2:
        flips = float((answers.argmax(axis=1) != plain.argmax(axis=1)).mean())
        return _Tried(insane, float(np.abs(answers - plain).max(axis=1).mean()), flips)
    return _Tried(insane, float(np.abs(answers - plain).mean()), 0.0)


def _insane(evidence: Evidence, answers: Array) -> str:
    """What is wrong with answers; empty for nothing."""
    if not np.isfinite(answers).all():
        return f"{int((~np.isfinite(answers)).any(axis=-1).sum())} answers are not finite"
    if answers.ndim == 2:
        off = (answers < 0).any() or (answers > 1).any() or (
            np.abs(answers.sum(axis=1) - 1) > 1e-6
        ).any()  # fmt: skip
        return "probabilities do not add up to 1" if off else ""
    low, high = evidence.train.target.min(), evidence.train.target.max()
    room = ABSURD * (high - low)
    far = (answers < low - room) | (answers > high + room)
    return f"{int(far.sum())} answers far beyond {low:g} to {high:g}" if far.any() else ""


def _finding(what: str, count: int, name: str, worst: _Tried) -> Finding:
    moved = f"{name} moves them most, by {worst.moved:.2g}"
    flips = f" ({worst.flips:.0%} of labels)" if worst.flips else ""
    return Finding(
        "robustness", what, "fail" if worst.insane else "pass",
        f"{worst.insane} ({name})" if worst.insane else f"all answers sane; {moved}{flips}",
        "sane answers",
        f"{count} disturbances of up to {ROWS} rows, which the world will send sooner or later",
        "fit.families without the linear ones, or expect: ranges that refuse such rows"
        if worst.insane else "", "error",
    )  # fmt: skip


def _nudged(evidence: Evidence, feeds: Feeds) -> list[Finding]:
    """Every number moved by a hundredth of its deviation, whichever way pushes a row's answer
    furthest: a greedy adversary, one column after the other."""
    numbers = [c.name for c in evidence.schema.features if c.kind == "number" and not c.integer]
    if not numbers:
        return []
    plain = at = evidence.answer(feeds)
    current, rows = dict(feeds), np.arange(len(at))
    code = plain.argmax(axis=1) if plain.ndim == 2 else None
    insane = ""
    for name in numbers:
        step = NUDGE * float(np.nanstd(evidence.train.feeds[name]) or 0.0)
        for sign in (-1.0, 1.0):
            moved = {**current, name: feeds[name] + sign * step}
            answers = evidence.answer(moved)
            insane = insane or _insane(evidence, answers)
            worse = (
                answers[rows, code] < at[rows, code] if code is not None
                else np.abs(answers - plain) > np.abs(at - plain)
            )  # fmt: skip
            current[name] = np.where(worse, moved[name], current[name])
            at = np.where(worse[:, None] if at.ndim == 2 else worse, answers, at)
    found = _tried(evidence, plain, at)
    told = f"labels of {found.flips:.0%} of rows flip, " if code is not None else ""
    return [Finding(
        "robustness", "nudged numbers", "fail" if insane else "pass",
        insane or f"{len(rows)} rows, {len(numbers)} numbers nudged by {NUDGE:.0%} of their "
        f"deviation: {told}answers move by {found.moved:.3g} on average",
        "finite and sane answers", "a greedy adversary, one column after the other", "", "error",
    )]  # fmt: skip
