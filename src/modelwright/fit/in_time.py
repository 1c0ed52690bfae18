"""Rows in order of time: neighbours vary together, and how far is learned from them.

Where errors stay for a while many rows tell no more than a few. The error of a sum comes from
equally weighted cosines (Lazarus, Lewis, Stock and Watson 2018), of what is left of each row beside
its neighbour (prewhitening, Andrews and Monahan 1992).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from modelwright.core.intake import Array

WAVES = (4, 19)
"""Fewest and most cosines; of more, the fastest see too little of errors that stay for a while."""
FEWEST = 10
"""Rows below which neighbours are not looked at."""
STAYS_MOST = 0.99
"""Largest correlation of neighbours that is believed: at one, no stretch would tell anything."""
MOST_STRETCHES = 4000
"""More rows than that are added up in so many stretches, which tell as much."""


@dataclass(frozen=True, eq=False)
class InTime:
    """Rows that are in order of time.

    Attributes:
        stretches: number of each row's stretch, from 0 and never falling; a row each where there
            are few.
    """

    stretches: Array

    @classmethod
    def of(cls, rows: int) -> InTime:
        """Of so many rows.

        Example:
            >>> InTime.of(3).stretches.tolist(), int(InTime.of(10_000).stretches.max())
            ([0, 1, 2], 3999)
        """
        return cls(np.arange(rows) * min(rows, MOST_STRETCHES) // max(1, rows))


def error_in_time(pulls: Array) -> tuple[float, float]:
    """Standard error of a sum whose parts are in order of time, and its degrees of freedom.

    Where neighbours are much alike the rows count as few: n (1 - r) / (1 + r) of them. No more
    than half as many degrees of freedom are claimed, so that 90 % holds 87 to 93 % of 40 to 500
    rows with correlations up to .98 (with the cosines alone, down to 31).

    Args:
        pulls: of each row on the value; they add up to zero.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> pulls = rng.normal(size=400) / 400
        >>> error, freedom = error_in_time(pulls - pulls.mean())
        >>> 0.04 < error < 0.06, freedom
        (True, 19.0)
    """
    count = len(pulls)
    if count < FEWEST:
        return float(np.sqrt((pulls**2).sum() * count / max(1, count - 1))), float(count - 1)
    heights, stays, freedom = _heights(pulls)
    return float(np.sqrt((heights**2).mean())) / (1 - stays), freedom


def wider(freedom: float) -> float:
    """What few degrees of freedom leave unknown (Student), for who takes the normal distribution.

    Example:
        >>> round(wider(4), 2), round(wider(1000), 2)
        (1.3, 1.0)
    """
    return float(stats.t.isf(0.05, freedom) / stats.norm.isf(0.05))


def spread_in_time(pulls: Array) -> tuple[Array, float]:
    """The same of several sums side by side: how they vary and covary, and the degrees of freedom.

    Args:
        pulls: of each row, [rows, sums]; each column adds up to zero.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> pulls = rng.normal(size=(4000, 2)) / 63
        >>> spread, freedom = spread_in_time(pulls - pulls.mean(axis=0))
        >>> bool(0.4 < spread[0, 0] < 2.5), bool(abs(spread[0, 1]) < 0.8), freedom
        (True, True, 19.0)
    """
    count = len(pulls)
    if count < FEWEST:
        return pulls.T @ pulls * count / max(1, count - 1), float(max(count - 1, 1))
    heights, stays, freedom = _heights(pulls)
    return heights.T @ heights / len(heights) / (1 - stays) ** 2, freedom


def _heights(pulls: Array) -> tuple[Array, float, float]:
    """(the height of each cosine in what is left beside the neighbour, [waves, sums]; how much
    neighbours are alike; degrees of freedom)."""
    count = len(pulls)
    stays = _stays(pulls if pulls.ndim == 1 else pulls.sum(axis=1))
    rest = pulls[1:] - stays * pulls[:-1]
    number = int(np.clip(round(0.4 * count ** (2 / 3)), *WAVES))
    steps = np.pi * np.arange(1, number + 1)[:, None] * (np.arange(len(rest)) + 0.5) / len(rest)
    heights = np.sqrt(2) * np.cos(steps) @ (rest - rest.mean(axis=0))
    rows = count * (1 - stays) / (1 + stays)
    return heights, stays, float(np.clip(rows / 2 - 1, 1, number))


def _stays(pulls: Array) -> float:
    """Correlation of neighbours, which a sample shows too small (Kendall 1954)."""
    count, whole = len(pulls), float(pulls @ pulls)
    if not whole:
        return 0.0
    found = float(pulls[1:] @ pulls[:-1]) / whole
    return float(np.clip((count * found + 1) / (count - 3), 0.0, STAYS_MOST))
