"""Quality metrics under scikit-learn's names."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from sklearn import metrics as sk

from modelwright.core.intake import Array
from modelwright.core.limits import METRICS

EPSILON = 1e-15
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
