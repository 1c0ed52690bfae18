"""Estimates without labels: right where only rows changed, silenced where the concept did."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from modelwright.core.errors import DataError
from modelwright.core.intake import Array
from modelwright.core.records import Interval
from modelwright.watch.estimate import (
    BackTest,
    Calibrator,
    Labelled,
    LossCurve,
    back_test,
    calibrator,
    estimate_accuracy,
    expected_confusion,
    expected_roc_auc,
    from_confusion,
    judged,
    loss_curve,
)


def rows(
    rng: np.random.Generator, many: int, center: float, turn: float = 0.0
) -> tuple[Array, ...]:
    """(overconfident scores, labels); `turn` changes the answers of the same rows."""
    x = center + rng.standard_normal(many)
    labels = (rng.random(many) < 1 / (1 + np.exp(-x - turn))).astype(int)
    return 1 / (1 + np.exp(-3 * x)), labels


def test_under_covariate_shift_it_beats_no_change_and_under_concept_drift_it_is_silent() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rows(rng, 20_000, 0.0)
    made = calibrator(scores, labels)
    constant = float(((scores > 0.5) == labels).mean())
    past: dict[str, list[Labelled]] = {"rows": [], "answers": []}
    for i in range(8):
        for what, center, turn in (("rows", 0.3 * i, 0.0), ("answers", 0.3 * i, -0.6 * i)):
            s, y = rows(rng, 3000, center, turn)
            found = estimate_accuracy(made.probabilities(s), (s > 0.5).astype(int))
            past[what].append(Labelled(found.value, constant, float(((s > 0.5) == y).mean())))
    assert back_test(past["rows"]).trusted
    assert back_test(past["rows"]).estimate < 0.01
    assert not back_test(past["answers"]).trusted
    low = Interval(0.5, 0.48, 0.52)
    assert judged("accuracy", low, 0.8, back_test(past["rows"])).verdict == "fail"
    silenced = judged("accuracy", low, 0.8, back_test(past["answers"]))
    assert (silenced.verdict, silenced.severity) == ("undecided", "info")
    assert "not trusted" in silenced.why


def test_metrics_of_the_expected_matrix_are_those_of_many_drawn_labels() -> None:
    rng = np.random.default_rng(1)
    p = rng.random(20_000)
    predicted, labels = (p > 0.4).astype(int), (rng.random(20_000) < p).astype(int)
    found = from_confusion(expected_confusion(np.stack([1 - p, p], axis=1), predicted))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted), abs=0.01)
    assert found["f1"] == pytest.approx(metrics.f1_score(labels, predicted), abs=0.01)
    assert found["recall"] == pytest.approx(metrics.recall_score(labels, predicted), abs=0.01)
    assert expected_roc_auc(p) == pytest.approx(metrics.roc_auc_score(labels, p), abs=0.01)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 5), st.integers(0, 2**31))
def test_metrics_of_a_counted_matrix_are_scikit_learns(classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, predicted = (np.r_[np.arange(classes), rng.integers(0, classes, 60)] for _ in range(2))
    found = from_confusion(metrics.confusion_matrix(y, predicted))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(y, predicted))
    balanced = metrics.balanced_accuracy_score(y, predicted)
    assert found["balanced_accuracy"] == pytest.approx(balanced)
    if classes == 2:
        assert found["f1"] == pytest.approx(metrics.f1_score(y, predicted))
    else:
        assert found["f1_macro"] == pytest.approx(metrics.f1_score(y, predicted, average="macro"))
    whole = expected_confusion(np.eye(classes)[y], predicted)
    assert (whole == metrics.confusion_matrix(y, predicted)).all()


def test_several_classes_are_calibrated_and_sum_to_one() -> None:
    rng = np.random.default_rng(2)
    true = rng.dirichlet([1, 1, 1], 20_000)
    labels = (true.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    sharp = true**3 / (true**3).sum(axis=1, keepdims=True)
    found = calibrator(sharp, labels).probabilities(sharp)
    assert found.sum(axis=1) == pytest.approx(1)
    predicted = sharp.argmax(axis=1)
    estimated = estimate_accuracy(found, predicted)
    assert estimated.value == pytest.approx((predicted == labels).mean(), abs=0.02)


def test_the_interval_holds_what_chance_does() -> None:
    rng, held = np.random.default_rng(3), 0
    for _ in range(300):
        p = rng.random(200)
        labels = (rng.random(200) < p).astype(int)
        found = estimate_accuracy(np.stack([1 - p, p], axis=1), (p > 0.5).astype(int))
        held += found.low <= ((p > 0.5) == labels).mean() <= found.high
    assert 270 <= held <= 298


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=40))
def test_a_calibrator_rises_and_survives_json(pairs: list[tuple[float, int]]) -> None:
    scores, labels = np.array([s for s, _ in pairs]), np.array([y for _, y in pairs])
    made = calibrator(scores, labels)
    again = msgspec.json.decode(msgspec.json.encode(made), type=Calibrator)
    grid = np.linspace(-0.5, 1.5, 50)
    found = again.probabilities(grid)[:, 1]
    assert (np.diff(found) >= -1e-12).all()
    assert ((found >= -1e-12) & (found <= 1 + 1e-12)).all()
    own = made.probabilities(scores)[:, 1]
    assert own.mean() == pytest.approx(labels.mean(), abs=1e-9)


def test_other_scores_are_refused() -> None:
    made = calibrator(np.array([0.1, 0.9]), np.array([0, 1]))
    with pytest.raises(DataError, match="3 scores a row"):
        made.probabilities(np.zeros((2, 3)))


def test_a_loss_curve_sees_harder_rows() -> None:
    rng = np.random.default_rng(4)

    def drawn(many: int, high: float) -> tuple[Array, Array]:
        predictions = high * rng.random(many)
        return predictions, np.abs(rng.standard_normal(many) * (0.5 + predictions))

    curve = loss_curve(*drawn(5000, 4.0))
    curve = msgspec.json.decode(msgspec.json.encode(curve), type=LossCurve)
    predictions, losses = drawn(5000, 2.0)
    found = curve.estimate(predictions)
    assert found.value == pytest.approx(losses.mean(), rel=0.05)
    held = 0
    for _ in range(100):
        predictions, losses = drawn(5000, 2.0)
        found = loss_curve(*drawn(5000, 4.0)).estimate(predictions)
        held += found.low < losses.mean() < found.high
    assert held >= 85
    assert curve.estimate(np.array([1e9])).value == pytest.approx(curve.losses[-1])


def test_one_prediction_for_all_is_one_mean() -> None:
    curve = loss_curve(np.full(10, 3.0), np.arange(10.0))
    assert curve.estimate(np.array([3.0, 7.0])).value == pytest.approx(4.5)


def test_a_back_test_needs_windows_and_leaves_out_unknown_ones() -> None:
    good = Labelled(0.8, 0.9, 0.8)
    assert not back_test([good] * 3).trusted
    assert back_test([good] * 3 + [Labelled(math.nan, 0.9, 0.8)] * 5).windows == 3
    assert back_test([good] * 20).windows == 8
    assert back_test([]).windows == 0
    assert (
        judged("mae", Interval(2, 1.8, 2.2), 1.0, back_test([good] * 9), higher=False).blocks
        is False
    )
    assert judged("mae", Interval(2, 1.8, 2.2), 1.0, BackTest(0, 0, 0), higher=False).verdict == (
        "undecided"
    )
    fine = judged("accuracy", Interval(0.9, 0.8, 1.0), 0.85, back_test([good] * 9))
    assert fine.verdict == "pass"
