"""Metrics equal scikit-learn's; intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from modelwright.core.limits import METRICS, QUALITY
from modelwright.fit.score import better, interval, paired_gain, score

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


def classes(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy but calibrated model of a rare class."""
    logit = rng.normal(-1.5, 1.5, rows)
    p = 1 / (1 + np.exp(-logit))
    y = (rng.random(rows) < p).astype(int)
    return y, np.stack([1 - p, p], axis=1)


def values(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Skewed truth, errors that grow with it."""
    y = rng.gamma(3, 2, rows) + 1
    return y, y + rng.normal(0, 0.3, rows) * np.sqrt(y)


@pytest.mark.parametrize("metric", sorted(QUALITY))
def test_intervals_hold_the_true_value_at_their_rate(metric: str) -> None:
    """Truth from 2 million rows; 95 % intervals of 2,000 rows, 600 times: the standard error of the
    rate is .9 %, so 3 points are 2 points of ours and its noise."""
    make = values if METRICS[metric].tasks == ("regression",) else classes
    rng = np.random.default_rng(5)
    truth = score(metric, *make(rng, 2_000_000))
    found = [interval(metric, *make(rng, 2000)) for _ in range(600)]
    held = np.mean([one.low <= truth <= one.high for one in found])
    assert 0.92 <= held <= 0.98, (metric, held)
    above = np.mean([truth > one.high for one in found])
    below = np.mean([truth < one.low for one in found])
    assert max(above, below) <= 0.05, (metric, above, below)


@pytest.mark.parametrize("rows", [2_000, 10_000])
@pytest.mark.parametrize("metric", ["roc_auc", "accuracy", "log_loss", "pr_auc", "f1"])
def test_a_model_below_its_limit_passes_at_most_at_alpha(metric: str, rows: int) -> None:
    """A model that is truly worse than the limit by 2 of its standard errors, 400 times: its bound
    is over the limit less often than 5 %; one exactly at the limit at about 5 %."""
    rng = np.random.default_rng(6)
    truth = score(metric, *classes(rng, 2_000_000))
    sign = 1 if METRICS[metric].better == "higher" else -1
    found = [interval(metric, *classes(rng, rows), confidence=0.9) for _ in range(400)]
    ends = np.array([one.low if sign > 0 else one.high for one in found])
    error = np.std([one.value for one in found])
    assert np.mean(sign * ends > sign * truth) <= 0.05 + 0.035
    assert np.mean(sign * ends > sign * (truth + sign * 2 * error)) <= 0.01


def test_paired_gains_hold_the_true_gain_at_their_rate() -> None:
    rng = np.random.default_rng(7)

    def drawn(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        y, a = classes(rng, rows)
        logit = np.log(a[:, 1] / a[:, 0]) + rng.normal(0, 0.5, rows)
        b = 1 / (1 + np.exp(-logit))
        return y, a, np.stack([1 - b, b], axis=1)

    y, a, b = drawn(2_000_000)
    truth = score("roc_auc", y, a) - score("roc_auc", y, b)
    found = [paired_gain("roc_auc", *drawn(2000)) for _ in range(600)]
    assert 0.92 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.98


@pytest.mark.parametrize("metric", ["roc_auc", "f1", "mcc", "balanced_accuracy", "pr_auc"])
@pytest.mark.parametrize(("rows", "positives"), [(8, 2), (12, 3), (30, 3)])
def test_noise_does_not_beat_a_constant_on_a_handful_of_rows(
    metric: str, rows: int, positives: int
) -> None:
    """Random scores against the dummy, 400 times; alpha is 5 %."""
    rng = np.random.default_rng(9)
    y = (np.arange(rows) < positives).astype(int)
    dummy = np.tile([1 - y.mean(), y.mean()], (rows, 1))
    passed = 0
    for _ in range(400):
        p = rng.random(rows)
        found = paired_gain(metric, y, np.stack([1 - p, p], axis=1), dummy, confidence=0.9)
        passed += found.low > 0
    assert passed <= 400 * 0.05 + 14, passed


def test_perfect_answers_to_a_few_rows_prove_little() -> None:
    y = np.array([0, 0, 1, 1])
    right = np.eye(2)[y]
    for metric in ("mcc", "accuracy", "f1", "roc_auc"):
        assert interval(metric, y, right).low < 0.5, metric
    for metric in ("mae", "rmse", "medae"):
        assert interval(metric, np.array([1.0, 2.0]), np.array([1.0, 2.0])).high == np.inf
    groups = np.repeat([0, 1], 50)
    same = interval("accuracy", np.zeros(100, int), np.tile([1.0, 0.0], (100, 1)), clusters=groups)
    assert same.low < 0.3, "two clusters are two rows"


def test_rows_of_a_group_count_together() -> None:
    rng = np.random.default_rng(8)
    groups = np.repeat(np.arange(100), 20)
    held = {"alone": 0, "together": 0}
    for _ in range(200):
        y = np.zeros(2000)
        v = rng.normal(0, 1, 100)[groups] + rng.normal(0, 1, 2000)
        alone = interval("rmse", y, v)
        together = interval("rmse", y, v, clusters=groups)
        held["alone"] += alone.low <= 2**0.5 <= alone.high
        held["together"] += together.low <= 2**0.5 <= together.high
    assert held["alone"] < 170 < 180 <= held["together"]


def test_paired_gain_is_narrower_than_two_intervals() -> None:
    a = VR
    b = VR + RNG.normal(0, 0.1, 500)
    paired = paired_gain("rmse", YR, a, b)
    assert paired.high - paired.low < 0.25 * (
        interval("rmse", YR, a).high - interval("rmse", YR, a).low
    )
    assert paired_gain("rmse", YR, a, a).high == 0.0
