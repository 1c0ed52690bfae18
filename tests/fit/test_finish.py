"""The last touches: calibration, thresholds, costs, intervals, transforms."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.errors import UsageError
from modelwright.core.limits import Limit
from modelwright.core.schema import Target
from modelwright.core.spec import FitSpec
from modelwright.fit.finish import (
    best_calibration,
    best_threshold,
    cost_matrix,
    outputs_for,
    reach_of,
)
from modelwright.fit.outputs import Outputs, Transform, is_skewed, transform_for
from modelwright.fit.score import decided, score

RNG = np.random.default_rng(0)
TRUE = RNG.beta(1, 3, 6000)
Y = (RNG.random(6000) < TRUE).astype(np.int64)
BINARY = Target("y", "binary", "string", ("no", "yes"))


def two(p: np.ndarray) -> np.ndarray:
    return np.stack([1 - p, p], axis=1)


def bolder(p: np.ndarray, factor: float) -> np.ndarray:
    logit = np.log(p / (1 - p)) * factor
    return 1 / (1 + np.exp(-logit))


def test_bold_probabilities_are_made_milder() -> None:
    bold = two(np.clip(bolder(TRUE, 3.0), 1e-6, 1 - 1e-6))
    found = best_calibration(Y, bold, curves=False)
    assert found.kind == "temperature" and found.temperature == pytest.approx(3.0, rel=0.15)
    assert score("log_loss", Y, found.apply(bold)) < score("log_loss", Y, bold) - 0.05
    assert score("roc_auc", Y, found.apply(bold)) == pytest.approx(score("roc_auc", Y, bold))


def test_a_bent_curve_needs_the_isotonic_one() -> None:
    bent = two(np.clip(TRUE**3, 1e-6, 1 - 1e-6))
    found = best_calibration(Y, bent, curves=True)
    assert found.kind == "isotonic"
    assert score("log_loss", Y, found.apply(bent)) < score("log_loss", Y, bent) - 0.05
    apart = found.apply(bent)
    assert np.allclose(apart.sum(axis=1), 1) and (apart > 0).all() and (apart < 1).all()
    assert best_calibration(Y, bent, curves=False).kind != "isotonic"


def test_honest_probabilities_stay_as_they_are() -> None:
    assert best_calibration(Y, two(TRUE), curves=True).kind == "none"


@pytest.mark.parametrize("goal", ["f1", "balanced_accuracy", "mcc", "accuracy", "f1_macro"])
def test_the_threshold_is_the_best_of_all(goal: str) -> None:
    found = best_threshold(goal, (), None, Y, TRUE)
    assert found is not None

    def at(threshold: float) -> float:
        labels = Outputs(threshold=threshold).labels(two(TRUE))
        return score(goal, Y, decided(goal, two(TRUE), labels))

    tried = [at(t) for t in np.linspace(0.02, 0.9, 90)]
    assert at(found) >= max(tried) - 0.004


def test_limits_bound_the_threshold() -> None:
    limit = Limit("precision", "at_least", 0.6)
    free, bound = (best_threshold("recall", some, None, Y, TRUE) for some in ((), (limit,)))
    assert free is None and bound is not None  # recall alone would call everything positive
    labels = Outputs(threshold=bound).labels(two(TRUE))
    hard = decided("precision", two(TRUE), labels)
    assert score("precision", Y, hard) >= 0.6 and score("recall", Y, hard) > 0.1
    assert best_threshold("roc_auc", (), None, Y, TRUE) is None


def test_costs_set_the_label() -> None:
    costs = cost_matrix({"yes": {"no": 9.0}, "no": {"yes": 1.0}}, BINARY)
    assert costs is not None and costs.tolist() == [[0, 1], [9, 0]]
    found = best_threshold("roc_auc", (), costs, Y, TRUE)
    assert found == pytest.approx(0.1, abs=0.04)  # 1 / (1 + 9) for honest probabilities
    three = Target("y", "multiclass", "string", ("a", "b", "c"))
    spec = FitSpec(costs={"a": {"b": 5.0}})
    p = RNG.dirichlet([1, 1, 1], 300)
    outputs = outputs_for(spec, "log_loss", (), three, p.argmax(axis=1), p)
    assert msgspec.json.decode(msgspec.json.encode(outputs), type=Outputs) == outputs
    labels = outputs.labels(np.array([[0.3, 0.6, 0.1]]))
    assert labels.tolist() == [0]  # b is likelier, but dear where a is true


def test_unknown_labels_in_costs_are_named() -> None:
    with pytest.raises(UsageError, match=r"fit.costs names 'maybe'.*no, yes"):
        cost_matrix({"maybe": {"no": 1.0}}, BINARY)


@pytest.mark.parametrize("relative", [False, True])
def test_intervals_cover_at_their_level(relative: bool) -> None:
    truth = RNG.gamma(4, 10, 4000) + 5
    noise = RNG.normal(0, 1, 4000) * (truth * 0.1 if relative else 3.0)
    found = reach_of(0.9, truth[:2000] + noise[:2000], truth[:2000])
    assert found.relative == relative
    low, high = found.around(truth[2000:])
    inside = (truth[2000:] + noise[2000:] >= low) & (truth[2000:] + noise[2000:] <= high)
    assert inside.mean() == pytest.approx(0.9, abs=0.025)


@settings(max_examples=200)
@given(
    st.lists(st.floats(0, 1e9), min_size=1, max_size=20), st.sampled_from(["none", "log", "sqrt"])
)
def test_transforms_come_back(values: list[float], kind: str) -> None:
    y = np.array(values)
    found = transform_for(kind, y)
    assert found is not None
    np.testing.assert_allclose(found.back(found.forward(y)), y, rtol=1e-6, atol=1e-6)


def test_transforms_are_finite_everywhere_and_refuse_negative_targets() -> None:
    for kind in ("log", "sqrt"):
        assert transform_for(kind, np.array([-1.0, 2.0])) is None
        assert np.isfinite(Transform(kind, 1.0).back(np.array([-1e9, 0.0, 1e5]))).all()
    assert is_skewed(np.exp(RNG.normal(0, 1, 500))) and not is_skewed(RNG.normal(0, 1, 500))
