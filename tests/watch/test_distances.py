"""Distances: against scipy's own tests, and levels by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modelwright.watch import distances
from modelwright.watch.counted import Joint, spread_of

cells = st.lists(st.integers(0, 400), min_size=2, max_size=12)


@settings(max_examples=60, deadline=None)
@given(cells, st.data())
def test_distances_are_between_0_and_1_and_0_for_the_same(
    first: list[int], data: st.DataObject
) -> None:
    same = st.lists(st.integers(0, 400), min_size=len(first), max_size=len(first))
    a, b = np.array(first), np.array(data.draw(same))
    for distance in (distances.numbers, distances.categories):
        found, p = distance(a, b)
        assert 0 <= found <= 1
        assert 0 <= p <= 1
        assert distance(a, a)[0] == 0
        assert found == pytest.approx(distance(b, a)[0])


def test_numbers_are_kolmogorov_smirnov_where_bins_hold_a_value_each() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 50, 3000), rng.integers(3, 53, 4000)
    found, p = distances.numbers(np.bincount(a, minlength=53), np.bincount(b, minlength=53))
    theirs = stats.ks_2samp(a, b, method="asymp")
    assert found == pytest.approx(theirs.statistic)
    assert p == pytest.approx(theirs.pvalue, rel=0.5)


def test_categories_are_chi_square_where_no_cell_is_small() -> None:
    a, b = np.array([300, 400, 300]), np.array([4000, 3500, 3000])
    theirs = stats.chi2_contingency([a, b], correction=False).pvalue
    assert np.log(distances.categories(a, b)[1]) == pytest.approx(np.log(theirs), rel=0.1)


def test_the_tail_of_categories_holds_where_cells_are_small() -> None:
    """At p < .001 plain chi-square is too early by a factor here."""
    rng = np.random.default_rng(1)
    shares = np.r_[0.6, np.full(40, 0.4 / 40)]
    many = rng.multinomial(20_000, shares)
    found = [distances.categories(rng.multinomial(600, shares), many)[1] for _ in range(6000)]
    assert np.mean(np.array(found) < 0.001) <= 0.003


def test_rates_are_fisher() -> None:
    change, p = distances.rates(30, 1000, 300, 20_000)
    assert change == pytest.approx(0.015)
    one_sided = stats.fisher_exact([[30, 970], [300, 19_700]], "greater")[1]
    assert p == pytest.approx(2 * one_sided)
    assert distances.rates(0, 1000, 0, 20_000) == (0.0, 1.0)
    assert distances.rates(0, 1000, 1000, 20_000)[1] < 1e-12
    assert distances.rates(5, 5, 7, 7) == (0.0, 1.0)


def test_rare_events_are_on_the_safe_side() -> None:
    exact = stats.fisher_exact([[6, 994], [3, 18_997]], "greater")[1]
    assert exact <= distances.more_often(6, 1000, 3, 19_000)[1] <= 3 * exact
    assert distances.more_often(0, 1000, 3, 19_000) == (0.0, 1.0)


def test_the_joint_test_holds_its_level_for_skewed_scores() -> None:
    rng = np.random.default_rng(2)

    def drawn(rows: int) -> np.ndarray:
        base = rng.random((rows, 1)) < 0.1
        return np.where(base, 1000, (rng.random((rows, 6)) < 0.05) * 1000).astype(np.int64)

    def joint(z: np.ndarray) -> Joint:
        return Joint(tuple("abcdef"), len(z), z.sum(axis=0), z.T @ z)

    rows = drawn(20_000)
    spread, known = spread_of(rows), joint(rows)
    found = [distances.joint(joint(drawn(200)), known, spread)[1] for _ in range(400)]
    assert np.mean(np.array(found) < 0.01) <= 0.03
    apart = drawn(1000)
    apart[:, 0] = rng.permutation(apart[:, 0])
    change, p, pair = distances.joint(joint(apart), known, spread)
    assert p < 1e-6
    assert change > 0.3
    assert pair[0] == 0


@pytest.mark.parametrize("empty", [np.zeros(4, np.int64)])
def test_nothing_is_no_change(empty: np.ndarray) -> None:
    full = np.array([1, 2, 3, 4])
    assert distances.numbers(empty, full) == (0.0, 1.0)
    assert distances.categories(full, empty) == (0.0, 1.0)
    assert distances.around_share(0, 0).value != 0
    assert distances.around_distance(0.0, 0, 5).low == float("-inf")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_is_scipys(p: list[float]) -> None:
    ours = distances.surely_changed(np.array(p), 0.05)
    theirs = stats.false_discovery_control(p) <= 0.05
    assert (ours == theirs).all() or np.isclose(stats.false_discovery_control(p), 0.05).any()
