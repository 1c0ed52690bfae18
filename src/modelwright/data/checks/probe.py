"""How much single columns, and all the others together, tell about the target.

A column is cut into at most 64 bins; a row's score is the mean of the target in its bin over the
other folds. The columns together are a ridge regression over those scores: an additive model that
costs milliseconds, honest enough to say whether one column tells more than all others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from modelwright.core.contract import missing_in
from modelwright.core.intake import Array, Feeds
from modelwright.core.limits import Task
from modelwright.core.schema import Column
from modelwright.data.means import cross_fitted

BINS = 64
FOLDS = 5
SMOOTHING = 2.0
RIDGE = 1.0
MOST_COLUMNS = 40
MOST_CLASSES = 20


@dataclass
class Look:
    """What the checks see: labelled training rows, a sample of them where there are many.

    Attributes:
        columns: of the table, those that the model does not read among them.
        values: of the sampled rows.
        y: class (int64) or value (float64) of the sampled rows.
        rows: their numbers in the table.
        moments: their place in time, where the split is by time.
    """

    columns: tuple[Column, ...]
    values: Feeds
    y: Array
    task: Task
    rows: Array
    whole: bool
    seed: int = 0
    _bins: dict[str, tuple[Array, int]] = field(default_factory=dict)
    _scores: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.targets = targets_of(self.y, self.task)

    def bins(self, name: str) -> tuple[Array, int]:
        """(bin a row, how many bins)."""
        if name not in self._bins:
            self._bins[name] = binned(self.values[name])
        return self._bins[name]

    def scores(self, name: str) -> Array:
        """Cross-fitted target means a row, float64 [rows, k]."""
        if name not in self._scores:
            codes, size = self.bins(name)
            self._scores[name] = cross_fitted(
                codes, self.targets, size, smoothing=SMOOTHING, folds=FOLDS, seed=self.seed
            )
        found: Array = self._scores[name]
        return found

    def alone(self, name: str) -> float:
        """What one column tells, 0 (nothing) to 1 (all): see `power`."""
        return power(self.scores(name), self.y, self.task)

    def together(self, names: Iterable[str]) -> float:
        """What columns tell together, on the same scale."""
        parts = [self.scores(name) for name in names]
        if not parts:
            return 0.0
        x = np.concatenate(parts, axis=1)
        return power(_ridge(x, self.targets, self.seed), self.y, self.task)


def targets_of(y: Array, task: Task) -> Array:
    """What is averaged over bins, float64 [rows, k]: ranks of values, or 0/1 a class."""
    if task == "regression":
        return (ranks(y) / max(1, len(y)))[:, None]
    if task == "binary":
        return np.asarray(y == y.max(), np.float64)[:, None]
    found, counts = np.unique(y, return_counts=True)
    kept = found[np.argsort(-counts)[:MOST_CLASSES]]
    return np.stack([(y == level).astype(np.float64) for level in kept], axis=1)


def binned(values: Array) -> tuple[Array, int]:
    """A column's bins: its distinct values where there are few, else quantiles; missing has one.

    Example:
        >>> binned(np.array([1.0, 2.0, np.nan, 1.0]))
        (array([1, 2, 0, 1]), 3)
    """
    missing = missing_in(values)
    codes = np.zeros(len(values), np.int64)
    present = values[~missing]
    if not len(present):
        return codes, 1
    if values.dtype == object:
        texts = pl.Series("t", present, dtype=pl.String)
        counts = texts.value_counts(sort=True, name="n")
        place = {level: i + 1 for i, level in enumerate(counts["t"].head(BINS).to_list())}
        other = len(place) + 1
        found = texts.replace_strict(place, default=other, return_dtype=pl.Int64)
        codes[~missing] = found.to_numpy()
        return codes, other + 1
    distinct = np.unique(present)
    if len(distinct) > BINS:
        edges = np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1]))
    else:
        edges = distinct[1:]
    codes[~missing] = np.searchsorted(edges, present, side="right") + 1
    return codes, len(edges) + 2


def power(scores: Array, y: Array, task: Task) -> float:
    """How well scores order or name the target, 0 for chance and 1 for always right.

    Binary: 2 AUC - 1. Multiclass: the share of the mistakes of the majority guess that are gone.
    Regression: R2 of the ranks.
    """
    if task == "binary":
        return max(0.0, 2 * auc(scores[:, 0], y == y.max()) - 1)
    if task == "regression":
        wanted = ranks(y) / max(1, len(y))
        spread = float(((wanted - wanted.mean()) ** 2).sum())
        left = float(((wanted - scores[:, 0]) ** 2).sum())
        return max(0.0, 1 - left / spread) if spread else 0.0
    found, counts = np.unique(y, return_counts=True)
    kept = found[np.argsort(-counts)[:MOST_CLASSES]]
    right = float((kept[scores.argmax(axis=1)] == y).mean())
    base = float(counts.max() / len(y))
    return max(0.0, (right - base) / (1 - base)) if base < 1 else 0.0


def auc(scores: Array, positive: Array) -> float:
    """Area under the ROC curve by ranks, ties shared.

    Example:
        >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
        0.75
    """
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if not ones or not zeros:
        return 0.5
    total = float(ranks(scores)[positive].sum())
    return (total - ones * (ones + 1) / 2) / (ones * zeros)


def ranks(values: Array) -> Array:
    """Ranks from 1, equal values share their mean rank.

    Example:
        >>> ranks(np.array([10.0, 20.0, 10.0])).tolist()
        [1.5, 3.0, 1.5]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse])


def shown(value: float, task: Task) -> str:
    """A power in the metric that people know.

    Example:
        >>> shown(0.9, "binary"), shown(0.9, "regression")
        ('ROC AUC 0.950', 'R2 of ranks 0.900')
    """
    if task == "binary":
        return f"ROC AUC {(value + 1) / 2:.3f}"
    if task == "regression":
        return f"R2 of ranks {value:.3f}"
    return f"{value:.1%} fewer mistakes than guessing"


def _ridge(x: Array, targets: Array, seed: int) -> Array:
    """Out-of-fold predictions of a ridge regression."""
    fold = np.random.default_rng(seed + 1).permutation(len(x)) % FOLDS
    out = np.empty_like(targets)
    for number in range(FOLDS):
        inside = fold != number
        center, mean = x[inside].mean(axis=0), targets[inside].mean(axis=0)
        a = x[inside] - center
        gram = a.T @ a + RIDGE * np.eye(x.shape[1])
        weights = np.linalg.solve(gram, a.T @ (targets[inside] - mean))
        out[~inside] = (x[~inside] - center) @ weights + mean
    return out
