"""Limits: the numbers in the spec that steer the search, gate the release and become alerts."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

MOST_WORKERS = 256
"""Processes of one server."""
Task = Literal["binary", "multiclass", "regression"]
Direction = Literal["at_least", "at_most"]


class Metric(msgspec.Struct, frozen=True):
    """A measurable thing: its name, which way is better, its unit, the tasks that have it."""

    name: str
    better: Literal["higher", "lower"]
    unit: Literal["score", "target", "seconds", "bytes", "per_second"]
    tasks: tuple[Task, ...]

    @property
    def direction(self) -> Direction:
        """The side on which a limit on this metric makes sense."""
        return "at_least" if self.better == "higher" else "at_most"


_ALL: tuple[Task, ...] = ("binary", "multiclass", "regression")
_CLASSES: tuple[Task, ...] = ("binary", "multiclass")
_BINARY: tuple[Task, ...] = ("binary",)
_NUMBERS: tuple[Task, ...] = ("regression",)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("roc_auc", "higher", "score", _CLASSES),
        Metric("pr_auc", "higher", "score", _BINARY),
        Metric("accuracy", "higher", "score", _CLASSES),
        Metric("balanced_accuracy", "higher", "score", _CLASSES),
        Metric("f1", "higher", "score", _BINARY),
        Metric("f1_macro", "higher", "score", _CLASSES),
        Metric("f1_weighted", "higher", "score", _CLASSES),
        Metric("precision", "higher", "score", _BINARY),
        Metric("recall", "higher", "score", _BINARY),
        Metric("mcc", "higher", "score", _CLASSES),
        Metric("log_loss", "lower", "score", _CLASSES),
        Metric("brier", "lower", "score", _BINARY),
        Metric("rmse", "lower", "target", _NUMBERS),
        Metric("mae", "lower", "target", _NUMBERS),
        Metric("medae", "lower", "target", _NUMBERS),
        Metric("r2", "higher", "score", _NUMBERS),
        Metric("mape", "lower", "score", _NUMBERS),
        Metric("latency_p95", "lower", "seconds", _ALL),
        Metric("throughput", "higher", "per_second", _ALL),
        Metric("memory", "lower", "bytes", _ALL),
        Metric("size", "lower", "bytes", _ALL),
    )
}
QUALITY = {name for name, metric in METRICS.items() if metric.unit in ("score", "target")}
AT_MOST_ONE = {name for name in QUALITY if METRICS[name].better == "higher"}
DEFAULT_GOAL: dict[Task, str] = {
    "binary": "roc_auc",
    "multiclass": "log_loss",
    "regression": "rmse",
}


class Limit(msgspec.Struct, frozen=True):
    """One line that a model must stay on the right side of.

    `bound` is in base units (seconds, bytes, per second, share of 1, or the target's own).
    With `relative` it is the most that may be lost against the champion. With `slice_column`
    the metric is taken for each level of that column.
    """

    metric: str
    direction: Direction
    bound: float
    slice_column: str | None = None
    relative: bool = False

    def met_by(self, value: float) -> bool:
        """Whether a measured value is on the right side.

        Example:
            >>> Limit("roc_auc", "at_least", 0.9).met_by(0.93)
            True
        """
        return value >= self.bound if self.direction == "at_least" else value <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.direction == "at_least" else "<="
        scope = f" for each {self.slice_column}" if self.slice_column else ""
        if self.relative:
            return f"{self.metric} at most {show(self.metric, self.bound)} worse than the champion"
        return f"{self.metric} {sign} {show(self.metric, self.bound)}{scope}"


_UNITS: dict[str, dict[str, float]] = {
    "seconds": {
        "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0,
        "d": 86400.0,
    },
    "bytes": {
        "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
        "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30,
    },
    "per_second": {"/s": 1.0, "rps": 1.0, "/min": 1 / 60, "k/s": 1e3},
    "score": {"%": 0.01},
    "target": {},
}  # fmt: skip
_QUANTITY = re.compile(r"^(?:([<>]=?|≤|≥)\s*)?([+-]?[\d_]+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*(.*)$")


def parse_quantity(text: object, unit: str) -> tuple[float, Direction | None]:
    """Read ``10 ms``, ``>= 92 %``, ``1000 /s`` or a bare number into base units.

    Args:
        text: what the spec holds: a number or a string.
        unit: one of seconds, bytes, per_second, score, target.

    Returns:
        (value in base units, direction when a sign was written).

    Raises:
        ValueError: not a quantity of that unit; the message says which units fit.

    Example:
        >>> parse_quantity("10 ms", "seconds")
        (0.01, None)
        >>> parse_quantity(">= 92 %", "score")
        (0.92, 'at_least')
    """
    if isinstance(text, bool) or not isinstance(text, (int, float, str)):
        raise ValueError(f"wanted a number or a quantity, found {text!r}")
    known = _UNITS[unit]
    match = _QUANTITY.match(str(text).strip())
    example = {
        "seconds": "'10 ms'", "bytes": "'500 MB'", "per_second": "'1000 /s'", "score": "'92 %'",
    }.get(unit, "'12.5'")  # fmt: skip
    if not match:
        raise ValueError(f"wanted a quantity such as {example}, found {text!r}")
    sign, number, suffix = match.groups()
    factor = 1.0 if not suffix else known.get(suffix.replace(" ", "").lower())
    if factor is None:
        units = ", ".join(known) or "no unit"
        raise ValueError(f"unknown unit {suffix!r} in {text!r}; wanted {units}, such as {example}")
    if unit in ("seconds", "bytes") and not suffix:
        raise ValueError(f"{text!r} has no unit; write it as {example}")
    direction: Direction | None = None
    if sign:
        direction = "at_least" if sign[0] in ">≥" else "at_most"
    return float(number.replace("_", "")) * factor, direction


def show(metric: str, value: float) -> str:
    """Write a value of a metric in the unit a person would use.

    Example:
        >>> show("latency_p95", 0.0023), show("memory", 5e8), show("roc_auc", 0.93)
        ('2.3 ms', '500 MB', '0.9300')
    """
    unit = METRICS[metric].unit if metric in METRICS else "score"
    if unit == "seconds":
        return f"{value * 1e3:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    if unit == "bytes":
        return f"{value / 1e6:.3g} MB" if abs(value) < 1e9 else f"{value / 1e9:.3g} GB"
    if unit == "per_second":
        return f"{value:,.0f} /s"
    if unit == "target":
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:.4f}"
