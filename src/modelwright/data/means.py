"""Means of the target over the levels of a column, without a row seeing its own."""

from __future__ import annotations

import numpy as np

from modelwright.core.intake import Array


def level_means(codes: Array, targets: Array, size: int, smoothing: float) -> Array:
    """Smoothed mean a level (Micci-Barreca 2001), float64 [size, k].

    Args:
        codes: level a row, 0 to size - 1.
        targets: float64 [rows, k].
        size: how many levels.
        smoothing: rows of the overall mean that are mixed into each level's.
    """
    counts = np.bincount(codes, minlength=size)
    sums = np.stack([np.bincount(codes, t, minlength=size) for t in targets.T], axis=-1)
    return _smoothed(counts, sums, smoothing)


def cross_fitted(
    codes: Array, targets: Array, size: int, *, smoothing: float, folds: int, seed: int
) -> Array:
    """Each row's level mean as the other folds have it, float64 [rows, k]."""
    fold = np.random.default_rng(seed).permutation(len(codes)) % folds
    place = fold * size + codes
    counts = np.bincount(place, minlength=folds * size).reshape(folds, size)
    sums = np.stack(
        [np.bincount(place, t, minlength=folds * size).reshape(folds, size) for t in targets.T],
        axis=-1,
    )
    means = _smoothed(counts.sum(axis=0) - counts, sums.sum(axis=0) - sums, smoothing)
    return np.asarray(means.reshape(folds * size, -1)[place])


def _smoothed(counts: Array, sums: Array, smoothing: float) -> Array:
    """Sums [..., size, k] over counts [..., size], each drawn towards the mean of all levels."""
    overall = sums.sum(axis=-2, keepdims=True) / counts.sum(axis=-1)[..., None, None]
    return np.asarray((sums + smoothing * overall) / (counts[..., None] + smoothing))
