"""Quality metrics under scikit-learn's names, and how sure one can be of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from scipy import stats
from sklearn import metrics as sk

from modelwright.core.intake import Array
from modelwright.core.limits import METRICS
from modelwright.core.records import Interval
from modelwright.fit.influence import influence

EPSILON = 1e-15
EDGE = 1e-9
ENDS = np.array([-1.0, 1.0])
SHARES = frozenset(
    {
        "accuracy", "balanced_accuracy", "f1", "f1_macro", "f1_weighted", "precision", "recall",
        "roc_auc", "pr_auc",
    }
)  # fmt: skip
"""Metrics between 0 and 1 that small samples often put right at the end."""
CLASS_METRICS = frozenset(
    {
        "balanced_accuracy", "f1", "f1_macro", "f1_weighted", "precision", "recall", "mcc",
        "roc_auc", "pr_auc",
    }
)  # fmt: skip
"""Metrics that hang on the rows of the smallest class."""
LABEL_METRICS = frozenset(
    {
        "accuracy", "balanced_accuracy", "f1", "f1_macro", "f1_weighted", "precision", "recall",
        "mcc",
    }
)  # fmt: skip
"""Metrics that look at the label only, and so depend on its threshold."""


def score(metric: str, y: Array, answers: Array, weights: Array | None = None) -> float:
    """One metric of one set of answers.

    Args:
        metric: a quality metric out of `core.limits.METRICS`.
        y: class index or value a row.
        answers: probabilities [rows, classes] or values [rows].
        weights: weight a row, or None.

    Returns:
        The value; NaN where the rows do not allow it (one class only for ROC AUC).

    Example:
        >>> score("accuracy", np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))
        1.0
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # rows of one class only: the value says it
        return float(_SCORERS[metric](y, answers, weights))


def decided(metric: str, answers: Array, labels: Array | None) -> Array:
    """What a metric is taken of: the answers, or for a metric of the label the given labels as
    certain answers.

    Example:
        >>> decided("f1", np.array([[0.7, 0.3]]), np.array([1])).tolist()
        [[0.0, 1.0]]
    """
    if labels is None or metric not in LABEL_METRICS:
        return answers
    return np.asarray(np.eye(answers.shape[1])[labels])


def better(metric: str, a: float, b: float) -> bool:
    """Whether `a` is better than `b`; a number is better than NaN.

    Example:
        >>> better("rmse", 1.0, 2.0)
        True
    """
    if np.isnan(a) or np.isnan(b):
        return bool(np.isnan(b) and not np.isnan(a))
    return a > b if METRICS[metric].better == "higher" else a < b


def gain(metric: str, a: float, b: float) -> float:
    """How much better `a` is than `b`; negative when it is worse."""
    return a - b if METRICS[metric].better == "higher" else b - a


def interval(
    metric: str,
    y: Array,
    answers: Array,
    *,
    confidence: float = 0.95,
    clusters: Array | None = None,
) -> Interval:
    """A metric with its interval: from the influence of each row, Student's t.

    Shares are taken on the logit scale and losses on the logarithm, where their distribution is
    nearly normal; at 0 or 1 the end is the exact binomial one. For ROC AUC this is DeLong's
    interval (1988).

    Args:
        confidence: share of such intervals that hold the true value.
        clusters: number of the group or time block a row, which vary together; None: each row for
            itself.
    """
    value = score(metric, y, answers)
    pulls = _pulls(metric, y, answers, clusters)
    if np.isnan(value) or pulls is None:
        return Interval(value, -np.inf, np.inf, confidence)
    fewest = _fewest(metric, y, answers, clusters)
    reach = max(_reach(pulls, confidence, fewest), _unseen(metric, y, answers, confidence))
    if metric in SHARES:
        return _at_the_edge(_on_logit(value, reach, confidence), fewest)
    if metric == "mcc":
        if 1 - abs(value) < EDGE:
            return Interval(value, 1 - 2 * _exact(confidence, fewest), 1.0, confidence)
        low, high = np.tanh(np.arctanh(value) + reach / (1 - value**2) * ENDS)
        return Interval(value, float(low), float(high), confidence)
    loss = 1 - value if metric == "r2" else value
    low, high = _on_log(loss, reach)
    if metric == "r2":
        low, high = 1 - high, 1 - low
    return Interval(value, float(low), float(high), confidence)


def paired_gain(
    metric: str,
    y: Array,
    a: Array,
    b: Array,
    *,
    confidence: float = 0.95,
    clusters: Array | None = None,
) -> Interval:
    """How much better answers `a` are than `b` on the same rows, from the difference of their
    rows' influences; for ROC AUC DeLong's test of two correlated curves (1988)."""
    value = gain(metric, score(metric, y, a), score(metric, y, b))
    one, other = _pulls(metric, y, a, clusters), _pulls(metric, y, b, clusters)
    if np.isnan(value) or one is None or other is None:
        return Interval(value, -np.inf, np.inf, confidence)
    if np.array_equal(a, b):
        return Interval(0.0, 0.0, 0.0, confidence)
    fewest = min(_fewest(metric, y, answers, clusters) for answers in (a, b))
    reach = _reach(one - other, confidence, fewest)
    reach = max(reach, *(_unseen(metric, y, answers, confidence) for answers in (a, b)))
    if metric in CLASS_METRICS and any(_is_edge(score(metric, y, answers)) for answers in (a, b)):
        reach = max(reach, _exact(confidence, fewest))
    return Interval(value, value - reach, value + reach, confidence)


def _pulls(metric: str, y: Array, answers: Array, clusters: Array | None) -> Array | None:
    """How far each row, or each cluster of rows, moves the metric."""
    found = influence(metric, y, answers)
    if found is None or clusters is None:
        return None if found is None else found / len(y)
    return np.asarray(np.bincount(clusters, found) / len(y))


def _reach(pulls: Array, confidence: float, fewest: int) -> float:
    """Half the width of the interval: Student's t, with the freedom of the rows that decide.

    Infinite where a single row or cluster decides: then nothing can be said.
    """
    count = len(pulls)
    freedom = min(count, fewest) - 1
    if freedom < 1:
        return float("inf")
    error = np.sqrt((pulls**2).sum() * count / (count - 1))
    return float(stats.t.ppf((1 + confidence) / 2, freedom) * error)


def _on_logit(value: float, reach: float, confidence: float) -> Interval:
    spread = value * (1 - value)
    if spread <= 0:
        return Interval(value, value, value, confidence)
    with np.errstate(over="ignore"):
        low, high = 1 / (1 + np.exp(-(np.log(value / (1 - value)) + reach / spread * ENDS)))
    return Interval(value, float(low), float(high), confidence)


def _on_log(value: float, reach: float) -> Array:
    """Ends of a loss; one of exactly 0 says nothing of how large it may be."""
    if value <= 0:
        return np.array([0.0, np.inf])
    with np.errstate(over="ignore"):
        return np.asarray(value * np.exp(reach / value * ENDS))


def _fewest(metric: str, y: Array, answers: Array, clusters: Array | None) -> int:
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
    return int(rows.sum()) if clusters is None else len(np.unique(clusters[rows]))


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


def labels(answers: Array) -> Array:
    """The class with the highest probability; binary needs more than one half for the positive."""
    return np.asarray(answers.argmax(axis=1))


def _roc_auc(y: Array, p: Array, w: Array | None) -> float:
    """Area under the ROC curve; several classes: the mean of each against the rest."""
    if p.shape[1] == 2:
        return _area(y == 1, p[:, 1], w)
    areas = [_area(y == code, p[:, code], w) for code in range(p.shape[1])]
    known = [area for area in areas if not np.isnan(area)]
    return float(np.mean(known)) if known else float("nan")


def _area(positive: Array, scores: Array, w: Array | None) -> float:
    """Mann-Whitney form, ties counted half; NaN when one side has no weight."""
    weights = np.ones(len(scores)) if w is None else w
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    up = np.where(positive[order], weights[order], 0.0)
    down = np.where(positive[order], 0.0, weights[order])
    total_up, total_down = up.sum(), down.sum()
    if total_up == 0 or total_down == 0:
        return float("nan")
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    up_tied, down_tied = np.add.reduceat(up, starts), np.add.reduceat(down, starts)
    below = np.cumsum(down_tied) - down_tied
    return float((up_tied * (below + down_tied / 2)).sum() / (total_up * total_down))


def _log_loss(y: Array, p: Array, w: Array | None) -> float:
    chosen = np.clip(p[np.arange(len(y)), y], EPSILON, 1)
    return float(np.average(-np.log(chosen), weights=w))


def _pr_auc(y: Array, p: Array, w: Array | None) -> float:
    if not y.any():
        return float("nan")
    return float(sk.average_precision_score(y, p[:, 1], sample_weight=w))


def _brier(y: Array, p: Array, w: Array | None) -> float:
    return float(np.average((p[:, 1] - y) ** 2, weights=w))


def _accuracy(y: Array, p: Array, w: Array | None) -> float:
    return float(np.average(labels(p) == y, weights=w))


def _by_label(function: Callable[..., float]) -> Callable[[Array, Array, Array | None], float]:
    return lambda y, p, w: float(function(y, labels(p), sample_weight=w))


def _binary(function: Callable[..., float]) -> Callable[[Array, Array, Array | None], float]:
    return lambda y, p, w: float(function(y, labels(p), sample_weight=w, zero_division=0.0))


def _f1_over_classes(average: str) -> Callable[[Array, Array, Array | None], float]:
    return lambda y, p, w: float(
        sk.f1_score(y, labels(p), sample_weight=w, average=average, zero_division=0.0)
    )


def _balanced(y: Array, p: Array, w: Array | None) -> float:
    """Mean recall over the classes that have any weight."""
    hit = labels(p) == y
    weights = np.ones(len(y)) if w is None else w
    total = np.bincount(y, weights)
    right = np.bincount(y, weights * hit)
    return float((right[total > 0] / total[total > 0]).mean())


def _squared(y: Array, v: Array, w: Array | None) -> float:
    return float(np.sqrt(np.average((v - y) ** 2, weights=w)))


def _absolute(y: Array, v: Array, w: Array | None) -> float:
    return float(np.average(np.abs(v - y), weights=w))


def _r2(y: Array, v: Array, w: Array | None) -> float:
    return float(sk.r2_score(y, v, sample_weight=w))


def _medae(y: Array, v: Array, w: Array | None) -> float:
    return float(sk.median_absolute_error(y, v, sample_weight=w))


def _mape(y: Array, v: Array, w: Array | None) -> float:
    if (y == 0).any():
        return float("nan")
    return float(sk.mean_absolute_percentage_error(y, v, sample_weight=w))


_SCORERS: dict[str, Callable[[Array, Array, Array | None], float]] = {
    "roc_auc": _roc_auc,
    "pr_auc": _pr_auc,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced,
    "f1": _binary(sk.f1_score),
    "f1_macro": _f1_over_classes("macro"),
    "f1_weighted": _f1_over_classes("weighted"),
    "precision": _binary(sk.precision_score),
    "recall": _binary(sk.recall_score),
    "mcc": _by_label(sk.matthews_corrcoef),
    "log_loss": _log_loss,
    "brier": _brier,
    "rmse": _squared,
    "mae": _absolute,
    "medae": _medae,
    "r2": _r2,
    "mape": _mape,
}
