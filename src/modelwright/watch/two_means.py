"""E-values of two arms from losses between 0 and 1: is the canary's mean loss above a multiple of
the champion's, or below it?

Labels that came together are dealt into as many small groups as the smaller arm has of them, in
their order, each with losses of both arms. A group's bet is on the difference between the canary's
mean and so many times the champion's; what both arms share, harder rows for one, moves both. Its
stake is small enough that wealth stays positive whatever comes, so it is an e-value for all laws of
the losses, and the product over groups is a test martingale: it may be looked at after each look,
for ever (Ville).

Prefer it to counts of errors beyond a percentile where values are predicted: those call a canary
worse whose errors have another shape and the same mean.

Source: Waudby-Smith, Ramdas (2024), "Estimating means of bounded random variables by betting".
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from modelwright.core.errors import DataError
from modelwright.core.intake import Array
from modelwright.core.records import Interval

STAKES: Array = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 0.95])
"""Parts of the largest stake that are bet, each with the same share of the wealth."""


class Sums(msgspec.Struct, frozen=True):
    """Number, sum and sum of squares of what both arms showed."""

    champion: tuple[int, float, float]
    canary: tuple[int, float, float]

    def plus(self, other: Sums) -> Sums:
        """Both added up."""
        return Sums(_added(self.champion, other.champion), _added(self.canary, other.canary))

    def means(self) -> tuple[float, float]:
        """Of the champion and of the canary; NaN for an arm without any."""
        return _mean(self.champion), _mean(self.canary)

    def ratio(self) -> Interval:
        """Of the means, by the delta method; its interval is for reading, not for stopping."""
        old, new = self.means()
        if not (old > 0 and new > 0):
            return Interval(math.nan, -math.inf, math.inf)
        parts = [
            max(0.0, squares / many / (total / many) ** 2 - 1) / many
            for many, total, squares in (self.champion, self.canary)
        ]
        width = math.exp(1.96 * math.sqrt(sum(parts)))
        return Interval(new / old, new / old / width, new / old * width)


class Losses(msgspec.Struct, frozen=True):
    """Losses of both arms between 0 and 1, in order of time, and what 1 stands for."""

    champion: Array
    canary: Array
    scale: float = 1.0

    def sums(self) -> Sums:
        """In the unit of the target."""
        return Sums(_summed(self.champion * self.scale), _summed(self.canary * self.scale))


def log_e_of_means(
    losses: Losses, tolerated: float, slack: float, margin: float
) -> tuple[Array, Array]:
    """Logarithms of e-values of one stratum, for each of `STAKES`.

    Args:
        losses: of labels that came together, while the split of traffic did not change.
        tolerated, slack: the canary's mean may be so many times the champion's, and so much more.
        margin: times the champion's that are ruled out before promotion.

    Returns:
        (for "at most what is tolerated", for "at least the margin"); 0 where an arm saw nothing.

    Raises:
        DataError: a loss that is not between 0 and 1.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> losses = Losses(rng.random(400) * 0.5, rng.random(100) * 0.9)
        >>> harm, safe = log_e_of_means(losses, 1.05, 0.0, 1.5)
        >>> bool(harm.max() > 6), bool(safe.max() < 0)
        (True, True)
    """
    old, new = losses.champion, losses.canary
    for values in (old, new):
        if not ((values >= 0) & (values <= 1)).all():
            raise DataError(
                "Losses are between 0 and 1.", hint="Divide them by the largest possible."
            )
    groups = min(len(old), len(new))
    if not groups:
        return np.zeros(len(STAKES)), np.zeros(len(STAKES))
    champion, canary = _means(old, groups), _means(new, groups)
    worse = canary - tolerated * champion - slack
    better = margin * champion - canary
    harm = np.log1p(np.outer(worse, STAKES / (tolerated + slack))).sum(axis=0)
    return harm, np.log1p(np.outer(better, STAKES)).sum(axis=0)


def _means(values: Array, groups: int) -> Array:
    """Of consecutive groups of about the same size."""
    ends = np.arange(groups + 1) * len(values) // groups
    found: Array = np.add.reduceat(values, ends[:-1]) / np.diff(ends)
    return found


def _mean(sums: tuple[int, float, float]) -> float:
    return sums[1] / sums[0] if sums[0] else math.nan


def _summed(values: Array) -> tuple[int, float, float]:
    return len(values), float(values.sum()), float((values**2).sum())


def _added(a: tuple[int, float, float], b: tuple[int, float, float]) -> tuple[int, float, float]:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]
