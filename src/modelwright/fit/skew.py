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


def ratio_ends(losses: Array, over: Array, confidence: float) -> tuple[float, float] | None:
    """Ends of the interval of a mean loss, or of a ratio of two means, as multiples of the
    sample's own.

    Up to a thousand rows by the studentised bootstrap on the logarithm (Efron 1979; Hall 1988),
    above by Hall's cubic transformation, which removes skewness (1992).

    Args:
        losses: one a row, or the sum of each cluster of rows; lengths, not all 0.
        over: what they are divided by: ones or the rows of each cluster for a mean, the squares
            around the mean for R2.
        confidence: share of such intervals that hold the truth.

    Returns:
        (low, high) around 1; None for fewer rows than 10, which Student's t serves better.

    Example:
        >>> even, skewed = np.arange(1.0, 41.0), np.arange(1.0, 41.0) ** 4
        >>> [bool(ratio_ends(losses, np.ones(40), 0.9)[1] > 1.4) for losses in (even, skewed)]
        [False, True]
    """
    if len(losses) < LEAST:
        return None
    shares, parts = losses / losses.mean(), over / over.mean()
    moved = shares - parts
    error = float(moved.std(ddof=1) / np.sqrt(len(moved)))
    if error == 0:
        return 1.0, 1.0
    if len(shares) > MOST_DRAWN:
        return _by_formula(1 + moved, error, confidence)
    return _by_samples(shares, parts, error, confidence)


def _by_samples(
    shares: Array, parts: Array, error: float, confidence: float
) -> tuple[float, float] | None:
    count, rng = len(shares), np.random.default_rng(0)
    rows = rng.integers(0, count, (DRAWS, count))
    drawn, below = shares[rows], parts[rows]
    wide = _spread_above(shares) * SMOOTHING * count**-0.2
    if wide:
        drawn = drawn * np.exp(wide * rng.standard_normal(drawn.shape) - wide**2 / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        above, under = drawn.mean(axis=1, keepdims=True), below.mean(axis=1, keepdims=True)
        errors = (drawn / above - below / under).std(axis=1, ddof=1) / np.sqrt(count)
        found = np.log(above / under)[:, 0] / errors
    found = found[np.isfinite(found)]
    if len(found) < DRAWS / 2:
        return None
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    with np.errstate(over="ignore"):
        ends = np.exp([-high * error, -low * error])
    return float(ends[0]), float(ends[1])


def _spread_above(shares: Array) -> float:
    """Deviation of the logarithm, from the upper quantiles as if it were normal; 0 where losses
    are mostly 0."""
    low, high = np.quantile(shares, UPPER)
    if low <= 0:
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
