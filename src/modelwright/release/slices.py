"""Weak slices: groups of holdout rows on which the model does worse than elsewhere.

Every level of a category, every quarter of a number and every pair of the most suspicious ones is
compared with all other rows in what a row costs, corrected for all that were looked at (Dunn 1961).
After Chung et al. 2019, "Slice Finder". What a row costs is said by the first quality limit of the
spec whose metric is a mean over rows, else by the loss.
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
from modelwright.core.limits import QUALITY, show
from modelwright.core.records import Finding, Interval
from modelwright.core.schema import EPOCH, MISSING_TIME, Column
from modelwright.fit.certainty import Clusters, numbers
from modelwright.fit.in_time import InTime, error_in_time
from modelwright.fit.influence import losses_of
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
    excess: float
    error: float
    degrees: float
    p: float


@dataclass(frozen=True)
class _Judged:
    """What a row costs, and in whose terms.

    Attributes:
        metric: whose mean over rows it is.
        losses: a row; only those of `counted` mean anything.
        counted: rows that the metric looks at: of recall the positive ones.
        words: what is compared, in words.
        why: which metric that is, and why that one.
    """

    metric: str
    losses: Array
    counted: Array
    words: str
    why: str


def losses_of_rows(evidence: Evidence) -> Array:
    """What each holdout row costs: log loss of its class, or the absolute error of its value."""
    y, answers = evidence.holdout.target, evidence.answers
    if answers.ndim == 1:
        return np.asarray(np.abs(answers - y))
    return np.asarray(-np.log(np.clip(answers[np.arange(len(y)), y], LEAST_CHANCE, 1)))


def _judged(evidence: Evidence) -> _Judged:
    """By the first quality limit whose metric is a mean over rows; else by the loss."""
    wanted = [limit.metric for limit in evidence.limits
              if limit.metric in QUALITY and not limit.relative]  # fmt: skip
    for metric in wanted:
        found = _by_metric(metric, evidence)
        if found is not None and found[1].sum() >= FEWEST_ROWS:
            return _Judged(metric, *found, _WORDS[metric], f"{metric}, which has a limit")
    metric, words = ("mae", "absolute error") if evidence.answers.ndim == 1 else (
        "log_loss", "log loss"
    )  # fmt: skip
    why = f"{words}, since no quality limit is set"
    if wanted:
        why = f"{words}, since {wanted[0]} is no mean over rows"
    everyone = np.ones(evidence.holdout.rows, bool)
    return _Judged(metric, losses_of_rows(evidence), everyone, words, why)


_WORDS = {
    "accuracy": "share of wrong labels", "recall": "share of positive rows missed",
    "precision": "share of positive labels that are wrong", "log_loss": "log loss",
    "brier": "Brier score", "mae": "absolute error", "mape": "relative error",
    "rmse": "squared error",
}  # fmt: skip
"""Metrics that are means over rows, so that a slice has one of its own. A ranking metric compares
rows of different slices and falls within each; R2 and F1 fall where a slice has little spread, or
few positive rows."""


def _by_metric(metric: str, evidence: Evidence) -> tuple[Array, Array] | None:
    """(what each row costs, which rows count); None for a metric that is no such mean."""
    y = evidence.holdout.target
    everyone = np.ones(len(y), bool)
    if metric in ("accuracy", "recall", "precision"):
        said = evidence.of(metric).argmax(axis=1)
        counted = {"recall": y == 1, "precision": said == 1}.get(metric, everyone)
        return (said != y) * 1.0, counted
    if metric == "log_loss":
        return losses_of_rows(evidence), everyone
    if metric not in _WORDS or np.isnan(evidence.interval(metric, evidence.confidence).value):
        return None
    found = losses_of(metric, y, evidence.answers)
    return None if found is None else (found, everyone)


def weak_slices(evidence: Evidence) -> tuple[tuple[Slice, ...], Finding]:
    """The slices with the strongest evidence against them, and the gate's finding."""
    by = _judged(evidence)
    together = evidence.together(by.counted)
    singles = [_tested(part, by, together) for part in _singles(evidence, by.counted)]
    singles.sort(key=lambda one: one.p)
    pairs = [_tested(part, by, together) for part in _pairs(singles[:PAIRED], by.counted)]
    tested = sorted([*singles, *pairs], key=lambda one: one.p)
    corrected = [min(1.0, one.p * len(tested)) for one in tested]
    found = [
        (one, p)
        for one, p in zip(tested, corrected, strict=True)
        if p < evidence.policy.alpha
        and one.excess > MATERIAL * by.losses[by.counted].mean()
    ]  # fmt: skip
    found.sort(key=lambda pair: len(pair[0].part.columns))  # halves before the pairs they make
    kept = sorted(_different(found), key=lambda pair: pair[0].p)
    weak = [_slice(evidence, by, one, p, len(tested)) for one, p in kept]
    return tuple(weak[:SHOWN]), _finding(by, weak, len(tested))


def _singles(evidence: Evidence, counted: Array) -> Iterator[_Part]:
    most = LARGEST * counted.sum()
    for column in evidence.schema.features:
        if column.private:
            continue
        for where, mask in _masks(column, evidence.holdout.feeds[column.name]):
            if FEWEST_ROWS <= (mask & counted).sum() <= most:
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


def _pairs(singles: list[_Tested], counted: Array) -> Iterator[_Part]:
    for one, other in combinations([tested.part for tested in singles], 2):
        mask = one.mask & other.mask
        if one.columns != other.columns and (mask & counted).sum() >= FEWEST_ROWS:
            yield _Part(f"{one.where}, and {other.where}", (*one.columns, *other.columns), mask)


def _tested(part: _Part, by: _Judged, clusters: Clusters) -> _Tested:
    """Whether a row costs more inside than outside.

    Args:
        clusters: which of the counted rows vary together.
    """
    within = part.mask[by.counted]
    losses = by.losses[by.counted]
    inside, outside = losses[within], losses[~within]
    excess = float(inside.mean() - outside.mean())
    spread = max(inside.var(ddof=1), losses.var(ddof=1))  # a few rows alike show too little of it
    square = spread / len(inside) + outside.var(ddof=1) / len(outside)
    degrees = float(len(inside) - 1)
    if clusters is not None:
        apart = np.where(within, (losses - inside.mean()) / len(inside),
                         (outside.mean() - losses) / len(outside))  # fmt: skip
        pulls = np.bincount(numbers(clusters), apart)
        if isinstance(clusters, InTime):
            together, freedom = error_in_time(pulls)
        else:
            freedom = float(len(np.unique(clusters[within])) - 1)
            together = float(np.sqrt((pulls**2).sum() * (freedom + 1) / max(1, freedom)))
        square, degrees = max(square, together**2), min(degrees, freedom)
    if square == 0 or degrees < 1:
        return _Tested(part, excess, 0.0, 1, 1.0)
    error = float(np.sqrt(square))
    return _Tested(part, excess, error, degrees, float(stats.t.sf(excess / error, degrees)))


def _different(tested: list[tuple[_Tested, float]]) -> list[tuple[_Tested, float]]:
    """Without slices that are mostly the rows of one before, and pairs that add nothing to a half
    of theirs; husbands are married men."""
    kept: list[tuple[_Tested, float]] = []
    for one, p in tested:
        mask = one.part.mask
        for other, _ in kept:
            shared = (mask & other.part.mask).sum()
            inside = shared == mask.sum() and one.excess < STRONGER * other.excess
            if inside or shared > OVERLAP * (mask | other.part.mask).sum():
                break
        else:
            kept.append((one, p))
    return kept


def _slice(evidence: Evidence, by: _Judged, tested: _Tested, p: float, looked: int) -> Slice:
    """With an interval that holds for all slices that were looked at together: above zero where the
    slice was found."""
    rows = np.flatnonzero(tested.part.mask)
    value = evidence.interval(by.metric, evidence.confidence, rows).value
    reach = float(stats.t.isf(evidence.policy.alpha / looked, tested.degrees)) * tested.error
    excess = Interval(
        tested.excess, tested.excess - reach, tested.excess + reach, evidence.confidence
    )
    return Slice(
        tested.part.where, tested.part.columns, len(rows), None if np.isnan(value) else value,
        excess, p, by.metric, by.words,
    )  # fmt: skip


def _finding(by: _Judged, weak: list[Slice], looked: int) -> Finding:
    wanted = f"none of {looked:,} slices worse beyond chance"
    why = f"by {by.why}: Welch's t-test, corrected for all slices looked at (Bonferroni)"
    if not looked:
        return Finding("weak slice", "all columns", "undecided", "nothing to look at", wanted,
                       f"no group of {FEWEST_ROWS} holdout rows", "more holdout rows",
                       "warning")  # fmt: skip
    if not weak:
        return Finding("weak slice", "all columns", "pass", "none found", wanted, why, "",
                       "warning")  # fmt: skip
    named = "; ".join(
        f"{s.where} ({s.rows:,} rows"
        + (f", {s.metric} {show(s.metric, s.value)})" if s.value is not None else ")")
        for s in weak[:3]
    )
    return Finding(
        "weak slice", "all columns", "fail", f"{len(weak)} found: {named}", wanted, why,
        "more rows or features for them, a limit with slices, or words in out_of_scope", "warning",
        columns=tuple(dict.fromkeys(name for s in weak for name in s.columns)),
    )  # fmt: skip
