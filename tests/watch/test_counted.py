"""Counts: they add up in any order, and correlations are those of the rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.errors import DataError
from modelwright.watch.counted import (
    Joint,
    Spread,
    category_counts,
    from_json,
    number_counts,
    spread_of,
    to_json,
    total,
)
from modelwright.watch.drift import judge
from watch import frames


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 399), st.permutations(range(3)))
def test_counts_add_up_in_any_order(seed: int, at: int, order: list[int]) -> None:
    table = frames.drawn(np.random.default_rng(seed), 400)
    parts = [
        {name: values[a:b] for name, values in table.items()}
        for a, b in ((0, at // 2), (at // 2, at), (at, 400))
    ]
    whole, added = frames.counted(table), total([frames.counted(parts[i]) for i in order])
    for name, counts in whole.columns.items():
        other = added.columns[name]
        assert (counts.bins == other.bins).all()
        assert (counts.missing, counts.far, counts.unseen) == (
            other.missing,
            other.far,
            other.unseen,
        )
    assert whole.joint is not None
    assert added.joint is not None
    assert (whole.joint.products == added.joint.products).all()
    rest = added - frames.counted(parts[0])
    assert rest.rows == 400 - at // 2


def test_correlations_and_their_spread_are_those_of_numpy_and_of_resamples() -> None:
    rng = np.random.default_rng(0)
    z = frames.scores(frames.drawn(rng, 5000))
    joint = Joint(tuple("abcd"), len(z), z.sum(axis=0), z.T @ z)
    r = joint.correlations()
    assert r == pytest.approx(np.corrcoef(z.T), abs=1e-9)
    draws = [np.corrcoef(z[rng.integers(0, 5000, 1000)].T) for _ in range(300)]
    expected = np.std(draws, axis=0) * np.sqrt(1000)
    off = ~np.eye(4, dtype=bool)
    assert spread_of(z).one_row[off] == pytest.approx(expected[off], rel=0.2)


def test_a_constant_has_no_correlation() -> None:
    z = np.stack([np.ones(50), np.arange(50)], axis=1).astype(np.int64)
    joint = Joint(("a", "b"), 50, z.sum(axis=0), z.T @ z)
    assert joint.correlations()[0, 1] == 0
    assert np.isfinite(spread_of(z, sizes=(10,)).inflation[10])


def test_the_inflation_is_that_of_the_next_smaller_size() -> None:
    spread = Spread(np.zeros((1, 1)), {200: 1.5, 1000: 1.1})
    assert [spread.widened(n) for n in (50, 200, 999, 1000, 10**6)] == [1.5, 1.5, 1.5, 1.1, 1.1]
    assert Spread(np.zeros((1, 1))).widened(10) == 1


def test_what_can_not_be_added_is_refused() -> None:
    one = Joint(("a",), 1, np.zeros(1), np.zeros((1, 1)))
    with pytest.raises(DataError, match="different columns"):
        one + Joint(("b",), 1, np.zeros(1), np.zeros((1, 1)))
    with pytest.raises(DataError, match="nothing to add"):
        total([])


def test_a_stored_reference_judges_alike() -> None:
    rng = np.random.default_rng(5)
    reference = frames.referenced(frames.drawn(rng, 5000), first=("a",))
    again = from_json(to_json(reference))
    table = frames.drawn(rng, 1000)
    table["a"] += 0.5
    window = frames.counted(table)
    assert judge(window, again) == judge(window, reference)
    assert judge(window, again).alarms
    assert to_json(again) == to_json(reference)
    for broken in (b"{}", b'{"kinds": 1}'):
        with pytest.raises(DataError, match="no stored reference"):
            from_json(broken)


def test_cells_of_a_minute_keep_their_rows_and_add_up() -> None:
    rng = np.random.default_rng(6)
    first, second = rng.integers(0, 9, (2, 68))
    for of in (number_counts, category_counts):
        both = of(first) + of(second)
        whole = of(first + second)
        assert both.rows == whole.rows == first.sum() + second.sum()
        assert (both.bins == whole.bins).all()
    assert number_counts(first).far == first[66]
    alone = category_counts(first, alone=4)
    assert (alone.new, alone.rows) == (first[66] + 4, first.sum())
