"""The least a model must beat: class shares, or the mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelwright.core.intake import Array
from modelwright.fit.decision import Affine, Decision
from modelwright.fit.family import FitJob, Fitted, Range
from modelwright.fit.features import Encoding


class Dummy:
    """Answers every row alike. Always run; prefer it when nothing beats it."""

    name = "dummy"
    encoding = Encoding(numbers="standard", target_means=False)
    defaults: Mapping[str, Any] = {}
    space: Mapping[str, Range] = {}

    def fit(self, job: FitJob) -> Fitted:
        """Count the classes, or take the mean."""
        if job.task == "regression":
            return FittedDummy(np.array([job.y.mean()]), job.x.shape[1], False)
        shares = np.bincount(job.y, minlength=job.classes) / len(job.y)
        return FittedDummy(np.maximum(shares, 1e-12), job.x.shape[1], True)


@dataclass
class FittedDummy:
    """The shares or the mean."""

    values: Array
    width: int
    classes: bool
    rounds: int = 0
    settled: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, x: Array) -> Array:
        """The same for each row."""
        if not self.classes:
            return np.full(len(x), self.values[0])
        return np.tile(self.values / self.values.sum(), (len(x), 1))

    def decision(self) -> Decision:
        """No feature counts."""
        if not self.classes:
            return Affine(np.zeros((self.width, 1)), self.values, "identity")
        logs = np.log(self.values)
        return Affine(np.zeros((self.width, len(logs))), logs, "softmax")
