"""E-values of two arms are e-values: exactly, by summing over all that can happen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, nchypergeom_fisher

from modelwright.watch.two_arms import TILTS, log_e_of_rate, log_e_values, mixed

sizes = st.integers(1, 40)


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, st.data(), st.floats(-1.5, 1.5), st.floats(0, 2), st.sampled_from([1, -1]))
def test_the_mean_is_one_at_the_boundary_and_below_it_inside(
    many: int, few: int, data: st.DataObject, bound: float, inside: float, side: int
) -> None:
    total = data.draw(st.integers(0, many + few))
    bet = np.array([[bound, bound + side * 0.7]])
    x = np.arange(max(0, total - many), min(total, few) + 1)
    values = np.array([
        np.exp(log_e_values((many, total - k), (few, k), bet)[0]) for k in x.tolist()
    ])  # fmt: skip

    def mean(log_odds: float) -> float:
        law = nchypergeom_fisher(many + few, few, total, np.exp(log_odds))
        return float((law.pmf(x) * values).sum())

    assert mean(bound) == pytest.approx(1, abs=1e-6)
    assert mean(bound - side * inside) <= 1 + 1e-6


def test_an_empty_arm_bets_nothing() -> None:
    bets = np.array([[0.0, 1.0]])
    assert log_e_values((100, 7), (0, 0), bets).tolist() == [0.0]
    assert log_e_values((0, 0), (0, 0), bets).tolist() == [0.0]
    assert log_e_values((100, 0), (30, 0), bets).tolist() == [0.0]


@pytest.mark.parametrize("rate", [0.01, 0.02, 0.3])
def test_a_rate_at_or_above_the_budget_gains_nothing(rate: float) -> None:
    k = np.arange(201)
    values = np.exp([log_e_of_rate(200, int(i), 0.01, TILTS) for i in k])
    assert (binom(200, rate).pmf(k) @ values <= 1 + 1e-9).all()


def test_a_mixture_is_the_mean() -> None:
    assert np.exp(mixed(np.log([1.0, 3.0]))) == pytest.approx(2.0)


def test_a_large_stratum_stays_finite() -> None:
    bets = np.stack([np.full(len(TILTS), 0.05), 0.05 + TILTS], axis=1)
    found = log_e_values((80_000, 40_000), (20_000, 10_000), bets)
    assert np.isfinite(found).all()
    assert (found < 0).all()
