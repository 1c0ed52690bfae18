"""Rows that the world will send sooner or later: missing, unseen, extreme, mixed up, nudged.

Every answer must be sane: finite, probabilities that add up to 1, values not absurdly far from all
that training held. How far answers move is told, since it shows what the model hangs on; nothing is
judged by it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from modelwright.core.intake import Array, Feeds
from modelwright.core.records import Finding
from modelwright.core.schema import MISSING_TIME, Column
from modelwright.core.table import take_feeds
from modelwright.release.evidence import Evidence

ROWS, FEWEST_ROWS = 300, 30
LEAST = 10
"""Disturbances of a kind that are tried however little time there is."""
UNSEEN = "\u2603 never seen"
EXTREMES = (-sys.float_info.max, -1e15, 0.0, 5e-324, 1e15, sys.float_info.max)
MOMENTS = (-62_135_596_800_000_000, 253_402_300_799_000_000)
"""The first moment of year 1 and the last of year 9999, in microseconds since 1970."""
NUDGE = 0.01
"""Part of a standard deviation by which numbers are nudged."""
NUDGED_ROWS = 60
EVERYTHING = "all columns"
ABSURD = 10.0
"""Spans of the training target beyond its ends from which a value is absurd."""


@dataclass(frozen=True)
class _Tried:
    """What became of some answers."""

    insane: str
    moved: float
    flips: float


def robustness(evidence: Evidence, seconds: float = 2.0) -> list[Finding]:
    """One finding a kind of disturbance.

    Args:
        evidence: the sealed rows and the packed model.
        seconds: to spend at most, shared by the kinds. A table of many columns is looked at on
            fewer rows, then in part, its columns in random order; the findings say so.
    """
    rng = np.random.default_rng(evidence.seed)
    columns = [evidence.schema.features[n] for n in rng.permutation(len(evidence.schema.features))]
    rows = _enough_rows(evidence, rng.permutation(evidence.holdout.rows)[:ROWS], seconds)
    feeds = take_feeds(evidence.holdout.feeds, rows)
    plain = evidence.answers[rows]
    kinds = {
        "missing values": _missing(columns, feeds),
        "unseen values": _unseen(columns, feeds),
        "extreme values": _extreme(columns, feeds),
        "shuffled columns": _shuffled(columns, feeds, rng),
    }
    start, share = time.monotonic(), seconds / (len(kinds) + 1)
    found = []
    for done, (what, disturbed) in enumerate(kinds.items(), 1):
        tried = _worst(evidence, plain, disturbed, start + done * share)
        if tried is not None:
            found.append(_finding(what, tried, len(rows)))
    some = take_feeds(feeds, slice(0, NUDGED_ROWS))
    return [*found, *_nudged(evidence, columns, some, start + seconds)]


def _enough_rows(evidence: Evidence, rows: Array, seconds: float) -> Array:
    """As many of these rows as can be answered for every disturbance within that time."""
    started = time.monotonic()
    evidence.answer(take_feeds(evidence.holdout.feeds, rows))
    a_row = (time.monotonic() - started) / max(1, len(rows))
    many = 8 * len(evidence.schema.features)
    return rows[: max(FEWEST_ROWS, int(seconds / (a_row * many + 1e-9)))]


Disturbed = Iterator[tuple[str, Feeds]]


def _missing(columns: Sequence[Column], feeds: Feeds) -> Disturbed:
    """All columns absent from all rows at once, then each."""
    nothing = {c.name: _filled(c, feeds, None) for c in columns}
    yield EVERYTHING, nothing
    for column in columns:
        yield column.name, {**feeds, column.name: nothing[column.name]}


def _filled(column: Column, feeds: Feeds, value: object) -> Array:
    """A column of one value; None stands for missing."""
    like = feeds[column.name]
    if value is None:
        value = {"object": "", "int64": MISSING_TIME}.get(str(like.dtype), np.nan)
    return np.full(len(like), value, dtype=like.dtype)


def _unseen(columns: Sequence[Column], feeds: Feeds) -> Disturbed:
    for column in columns:
        if column.kind in ("category", "list"):
            yield column.name, {**feeds, column.name: _filled(column, feeds, UNSEEN)}


def _extreme(columns: Sequence[Column], feeds: Feeds) -> Disturbed:
    for column in columns:
        ends = {"number": EXTREMES, "datetime": MOMENTS}.get(column.kind, ())
        for value in ends:
            yield f"{column.name} {value:.3g}", {
                **feeds, column.name: _filled(column, feeds, value)
            }  # fmt: skip


def _shuffled(columns: Sequence[Column], feeds: Feeds, rng: np.random.Generator) -> Disturbed:
    """Each column with the values of other rows."""
    for column in columns:
        order = rng.permutation(len(feeds[column.name]))
        yield column.name, {**feeds, column.name: feeds[column.name][order]}


@dataclass(frozen=True)
class _Worst:
    """What moved the answers most of a kind of disturbance; insane answers come first."""

    count: int
    name: str
    tried: _Tried
    cut_short: bool


def _worst(evidence: Evidence, plain: Array, disturbed: Disturbed, end: float) -> _Worst | None:
    """Try one disturbance after the other until that moment; None where there is none."""
    count, name, worst, cut_short = 0, "", _Tried("", -1.0, 0.0), False
    for what, feeds in disturbed:
        if count >= LEAST and time.monotonic() > end:
            cut_short = True
            break
        found = _tried(evidence, plain, evidence.answer(feeds))
        count += 1
        if (bool(found.insane), found.moved) > (bool(worst.insane), worst.moved):
            name, worst = what, found
    return _Worst(count, name, worst, cut_short) if count else None


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


def _finding(what: str, worst: _Worst, rows: int) -> Finding:
    tried, part = worst.tried, ", in the time there was" if worst.cut_short else ""
    verb = "move" if worst.name == EVERYTHING else "moves"
    moved = f"{worst.name} {verb} them most, by {tried.moved:.2g}"
    flips = f" ({tried.flips:.0%} of labels)" if tried.flips else ""
    return Finding(
        "robustness", what, "fail" if tried.insane else "pass",
        f"{tried.insane} ({worst.name})" if tried.insane else f"all answers sane; {moved}{flips}",
        "sane answers",
        f"{worst.count:,} disturbances of {rows} rows{part}, which the world will send "
        "sooner or later",
        "fit.families without the linear ones, or expect: ranges that refuse such rows"
        if tried.insane else "", "error",
    )  # fmt: skip


def _nudged(
    evidence: Evidence, columns: Sequence[Column], feeds: Feeds, end: float
) -> list[Finding]:
    """Every number moved by a hundredth of its deviation, a whole one by at least 1, whichever way
    pushes a row's answer furthest: a greedy adversary, one column after the other."""
    numbers = [c for c in columns if c.kind == "number"]
    if not numbers:
        return []
    plain = at = evidence.answer(feeds)
    current, rows = dict(feeds), np.arange(len(at))
    code = plain.argmax(axis=1) if plain.ndim == 2 else None
    insane, nudged = "", 0
    for column in numbers:
        if nudged >= LEAST and time.monotonic() > end:
            break
        nudged += 1
        name, step = column.name, _step(column, evidence.train.feeds[column.name])
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
    whole = ", whole ones by at least 1" if any(c.integer for c in numbers) else ""
    told = f"labels of {found.flips:.0%} of rows flip, " if code is not None else ""
    return [Finding(
        "robustness", "nudged numbers", "fail" if insane else "pass",
        insane or f"{len(rows)} rows, {nudged} numbers nudged by {NUDGE:.0%} of their "
        f"deviation{whole}: {told}answers move by {found.moved:.3g} on average",
        "finite and sane answers", "a greedy adversary, one column after the other", "", "error",
    )]  # fmt: skip


def _step(column: Column, values: Array) -> float:
    """How far a number is nudged; a whole one stays whole."""
    step = NUDGE * float(np.nanstd(values) or 0.0)
    return max(1.0, float(np.round(step))) if column.integer else step
