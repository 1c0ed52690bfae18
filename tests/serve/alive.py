"""A model folder as the `Live` that doors see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modelwright.core.intake import Array, Feeds
from modelwright.core.records import Manifest
from modelwright.core.schema import Schema
from modelwright.pack.artefact import Answers, Artefact


@dataclass
class Loaded:
    """A real model under a name."""

    artefact: Artefact
    model: str = "shop"
    version: str = "3"
    runs: int = 0

    @property
    def manifest(self) -> Manifest:
        return self.artefact.manifest

    @property
    def schema(self) -> Schema:
        return self.artefact.schema

    def run(self, feeds: Feeds) -> Answers:
        self.runs += 1
        return self.artefact.answer(feeds)


@dataclass
class Formula:
    """A regression that is a formula, so that its Shapley values are known."""

    schema: Schema
    manifest: Manifest
    model: str = "formula"
    version: str = "1"

    def run(self, feeds: Feeds) -> Answers:
        return Answers(self.schema, values=self.value(feeds))

    @staticmethod
    def value(feeds: Feeds) -> Array:
        """2 a + 3 b c, and nothing of the other columns."""
        return np.asarray(2 * feeds["a"] + 3 * feeds["b"] * feeds["c"])
