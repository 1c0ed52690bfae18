"""What a trained model computes, in a neutral form: numbers only, no library.

Families describe themselves in these terms; `pack.convert` is the only reader. Everything is in
float64, as the libraries compute it, so that the ONNX graph can be exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from modelwright.core.intake import Array

Link = Literal["identity", "sigmoid", "softmax"]
NEVER = -1e6
"""Score of a class that cannot be: its share of a softmax is 0 to the last bit."""


def usual_link(classes: int) -> Link:
    """The link of models that score one output for two classes, and one a class for more.

    Example:
        >>> usual_link(1), usual_link(2), usual_link(3)
        ('identity', 'sigmoid', 'softmax')
    """
    if classes == 1:
        return "identity"
    return "sigmoid" if classes == 2 else "softmax"


def spread(values: Array, seen: Sequence[int], classes: int, rest: float = 0.0) -> Array:
    """Values of the classes that were seen [..., seen] as values of all of them [..., classes].

    Example:
        >>> spread(np.array([[1.0, 2.0]]), [0, 2], 3, rest=-5.0)
        array([[ 1., -5.,  2.]])
    """
    found = np.full((*values.shape[:-1], classes), rest)
    found[..., list(seen)] = values
    return found


def link_of(link: Link, scores: Array) -> Array:
    """Raw scores [rows, outputs] to answers: values [rows], or probabilities [rows, classes].

    Example:
        >>> link_of("sigmoid", np.zeros((1, 1)))
        array([[0.5, 0.5]])
    """
    if link == "sigmoid":
        positive = 1 / (1 + np.exp(-np.clip(scores[:, 0], -700, 700)))
        return np.stack([1 - positive, positive], axis=1)
    if link == "softmax":
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    return scores[:, 0] if scores.shape[1] == 1 else scores


def single_finite(x: Array) -> Array:
    """Float32 for libraries that compute in it and refuse infinity; NaN stays.

    Example:
        >>> bool(np.isfinite(single_finite(np.array([[1e300]]))).all())
        True
    """
    most = float(np.finfo(np.float32).max)
    return np.clip(x, -most, most).astype(np.float32)


def before_float32(border: float) -> float:
    """The largest float64 whose float32 is not above `border`.

    Libraries that round their input to float32 and compare it with a float32 border answer alike
    for every input when the float64 input is compared with this number.

    Example:
        >>> t = before_float32(0.5)
        >>> bool(np.float32(t) <= 0.5), bool(np.float32(np.nextafter(t, 1)) <= 0.5)
        (True, False)
    """
    low = np.float32(border)
    with np.errstate(over="ignore"):
        middle = (float(low) + float(np.nextafter(low, np.float32(np.inf)))) / 2
    return middle if np.float32(middle) <= low else float(np.nextafter(middle, -np.inf))


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


Stored = Literal["float64", "float16", "int8"]


def scale_of(weights: Array, stored: Stored) -> Array:
    """The power of two for each column by which weights are divided before they are rounded.

    A power of two, so that dividing and multiplying change no digit: what is stored is then exactly
    what is computed with.
    """
    most = 127.0 if stored == "int8" else 1.0
    largest = np.abs(weights).max(axis=0, initial=0.0)
    with np.errstate(divide="ignore"):
        found = 2.0 ** np.ceil(np.log2(largest / most))
    return np.where(largest > 0, found, 1.0)


def small_of(weights: Array, stored: Stored) -> Array:
    """Weights as they are kept: float16 or int8, to be multiplied with `scale_of`.

    Example:
        >>> small_of(np.array([[0.5], [-1.27]]), "int8").ravel().tolist()
        [32, -81]
    """
    scaled = weights / scale_of(weights, stored)
    if stored == "int8":
        return np.rint(scaled).astype(np.int8)
    return scaled.astype(np.float16 if stored == "float16" else np.float64)


def rounded(weights: Array, stored: Stored) -> Array:
    """The float64 weights that come back from how they are kept."""
    if stored == "float64":
        return weights
    return small_of(weights, stored).astype(np.float64) * scale_of(weights, stored)


@dataclass(frozen=True)
class Layers:
    """``h = max(0, x @ coefficients + intercept)``, then each of the `further` layers; the last
    one is not cut off at 0 but goes through the link.

    Attributes:
        coefficients: float64 [features, units] of the first layer; intercept: float64 [units].
        further: (weights, biases) of the layers after it.
        stored: how weights are kept; they have been `rounded` to that.
    """

    coefficients: Array
    intercept: Array
    further: tuple[tuple[Array, Array], ...]
    link: Link
    stored: Stored = "float64"

    def answer(self, x: Array) -> Array:
        """Values [rows], or probabilities [rows, classes]."""
        at = x @ self.coefficients + self.intercept
        for weights, biases in self.further:
            at = np.maximum(at, 0.0) @ weights + biases
        return link_of(self.link, at)


@dataclass(frozen=True)
class Forest:
    """``link(scale * sum of one leaf a tree + intercept)``.

    A row goes left when ``x[feature] <= threshold``, or when it is NaN and `nan_left`. Children
    of zero or more are nodes; ``~child`` is a leaf.

    A split on a set of levels reads a feature below 0: `-1 - k` is 0 where the category is in
    `subsets[k]`, else 1, and its threshold is 0.5. `pack` gives each set a column of its own.

    Attributes:
        feature, threshold, nan_left, left, right: one entry a node.
        roots: entry of each tree: a node, or ``~leaf`` for a tree without splits.
        tree_output: which output each tree adds to; None when leaves hold all outputs.
        leaves: float64 [leaves, 1], or [leaves, outputs] when `tree_output` is None.
        intercept: float64 [outputs].
        subsets: (feature, its levels as numbers) of each set that a split looks for.
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
    subsets: tuple[tuple[int, tuple[int, ...]], ...] = ()

    @property
    def outputs(self) -> int:
        """How many raw scores a row gets."""
        return len(self.intercept)


Decision = Affine | Layers | Forest


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
    subsets: dict[tuple[int, tuple[int, ...]], int] = field(default_factory=dict)

    def node(self, feature: int, threshold: float, nan_left: bool) -> int:
        """Add a split whose children are filled in later; returns its number."""
        self.feature.append(feature)
        self.threshold.append(threshold)
        self.nan_left.append(nan_left)
        self.left.append(0)
        self.right.append(0)
        return len(self.feature) - 1

    def subset(self, feature: int, levels: Sequence[int]) -> int:
        """Add a split that goes left for a set of levels of a category; returns its number."""
        wanted = (feature, tuple(sorted(levels)))
        return self.node(-1 - self.subsets.setdefault(wanted, len(self.subsets)), 0.5, False)

    def leaf(self, values: Sequence[float]) -> int:
        """Add a leaf; returns what a parent stores for it."""
        self.leaves.append(values)
        return ~(len(self.leaves) - 1)

    def grow(
        self,
        root: Any,
        add: Callable[[Any], int],
        children: Callable[[Any], tuple[Any, Any] | None],
    ) -> int:
        """Copy a tree of any library without recursion, since trees can be deeper than the stack.

        Args:
            root: the library's root node.
            add: adds one node or leaf of the library and returns its number.
            children: (left, right) of a node; None of a leaf.
        """
        number = add(root)
        waiting = [(number, root)]
        while waiting:
            parent, node = waiting.pop()
            sides = children(node)
            if sides is None:
                continue
            self.left[parent], self.right[parent] = map(add, sides)
            waiting += [(self.left[parent], sides[0]), (self.right[parent], sides[1])]
        return number

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
            tuple(self.subsets),
        )
