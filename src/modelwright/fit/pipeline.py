"""The trained pipeline: encoders and models, from raw columns to answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from modelwright.core.evaluation import Curve, Importance
from modelwright.core.intake import Array, Feeds
from modelwright.core.records import FitRecord, Price
from modelwright.core.schema import Schema
from modelwright.fit.decision import Decision
from modelwright.fit.family import Fitted
from modelwright.fit.features import Encoder
from modelwright.fit.outputs import Outputs, Transform


@dataclass(frozen=True)
class Member:
    """One trained model with its encoder.

    Attributes:
        family: the family's name.
        encoder: raw columns to features.
        model: the library's own trained model.
        transform: the scale it learned on.
    """

    family: str
    encoder: Encoder
    model: Fitted
    transform: Transform = Transform()

    def answer(self, feeds: Feeds) -> Array:
        """Probabilities [rows, classes], or values [rows]."""
        return self.transform.back(self.model.answer(self.encoder.transform(feeds)))

    def decision(self) -> Decision:
        """The model in neutral form."""
        return self.model.decision()


@dataclass(frozen=True)
class Pipeline:
    """What the packed model must equal, row by row: one model, or the weighted mean of a few.

    Attributes:
        schema: the columns it reads.
        members: the models.
        weights: of their answers; they add up to 1.
        outputs: calibration, threshold and interval.
    """

    schema: Schema
    members: tuple[Member, ...]
    weights: tuple[float, ...] = (1.0,)
    outputs: Outputs = Outputs()

    @property
    def family(self) -> str:
        """The family's name; members' names joined."""
        return " + ".join(dict.fromkeys(member.family for member in self.members))

    def answer(self, feeds: Feeds) -> Array:
        """Calibrated probabilities [rows, classes], or values [rows]."""
        mixed = mixture([member.answer(feeds) for member in self.members], self.weights)
        return self.outputs.calibration.apply(mixed) if mixed.ndim == 2 else mixed


def mixture(answers: list[Array], weights: tuple[float, ...]) -> Array:
    """The weighted mean, added up in the order that the graph adds in."""
    if len(answers) == 1:
        return answers[0]
    return np.asarray(sum(w * a for w, a in zip(weights, answers, strict=True)))


class Pricing(Protocol):
    """What the search asks about costs; `pack` answers, since it knows the real thing."""

    def price(self, pipeline: Pipeline, ratio: float = 1.0) -> Price:
        """What a pipeline of `ratio` times as many rounds would cost to serve, by a cheap
        measurement in this process."""

    def foretold(self, found: Price) -> Price:
        """The same with the server's part as it is known now."""


@dataclass(frozen=True)
class Fit:
    """The outcome of a search; travels no further than `pack` and `release`.

    Attributes:
        record: every trial and the choice.
        best: the chosen pipeline, trained on all training rows but those set aside.
        baselines: the pipelines that the release compares it with.
        out_of_fold: the chosen one's answers on training rows by models that had not seen them;
            rows without such an answer are NaN.
        learning: its score against the rows it learned from, where there was time to measure it.
        ablation: what it loses when it is trained without some columns; the same.
    """

    record: FitRecord
    best: Pipeline
    baselines: Mapping[str, Pipeline]
    out_of_fold: Array
    learning: Curve | None = None
    ablation: tuple[Importance, ...] = ()
