"""Linear models of scikit-learn: the second baseline, and the best on wide sparse tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge

from modelwright.core.intake import Array
from modelwright.fit.decision import NEVER, Affine, Decision, spread, usual_link
from modelwright.fit.family import FitJob, Fitted, Range
from modelwright.fit.features import Encoding

SPARSE_BELOW = 0.2
"""Share of values that are not zero under which a sparse matrix trains faster."""


class Linear:
    """Logistic regression or ridge on standardised numbers and one-hot categories.

    Prefer it on few rows, many sparse columns, or where every weight must be explained. `C` is
    the inverse strength of the penalty on coefficients (ridge uses alpha = 1 / C): lower is
    simpler. `l1_ratio` above 0 makes it an elastic net, which leaves columns out (Zou and Hastie
    2005), at several times the cost. Source: sklearn.linear_model.
    """

    name = "linear"
    encoding = Encoding(
        numbers="standard", onehot_levels=255, target_means=False, least_rows=5, clip=20.0
    )
    defaults: Mapping[str, Any] = {"C": 1.0, "max_iter": 300}
    presets = ({"C": 0.1}, {"C": 10.0}, {"C": 0.3, "l1_ratio": 0.5, "max_iter": 60})
    space: Mapping[str, Range] = {"C": Range(1e-4, 1e2, log=True)}

    def fit(self, job: FitJob) -> Fitted:
        """Train until convergence or `max_iter`."""
        params = dict(job.params)
        x = (
            sparse.csr_array(job.x)
            if np.count_nonzero(job.x) < SPARSE_BELOW * job.x.size
            else job.x
        )
        if job.task == "regression":
            return FittedLinear(_regression(params, job).fit(x, job.y), 1)
        if params.get("l1_ratio"):
            params.setdefault("solver", "saga")  # the only one for elastic nets
        model = LogisticRegression(random_state=job.seed, **params)
        return FittedLinear(model.fit(x, job.y), job.classes)


def _regression(params: dict[str, Any], job: FitJob) -> Any:
    """Ridge, or an elastic net with the same penalty for the same `C`."""
    strength, mixed = 1.0 / params.pop("C"), params.pop("l1_ratio", 0.0)
    rounds = params.pop("max_iter", 300)
    if mixed:
        return ElasticNet(
            alpha=strength / len(job.y), l1_ratio=mixed, max_iter=10 * rounds,
            random_state=job.seed, **params,
        )  # fmt: skip
    return Ridge(alpha=strength, random_state=job.seed, **params)


@dataclass
class FittedLinear:
    """A fitted estimator of scikit-learn."""

    model: Any
    classes: int
    rounds: int = 0
    settled: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, x: Array) -> Array:
        """Probabilities, or values."""
        if self.classes == 1:
            return np.asarray(self.model.predict(x))
        return spread(self.model.predict_proba(x), self.model.classes_, self.classes)

    def decision(self) -> Decision:
        """Its coefficients, and for a class that no training row has a chance of 0."""
        weights = np.atleast_2d(np.asarray(self.model.coef_, np.float64)).T
        intercept = np.atleast_1d(np.asarray(self.model.intercept_, np.float64))
        if self.classes == 1 or len(self.model.classes_) == self.classes:
            return Affine(weights, intercept, usual_link(self.classes))
        seen = self.model.classes_.tolist()
        if len(seen) == 2:  # one score: that of the second against the first
            weights = np.hstack([np.zeros_like(weights), weights])
            intercept = np.append(0.0, intercept)
        return Affine(
            spread(weights, seen, self.classes),
            spread(intercept, seen, self.classes, NEVER),
            "softmax",
        )
