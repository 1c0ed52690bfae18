"""A small neural network of scikit-learn: smooth where trees are steps, so they blend.

Alone it seldom wins on tables; in a blend it lowered the RMSE of seoul_bike by a tenth and that of
ames by 3 % (`benchmarks/fit/network.py`). Where it is far behind, the search drops it after one
fold.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from modelwright.core.intake import Array
from modelwright.fit.decision import Layers, Stored, rounded, usual_link
from modelwright.fit.family import FitJob, Fitted, Range
from modelwright.fit.features import Encoding
from modelwright.fit.score import score

PATIENCE = 8
"""Epochs without gain before training stops; one sees every row, unlike a booster's round."""
BATCHES = 60
LEAST_BATCH, LARGEST_BATCH = 32, 512


class Network:
    """Two hidden layers of rectified units, trained by Adam (Kingma and Ba 2015).

    Prefer it beside trees where the target moves smoothly with its inputs. `alpha` is the penalty
    on weights: higher is smoother. `learning_rate_init` too high makes it erratic, too low slow.
    `hidden_layer_sizes`: units a layer. `max_iter`: most epochs. `stored`: float16 or int8 keeps
    weights in a quarter or an eighth of the bytes, rounded. Source: sklearn.neural_network.
    """

    name = "network"
    encoding = Encoding(
        numbers="standard", onehot_levels=64, target_means=False, least_rows=5, clip=10.0
    )
    defaults: Mapping[str, Any] = {
        "hidden_layer_sizes": [64, 32], "alpha": 1e-4, "learning_rate_init": 2e-3, "max_iter": 60,
    }  # fmt: skip
    storable = ("float16", "int8")
    presets = (
        {"hidden_layer_sizes": [128, 64], "alpha": 1e-2},
        {"hidden_layer_sizes": [32], "learning_rate_init": 5e-3},
    )
    space: Mapping[str, Range] = {
        "alpha": Range(1e-6, 1.0, log=True),
        "learning_rate_init": Range(3e-4, 2e-2, log=True),
    }

    def fit(self, job: FitJob) -> Fitted:
        """Train epoch by epoch, until the validation rows gain no more."""
        center, scale = (0.0, 1.0) if job.task != "regression" else (
            float(job.y.mean()), float(job.y.std()) or 1.0
        )  # fmt: skip
        y = job.y if job.task != "regression" else (job.y - center) / scale
        model, epochs = _model(job), int(job.params.get("max_iter", 60))
        best, best_loss, best_epoch = None, np.inf, 0
        for epoch in range(1, (job.rounds or epochs) + 1):
            _one_epoch(model, job, y)
            if job.rounds is None and job.x_valid is not None:
                fitted = FittedNetwork(model, job.classes, center, scale, epoch)
                loss = _loss(fitted, job)
                if loss < best_loss:
                    best, best_loss, best_epoch = copy.deepcopy(model), loss, epoch
                if epoch - best_epoch >= min(PATIENCE, job.patience):
                    break
            if job.stop():
                break
        stored = job.params.get("stored", "float64")
        rounds = best_epoch or epoch
        return FittedNetwork(best or model, job.classes, center, scale, rounds, stored)


def _model(job: FitJob) -> MLPClassifier | MLPRegressor:
    params = {k: v for k, v in job.params.items() if k not in ("max_iter", "stored")}
    if job.params.get("stored", "float64") not in ("float64", *Network.storable):
        raise ValueError(f"stored is {job.params['stored']!r}, wanted float64, float16 or int8")
    params["hidden_layer_sizes"] = tuple(np.atleast_1d(params["hidden_layer_sizes"]).tolist())
    batch = int(np.clip(len(job.y) // BATCHES, LEAST_BATCH, LARGEST_BATCH))
    params.setdefault("batch_size", min(batch, len(job.y)))
    made = MLPRegressor if job.task == "regression" else MLPClassifier
    return made(random_state=job.seed, **params)


def _one_epoch(model: Any, job: FitJob, y: Array) -> None:
    if job.task == "regression":
        model.partial_fit(job.x, y)
    else:
        model.partial_fit(job.x, y, classes=np.arange(job.classes))


def _loss(fitted: FittedNetwork, job: FitJob) -> float:
    assert job.x_valid is not None and job.y_valid is not None
    metric = "rmse" if job.task == "regression" else "log_loss"
    found = score(metric, job.y_valid, fitted.answer(job.x_valid))
    return found if np.isfinite(found) else np.inf


@dataclass
class FittedNetwork:
    """A trained network; `center` and `scale` take its values back to the target's scale."""

    model: Any
    classes: int
    center: float
    scale: float
    rounds: int = 0
    stored: Stored = "float64"
    settled: Mapping[str, Any] = field(default_factory=dict)

    def kept_as(self, stored: Stored) -> FittedNetwork:
        """The same network with its weights rounded."""
        return replace(self, stored=stored)

    def answer(self, x: Array) -> Array:
        """Probabilities, or values."""
        if self.stored != "float64":
            return self.decision().answer(x)
        if self.classes == 1:
            return np.asarray(self.model.predict(x) * self.scale + self.center)
        return np.asarray(self.model.predict_proba(x))

    def decision(self) -> Layers:
        """Its layers, the scale of the target inside the last."""
        weights = [np.asarray(w, np.float64) for w in self.model.coefs_]
        biases = [np.asarray(b, np.float64) for b in self.model.intercepts_]
        weights[-1] = weights[-1] * self.scale
        biases[-1] = biases[-1] * self.scale + self.center
        weights = [rounded(w, self.stored) for w in weights]
        further = tuple(zip(weights[1:], biases[1:], strict=True))
        return Layers(weights[0], biases[0], further, usual_link(self.classes), self.stored)
