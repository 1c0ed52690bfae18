"""Forests of scikit-learn: averaged trees, extra-randomised and bootstrapped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from modelwright.core.intake import Array
from modelwright.fit.decision import Decision, ForestBuilder, before_float32, single_finite, spread
from modelwright.fit.family import FitJob, Fitted, Range
from modelwright.fit.features import Encoding

TREES_AT_A_TIME = 8
"""Between two looks at the clock."""


class ExtraTrees:
    """Averaged trees with random cuts. Prefer it on small noisy tables, and as a voice of an
    ensemble: it errs differently from boosting.

    `min_samples_leaf` and `max_leaf_nodes` set how fine a tree may get and with it the size of the
    model; `max_features` how many columns a cut may choose from. Source: Geurts et al. 2006.
    """

    name = "extra_trees"
    encoding = Encoding()
    defaults: Mapping[str, Any] = {
        "n_estimators": 80, "min_samples_leaf": 2, "max_features": 0.2, "max_leaf_nodes": 1000,
    }  # fmt: skip
    presets: tuple[Mapping[str, Any], ...] = ({"min_samples_leaf": 1, "max_features": 0.6},)
    monotone = True
    space: Mapping[str, Range] = {
        "min_samples_leaf": Range(1, 40, log=True, integer=True),
        "max_features": Range(0.1, 1.0),
    }
    classifier: Any = ExtraTreesClassifier
    regressor: Any = ExtraTreesRegressor

    def fit(self, job: FitJob) -> Fitted:
        """Grow all trees, or as many as there is time for; they are the same ones either way."""
        made = self.regressor if job.task == "regression" else self.classifier
        cuts = list(job.monotone) if any(job.monotone) else None
        params = {"monotonic_cst": cuts, "n_jobs": job.threads, **job.params}
        model = made(random_state=job.seed, warm_start=True, **params)
        x, wanted, grown = single_finite(job.x), job.rounds or model.n_estimators, 0
        while grown < wanted and not (grown and job.stop()):
            grown = min(wanted, grown + TREES_AT_A_TIME)
            model.set_params(n_estimators=grown).fit(x, job.y)
        return FittedForest(model, job.classes, grown)


class RandomForest(ExtraTrees):
    """Averaged trees on bootstrapped rows. Prefer it where extra trees cut too wildly: few rows,
    strong single columns. Source: Breiman 2001.
    """

    name = "random_forest"
    defaults: Mapping[str, Any] = {
        "n_estimators": 80, "min_samples_leaf": 2, "max_features": 0.33, "max_leaf_nodes": 1000,
    }  # fmt: skip
    presets = ()
    classifier = RandomForestClassifier
    regressor = RandomForestRegressor


@dataclass
class FittedForest:
    """A fitted forest of scikit-learn."""

    model: Any
    classes: int
    rounds: int
    settled: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, x: Array) -> Array:
        """Shares of the classes, or values."""
        self.model.set_params(n_jobs=1)
        if self.classes == 1:
            return np.asarray(self.model.predict(single_finite(x)))
        shares = self.model.predict_proba(single_finite(x))
        return spread(shares, self.model.classes_, self.classes)  # a fold may lack a rare class

    def grown(self, rows: float) -> float:
        """Leaves come with rows, up to `max_leaf_nodes`."""
        leaves = [int(estimator.get_n_leaves()) for estimator in self.model.estimators_]
        most = self.model.max_leaf_nodes or np.inf
        return float(np.mean([max(1.0, min(rows, most / count)) for count in leaves]))

    def decision(self) -> Decision:
        """Its trees, each leaf divided by their number, so that the sum is the mean."""
        count = len(self.model.estimators_)
        builder = ForestBuilder()
        for estimator in self.model.estimators_:
            values = estimator.tree_.value[:, 0, :] / count
            if self.classes > 1:
                values = spread(values, self.model.classes_, self.classes)
            builder.roots.append(_grow(builder, estimator.tree_, values))
            builder.tree_output.append(0)
        one = self.classes == 1
        return builder.build(np.zeros(self.classes), "identity", one_output_a_tree=one)


def _grow(builder: ForestBuilder, tree: Any, values: Array) -> int:
    left, right = tree.children_left, tree.children_right
    limits = np.clip(tree.threshold, np.finfo(np.float32).min, np.finfo(np.float32).max)
    below = limits.astype(np.float32)
    below = np.where(below > limits, np.nextafter(below, np.float32(-np.inf)), below)

    def add(node: int) -> int:
        if left[node] < 0:
            return builder.leaf(values[node].tolist())
        missing = bool(tree.missing_go_to_left[node])
        limit = float(tree.threshold[node])  # infinite where a split parts missing values only
        limit = limit if np.isinf(limit) else before_float32(float(below[node]))
        return builder.node(int(tree.feature[node]), limit, missing)

    return builder.grow(0, add, lambda node: None if left[node] < 0 else (left[node], right[node]))
