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
    overall = targets.mean(axis=0)
    counts = np.bincount(codes, minlength=size)[:, None]
    sums = np.stack([np.bincount(codes, t, minlength=size) for t in targets.T], axis=1)
    return np.asarray((sums + smoothing * overall) / (counts + smoothing))


def cross_fitted(
    codes: Array, targets: Array, size: int, *, smoothing: float, folds: int, seed: int
) -> Array:
    """Each row's level mean as the other folds have it, float64 [rows, k]."""
    fold = np.random.default_rng(seed).permutation(len(codes)) % folds
    out = np.empty((len(codes), targets.shape[1]))
    for number in range(folds):
        inside = fold != number
        means = level_means(codes[inside], targets[inside], size, smoothing)
        out[~inside] = means[codes[~inside]]
    return out
