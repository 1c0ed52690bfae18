"""Ends of a mean loss when a few rows carry most of it.

Student's t, even on the logarithm, misses the upper end then: a sample without the rare large
errors has a small mean and a small spread at once. For errors whose logarithm has a deviation of
1.5, the true mean lay above 95 % ends in 18 % of samples of 30 rows, and in 16 % of those of 100.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from modelwright.core.intake import Array

DRAWS = 500
MOST_DRAWN = 1000
"""Rows up to which samples are drawn; above, the formula of Hall is as good and takes no time."""
LEAST = 10
"""Rows below which drawn samples are too often all the same row."""
SMOOTHING = 1.5
"""Times n^-1/5: how far drawn losses are spread on the logarithm, so that they can exceed the
largest that was seen. Without it the misses above were 14 % and 12 %; with it 8 % and 7 %."""
UPPER = (0.75, 0.95)
"""Quantiles that say how fast the upper part of the losses grows."""


def mean_ends(losses: Array, confidence: float) -> tuple[float, float] | None:
    """Ends of the interval of a mean, as multiples of the sample's own mean.

    Up to a thousand rows by the studentised bootstrap on the logarithm (Efron 1979; Hall 1988),
    above by Hall's cubic transformation, which removes skewness (1992).

    Args:
        losses: one a row, or one a cluster of rows, with a mean above 0.
        confidence: share of such intervals that hold the true mean.

    Returns:
        (low, high) around 1; None for fewer rows than 10, which Student's t serves better.

    Example:
        >>> even, skewed = np.arange(1.0, 41.0), np.arange(1.0, 41.0) ** 4
        >>> mean_ends(even, 0.9)[1] < 1.2, mean_ends(skewed, 0.9)[1] > 1.4
        (True, True)
    """
    if len(losses) < LEAST:
        return None
    shares = losses / losses.mean()
    error = float(shares.std(ddof=1) / np.sqrt(len(shares)))
    if error == 0:
        return 1.0, 1.0
    if len(shares) > MOST_DRAWN:
        return _by_formula(shares, error, confidence)
    return _by_samples(shares, error, confidence)


def _by_samples(shares: Array, error: float, confidence: float) -> tuple[float, float] | None:
    count, rng = len(shares), np.random.default_rng(0)
    drawn = shares[rng.integers(0, count, (DRAWS, count))]
    wide = _spread_above(shares) * SMOOTHING * count**-0.2
    if wide:
        drawn = drawn * np.exp(wide * rng.standard_normal(drawn.shape) - wide**2 / 2)
    means, errors = drawn.mean(axis=1), drawn.std(axis=1, ddof=1) / np.sqrt(count)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log(means) * means / errors
    found = found[np.isfinite(found)]
    if len(found) < DRAWS / 2:
        return None
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    with np.errstate(over="ignore"):
        ends = np.exp([-high * error, -low * error])
    return float(ends[0]), float(ends[1])


def _spread_above(shares: Array) -> float:
    """Deviation of the logarithm, from the upper quantiles as if it were normal; 0 where losses
    are no lengths (clusters of the influence of a ratio) or mostly 0."""
    low, high = np.quantile(shares, UPPER)
    if shares.min() < 0 or low <= 0:
        return 0.0
    return float(np.log(high / low) / (stats.norm.ppf(UPPER[1]) - stats.norm.ppf(UPPER[0])))


def _by_formula(shares: Array, error: float, confidence: float) -> tuple[float, float]:
    count = len(shares)
    skew = float(((shares - 1) ** 3).mean() / (error * np.sqrt(count)) ** 3)
    reach = float(stats.t.ppf((1 + confidence) / 2, count - 1))
    slope = skew / 3 / np.sqrt(count)

    def undone(end: float) -> float:
        """The studentised mean whose transform is that end."""
        moved = end - skew / 6 / np.sqrt(count)
        return moved if abs(slope) < 1e-9 else float((np.cbrt(1 + 3 * slope * moved) - 1) / slope)

    return max(0.0, 1 - undone(reach) * error), 1 - undone(-reach) * error
