"""Honest splits: nothing is on both sides, and what was sealed stays sealed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.errors import DataError
from modelwright.data.fingerprint import row_hashes
from modelwright.data.split import (
    folds,
    group_holdout,
    parted,
    random_holdout,
    stratified_holdout,
    time_holdout,
)


def hashes(rows: int, seed: int = 0) -> np.ndarray:
    return row_hashes({"a": np.arange(float(rows))}, salt=str(seed))


@given(st.integers(20, 3000), st.floats(0.05, 0.5), st.integers(0, 5))
def test_random_share(rows: int, share: float, seed: int) -> None:
    mask = random_holdout(hashes(rows, seed), share)
    spread = 4 * np.sqrt(rows * share * (1 - share)) + 1
    assert abs(mask.sum() - rows * share) <= spread
    assert 0 < mask.sum() < rows


def test_growing_tables_keep_their_sealed_rows() -> None:
    small, large = random_holdout(hashes(2000), 0.2), random_holdout(hashes(5000), 0.2)
    assert (large[:2000] == small).all()


def test_duplicates_stay_on_one_side() -> None:
    values = np.repeat(np.arange(500.0), 3)
    mask = random_holdout(row_hashes({"a": values}), 0.3).reshape(500, 3)
    assert (mask.all(axis=1) | ~mask.any(axis=1)).all()


def test_each_class_is_on_both_sides() -> None:
    classes = np.array([0] * 2000 + [1] * 40 + [2] * 5 + [3])
    mask = stratified_holdout(hashes(len(classes)), classes, 0.2)
    assert mask[classes == 1].sum() == 8 and mask[classes == 2].sum() == 1
    assert not mask[classes == 3].any()


def test_groups_stay_together() -> None:
    groups = np.random.default_rng(0).integers(0, 40, 1000)
    mask = group_holdout(groups, row_hashes({"g": groups.astype(float)}), 0.25)
    sides = [set(mask[groups == g].tolist()) for g in range(40)]
    assert all(len(side) == 1 for side in sides)
    assert sum(side == {True} for side in sides) == 10
    with pytest.raises(DataError, match="one value"):
        group_holdout(np.zeros(5), hashes(5), 0.2)


def test_the_holdout_is_newer_than_all_training_rows() -> None:
    moments = np.random.default_rng(0).integers(0, 50, 1000)
    mask = time_holdout(moments, 0.2)
    assert moments[mask].min() > moments[~mask].max()
    with pytest.raises(DataError, match="one value"):
        time_holdout(np.ones(5), 0.2)


@pytest.mark.parametrize("count", [2, 5])
def test_folds_are_a_partition(count: int) -> None:
    classes = np.array([0] * 90 + [1] * 10)
    cuts = list(folds(count, 100, 0, classes=classes, groups=None, ordered=False))
    assert sorted(np.concatenate([valid for _, valid in cuts])) == list(range(100))
    for train, valid in cuts:
        assert not set(train) & set(valid)
        assert classes[valid].sum() == 10 // count


def test_ordered_folds_learn_from_the_past_only() -> None:
    cuts = list(folds(4, 100, 0, classes=None, groups=None, ordered=True))
    assert len(cuts) == 4 and cuts[-1][1][-1] == 99
    for train, valid in cuts:
        assert train.max() < valid.min() and len(train) >= 20


def test_grouped_folds_keep_groups_whole() -> None:
    groups = np.repeat(np.arange(25), 4)
    for train, valid in folds(5, 100, 0, classes=None, groups=groups, ordered=False):
        assert not set(groups[train]) & set(groups[valid])


@pytest.mark.parametrize("values", [1, 2, 6, 40])
def test_small_domains_are_parted_at_about_the_share(values: int) -> None:
    rng = np.random.default_rng(values)
    column = rng.integers(0, values, 3000).astype(float)
    y = rng.integers(0, 2, 3000)
    hashes = parted(row_hashes({"a": column}), y)
    assert abs(random_holdout(hashes, 0.2).mean() - 0.2) < 0.04
    assert abs(stratified_holdout(hashes, y, 0.2).mean() - 0.2) < 0.04
    order = rng.permutation(3000)
    again = parted(row_hashes({"a": column[order]}), y[order])
    assert sorted(again) == sorted(hashes)


def test_ties_in_time_go_to_the_nearer_side() -> None:
    moments = np.array([2019] * 100 + [2020] * 900)
    assert time_holdout(moments, 0.2).mean() == 0.9
    moments = np.array([2018] * 700 + [2019] * 200 + [2020] * 100)
    assert time_holdout(moments, 0.15).mean() == 0.1


def test_fewer_groups_than_folds_leave_no_empty_fold() -> None:
    groups = np.array([0] * 70 + [1] * 20 + [2] * 10)
    cuts = list(folds(3, 100, 0, classes=None, groups=groups, ordered=False))
    assert sorted(len(valid) for _, valid in cuts) == [10, 20, 70]
