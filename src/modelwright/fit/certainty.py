"""How sure one can be of a metric, and of a difference of two models on the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from modelwright.core.intake import Array
from modelwright.core.records import Interval
from modelwright.fit.in_time import InTime, error_in_time
from modelwright.fit.influence import influence, losses_of
from modelwright.fit.score import CLASS_METRICS, LABEL_METRICS, SHARES, gain, labels, score
from modelwright.fit.skew import ratio_ends

Clusters = Array | InTime | None
"""Which rows vary together; see `interval`."""
EDGE = 1e-9
ENDS = np.array([-1.0, 1.0])


def interval(
    metric: str,
    y: Array,
    answers: Array,
    *,
    confidence: float = 0.95,
    clusters: Clusters = None,
) -> Interval:
    """A metric with its interval: from the influence of each row, Student's t.

    Shares are taken on the logit scale, where their distribution is nearly normal, and losses by
    `fit.skew`, since a few rows may carry most of one; at 0 or 1 the end is the exact binomial
    one. For ROC AUC this is DeLong's interval (1988), for a median error that of its ranks.

    Args:
        confidence: share of such intervals that hold the true value.
        clusters: number of the group of each row, which vary together, or rows in order of time;
            None: each row for itself.
    """
    value = score(metric, y, answers)
    pulls = _pulls(metric, y, answers, clusters)
    if np.isnan(value) or pulls is None:
        return Interval(value, -np.inf, np.inf, confidence)
    fewest = _fewest(metric, y, answers, clusters)
    reach = _reach(pulls, confidence, fewest, isinstance(clusters, InTime))
    reach = max(reach, _unseen(metric, y, answers, confidence))
    if metric in SHARES:
        return _at_the_edge(_on_logit(value, reach, confidence), fewest)
    if metric == "mcc":
        if 1 - abs(value) < EDGE:
            return Interval(value, 1 - 2 * _exact(confidence, fewest), 1.0, confidence)
        low, high = np.tanh(np.arctanh(value) + reach / (1 - value**2) * ENDS)
        return Interval(value, float(low), float(high), confidence)
    if metric == "medae" and clusters is None:
        ends = _of_a_median(np.sort(np.abs(answers - y)), confidence)
        if ends is not None:
            return Interval(value, *ends, confidence)
    loss = 1 - value if metric == "r2" else value
    low, high = _skewed(metric, loss, y, answers, clusters, confidence) or _on_log(loss, reach)
    if metric == "r2":  # a ratio of two skewed means: what either way leaves possible
        plain = _on_log(loss, reach)
        low, high = 1 - max(high, plain[1]), 1 - min(low, plain[0])
    return Interval(value, float(low), float(high), confidence)


@dataclass(frozen=True)
class Standing:
    """How a model did on some rows: all that a later paired comparison on the same rows needs.

    Attributes:
        value: of the metric.
        pulls: how far each row, or each cluster of rows, moves it.
        fewest: rows or clusters that decide, such as those of the smallest class.
        floor: least half width, where all rows of a class are right and so show no spread.
        in_time: whether the rows or clusters are in order of time.
    """

    value: float
    pulls: Array
    fewest: int
    floor: float = 0.0
    in_time: bool = False


def standing(
    metric: str,
    y: Array,
    answers: Array,
    *,
    confidence: float = 0.95,
    clusters: Clusters = None,
) -> Standing | None:
    """What `gain_between` needs of one model's answers; None where the metric has no value.

    Args:
        confidence: of the interval that will be asked for.
        clusters: see `interval`.
    """
    value = score(metric, y, answers)
    pulls = _pulls(metric, y, answers, clusters)
    if np.isnan(value) or pulls is None:
        return None
    fewest = _fewest(metric, y, answers, clusters)
    floor = _unseen(metric, y, answers, confidence)
    if metric in CLASS_METRICS and _is_edge(value):
        floor = max(floor, _exact(confidence, fewest))
    return Standing(value, pulls, fewest, floor, isinstance(clusters, InTime))


def gain_between(metric: str, a: Standing, b: Standing, *, confidence: float = 0.95) -> Interval:
    """How much better `a` is than `b`, both of the same rows in the same order."""
    value = gain(metric, a.value, b.value)
    reach = _reach(a.pulls - b.pulls, confidence, min(a.fewest, b.fewest), a.in_time)
    reach = max(reach, a.floor, b.floor)
    return Interval(value, value - reach, value + reach, confidence)


def paired_gain(
    metric: str,
    y: Array,
    a: Array,
    b: Array,
    *,
    confidence: float = 0.95,
    clusters: Clusters = None,
) -> Interval:
    """How much better answers `a` are than `b` on the same rows, from the difference of their
    rows' influences; for ROC AUC DeLong's test of two correlated curves (1988)."""
    if np.array_equal(a, b) and not np.isnan(score(metric, y, a)):
        return Interval(0.0, 0.0, 0.0, confidence)
    one, other = (
        standing(metric, y, answers, confidence=confidence, clusters=clusters) for answers in (a, b)
    )
    if one is None or other is None:
        return Interval(np.nan, -np.inf, np.inf, confidence)
    return gain_between(metric, one, other, confidence=confidence)


def wider_in_time(metric: str, positive: Array, scores: Array, clusters: Clusters) -> float:
    """How many times wider an interval of a ranking is because its rows are in order of time; at
    least 1, which it is too where they are not."""
    if not isinstance(clusters, InTime):
        return 1.0
    y, answers = positive.astype(np.int64), np.stack([1 - scores, scores], axis=1)
    pulls = _pulls(metric, y, answers, clusters)
    if pulls is None:
        return 1.0
    rows = int(min(y.sum(), len(y) - y.sum()))
    one, other = (_reach(pulls, 0.95, rows, in_time) for in_time in (True, False))
    return max(1.0, one / other) if other and np.isfinite(other) else 1.0


def _pulls(metric: str, y: Array, answers: Array, clusters: Clusters) -> Array | None:
    """How far each row, or each cluster of rows, moves the metric."""
    found = influence(metric, y, answers)
    if found is None or clusters is None:
        return None if found is None else found / len(y)
    return np.asarray(np.bincount(numbers(clusters), found) / len(y))


def numbers(clusters: Array | InTime) -> Array:
    """Which rows are counted together: the number of each row's group or stretch of time."""
    return clusters.stretches if isinstance(clusters, InTime) else clusters


def _reach(pulls: Array, confidence: float, fewest: int, in_time: bool) -> float:
    """Half the width of the interval: Student's t, with the freedom of the rows that decide.

    Infinite where a single row or cluster decides: then nothing can be said.
    """
    count = len(pulls)
    freedom = float(min(count, fewest) - 1)
    if freedom < 1:
        return float("inf")
    error = float(np.sqrt((pulls**2).sum() * count / (count - 1)))
    if in_time:
        error, waves = error_in_time(pulls)
        freedom = min(freedom, waves)
    return float(stats.t.ppf((1 + confidence) / 2, freedom) * error)


def _on_logit(value: float, reach: float, confidence: float) -> Interval:
    spread = value * (1 - value)
    if spread <= 0:
        return Interval(value, value, value, confidence)
    with np.errstate(over="ignore"):
        low, high = 1 / (1 + np.exp(-(np.log(value / (1 - value)) + reach / spread * ENDS)))
    return Interval(value, float(low), float(high), confidence)


def _skewed(
    metric: str, loss: float, y: Array, answers: Array, clusters: Clusters, confidence: float
) -> tuple[float, float] | None:
    """Ends of a loss that is a mean, or is made of one; None where it is none."""
    losses = losses_of(metric, y, answers)
    if losses is None or loss <= 0:
        return None
    over = (y - y.mean()) ** 2 if metric == "r2" else np.ones(len(y))
    if not over.any():  # the same value everywhere: R2 is 0 by definition, and a ratio of nothing
        return None
    if clusters is not None:
        _, number = np.unique(numbers(clusters), return_inverse=True)
        losses, over = np.bincount(number, losses), np.bincount(number, over)
    ends = ratio_ends(losses, over, confidence, of_spread=metric == "r2")
    if ends is None:
        return None
    if isinstance(
        clusters, InTime
    ):  # as much wider, on the logarithm, as neighbours make the error
        pulls = losses / losses.sum() - over / over.sum()
        one, other = (_reach(pulls, confidence, len(pulls), in_time) for in_time in (True, False))
        ends = tuple(np.array(ends) ** (one / other if other else 1.0))
    low, high = np.sqrt(ends) if metric == "rmse" else ends
    return loss * float(low), loss * float(high)


def _of_a_median(ordered: Array, confidence: float) -> tuple[float, float] | None:
    """Ends that lie between two ranks, so that an interval of a median holds what it says
    (Hettmansperger and Sheather 1986); None where even the smallest and largest are too near."""
    count = len(ordered)
    ranks = np.arange(1, count // 2 + 1)
    held = 1 - 2 * stats.binom.cdf(ranks - 1, count, 0.5)
    wide = int((held >= confidence).sum())  # the innermost rank that still holds enough
    if not wide or wide >= len(ranks):
        return None
    part = float((held[wide - 1] - confidence) / (held[wide - 1] - held[wide]))
    part = (count - wide) * part / (wide + (count - 2 * wide) * part)
    low, inner = ordered[wide - 1 : wide + 1]
    high, under = ordered[count - wide], ordered[count - wide - 1]
    return float(low + part * (inner - low)), float(high + part * (under - high))


def _on_log(value: float, reach: float) -> Array:
    """Ends of a loss; one of exactly 0 says nothing of how large it may be."""
    if value <= 0:
        return np.array([0.0, np.inf])
    with np.errstate(over="ignore"):
        return np.asarray(value * np.exp(reach / value * ENDS))


def _fewest(metric: str, y: Array, answers: Array, clusters: Clusters) -> int:
    """How many rows, or clusters of rows, decide: those of the smallest class a metric looks at."""
    if metric == "precision":
        rows = labels(answers) == 1
    elif metric in CLASS_METRICS:
        counts = np.bincount(y)
        smallest = 1 if metric in ("f1", "recall", "pr_auc") else int(
            np.flatnonzero(counts)[counts[counts > 0].argmin()]
        )  # fmt: skip
        rows = y == smallest
    else:
        rows = np.ones(len(y), bool)
    return int(rows.sum()) if clusters is None else len(np.unique(numbers(clusters)[rows]))


def _unseen(metric: str, y: Array, answers: Array, confidence: float) -> float:
    """How far a metric of labels may be off because all rows of a small class are right, or all
    wrong: then its rows show no spread."""
    if metric not in LABEL_METRICS or metric == "accuracy":
        return 0.0
    said, counts = labels(answers), np.bincount(y, minlength=answers.shape[1])
    classes = [1] if metric in ("f1", "recall") else np.flatnonzero(counts)
    if metric == "precision" or len(np.unique(said)) < 2:  # a constant label is no luck
        return 0.0
    found = 0.0
    for code in classes:
        if counts[code] and _is_edge(float((said[y == code] == code).mean())):
            share = counts[code] / len(y) if metric == "f1_weighted" else 1 / len(classes)
            found = max(found, share * _exact(confidence, int(counts[code])))
    return found


def _is_edge(value: float) -> bool:
    return min(abs(value), abs(1 - value)) < EDGE


def _exact(confidence: float, rows: int) -> float:
    """How far from 1 a share may be of which all rows are right (Clopper and Pearson 1934)."""
    return float(1 - ((1 - confidence) / 2) ** (1 / max(1, rows)))


def _at_the_edge(found: Interval, rows: int) -> Interval:
    """Where all rows are right there is no spread to see: the exact binomial end instead."""
    reach = _exact(found.confidence, rows)
    if found.value == 1.0:
        return Interval(1.0, min(found.low, 1 - reach), 1.0, found.confidence)
    if found.value == 0.0:
        return Interval(0.0, 0.0, max(found.high, reach), found.confidence)
    return found
