"""Smaller forests that answer exactly the same: splits that decide nothing are taken out.

Symmetric trees ask the same question on every branch of a level, so many of their branches
contradict what was asked above them, and many of their leaves are empty.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from modelwright.fit.decision import Decision, Forest, Layers

_Bounds = dict[tuple[int, bool], tuple[float | None, float | None]]
"""(feature, missing goes left) -> values lie above the first and at most at the second; None where
no split has told, which also leaves open whether the value is missing."""


def merged(forest: Forest) -> Forest:
    """Take out splits whose outcome is known from the splits above, and splits between equal
    leaves.

    Example:
        >>> same = Forest(np.array([0]), np.array([1.0]), np.array([False]), np.array([~0]),
        ...               np.array([~1]), np.array([0]), np.array([0]), np.ones((2, 1)),
        ...               np.zeros(1), "identity")
        >>> len(merged(same).feature), len(merged(same).leaves)
        (0, 1)
    """
    alias = _decided(forest)
    _join_equal_leaves(forest, alias)
    return _compact(forest, alias)


BYTES = {"float64": 1, "float16": 4, "int8": 8}
"""How many weights are kept in the room of one."""


def smallest(decision: Decision) -> Decision:
    """The same function with as few nodes as can be found."""
    return merged(decision) if isinstance(decision, Forest) else decision


def nodes_of(decision: Decision) -> int:
    """Splits, or weights that are not zero: a size that is the same on every machine."""
    if isinstance(decision, Forest):
        return len(decision.feature)
    own = int(np.count_nonzero(decision.coefficients))
    if isinstance(decision, Layers):
        own += sum(int(np.count_nonzero(weights)) for weights, _ in decision.further)
        own //= BYTES[decision.stored]
    return own


def _followed(child: int, alias: dict[int, int]) -> int:
    while child >= 0 and child in alias:
        child = alias[child]
    return child


def _decided(forest: Forest) -> dict[int, int]:
    """Nodes whose outcome is certain -> the child that is always taken; parents come first.

    Two splits of a feature tell of each other only when they send missing values the same way.
    """
    known: dict[int, _Bounds] = {int(root): {} for root in forest.roots if root >= 0}
    alias: dict[int, int] = {}
    features, thresholds = forest.feature.tolist(), forest.threshold.tolist()
    nan_left, lefts = forest.nan_left.tolist(), forest.left.tolist()
    for node, right in enumerate(forest.right.tolist()):
        if node not in known:
            continue
        bounds, key = known.pop(node), (features[node], nan_left[node])
        low, high = bounds.get(key, (None, None))
        at, left = thresholds[node], lefts[node]
        below, above = high is not None and at >= high, low is not None and at <= low
        if below or above:
            alias[node] = left if below else right
            known[alias[node]] = bounds
            continue
        known[left] = {**bounds, key: (low, at)}
        known[right] = {**bounds, key: (at, high)}
    return alias


def _join_equal_leaves(forest: Forest, alias: dict[int, int]) -> None:
    leaves = forest.leaves
    for node in range(len(forest.feature) - 1, -1, -1):
        if node in alias:
            continue
        left = _followed(int(forest.left[node]), alias)
        right = _followed(int(forest.right[node]), alias)
        if left < 0 and right < 0 and (leaves[~left] == leaves[~right]).all():
            alias[node] = left


def _compact(forest: Forest, alias: dict[int, int]) -> Forest:
    """Number what can still be reached anew, parents before children."""
    nodes: list[int] = []
    leaves: list[int] = []
    left: list[int] = []
    right: list[int] = []

    def place(child: int) -> int:
        child = _followed(child, alias)
        if child < 0:
            leaves.append(~child)
            return ~(len(leaves) - 1)
        nodes.append(child)
        left.append(0)
        right.append(0)
        return len(nodes) - 1

    roots = []
    for root in forest.roots.tolist():
        roots.append(place(root))
        at = roots[-1]
        while 0 <= at < len(nodes):
            left[at] = place(int(forest.left[nodes[at]]))
            right[at] = place(int(forest.right[nodes[at]]))
            at += 1
    kept = np.array(nodes, np.int64)
    return replace(
        forest,
        feature=forest.feature[kept],
        threshold=forest.threshold[kept],
        nan_left=forest.nan_left[kept],
        left=np.array(left, np.int64),
        right=np.array(right, np.int64),
        roots=np.array(roots, np.int64),
        leaves=forest.leaves[np.array(leaves, np.int64)],
    )
