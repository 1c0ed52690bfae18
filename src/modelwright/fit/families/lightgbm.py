"""LightGBM: gradient-boosted trees, fast on large tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

from modelwright.core.intake import Array
from modelwright.fit.decision import Decision, ForestBuilder, link_of, usual_link
from modelwright.fit.family import FitJob, Fitted, Range, rounds_of
from modelwright.fit.features import Encoding

MOST_ROUNDS = 3000
ROUNDS = (
    "num_iterations", "num_iteration", "n_iter", "num_tree", "num_trees", "num_round", "num_rounds",
    "nrounds", "num_boost_round", "n_estimators", "max_iter",
)  # fmt: skip
RARE_CLASSES = 1.0
"""`lambda_l2` for several classes: with none, leaves of a rare class run away after a few rounds
(log loss on Wildlife strikes .763, with it .680)."""


class LightGBM:
    """Leaf-wise boosted trees. Prefer it above some ten thousand rows.

    `num_leaves` and `min_child_samples` set how fine a tree may get, `learning_rate` how much
    each tree adds (lower: more rounds, often better). Source: Ke et al. 2017; parameter names as
    in LightGBM's documentation.
    """

    name = "lightgbm"
    encoding = Encoding()
    defaults: Mapping[str, Any] = {"learning_rate": 0.1, "num_leaves": 31}
    presets = (
        {"learning_rate": 0.05, "num_leaves": 63, "min_child_samples": 20, "feature_fraction": 0.6,
         "bagging_fraction": 0.8, "lambda_l2": 1.0},
        {"learning_rate": 0.05, "num_leaves": 31, "extra_trees": True, "feature_fraction": 0.8,
         "min_child_samples": 5},
        {"learning_rate": 0.04, "num_leaves": 15, "min_child_samples": 60, "feature_fraction": 0.5,
         "bagging_fraction": 0.7, "lambda_l2": 5.0},
    )  # fmt: skip
    monotone = True
    boosted = True
    native = True
    soft = ("binary", "regression", "multiclass")
    space: Mapping[str, Range] = {
        "learning_rate": Range(0.02, 0.2, log=True),
        "num_leaves": Range(7, 127, log=True, integer=True),
        "min_child_samples": Range(5, 200, log=True, integer=True),
        "feature_fraction": Range(0.3, 1.0),
        "bagging_fraction": Range(0.5, 1.0),
        "lambda_l1": Range(1e-3, 10.0, log=True),
        "lambda_l2": Range(1e-3, 30.0, log=True),
    }

    def fit(self, job: FitJob) -> Fitted:
        """Boost until the validation loss stops falling, or for exactly `job.rounds`."""
        objective = {"binary": "binary", "multiclass": "multiclass"}.get(job.task, "regression")
        given, most = rounds_of(job, ROUNDS, MOST_ROUNDS)
        params: dict[str, Any] = {
            "objective": objective,
            "verbose": -1,
            "seed": job.seed,
            "num_threads": job.threads,
            "deterministic": True,
            "force_row_wise": True,
            **given,
        }
        if "bagging_fraction" in params:
            params.setdefault("bagging_freq", 1)
        if job.task == "multiclass":
            params["num_class"] = job.classes
            params.setdefault("lambda_l2", RARE_CLASSES)
        if job.soft and job.task == "binary":
            params["objective"] = "cross_entropy"
        measures = None
        labels = job.y
        if job.soft and job.task == "multiclass":
            params |= {"objective": _towards(job.y), "metric": "None"}
            measures, labels = _log_loss, job.y.argmax(axis=1)
        if any(job.monotone):
            params["monotone_constraints"] = list(job.monotone)
        known = {"categorical_feature": list(job.categories)} if job.categories else {}
        train = lgb.Dataset(job.x, labels, free_raw_data=True, **known)
        callbacks: list[Callable[..., None]] = []
        valid = []
        if job.x_valid is not None and job.rounds is None:
            valid = [lgb.Dataset(job.x_valid, job.y_valid, reference=train)]
            callbacks = [lgb.early_stopping(job.patience, verbose=False)]
        callbacks.append(_asking(job.stop))
        try:
            booster = lgb.train(
                params, train, most, valid_sets=valid, callbacks=callbacks,
                feval=measures,
            )  # fmt: skip
        except lgb.basic.LightGBMError as error:
            raise ValueError(str(error)) from error
        rounds = int(booster.best_iteration)
        if rounds <= 0:
            rounds = booster.current_iteration()
        return FittedLightGBM(booster, rounds, job.classes, {}, raw=measures is not None)


def _towards(chances: Array) -> Callable[[Array, Any], tuple[Array, Array]]:
    """An objective whose least is at given chances of each class (cross entropy)."""
    factor = chances.shape[1] / (chances.shape[1] - 1)

    def objective(raw: Array, _data: Any) -> tuple[Array, Array]:
        p = link_of("softmax", raw)
        return p - chances, factor * p * (1 - p)

    return objective


def _log_loss(raw: Array, data: Any) -> tuple[str, float, bool]:
    """Of the true classes, for early stopping."""
    p = link_of("softmax", raw)[np.arange(len(raw)), data.get_label().astype(int)]
    return "log_loss", float(-np.log(np.maximum(p, 1e-15)).mean()), False


def _asking(asked: Callable[[], bool]) -> Callable[[Any], None]:
    """A callback that ends training at the end of a round when it is asked to."""

    def stop(env: Any) -> None:
        if asked():
            scores = env.evaluation_result_list or []
            raise lgb.callback.EarlyStopException(env.iteration, scores)

    return stop


@dataclass
class FittedLightGBM:
    """A booster; `raw`: it learned by an objective of ours, so its answers are scores."""

    booster: lgb.Booster
    rounds: int
    classes: int
    settled: Mapping[str, Any]
    raw: bool = False

    def answer(self, x: Array) -> Array:
        """Probabilities, or values; on one thread, which is exact and never waits."""
        found = np.asarray(self.booster.predict(x, num_iteration=self.rounds, num_threads=1))
        if self.raw:
            return link_of("softmax", found)
        return np.stack([1 - found, found], axis=1) if self.classes == 2 else found

    def decision(self) -> Decision:
        """Its trees; leaves already hold the learning rate and the initial score."""
        dump = self.booster.dump_model(num_iteration=self.rounds)
        outputs = dump["num_tree_per_iteration"]
        builder = ForestBuilder()
        for number, tree in enumerate(dump["tree_info"]):
            builder.tree_output.append(number % outputs)
            builder.roots.append(_grow(builder, tree["tree_structure"]))
        return builder.build(np.zeros(outputs), usual_link(self.classes), one_output_a_tree=True)


def _grow(builder: ForestBuilder, tree: dict[str, Any]) -> int:
    def add(node: dict[str, Any]) -> int:
        leaf = "leaf_value" in node
        return builder.leaf([node["leaf_value"]]) if leaf else _split(builder, node)

    def children(node: dict[str, Any]) -> tuple[Any, Any] | None:
        return None if "leaf_value" in node else (node["left_child"], node["right_child"])

    return builder.grow(tree, add, children)


def _split(builder: ForestBuilder, node: dict[str, Any]) -> int:
    if node["decision_type"] == "==":  # left for the levels named; missing is a level here
        levels = [int(level) for level in str(node["threshold"]).split("||")]
        return builder.subset(node["split_feature"], levels)
    threshold = flushed(unclamped(float(node["threshold"])))
    # Without missing values in training, LightGBM reads NaN as 0.0 (Tree::NumericalDecision).
    nan_left = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0.0
    return builder.node(node["split_feature"], threshold, bool(nan_left))


ZERO = float(np.float32(1e-35))
"""LightGBM reads a dense value of at most this size as 0.0 (kZeroThreshold in its meta.h)."""


def flushed(threshold: float) -> float:
    """The threshold that decides on raw input as LightGBM does on input with tiny values zeroed.

    Example:
        >>> flushed(0.5), flushed(0.0) == ZERO, flushed(-ZERO) < -ZERO
        (0.5, True, True)
    """
    if 0.0 <= threshold < ZERO:
        return ZERO
    if -ZERO <= threshold < 0.0:
        return float(np.nextafter(-ZERO, -np.inf))
    return threshold


def unclamped(threshold: float) -> float:
    """The threshold in memory; the dump writes infinite ones as 1e300 (Common::AvoidInf).

    Example:
        >>> unclamped(1e300), unclamped(2.5)
        (inf, 2.5)
    """
    return float(np.copysign(np.inf, threshold)) if abs(threshold) >= 1e300 else threshold
