"""E-values of two arms from counts: is the odds ratio above, or below, a given one?

A stratum is a stretch of time in which the split of traffic did not change, usually a minute. Given
the arms' sizes and the total number of events, the events of the canary follow Fisher's noncentral
hypergeometric law, whose only parameter is the odds ratio: what both arms share in that minute, an
incident for one, cancels. A likelihood ratio of that law is an e-value for every odds ratio on the
null's side (monotone likelihood ratio), and the product over strata is a test martingale: it may be
looked at after each stratum, for ever (Ville).

Source: Turner, Ly, Grünwald (2024), "Generic E-variables for exact sequential k-sample tests that
allow for optional stopping"; Turner, Grünwald (2023), "Safe sequential testing and effect
estimation in stratified count data"; Cornfield (1956) for the conditional law.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from modelwright.core.intake import Array

TILTS: Array = np.array([0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.35, 1.8, 2.5, 3.5])
"""Log odds ratios beyond the null that are bet on, each with the same share of the stake."""


def log_e_values(champion: tuple[int, int], canary: tuple[int, int], bets: Array) -> Array:
    """Logarithms of e-values of one stratum.

    Args:
        champion, canary: (trials, events) of the arm.
        bets: [m, 2] log odds ratios: the null's boundary, and the alternative that is bet on.

    Returns:
        [m]. Where the alternative is above the boundary it is an e-value for "the odds ratio is at
        most the boundary", where it is below for "at least". 0 where an arm saw nothing.

    Example:
        >>> bet = np.log([[1.0, 3.0]])  # null: no worse; bet: three times the odds
        >>> float(np.exp(log_e_values((800, 4), (200, 5), bet))[0].round(1))
        11.9
    """
    (trials, events), (canary_trials, canary_events) = champion, canary
    total = events + canary_events
    low, high = max(0, total - trials), min(total, canary_trials)
    if low == high:
        return np.zeros(len(bets))
    x = np.arange(low, high + 1, dtype=np.float64)
    ways = -(
        gammaln(x + 1)
        + gammaln(canary_trials - x + 1)
        + gammaln(total - x + 1)
        + gammaln(trials - total + x + 1)
    )
    every, place = np.unique(bets, return_inverse=True)
    sums = _log_sum(ways + every[:, None] * (x - canary_events))[place.reshape(bets.shape)]
    found: Array = sums[:, 0] - sums[:, 1]
    return found


def log_e_of_rate(trials: int, events: int, budget: float, tilts: Array) -> Array:
    """Logarithms of e-values for "the rate of this arm is at least the budget"; [len(tilts)].

    Bets on rates of `budget * exp(-tilt)`. Exact for independent trials: the likelihood ratio of
    two binomials falls with the number of events.

    Example:
        >>> float(np.exp(log_e_of_rate(500, 0, 0.01, np.array([1.0])))[0].round(1))
        24.1
    """
    better = budget * np.exp(-tilts)
    found: Array = events * -tilts + (trials - events) * (np.log1p(-better) - np.log1p(-budget))
    return found


def mixed(logs: Array) -> float:
    """The logarithm of the mean e-value of several bets: an e-value again, unlike the largest."""
    return float(_log_sum(logs) - np.log(len(logs)))


def _log_sum(logs: Array) -> Array:
    """Logarithm of the sum of exponentials over the last axis, finite ones; scipy's takes longer
    for its checks than for the sum."""
    top = logs.max(axis=-1, keepdims=True)
    found: Array = np.log(np.exp(logs - top).sum(axis=-1)) + top[..., 0]
    return found
