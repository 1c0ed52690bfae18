"""How sure a cross-validated score is, how sure a lead, and how much choosing flatters the winner.

Every figure comes from influences: how far each row moves a metric (the infinitesimal jackknife of
Efron 1982; for ROC AUC the components of DeLong et al. 1988). They cost one pass, where a bootstrap
costs hundreds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from modelwright.core.intake import Array
from modelwright.core.limits import METRICS
from modelwright.fit.score import SHARES, score

BLOCKS = 30
TIME_BLOCKS = 20
RESAMPLES = 300


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
    if metric == "roc_auc":
        codes = [1] if answers.shape[1] == 2 else range(answers.shape[1])
        areas = [_area_influence(y == code, answers[:, code]) for code in codes]
        known = [area for area in areas if area is not None]
        return np.asarray(np.stack(known).mean(axis=0)) if known else None
    if metric == "medae":
        return _median_influence(np.abs(answers - y))
    losses = _losses(metric, y, answers)
    if losses is None:
        return None
    centred = losses - losses.mean()
    if metric == "rmse":
        root = np.sqrt(losses.mean())
        return np.asarray(centred / (2 * root)) if root else np.zeros(len(y))
    if metric == "r2":
        spread = y.var()
        return np.asarray(-centred / spread) if spread else np.zeros(len(y))
    return np.asarray(centred)


def _losses(metric: str, y: Array, answers: Array) -> Array | None:
    """What a row adds to a metric that is a mean, or to the mean that it is made of."""
    if metric in ("rmse", "r2"):
        return np.asarray((answers - y) ** 2)
    if metric == "mae":
        return np.asarray(np.abs(answers - y))
    if metric == "log_loss":
        return np.asarray(-np.log(np.clip(answers[np.arange(len(y)), y], 1e-15, 1)))
    if metric == "brier":
        return np.asarray((answers[:, 1] - y) ** 2)
    if metric == "accuracy":
        return np.asarray((answers.argmax(axis=1) == y).astype(np.float64))
    return None


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


@dataclass(frozen=True)
class Scored:
    """One fold of one candidate.

    Attributes:
        score: in the metric's own direction.
        pulls: how far each cluster of rows moves it; rows, groups, or blocks of time.
    """

    score: float
    pulls: Array

    @property
    def variance(self) -> float:
        """Of the score."""
        count = len(self.pulls)
        return float((self.pulls**2).sum() * count / max(1, count - 1))


def scored(metric: str, y: Array, answers: Array, clusters: Array | None, seed: int) -> Scored:
    """Score one fold and its rows' pulls.

    Args:
        metric: the goal.
        y, answers: of the fold's validation rows.
        clusters: number of the group or time block a row; None: each row for itself.
        seed: of the blocks for metrics without a formula (delete-a-block jackknife).
    """
    value = score(metric, y, answers)
    found = influence(metric, y, answers)
    rows = len(y)
    if found is not None:
        if clusters is None:
            return Scored(value, found / rows)
        return Scored(value, np.bincount(clusters, found) / rows)
    if clusters is None:
        clusters = np.random.default_rng(seed).permutation(rows) % BLOCKS
    pulls = []
    for block in np.unique(clusters):
        kept = clusters != block
        without = score(metric, y[kept], answers[kept]) if kept.any() else value
        pulls.append(value - without if np.isfinite(without) else 0.0)
    return Scored(value, np.array(pulls) if np.isfinite(value) else np.zeros(len(pulls)))


@dataclass
class Scorecard:
    """Scores of all candidates over the same folds.

    Attributes:
        goal: the metric.
        weights: of the folds.
        repeats: how often each row is in a validation part.
        entries: candidate number -> its folds in order.
    """

    goal: str
    weights: Sequence[float]
    repeats: int = 1
    entries: dict[int, list[Scored]] = field(default_factory=dict)

    def mean(self, number: int, count: int | None = None) -> float:
        """Weighted mean over the candidate's first `count` folds; NaN without any."""
        folds = self.entries.get(number, [])[:count]
        if not folds:
            return float("nan")
        return float(np.average([f.score for f in folds], weights=self.weights[: len(folds)]))

    def error(self, number: int) -> float:
        """Standard error of the mean."""
        return self._error([fold.pulls for fold in self.entries.get(number, [])])

    def lead(self, first: int, second: int) -> tuple[float, float]:
        """(how much better the first is on the folds that both have run, its standard error)."""
        pairs = list(zip(self.entries.get(first, []), self.entries.get(second, []), strict=False))
        if not pairs:
            return 0.0, float("inf")
        sign = 1.0 if METRICS[self.goal].better == "higher" else -1.0
        gains = [sign * (a.score - b.score) for a, b in pairs]
        error = self._error([a.pulls - b.pulls for a, b in pairs])
        return float(np.average(gains, weights=self.weights[: len(gains)])), error

    def _error(self, pulls: Sequence[Array]) -> float:
        """Folds are independent, repeats of the same rows are not."""
        if not pulls:
            return float("inf")
        share = np.array(self.weights[: len(pulls)]) / sum(self.weights[: len(pulls)])
        variance = [Scored(0.0, p).variance for p in pulls]
        repeats = max(1.0, len(pulls) * self.repeats / len(self.weights))
        return float(np.sqrt((share**2 * variance).sum() * repeats))

    def selection_bias(self, numbers: Sequence[int], seed: int) -> float:
        """How much the best of these candidates is expected to be flattered by being chosen.

        The choice is made again on resamples, as in Tsamardinos et al. (2018), on pulls instead of
        predictions: what the resample itself added to the score of its choice is luck. Times the
        root of 2, since the luck of the sample has a part of the same size in each choice, so that
        the estimate is right where all candidates are worth the same.

        Returns:
            The expected flattery in the goal's unit, 0 or more.
        """
        full = [n for n in numbers if len(self.entries[n]) == self._longest(numbers)]
        if len(full) < 2:
            return 0.0
        sign = 1.0 if METRICS[self.goal].better == "higher" else -1.0
        share = np.array(self.weights[: self._longest(numbers)], float)
        share /= share.sum()
        pulls = sign * np.stack([
            np.concatenate([s * f.pulls for s, f in zip(share, self.entries[n], strict=True)])
            for n in full
        ])  # fmt: skip
        means = sign * np.array([self.mean(n) for n in full])
        generator = np.random.default_rng(seed)
        clusters = pulls.shape[1]
        lucks = []
        for _ in range(RESAMPLES):
            drawn = np.bincount(generator.integers(0, clusters, clusters), minlength=clusters)
            luck = pulls @ (drawn - 1.0)
            lucks.append(luck[int((means + luck).argmax())])
        found = max(0.0, float(np.sqrt(2) * np.mean(lucks)))
        return min(found, 1.0) if self.goal in SHARES else found

    def _longest(self, numbers: Sequence[int]) -> int:
        return max(len(self.entries[n]) for n in numbers)
