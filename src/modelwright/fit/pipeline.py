"""The trained pipeline: encoder and model, from raw columns to answers."""

from __future__ import annotations

from dataclasses import dataclass

from modelwright.core.intake import Array, Feeds
from modelwright.core.records import FitRecord
from modelwright.core.schema import Schema
from modelwright.fit.family import Fitted
from modelwright.fit.features import Encoder


@dataclass(frozen=True)
class Pipeline:
    """What the packed model must equal, row by row.

    Attributes:
        schema: the columns it reads.
        family: the family's name.
        encoder: raw columns to features.
        model: the library's own trained model.
    """

    schema: Schema
    family: str
    encoder: Encoder
    model: Fitted

    def answer(self, feeds: Feeds) -> Array:
        """Probabilities [rows, classes], or values [rows]."""
        return self.model.answer(self.encoder.transform(feeds))


@dataclass(frozen=True)
class Fit:
    """The outcome of a search; travels no further than `pack` and `release`.

    Attributes:
        record: every trial and the choice.
        best: the chosen pipeline, trained on all training rows.
        baselines: the pipelines that the release compares it with.
    """

    record: FitRecord
    best: Pipeline
    baselines: dict[str, Pipeline]
