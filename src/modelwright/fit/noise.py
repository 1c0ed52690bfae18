"""How sure a cross-validated score is, how sure a lead, and how much choosing flatters the winner.

Every figure comes from influences (`fit.influence`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from modelwright.core.intake import Array
from modelwright.core.limits import METRICS
from modelwright.fit.influence import influence
from modelwright.fit.score import SHARES, score

TIME_BLOCKS = 20
RESAMPLES = 300


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


def scored(metric: str, y: Array, answers: Array, clusters: Array | None) -> Scored:
    """Score one fold and its rows' pulls.

    Args:
        metric: the goal.
        y, answers: of the fold's validation rows.
        clusters: number of the group or time block a row; None: each row for itself.
    """
    found = influence(metric, y, answers)
    pulls: Array = np.zeros(len(y)) if found is None else found / len(y)
    if clusters is not None:
        pulls = np.bincount(clusters, pulls)
    return Scored(score(metric, y, answers), pulls)


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

    def comparable(self, number: int, reference: int) -> float:
        """The mean as if all folds of `reference` had been run: those that are missing differ as
        they do for that one."""
        run = len(self.entries.get(number, []))
        own = self.mean(number)
        if run >= len(self.entries.get(reference, [])):
            return own
        return own + self.mean(reference) - self.mean(reference, run)

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
