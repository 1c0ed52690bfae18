"""What stands between a model's raw answer and the caller: inverse transform, calibration, the
threshold of the label, and the interval of a value. All of it ends up inside the ONNX graph.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np

from modelwright.core.intake import Array

TransformKind = Literal["none", "log", "sqrt"]
TINY = 1e-12
"""Probabilities are kept this far from 0 and 1 before their logarithm is taken."""


class Transform(msgspec.Struct, frozen=True):
    """The scale on which a regression learns: ``log(y + shift)`` or ``sqrt(y + shift)``."""

    kind: TransformKind = "none"
    shift: float = 0.0

    def forward(self, y: Array) -> Array:
        """To the scale of learning."""
        if self.kind == "none":
            return y
        moved = np.maximum(y + self.shift, 0.0)
        return np.asarray(np.log(np.maximum(moved, TINY)) if self.kind == "log" else np.sqrt(moved))

    def back(self, raw: Array) -> Array:
        """To the target's own scale; finite for every finite input.

        Example:
            >>> t = Transform("log", 1.0)
            >>> t.back(t.forward(np.array([0.0, 9.0]))).round(9).tolist()
            [0.0, 9.0]
        """
        if self.kind == "none":
            return raw
        if self.kind == "log":
            return np.asarray(np.exp(np.minimum(raw, 700.0)) - self.shift)
        positive = np.maximum(raw, 0.0)
        return np.asarray(positive * positive - self.shift)


def transform_for(kind: str, y: Array) -> Transform | None:
    """The transform of that kind that fits the values; None where they are negative.

    Example:
        >>> transform_for("log", np.array([1.0, 2.0])), transform_for("log", np.array([-1.0]))
        (Transform(kind='log', shift=0.0), None)
    """
    if kind == "none":
        return Transform()
    low = float(y.min())
    if low < 0:
        return None
    shift = 1.0 if kind == "log" and low < 1e-3 else 0.0
    return Transform("log" if kind == "log" else "sqrt", shift)


def is_skewed(y: Array) -> bool:
    """Whether a target is worth learning on another scale: not negative, with a long right tail.

    The measure is the skewness of the values against that of their logarithm.
    """
    found = transform_for("log", y)
    if found is None or len(np.unique(y)) < 10:
        return False
    return abs(_skewness(found.forward(y))) < _skewness(y) and _skewness(y) > 0.5


def _skewness(y: Array) -> float:
    spread = y.std()
    return float((((y - y.mean()) / spread) ** 3).mean()) if spread else 0.0


class Calibration(msgspec.Struct, frozen=True):
    """Probabilities made honest: by a temperature, or by a monotone curve (two classes).

    temperature: ``softmax(log(p) / temperature)``. isotonic: straight lines between `knots`, the
    curve of Zadrozny and Elkan (2002), flat beyond its ends.
    """

    kind: Literal["none", "temperature", "isotonic"] = "none"
    temperature: float = 1.0
    knots: tuple[float, ...] = ()
    values: tuple[float, ...] = ()

    def apply(self, p: Array) -> Array:
        """Calibrated probabilities [rows, classes]."""
        if self.kind == "temperature":
            logs = np.log(np.maximum(p, TINY)) / self.temperature
            powers = np.exp(logs - logs.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        if self.kind == "isotonic":
            place, slope, start = self.lines()
            piece = (p[:, 1:2] >= place[None, 1:]).sum(axis=1)
            x = np.clip(p[:, 1], place[0], self.knots[-1])
            positive = slope[piece] * (x - place[piece]) + start[piece]
            return np.stack([1 - positive, positive], axis=1)
        return p

    def lines(self) -> tuple[Array, Array, Array]:
        """(where each straight piece begins, its slope, its value there)."""
        knots, values = np.array(self.knots), np.array(self.values)
        return knots[:-1], np.diff(values) / np.diff(knots), values[:-1]


class Reach(msgspec.Struct, frozen=True):
    """The interval around a value: ``value -+ amount``, times ``max(|value|, floor)`` if relative.

    `amount` is the quantile of errors, with the finite-sample correction of conformal prediction
    (Vovk et al. 2005): of rows set aside that no model learned from (split conformal), or the
    pooled ones out of fold, kin to CV+ (Barber et al. 2021) without its proof.

    Attributes:
        aside: how many rows were set aside; 0: out of fold.
    """

    level: float
    amount: float
    relative: bool = False
    floor: float = 0.0
    aside: int = 0

    def resized(self, y: Array, values: Array) -> Reach:
        """The same form, as wide as rows ask for that were set aside.

        Args:
            y, values: their truths, and the answers of the model that goes out.
        """
        amount = errors_at(self.level, np.abs(y - values) / self.sizes(values))
        return msgspec.structs.replace(self, amount=amount, aside=len(y))

    def sizes(self, values: Array) -> Array:
        """What `amount` is multiplied by."""
        if self.relative:
            return np.maximum(np.abs(values), self.floor)
        return np.ones(len(values))

    def around(self, values: Array) -> tuple[Array, Array]:
        """(low, high) of each value."""
        width = self.amount * self.sizes(values)
        return values - width, values + width


def errors_at(level: float, errors: Array) -> float:
    """The ``ceil((n + 1) * level)``-th smallest of `n` errors, the largest where there is none.

    Example:
        >>> errors_at(0.9, np.arange(1.0, 10.0)), errors_at(0.5, np.arange(1.0, 10.0))
        (9.0, 5.0)
    """
    place = min(len(errors), math.ceil(round((len(errors) + 1) * level, 6)))
    return float(np.sort(errors)[place - 1])


class Outputs(msgspec.Struct, frozen=True):
    """All of it for one model. `threshold`: the positive class needs at least this; None: the most
    likely class. `costs`: [actual][predicted], the label is the one that costs least."""

    calibration: Calibration = Calibration()
    threshold: float | None = None
    costs: tuple[tuple[float, ...], ...] = ()
    reach: Reach | None = None

    def labels(self, p: Array) -> Array:
        """Class a row.

        Example:
            >>> Outputs(threshold=0.2).labels(np.array([[0.7, 0.3]])).tolist()
            [1]
        """
        if self.costs:
            return np.asarray((p @ np.array(self.costs)).argmin(axis=1))
        if self.threshold is not None:
            return np.asarray((p[:, 1] >= self.threshold).astype(np.int64))
        return np.asarray(p.argmax(axis=1))
