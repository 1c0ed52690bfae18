"""Tables and models whose truth is known, and how near to its promise a rate is."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.signal import lfilter

from fit.test_certainty import classes, values
from modelwright.core.limits import METRICS, QUALITY

Rows = tuple[np.ndarray, np.ndarray]
POINTS = 0.02
REGRESSION = {name for name in QUALITY if METRICS[name].tasks == ("regression",)}


def within(held: float, nominal: float, times: int, above: float = POINTS) -> bool:
    """Whether a rate is that near to what was promised, as far as so many simulations can tell."""
    print(f"promised {nominal:.0%}, held {held:.1%} of {times:,}")
    noise = 2.6 * np.sqrt(nominal * (1 - nominal) / times)
    return nominal - POINTS - noise <= held <= nominal + above + noise


def lasting(rng: np.random.Generator, rows: int, stays: float) -> np.ndarray:
    """Errors of deviation 1 that stay for a while: an autoregression of order 1."""
    drawn = rng.normal(size=rows) * np.sqrt(1 - stays**2)
    drawn[0] = rng.normal()
    return np.asarray(lfilter([1.0], [1.0, -stays], drawn))


def several(rng: np.random.Generator, rows: int) -> Rows:
    """A calibrated model of four classes, one of them rare."""
    p = np.exp(rng.normal(size=(rows, 4)) * 1.3 + np.array([1, 0.3, 0, -1.5]))
    p /= p.sum(axis=1, keepdims=True)
    return (p.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1), p


MAKERS: dict[str, Callable[[np.random.Generator, int], Rows]] = {
    "binary": classes, "multiclass": several, "regression": values,
}  # fmt: skip


@lru_cache
def population(task: str) -> Rows:
    """A million rows, which stand for the truth."""
    return MAKERS[task](np.random.default_rng(6), 1_000_000)
