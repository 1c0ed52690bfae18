"""Bands of curves hold what they are about; a model that ages is seen to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evidences import known_model, known_regression
from modelwright.core.evaluation import Evaluation
from modelwright.core.spec_data import SplitSpec
from modelwright.release.calibration import calibration_curve
from modelwright.release.curves import ageing, curves, days_after_training
from modelwright.release.model_page import ageing_in_words, curves_page

KNOWN = known_model()


def test_curves_lie_within_their_bands() -> None:
    for curve in (*curves(KNOWN), *curves(known_regression())):
        assert len(curve.x) == len(curve.y) == len(curve.low) == len(curve.high)
        inside = [a - 1e-9 <= b <= c + 1e-9 for a, b, c in
                  zip(curve.low, curve.y, curve.high, strict=True)]  # fmt: skip
        assert np.mean(inside) > 0.9, curve.name


def test_a_model_that_ages_is_seen_to() -> None:
    rng = np.random.default_rng(0)
    base = known_regression(ordered=True)
    drift = np.linspace(0, 4, 3000) * rng.normal(size=3000)
    aged = replace(base, holdout=replace(base.holdout, target=base.answers + drift))
    curve = ageing(aged)
    assert list(curve.y) == sorted(curve.y) and curve.low[-1] > curve.high[0]


def test_an_age_is_in_days_where_times_are_known() -> None:
    """2,000 rows to learn from and 3,000 sealed ones, an hour apart."""
    base = known_regression(ordered=True)
    hours = np.arange(5000) * 3_600_000_000
    train, holdout = (
        replace(side, feeds={**side.feeds, "at": at})
        for side, at in ((base.train, hours[:2000]), (base.holdout, hours[2000:]))
    )
    ages = days_after_training(SplitSpec(method="time", by="at"), train, holdout)
    assert ages is not None and (ages[0], ages[-1]) == pytest.approx((1 / 24, 125))
    for other in (SplitSpec(method="time"), SplitSpec(method="time", by="age"), SplitSpec(),
                  SplitSpec(method="time", by="gone")):  # fmt: skip
        assert days_after_training(other, train, holdout) is None
    found = Evaluation("rmse", 3000, curves=(ageing(replace(base, ages=ages)),))
    assert found.curves[0].x == pytest.approx((12.52, 37.52, 62.52, 87.52, 112.52), abs=0.01)
    assert "days after training ends" in curves_page(found)
    assert "112.5 days later" in ageing_in_words(found)
    shares = Evaluation("rmse", 3000, curves=(ageing(base),))
    assert "share of the holdout" in curves_page(shares) and "days" not in ageing_in_words(shares)


def test_an_age_without_both_classes_is_left_out() -> None:
    base = known_model(500, ordered=True)
    y = base.holdout.target.copy()
    y[400:] = 0
    curve = ageing(replace(base, holdout=replace(base.holdout, target=y)))
    assert len(curve.x) == 4 and min(curve.y) > 0


def test_the_calibration_band_of_customers_is_wider() -> None:
    """15 rows of each of 120 customers: taken for 1,800 rows, 85 % of bands held the truth."""
    rng, held = np.random.default_rng(0), {True: 0.0, False: 0.0}
    customer, deviations = np.repeat(np.arange(120), 15), np.linspace(-4, 4, 41)
    weights = np.exp(-(deviations**2) / 2)
    for _ in range(60):
        known, unknown = 1.5 * rng.normal(size=(2, 120))[:, customer]
        known += 0.5 * rng.normal(size=1800)
        true = (rng.random(1800) < 1 / (1 + np.exp(-known - unknown))) * 1.0
        stated = (weights / (1 + np.exp(-known[:, None] - 1.5 * deviations))).sum(1) / weights.sum()
        for together in held:
            found = calibration_curve(stated, true, customer if together else None)
            inside = [a <= b <= c for a, b, c in zip(found.low, found.x, found.high, strict=True)]
            held[together] += float(np.mean(inside)) / 60
    assert held[True] > 0.92 > 0.88 > held[False], held
