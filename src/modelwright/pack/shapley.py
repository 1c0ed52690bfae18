"""Shapley values by sampled orders of the columns: what each adds when it joins those before it.

Strumbelj and Kononenko, Explaining prediction models and individual predictions with feature
contributions (2014). The model's release report and the server's `explain` both count on it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelwright.core.intake import Array, Feeds


def joined(own: Feeds, other: Feeds, names: Sequence[str], order: Array) -> Feeds:
    """Rows between the reference and the row itself: in step k the first k columns of an order
    have joined.

    Args:
        own: the rows.
        other: as many reference rows, or one for all.
        names: the columns that join; others of `own` are as they are.
        order: a permutation of `range(len(names))`.

    Returns:
        `(len(names) + 1) * rows` rows, step after step: one run of the model answers all.

    Example:
        >>> own = {"a": np.array([1.0]), "b": np.array([2.0])}
        >>> joined(own, {"a": np.zeros(1), "b": np.zeros(1)}, ["a", "b"], np.array([1, 0]))
        {'a': array([0., 0., 1.]), 'b': array([0., 2., 2.])}
    """
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(len(names))
    steps = np.arange(len(names) + 1)
    mixed = {}
    for name, values in own.items():
        if name in other and name in names:
            has_joined = (steps > place[names.index(name)])[:, None]
            mixed[name] = np.where(has_joined, values[None, :], other[name][None, :]).reshape(-1)
        else:
            mixed[name] = np.tile(values, len(steps))
    return mixed


def gains(answers: Array, order: Array) -> Array:
    """What each column added, [columns, rows], out of the answers to all steps, [steps, rows]."""
    gained = np.diff(answers, axis=0)
    found = np.empty_like(gained)
    found[order] = gained
    return np.asarray(found)
