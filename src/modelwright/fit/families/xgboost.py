"""XGBoost: depth-wise boosted trees on histograms."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xgboost as xgb

from modelwright.core.intake import Array
from modelwright.fit.decision import (
    Decision,
    ForestBuilder,
    before_float32,
    link_of,
    single_finite,
    usual_link,
)
from modelwright.fit.family import FitJob, Fitted, Range, rounds_of
from modelwright.fit.features import Encoding

MOST_ROUNDS = 2000
ROUNDS = ("n_estimators", "num_boost_round")


class XGBoost:
    """Depth-wise boosted trees. Prefer it as one voice of an ensemble, beside LightGBM's leaf-wise
    and CatBoost's symmetric trees.

    `max_depth` and `min_child_weight` set how fine a tree may get, `learning_rate` how much each
    tree adds. Source: Chen and Guestrin 2016; parameter names as in XGBoost's documentation.
    """

    name = "xgboost"
    encoding = Encoding()
    defaults: Mapping[str, Any] = {"learning_rate": 0.1, "max_depth": 6}
    presets = (
        {"learning_rate": 0.06, "max_depth": 5, "min_child_weight": 4.0, "subsample": 0.8,
         "colsample_bytree": 0.6, "reg_lambda": 3.0},
        {"learning_rate": 0.06, "max_depth": 9, "min_child_weight": 2.0, "subsample": 0.7,
         "colsample_bytree": 0.5, "reg_lambda": 2.0},
    )  # fmt: skip
    monotone = True
    boosted = True
    soft = ("binary", "regression")
    space: Mapping[str, Range] = {
        "learning_rate": Range(0.03, 0.2, log=True),
        "max_depth": Range(3, 10, integer=True),
        "min_child_weight": Range(0.5, 50.0, log=True),
        "subsample": Range(0.5, 1.0),
        "colsample_bytree": Range(0.3, 1.0),
        "reg_lambda": Range(0.1, 30.0, log=True),
        "reg_alpha": Range(1e-3, 10.0, log=True),
    }

    def fit(self, job: FitJob) -> Fitted:
        """Boost until the validation loss stops falling, or for exactly `job.rounds`."""
        objective = {"binary": "binary:logistic", "multiclass": "multi:softprob"}
        given, most = rounds_of(job, ROUNDS, MOST_ROUNDS)
        params: dict[str, Any] = {
            "objective": objective.get(job.task, "reg:squarederror"),
            "tree_method": "hist",
            "seed": job.seed,
            "nthread": job.threads,
            "verbosity": 0,
            **given,
        }
        if job.task == "multiclass":
            params["num_class"] = job.classes
        if any(job.monotone):
            params["monotone_constraints"] = tuple(job.monotone)
        train = xgb.DMatrix(single_finite(job.x), job.y, nthread=job.threads)
        early: dict[str, Any] = {}
        if job.x_valid is not None and job.rounds is None:
            valid = xgb.DMatrix(single_finite(job.x_valid), job.y_valid, nthread=job.threads)
            early = {"evals": [(valid, "valid")], "early_stopping_rounds": job.patience}
        try:
            booster = xgb.train(
                params, train, most, verbose_eval=False,
                callbacks=[_Asking(job.stop)], **early,
            )  # fmt: skip
        except xgb.core.XGBoostError as error:
            raise ValueError(str(error).strip().splitlines()[-1][:200]) from error
        best = booster.attr("best_iteration")  # absent when stopped in the first round
        rounds = int(best) + 1 if early and best else booster.num_boosted_rounds()
        return FittedXGBoost(booster, rounds, job.classes, {})


class _Asking(xgb.callback.TrainingCallback):
    """Ends training at the end of a round when it is asked to."""

    def __init__(self, asked: Callable[[], bool]) -> None:
        super().__init__()
        self._asked = asked

    def after_iteration(self, _model: Any, _epoch: int, _evals: Any) -> bool:
        """XGBoost stops when this is true."""
        return self._asked()


@dataclass
class FittedXGBoost:
    """A booster. Its leaves are found by the library and added up in float64, where the library
    would add in float32."""

    booster: Any
    rounds: int
    classes: int
    settled: Mapping[str, Any]

    def answer(self, x: Array) -> Array:
        """Probabilities, or values."""
        data = xgb.DMatrix(single_finite(x), nthread=1)
        found = self.booster[: self.rounds].predict(data, pred_leaf=True)
        leaves = np.asarray(found, np.int64).reshape(len(x), -1)
        trees, intercept = self._trees
        scores = np.tile(intercept, (len(x), 1))
        for number, tree in enumerate(trees):
            values = np.array(tree["split_conditions"], np.float32).astype(np.float64)
            scores[:, number % len(intercept)] += values[leaves[:, number]]
        return link_of(usual_link(self.classes), scores)

    def decision(self) -> Decision:
        """Its trees; ``x < t`` in float32 becomes ``x <= t'`` in float64."""
        trees, intercept = self._trees
        builder = ForestBuilder()
        for number, tree in enumerate(trees):
            builder.tree_output.append(number % len(intercept))
            builder.roots.append(_grow(builder, tree))
        return builder.build(intercept, usual_link(self.classes), one_output_a_tree=True)

    @cached_property
    def _trees(self) -> tuple[list[dict[str, Any]], Array]:
        """The trees as XGBoost saves them, and where their sum starts, one value an output."""
        learner = json.loads(self.booster[: self.rounds].save_raw("json"))["learner"]
        text = learner["learner_model_param"]["base_score"].strip("[]")
        base = np.array([float(part) for part in text.split(",")])
        if self.classes == 2:
            base = np.log(base / (1 - base))
        outputs = self.classes if self.classes > 2 else 1
        return learner["gradient_booster"]["model"]["trees"], np.resize(base, outputs)


def _grow(builder: ForestBuilder, tree: dict[str, Any]) -> int:
    left, right = tree["left_children"], tree["right_children"]
    values = np.array(tree["split_conditions"], np.float32)

    def add(node: int) -> int:
        if left[node] < 0:
            return builder.leaf([float(values[node])])
        border = float(np.nextafter(values[node], np.float32(-np.inf)))
        return builder.node(
            tree["split_indices"][node], before_float32(border), bool(tree["default_left"][node])
        )

    return builder.grow(0, add, lambda node: None if left[node] < 0 else (left[node], right[node]))
