"""The split that keeps the holdout honest, and the folds inside the training part.

A row's side depends on the hash of its content, not on its place in the file. So duplicates of a
row stay on one side, the order of the file does not matter, and rows that were sealed once stay
sealed when the table grows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from modelwright.core.errors import DataError
from modelwright.core.intake import Array
from modelwright.data.fingerprint import Hashes, row_hashes

COMMON = 0.01
EXACT_BELOW = 100
"""A class or table with fewer holdout rows than this is cut at the exact share instead."""


def parted(hashes: Hashes, target: Array) -> Hashes:
    """Let rows part whose features are so common that they are no duplicates but a small domain.

    A hash that more than 1 % of the rows share is mixed with the target and with a count of
    equal rows, which does not depend on the order of the file.

    Example:
        >>> few = np.zeros(500, np.uint64)
        >>> len(np.unique(parted(few, np.arange(500) % 2)))
        500
    """
    _, group, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    common = np.flatnonzero(counts[group] > max(COMMON * len(hashes), 2))
    if not len(common):
        return hashes
    order = common[np.lexsort((target[common], group[common]))]
    same = np.r_[False, (np.diff(group[order]) == 0) & (np.diff(target[order]) == 0)]
    position = np.arange(len(order))
    count = position - np.maximum.accumulate(np.where(same, 0, position))
    out = hashes.copy()
    keys = {
        "row": hashes[order].view(np.int64),
        "target": target[order].astype(np.float64),
        "count": count.astype(np.float64),
    }
    out[order] = row_hashes(keys)
    return out


def random_holdout(hashes: Hashes, share: float) -> Array:
    """Mask of the holdout: the rows whose hash falls in the lowest `share` of its range.

    Args:
        hashes: one per row, from `row_hashes` with the seed as salt.
        share: 0 to 1.
    """
    if len(hashes) * share >= EXACT_BELOW:
        return np.asarray(hashes < np.uint64(share * 2**64))
    wanted = max(1, round(len(hashes) * share))
    return np.asarray(hashes <= np.sort(hashes)[wanted - 1])


def stratified_holdout(hashes: Hashes, classes: Array, share: float) -> Array:
    """Mask of the holdout with `share` of each class; a class with one row stays in training."""
    mask = np.zeros(len(hashes), bool)
    for level in np.unique(classes):
        rows = np.flatnonzero(classes == level)
        if len(rows) > 1:
            mask[rows] = random_holdout(hashes[rows], share)
            if mask[rows].all():
                mask[rows[0]] = False
    return mask


def group_holdout(groups: Array, group_hashes: Hashes, share: float) -> Array:
    """Mask of the holdout; all rows of a group are on one side.

    Args:
        groups: group number a row.
        group_hashes: hash of the group's value a row.

    Raises:
        DataError: fewer than two groups.
    """
    unique, first = np.unique(groups, return_index=True)
    if len(unique) < 2:
        raise DataError("The group column has one value, so it cannot split anything.")
    chosen = unique[random_holdout(group_hashes[first], share)]
    if len(chosen) == len(unique):
        chosen = chosen[:-1]
    return np.asarray(np.isin(groups, chosen))


def time_holdout(moments: Array, share: float) -> Array:
    """Mask of the newest `share` of the rows; equal moments are never parted.

    Raises:
        DataError: one moment only.
    """
    ordered = np.sort(moments)
    if ordered[0] == ordered[-1]:
        raise DataError("The time column has one value, so it cannot split anything.")
    cut = ordered[min(len(ordered) - 1, int(len(ordered) * (1 - share)))]
    masks = [mask for mask in (moments >= cut, moments > cut) if mask.any() and not mask.all()]
    return np.asarray(min(masks, key=lambda mask: abs(mask.mean() - share)))


def folds(
    count: int, rows: int, seed: int, *, classes: Array | None, groups: Array | None, ordered: bool
) -> Iterator[tuple[Array, Array]]:
    """Yield (training rows, validation rows) for each fold.

    Args:
        count: how many folds.
        rows: how many rows the training table has.
        seed: of the shuffling.
        classes: class a row, to spread each class evenly; None for numbers.
        groups: group a row; a group is never in both parts.
        ordered: the rows are in time order: each fold learns from the past only.
    """
    index = np.arange(rows)
    if ordered:
        edges = np.linspace(0, rows, count + 2).astype(int)[1:]
        for start, stop in itertools.pairwise(edges):
            yield index[:start], index[start:stop]
        return
    generator = np.random.default_rng(seed)
    if groups is not None:
        fold = _group_folds(groups, count, generator)
    else:
        shuffled = generator.permutation(rows)
        order = (
            shuffled if classes is None else shuffled[np.argsort(classes[shuffled], kind="stable")]
        )
        fold = np.empty(rows, int)
        fold[order] = index % count
    for number in range(count):
        yield index[fold != number], index[fold == number]


def _group_folds(groups: Array, count: int, generator: np.random.Generator) -> Array:
    """Fold a row: the largest group first, each to the fold with the fewest rows so far."""
    unique, code, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = generator.permutation(len(unique))
    order = order[np.argsort(-sizes[order], kind="stable")]
    filled, fold_of = np.zeros(count), np.empty(len(unique), int)
    for group in order:
        fold_of[group] = filled.argmin()
        filled[fold_of[group]] += sizes[group]
    return np.asarray(fold_of[code])
