"""Parts of a date-time, by integer arithmetic that the ONNX graph repeats step by step."""

from __future__ import annotations

from typing import Literal

import numpy as np

from modelwright.core.intake import Array
from modelwright.core.schema import MISSING_TIME

Part = Literal[
    "days", "year", "month", "day", "weekday", "days_since_march", "hour", "minute",
    "year_sin", "year_cos", "week_sin", "week_cos", "day_sin", "day_cos",
]  # fmt: skip
PARTS: tuple[Part, ...] = (
    "days", "year", "month", "day", "weekday", "days_since_march", "hour", "minute",
)  # fmt: skip
"""Whole parts; `days` since 1970 is the age of a row, up to sign and origin."""


def _circle(period: int) -> tuple[Array, Array]:
    angle = 2 * np.pi * np.arange(period) / period
    return np.sin(angle), np.cos(angle)


_YEAR, _WEEK, _DAY = _circle(366), _circle(7), _circle(24)
CYCLES: dict[Part, tuple[Part, Array]] = {
    "year_sin": ("days_since_march", _YEAR[0]), "year_cos": ("days_since_march", _YEAR[1]),
    "week_sin": ("weekday", _WEEK[0]), "week_cos": ("weekday", _WEEK[1]),
    "day_sin": ("hour", _DAY[0]), "day_cos": ("hour", _DAY[1]),
}  # fmt: skip
"""Cyclic part -> (whole part, its place on a circle): a table, so that the graph is exact."""

MICROSECONDS_A_DAY = 86_400_000_000
ERA_YEARS = 400
ERA_DAYS = 146_097
SHIFT_ERAS = 10
"""Eras added before dividing, so that no operand is negative back to the year -4,000."""


def calendar(moments: Array) -> dict[Part, Array]:
    """Split microseconds since 1970 into float64 parts; a missing moment gives NaN.

    Days to civil dates after Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2013).

    Example:
        >>> parts = calendar(np.array([0, MISSING_TIME]))
        >>> {name: values[0].item() for name, values in parts.items()}["weekday"]
        3.0
    """
    missing = moments == MISSING_TIME
    safe = np.where(missing, 0, moments)
    days = safe // MICROSECONDS_A_DAY
    minutes = (safe - days * MICROSECONDS_A_DAY) // 60_000_000
    z = days + 719_468 + SHIFT_ERAS * ERA_DAYS
    era = z // ERA_DAYS
    day_of_era = z - era * ERA_DAYS
    year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    from_march = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * from_march + 2) // 153
    day = from_march - (153 * shifted_month + 2) // 5 + 1
    month = shifted_month + 3 - 12 * (shifted_month // 10)
    year = year_of_era + (era - SHIFT_ERAS) * ERA_YEARS + shifted_month // 10
    parts = {
        "days": days,
        "year": year,
        "month": month,
        "day": day,
        "weekday": (z + 2) % 7,
        "days_since_march": from_march,
        "hour": minutes // 60,
        "minute": minutes % 60,
    }
    parts |= {name: circle[parts[whole]] for name, (whole, circle) in CYCLES.items()}
    return {
        name: np.where(missing, np.nan, parts[name].astype(np.float64))
        for name in (*PARTS, *CYCLES)
    }
