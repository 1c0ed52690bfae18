"""Few rows, where a derivative is not enough."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.fit.certainty import interval
from modelwright.fit.influence import FEW, influence
from modelwright.fit.score import score


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=5, max_size=40))
def test_average_precision_of_few_rows_is_computed_without_each(
    rows: list[tuple[bool, int]],
) -> None:
    y = np.array([positive for positive, _ in rows], dtype=np.int64)
    if y.sum() < 2:
        return
    chance = np.array([value for _, value in rows]) / 10
    answers = np.c_[1 - chance, chance]
    without = np.array(
        [score("pr_auc", np.delete(y, n), np.delete(answers, n, axis=0)) for n in range(len(y))]
    )
    found = influence("pr_auc", y, answers)
    np.testing.assert_allclose(found, (without.mean() - without) * (len(y) - 1), atol=1e-9)


def test_both_ways_agree_on_many_rows() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(FEW + 1) < 0.3).astype(np.int64)
    chance = np.clip(0.4 * y + 0.6 * rng.random(FEW + 1), 0, 1)
    answers = np.c_[1 - chance, chance]
    many, few = (influence("pr_auc", y[:n], answers[:n]) for n in (FEW + 1, FEW))
    assert many is not None and few is not None
    assert 1.0 <= few.std() / many.std() < 1.15


@pytest.mark.slow
def test_the_interval_of_a_median_error_holds_it() -> None:
    """The median of an exponential distribution is log 2."""
    rng = np.random.default_rng(1)
    for rows in (15, 16, 60):
        found = [
            interval("medae", np.zeros(rows), rng.exponential(size=rows), confidence=0.9)
            for _ in range(2_000)
        ]
        held = np.mean([one.low <= np.log(2) <= one.high for one in found])
        assert abs(held - 0.9) < 0.02
        assert all(one.low <= one.value <= one.high for one in found)
