"""What a trained model computes, in a neutral form: numbers only, no library.

Families describe themselves in these terms; `pack.convert` is the only reader. Everything is in
float64, as the libraries compute it, so that the ONNX graph can be exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from modelwright.core.intake import Array

Link = Literal["identity", "sigmoid", "softmax"]


def usual_link(classes: int) -> Link:
    """The link of models that score one output for two classes, and one a class for more.

    Example:
        >>> usual_link(1), usual_link(2), usual_link(3)
        ('identity', 'sigmoid', 'softmax')
    """
    if classes == 1:
        return "identity"
    return "sigmoid" if classes == 2 else "softmax"


@dataclass(frozen=True)
class Affine:
    """``link(x @ coefficients + intercept)``.

    Attributes:
        coefficients: float64 [features, outputs]; one output for sigmoid and identity.
        intercept: float64 [outputs].
    """

    coefficients: Array
    intercept: Array
    link: Link


@dataclass(frozen=True)
class Forest:
    """``link(scale * sum of one leaf a tree + intercept)``.

    A row goes left when ``x[feature] <= threshold``, or when it is NaN and `nan_left`. Children
    of zero or more are nodes; ``~child`` is a leaf.

    Attributes:
        feature, threshold, nan_left, left, right: one entry a node.
        roots: entry of each tree: a node, or ``~leaf`` for a tree without splits.
        tree_output: which output each tree adds to; None when leaves hold all outputs.
        leaves: float64 [leaves, 1], or [leaves, outputs] when `tree_output` is None.
        intercept: float64 [outputs].
    """

    feature: Array
    threshold: Array
    nan_left: Array
    left: Array
    right: Array
    roots: Array
    tree_output: Array | None
    leaves: Array
    intercept: Array
    link: Link

    @property
    def outputs(self) -> int:
        """How many raw scores a row gets."""
        return len(self.intercept)


Decision = Affine | Forest


@dataclass
class ForestBuilder:
    """Collects nodes and leaves tree by tree."""

    feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    nan_left: list[bool] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)
    tree_output: list[int] = field(default_factory=list)
    leaves: list[Sequence[float]] = field(default_factory=list)

    def node(self, feature: int, threshold: float, nan_left: bool) -> int:
        """Add a split whose children are filled in later; returns its number."""
        self.feature.append(feature)
        self.threshold.append(threshold)
        self.nan_left.append(nan_left)
        self.left.append(0)
        self.right.append(0)
        return len(self.feature) - 1

    def leaf(self, values: Sequence[float]) -> int:
        """Add a leaf; returns what a parent stores for it."""
        self.leaves.append(values)
        return ~(len(self.leaves) - 1)

    def build(self, intercept: Array, link: Link, *, one_output_a_tree: bool) -> Forest:
        """The finished forest."""
        return Forest(
            np.array(self.feature, np.int64),
            np.array(self.threshold, np.float64),
            np.array(self.nan_left, bool),
            np.array(self.left, np.int64),
            np.array(self.right, np.int64),
            np.array(self.roots, np.int64),
            np.array(self.tree_output, np.int64) if one_output_a_tree else None,
            np.array(self.leaves, np.float64).reshape(len(self.leaves), -1),
            intercept,
            link,
        )
