"""How many more holdout rows would decide what is undecided."""

from __future__ import annotations

import numpy as np
from scipy import stats

from modelwright.core.records import Interval

HOPELESS = 100
"""Times the holdout's rows that nobody will bring."""
POWER = 0.8
"""Chance with which the rows that are asked for would decide."""
WRONG_SIDE = "the value itself is on the wrong side of the line"
"""Said in place of a number of rows: more of them would sooner fail than pass."""


def rows_to_decide(found: Interval, bound: float, rows: int) -> str:
    """How many holdout rows would move the interval off the line, at the present value; the end
    that faces the line comes nearer with the square root of the rows.

    Args:
        found: what was measured, with the line inside of its interval.
        bound: the line.
        rows: that it was measured on.

    Example:
        >>> rows_to_decide(Interval(0.80, 0.78, 0.82, 0.9), 0.79, 1000)
        'needs about 8,141 more holdout rows for 80% power'
    """
    distance = abs(found.value - bound)
    reach = found.value - found.low if bound < found.value else found.high - found.value
    if distance == 0 or not np.isfinite(reach):
        return "more holdout rows would decide it"
    one_sided = stats.norm.ppf((1 + found.confidence) / 2)
    needed = rows * (reach * (1 + stats.norm.ppf(POWER) / one_sided) / distance) ** 2
    if needed > HOPELESS * rows:
        return "no realistic number of holdout rows would decide it: it is too near the line"
    more = max(1, int(np.ceil(needed)) - rows)
    return f"needs about {more:,} more holdout rows for {POWER:.0%} power"
