"""How far each row moves a metric: what standard errors and paired comparisons are made of.

The influence of a row is the derivative of the metric by the row's weight (the infinitesimal
jackknife of Efron 1982; for ROC AUC the components of DeLong et al. 1988). One pass gives it, where
a bootstrap needs hundreds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modelwright.core.intake import Array

STEP = 1e-20
"""Of the complex-step derivative, which is exact at any size (Squire and Trapp 1998)."""
EPSILON = 1e-15


def influence(metric: str, y: Array, answers: Array) -> Array | None:
    """How much each row moves the metric, float64 [rows] with mean 0; None without a formula.

    Args:
        metric: a quality metric.
        y: class index or value a row.
        answers: probabilities [rows, classes] or values [rows].

    Example:
        >>> influence("mae", np.array([0.0, 0.0]), np.array([1.0, 3.0])).tolist()
        [-1.0, 1.0]
    """
    if metric in TABLE_METRICS:
        return _table_influence(TABLE_METRICS[metric], y, answers)
    if metric == "roc_auc":
        codes = [1] if answers.shape[1] == 2 else range(answers.shape[1])
        areas = [_area_influence(y == code, answers[:, code]) for code in codes]
        known = [area for area in areas if area is not None]
        return np.asarray(np.stack(known).mean(axis=0)) if known else None
    if metric == "pr_auc":
        return _precision_influence(y == 1, answers[:, 1])
    if metric == "medae":
        return _median_influence(np.abs(answers - y))
    losses = losses_of(metric, y, answers)
    if losses is None:
        return None
    centred = losses - losses.mean()
    if metric == "rmse":
        root = np.sqrt(losses.mean())
        return np.asarray(centred / (2 * root)) if root else np.zeros(len(y))
    if metric == "r2":
        return _explained_influence(losses, y)
    return np.asarray(centred)


def losses_of(metric: str, y: Array, answers: Array) -> Array | None:
    """What a row adds to a metric that is a mean, or to the mean that it is made of."""
    if metric in ("rmse", "r2"):
        return np.asarray((answers - y) ** 2)
    if metric == "mae":
        return np.asarray(np.abs(answers - y))
    if metric == "mape":
        return np.asarray(np.abs(answers - y) / np.maximum(np.abs(y), np.finfo(float).eps))
    if metric == "log_loss":
        return np.asarray(-np.log(np.clip(answers[np.arange(len(y)), y], EPSILON, 1)))
    if metric == "brier":
        return np.asarray((answers[:, 1] - y) ** 2)
    if metric == "accuracy":
        return np.asarray((answers.argmax(axis=1) == y).astype(np.float64))
    return None


def _explained_influence(losses: Array, y: Array) -> Array:
    """Of 1 less the mean squared error over the variance; both move with a row."""
    spread = y.var()
    if not spread:
        return np.zeros(len(y))
    around = (y - y.mean()) ** 2 - spread
    return np.asarray(-(losses - losses.mean()) / spread + losses.mean() * around / spread**2)


def _median_influence(errors: Array) -> Array:
    """Half less whether a row is below the median, over the density there; leaving rows out, as for
    other metrics, does not work for a median (Efron 1982)."""
    low, middle, high = np.quantile(errors, [0.4, 0.5, 0.6])
    signs = 0.5 - (errors <= middle)
    return np.asarray((signs - signs.mean()) * (high - low) / 0.2)


def _area_influence(positive: Array, scores: Array) -> Array | None:
    up, down = np.sort(scores[positive]), np.sort(scores[~positive])
    if not len(up) or not len(down):
        return None
    found = np.empty(len(scores))
    for own, other, mine in ((positive, down, 1.0), (~positive, up, -1.0)):
        below = np.searchsorted(other, scores[own], "left")
        upto = np.searchsorted(other, scores[own], "right")
        share = (below + upto) / 2 / len(other)
        found[own] = (share - share.mean()) * mine * len(scores) / own.sum()
    return found


def _precision_influence(positive: Array, scores: Array) -> Array | None:
    """Of average precision: a row counts by itself, and in the precision at every lower score."""
    count = int(positive.sum())
    if not count:
        return None
    order = np.argsort(-scores, kind="stable")
    hits, ordered = positive[order].astype(np.float64), scores[order]
    firsts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lasts = np.r_[firsts[1:], len(ordered)] - 1
    tie = np.cumsum(np.r_[True, ordered[1:] != ordered[:-1]]) - 1
    above = (lasts + 1.0)[tie]  # rows at least as high, and how many of them are positive
    precision = np.cumsum(hits)[lasts][tie] / above
    as_hit = np.cumsum((hits / above)[::-1])[::-1][firsts][tie]
    as_row = np.cumsum((hits * precision / above)[::-1])[::-1][firsts][tie]
    average = float((hits * precision).sum() / count)
    moved = (hits * (precision - average + as_hit) - as_row) / count
    found = np.empty(len(scores))
    found[order] = moved * len(scores)
    return np.asarray(found - found.mean())


# -- metrics of the table of true and predicted classes

TableMetric = Callable[[Array], complex]


def _table_influence(function: TableMetric, y: Array, answers: Array) -> Array:
    classes, rows = answers.shape[1], len(y)
    cells = y.astype(np.int64) * classes + answers.argmax(axis=1)
    table = np.bincount(cells, minlength=classes**2).astype(complex).reshape(classes, classes)
    slopes = np.zeros(classes**2)
    for cell in np.flatnonzero(table.real):
        moved = table.copy()
        moved.flat[cell] += 1j * STEP * rows
        slopes[cell] = function(moved).imag / STEP
    found = slopes[cells]
    return np.asarray(found - found.mean())


def _recalls(table: Array) -> Array:
    return np.asarray([_over(table[c, c], table[c].sum()) for c in _seen(table.sum(axis=1))])


def _f1_of(table: Array, code: int) -> complex:
    return _over(2 * table[code, code], table[code].sum() + table[:, code].sum())


def _f1_macro(table: Array) -> complex:
    seen = _seen(table.sum(axis=1) + table.sum(axis=0))
    return complex(np.mean([_f1_of(table, code) for code in seen]))


def _f1_weighted(table: Array) -> complex:
    counts = table.sum(axis=1)
    scores = np.array([_f1_of(table, code) for code in range(len(table))])
    return complex((scores * counts).sum() / counts.sum())


def _matthews(table: Array) -> complex:
    true, predicted, rows = table.sum(axis=1), table.sum(axis=0), table.sum()
    spread = (rows**2 - (predicted**2).sum()) * (rows**2 - (true**2).sum())
    return _over(np.trace(table) * rows - (true * predicted).sum(), np.sqrt(spread))


def _seen(counts: Array) -> Array:
    return np.flatnonzero(counts.real)


def _over(above: complex, below: complex) -> complex:
    return complex(above / below) if below.real else 0j


TABLE_METRICS: dict[str, TableMetric] = {
    "balanced_accuracy": lambda t: complex(_recalls(t).mean()),
    "f1": lambda t: _f1_of(t, 1),
    "f1_macro": _f1_macro,
    "f1_weighted": _f1_weighted,
    "precision": lambda t: _over(t[1, 1], t[:, 1].sum()),
    "recall": lambda t: _over(t[1, 1], t[1].sum()),
    "mcc": _matthews,
}
