"""Metrics equal scikit-learn's; intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from modelwright.core.limits import METRICS, QUALITY
from modelwright.fit.certainty import interval
from modelwright.fit.score import better, score

RNG = np.random.default_rng(0)
Y2, P2 = RNG.integers(0, 2, 500), RNG.dirichlet([2, 2], 500).round(2)
Y3, P3 = RNG.integers(0, 3, 500), RNG.dirichlet([2, 2, 2], 500)
YR = RNG.normal(10, 3, 500)
VR = YR + RNG.normal(0, 1, 500)
W = RNG.integers(0, 4, 500).astype(float)


@pytest.mark.parametrize("weights", [None, W])
def test_equal_to_scikit_learn(weights: np.ndarray | None) -> None:
    k = {"sample_weight": weights}
    hard2, hard3 = P2.argmax(axis=1), P3.argmax(axis=1)
    wanted = {
        ("roc_auc", 2): sk.roc_auc_score(Y2, P2[:, 1], **k),
        ("pr_auc", 2): sk.average_precision_score(Y2, P2[:, 1], **k),
        ("accuracy", 3): sk.accuracy_score(Y3, hard3, **k),
        ("balanced_accuracy", 3): sk.balanced_accuracy_score(Y3, hard3, **k),
        ("f1", 2): sk.f1_score(Y2, hard2, **k),
        ("f1_macro", 3): sk.f1_score(Y3, hard3, average="macro", **k),
        ("f1_weighted", 3): sk.f1_score(Y3, hard3, average="weighted", **k),
        ("precision", 2): sk.precision_score(Y2, hard2, **k),
        ("recall", 2): sk.recall_score(Y2, hard2, **k),
        ("mcc", 3): sk.matthews_corrcoef(Y3, hard3, **k),
        ("log_loss", 3): sk.log_loss(Y3, P3, **k),
        ("brier", 2): sk.brier_score_loss(Y2, P2[:, 1], **k),
        ("rmse", 1): sk.root_mean_squared_error(YR, VR, **k),
        ("mae", 1): sk.mean_absolute_error(YR, VR, **k),
        ("medae", 1): sk.median_absolute_error(YR, VR, **k),
        ("r2", 1): sk.r2_score(YR, VR, **k),
        ("mape", 1): sk.mean_absolute_percentage_error(YR, VR, **k),
    }
    given = {1: (YR, VR), 2: (Y2, P2), 3: (Y3, P3)}
    for (metric, classes), value in wanted.items():
        y, answers = given[classes]
        assert score(metric, y, answers, weights) == pytest.approx(value, abs=1e-10), metric
    assert {metric for metric, _ in wanted} == QUALITY
    multi = sk.roc_auc_score(Y3, P3, multi_class="ovr", average="macro")
    assert score("roc_auc", Y3, P3) == pytest.approx(multi)


def test_one_class_only_has_no_roc_auc() -> None:
    assert np.isnan(score("roc_auc", np.zeros(5, int), P2[:5]))
    assert interval("roc_auc", np.zeros(5, int), P2[:5]).low == -np.inf


def test_better_knows_the_direction() -> None:
    assert better("roc_auc", 0.9, 0.8) and better("rmse", 0.8, 0.9)
    assert better("rmse", 1.0, float("nan")) and not better("rmse", float("nan"), 1.0)
    assert METRICS["rmse"].direction == "at_most"
