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
MOST_OF_RATIO = 5_000
"""The same for R2, whose lower end by that formula lay above the truth in 10 to 14 % of samples of
2,000 rows whose errors have long tails."""
LEAST = 10
"""Rows below which drawn samples are too often all the same row."""
SMOOTHING = 1.5
"""Times n^-1/5: how far drawn losses are spread on the logarithm, so that they can exceed the
largest that was seen. Without it the misses above were 14 % and 12 %; with it 8 % and 7 %."""
OF_RATIO = 2.5
"""The same for R2: with 1.5 the lower end lay above the truth in 6 to 13 % of samples where errors
have long tails (nominal is 5 %), with 2.5 in 2 to 7 %. Even errors get 5 to 11 % wider for it."""
OF_TARGET, NORMAL = 2.0, 1.1
"""The same for the squares around the mean of the target, as far as they grow faster than those of
a normal one; without it the upper end of R2 of 50 rows lay below the truth in 15 % of samples with
a lognormal target of deviation 1, with it in 8 %."""
UPPER = (0.75, 0.95)
"""Quantiles that say how fast the upper part of the losses grows."""


def ratio_ends(
    losses: Array, over: Array, confidence: float, *, of_spread: bool = False
) -> tuple[float, float] | None:
    """Ends of the interval of a mean loss, or of a ratio of two means, as multiples of the
    sample's own.

    Up to a thousand rows (R2: five thousand) by the studentised bootstrap on the logarithm (Efron
    1979; Hall 1988), above by Hall's cubic transformation, which removes skewness (1992).

    Args:
        losses: one a row, or the sum of each cluster of rows; lengths, not all 0.
        over: what they are divided by: ones or the rows of each cluster for a mean, the squares
            around the mean for R2.
        confidence: share of such intervals that hold the truth.
        of_spread: `over` are squares around a mean, which has a tail of its own.

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
    if len(shares) > (MOST_OF_RATIO if of_spread else MOST_DRAWN):
        return _by_formula(1 + moved, error, confidence)
    return _by_samples(shares, parts, error, confidence, of_spread)


def _by_samples(
    shares: Array, parts: Array, error: float, confidence: float, of_spread: bool
) -> tuple[float, float] | None:
    count, rng = len(shares), np.random.default_rng(0)
    wide = _spread_above(shares) * (OF_RATIO if of_spread else SMOOTHING) * count**-0.2
    beyond = max(0.0, _spread_above(parts) ** 2 - NORMAL**2) ** 0.5 * OF_TARGET * count**-0.2
    losses, spreads = [], []
    at_once = min(DRAWS, DRAWS * MOST_DRAWN // count)  # so that memory does not grow with the rows
    for _ in range(0, DRAWS, at_once):
        rows = rng.integers(0, count, (at_once, count))
        drawn, below, noise = shares[rows], parts[rows], rng.standard_normal(rows.shape)
        losses.append(_studentised(_smeared(drawn, noise, wide), below))
        if of_spread:  # each end by what could lie beyond it: a larger loss, or a larger spread
            spreads.append(_studentised(drawn, _smeared(below, noise, beyond)))
    found = np.concatenate(losses)
    other = np.concatenate(spreads) if of_spread else found
    if min(len(found), len(other)) < DRAWS / 2:
        return None
    low = np.quantile(found, (1 - confidence) / 2)
    high = np.quantile(other, (1 + confidence) / 2)
    with np.errstate(over="ignore"):
        ends = np.exp([-high * error, -low * error])
    return float(ends[0]), float(ends[1])


def _smeared(drawn: Array, noise: Array, wide: float) -> Array:
    """Drawn values spread on the logarithm, their mean kept."""
    return drawn * np.exp(wide * noise - wide**2 / 2) if wide else drawn


def _studentised(drawn: Array, below: Array) -> Array:
    """Logarithm of the ratio of means of each sample, in its own standard errors."""
    with np.errstate(divide="ignore", invalid="ignore"):
        above, under, count = drawn.mean(axis=1), below.mean(axis=1), drawn.shape[1]
        squares = (
            np.einsum("ij,ij->i", drawn, drawn) / above**2
            + np.einsum("ij,ij->i", below, below) / under**2
            - 2 * np.einsum("ij,ij->i", drawn, below) / (above * under)
        )  # of drawn / above - below / under, whose mean is 0
        errors = np.sqrt(squares / (count - 1) / count)
        found = np.log(above / under) / errors
    return np.asarray(found[np.isfinite(found)])


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
