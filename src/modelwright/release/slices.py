"""Weak slices: groups of holdout rows on which the model does worse than elsewhere.

Every level of a category, every quarter of a number and every pair of the most suspicious ones is
compared with all other rows (Welch's t-test on the loss of a row), corrected for all that were
looked at (Holm 1979). After Chung et al. 2019, "Slice Finder".
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from scipy import stats

from modelwright.core.evaluation import Slice
from modelwright.core.intake import Array
from modelwright.core.limits import show
from modelwright.core.records import Finding, Interval
from modelwright.core.schema import EPOCH, MISSING_TIME, Column
from modelwright.release.evidence import Evidence

FEWEST_ROWS = 30
LARGEST = 0.5
"""Part of the rows above which a slice is the rule, and the others are the exception."""
MOST_LEVELS = 30
QUARTERS = 4
PAIRED = 12
"""Most suspicious slices that are also looked at in pairs."""
SHOWN = 10
MATERIAL = 0.25
"""Part of the mean loss by which a slice must be worse to be worth a word."""
OVERLAP, STRONGER = 0.5, 1.5
"""Slices that share more of their rows tell the same; a part of another must be so much worse."""
LEAST_CHANCE = 1e-6


@dataclass(frozen=True)
class _Part:
    """Some rows, and what they share."""

    where: str
    columns: tuple[str, ...]
    mask: Array


@dataclass(frozen=True)
class _Tested:
    part: _Part
    excess: Interval
    p: float


def losses_of_rows(evidence: Evidence) -> Array:
    """What each holdout row costs: log loss of its class, or the absolute error of its value."""
    y, answers = evidence.holdout.target, evidence.answers
    if answers.ndim == 1:
        return np.asarray(np.abs(answers - y))
    return np.asarray(-np.log(np.clip(answers[np.arange(len(y)), y], LEAST_CHANCE, 1)))


def weak_slices(evidence: Evidence) -> tuple[tuple[Slice, ...], Finding]:
    """The slices with the strongest evidence against them, and the gate's finding."""
    losses = losses_of_rows(evidence)
    singles = [_tested(part, losses) for part in _singles(evidence)]
    singles.sort(key=lambda one: one.p)
    pairs = [_tested(part, losses) for part in _pairs(singles[:PAIRED])]
    tested = sorted([*singles, *pairs], key=lambda one: one.p)
    corrected = _holm([one.p for one in tested])
    found = [
        (one, p)
        for one, p in zip(tested, corrected, strict=True)
        if p < evidence.policy.alpha and one.excess.value > MATERIAL * losses.mean()
    ]
    found.sort(key=lambda pair: len(pair[0].part.columns))  # halves before the pairs they make
    kept = sorted(_different(found), key=lambda pair: pair[0].p)
    weak = [_slice(evidence, one, p) for one, p in kept]
    return tuple(weak[:SHOWN]), _finding(evidence, weak, len(tested))


def _singles(evidence: Evidence) -> Iterator[_Part]:
    rows = evidence.holdout.rows
    for column in evidence.schema.features:
        if column.private:
            continue
        for where, mask in _masks(column, evidence.holdout.feeds[column.name]):
            if FEWEST_ROWS <= mask.sum() <= LARGEST * rows:
                yield _Part(where, (column.name,), mask)


def _masks(column: Column, values: Array) -> Iterator[tuple[str, Array]]:
    """Slices of one column, each in words."""
    name = column.name
    if column.kind == "list":
        return
    if column.kind == "category":
        missing = values == ""
        for level in column.levels[:MOST_LEVELS]:
            yield f"{name} is {level}", values == level
        known = np.isin(values.astype(str), [*column.levels, ""])
        yield f"{name} is a value unseen in training", ~known
    elif column.kind == "datetime":
        missing = values == MISSING_TIME
        yield from _quarters(name, values, ~missing, _date)
    else:
        missing = np.isnan(values)
        if column.kind == "boolean" or len(np.unique(values[~missing])) <= QUARTERS:
            for value in np.unique(values[~missing]):
                yield f"{name} is {value:g}", values == value
        else:
            yield from _quarters(name, values, ~missing, lambda value: f"{value:.4g}")
    yield f"{name} is missing", missing


def _quarters(name: str, values: Array, known: Array, shown: object) -> Iterator[tuple[str, Array]]:
    if not known.any():
        return
    text = shown if callable(shown) else str
    ends = np.quantile(values[known], np.arange(1, QUARTERS) / QUARTERS)
    low, high = ends[0], ends[-1]
    yield f"{name} up to {text(low)}", known & (values <= low)
    for one, other in pairwise(ends):
        inside = known & (values > one) & (values <= other)
        yield f"{name} over {text(one)}, up to {text(other)}", inside
    yield f"{name} over {text(high)}", known & (values > high)


def _date(microseconds: float) -> str:
    return (EPOCH + dt.timedelta(microseconds=int(microseconds))).date().isoformat()


def _pairs(singles: list[_Tested]) -> Iterator[_Part]:
    for one, other in combinations([tested.part for tested in singles], 2):
        mask = one.mask & other.mask
        if one.columns != other.columns and mask.sum() >= FEWEST_ROWS:
            yield _Part(f"{one.where}, and {other.where}", (*one.columns, *other.columns), mask)


def _tested(part: _Part, losses: Array) -> _Tested:
    inside, outside = losses[part.mask], losses[~part.mask]
    excess = float(inside.mean() - outside.mean())
    error = float(np.sqrt(inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside)))
    degrees = len(inside) - 1
    if error == 0:
        return _Tested(part, Interval(excess, excess, excess), 0.0 if excess > 0 else 1.0)
    reach = float(stats.t.ppf(0.975, degrees)) * error
    p = float(stats.t.sf(excess / error, degrees))
    return _Tested(part, Interval(excess, excess - reach, excess + reach), p)


def _holm(values: list[float]) -> list[float]:
    """Corrected p values of sorted ones: the chance of even one false alarm among all."""
    found: list[float] = []
    worst = 0.0
    for place, p in enumerate(values):
        worst = max(worst, min(1.0, p * (len(values) - place)))
        found.append(worst)
    return found


def _different(tested: list[tuple[_Tested, float]]) -> list[tuple[_Tested, float]]:
    """Without slices that are mostly the rows of one before, and pairs that add nothing to a half
    of theirs; husbands are married men."""
    kept: list[tuple[_Tested, float]] = []
    for one, p in tested:
        mask = one.part.mask
        for other, _ in kept:
            shared = (mask & other.part.mask).sum()
            inside = shared == mask.sum() and one.excess.value < STRONGER * other.excess.value
            if inside or shared > OVERLAP * (mask | other.part.mask).sum():
                break
        else:
            kept.append((one, p))
    return kept


def _slice(evidence: Evidence, tested: _Tested, p: float) -> Slice:
    rows = np.flatnonzero(tested.part.mask)
    value = evidence.interval(evidence.goal, evidence.confidence, rows).value
    known = None if np.isnan(value) else value
    return Slice(tested.part.where, tested.part.columns, len(rows), known, tested.excess, p)


def _finding(evidence: Evidence, weak: list[Slice], looked: int) -> Finding:
    wanted = f"none of {looked:,} slices worse beyond chance"
    why = "Welch's t-test of the loss a row, corrected for all slices looked at (Holm)"
    if not looked:
        return Finding("weak slice", "all columns", "undecided", "nothing to look at", wanted,
                       f"no group of {FEWEST_ROWS} holdout rows", "more holdout rows",
                       "warning")  # fmt: skip
    if not weak:
        return Finding("weak slice", "all columns", "pass", "none found", wanted, why, "",
                       "warning")  # fmt: skip
    named = "; ".join(
        f"{s.where} ({s.rows:,} rows"
        + (f", {evidence.goal} {show(evidence.goal, s.value)})" if s.value is not None else ")")
        for s in weak[:3]
    )
    return Finding(
        "weak slice", "all columns", "fail", f"{len(weak)} found: {named}", wanted, why,
        "more rows or features for them, a limit with slices, or words in out_of_scope", "warning",
        columns=tuple(dict.fromkeys(name for s in weak for name in s.columns)),
    )  # fmt: skip
