"""How slow this machine is, for tests whose budget of seconds has to buy a certain work."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import catboost
import numpy as np

from modelwright.core.intake import feeds_from_rows
from modelwright.core.records import Manifest
from modelwright.serve.engine import Engine
from serve.versions import TRIGGER, graph_of, row_of

ORDINARY = 0.4
"""Seconds that the training below takes on a machine where the budgets of the tests were chosen."""


@cache
def slowness() -> float:
    """How many times longer a small training takes than where budgets were chosen; at least 1."""
    draw = np.random.default_rng(0)
    features = draw.normal(size=(5000, 10))
    target = features[:, 0] + draw.normal(size=5000) > 0
    model = catboost.CatBoostClassifier(
        iterations=200, thread_count=2, verbose=False, allow_writing_files=False
    )
    return max(1.0, _quickest(lambda: model.fit(features, target)) / ORDINARY)


def products_in(seconds: float, manifest: Manifest, width: int) -> int:
    """Matrix products of a made-up version (`sleeps`) that take it so long here."""
    tried = 10
    engine = Engine(manifest, graph_of(1, manifest, sleeps=tried, width=width))
    inputs = engine.inputs(feeds_from_rows(manifest.schema, [row_of(TRIGGER)]))
    return round(seconds * tried / _quickest(lambda: engine.run(inputs)))


def _quickest(work: Callable[[], object]) -> float:
    took = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)
