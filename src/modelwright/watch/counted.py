"""What drift is judged on: counts over fixed edges, of a window and of the reference.

Counts add up exactly, over replicas and over minutes, and take the same memory for any number of
rows. Everything here is arrays of int64 and plain numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import msgspec
import numpy as np
from scipy.special import ndtri

from modelwright.core.errors import DataError
from modelwright.core.intake import Array

PAIRED_RESAMPLES = 200
NEVER = 1e9
"""Spread of a column's correlation with itself: it can not change."""


@dataclass(frozen=True)
class Counts:
    """One column in one window.

    Attributes:
        bins: [b] int64. Numbers: below, the bins between the edges, above, in order of value.
            Categories: the levels of the reference, and the rest of what it has seen.
        missing: rows without a value.
        far: numbers far beyond all that the reference holds; they are in `bins` as well.
        unseen: categories that the reference never saw; not in `bins`.
        alone: of a reference, rows whose category no other row has: so many would be new to the
            others, and so many are to be expected in a window (Good 1953). They are in `bins`.
    """

    bins: Array
    missing: int = 0
    far: int = 0
    unseen: int = 0
    alone: int = 0

    @property
    def new(self) -> int:
        """Rows with a category that is new: unseen ones, or those of a reference that would be."""
        return self.unseen + self.alone

    @property
    def rows(self) -> int:
        """All rows."""
        return int(self.bins.sum()) + self.missing + self.unseen

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.bins + other.bins,
            self.missing + other.missing,
            self.far + other.far,
            self.unseen + other.unseen,
            self.alone + other.alone,
        )

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            self.bins - other.bins,
            self.missing - other.missing,
            self.far - other.far,
            self.unseen - other.unseen,
            self.alone - other.alone,
        )


def number_counts(cells: Array) -> Counts:
    """Counts of a number from a minute's cells: bins, then below, above, far out, missing.

    A far-out value counts as above: cells do not say on which side it was.

    Example:
        >>> number_counts(np.array([5, 6, 1, 2, 3, 4])).bins.tolist()
        [1, 5, 6, 5]
    """
    below, above, far, missing = (int(cell) for cell in cells[-4:])
    return Counts(np.concatenate([[below], cells[:-4], [above + far]]), missing, far)


def category_counts(cells: Array, alone: int = 0) -> Counts:
    """Counts of a category from a minute's cells: levels, then other, unseen, missing.

    Args:
        cells: int64.
        alone: of a reference: its rows whose category no other row has, see `Counts`.

    Example:
        >>> category_counts(np.array([5, 6, 1, 2, 3])).rows
        17
    """
    unseen, missing = int(cells[-2]), int(cells[-1])
    return Counts(cells[:-2], missing, 0, unseen, alone)


@dataclass(frozen=True)
class Joint:
    """Sums [c] and cross products [c, c] of one bounded score a column, over `rows` rows."""

    names: tuple[str, ...]
    rows: int
    sums: Array
    products: Array

    def __add__(self, other: Joint) -> Joint:
        if self.names != other.names:
            raise DataError(
                "Cross products of different columns can not be added.", hint="Count them anew."
            )
        sums, products = self.sums + other.sums, self.products + other.products
        return Joint(self.names, self.rows + other.rows, sums, products)

    def __sub__(self, other: Joint) -> Joint:
        sums, products = self.sums - other.sums, self.products - other.products
        return Joint(self.names, self.rows - other.rows, sums, products)

    def correlations(self) -> Array:
        """[c, c]; 0 for a column that does not vary.

        Example:
            >>> scores = np.array([[1, 2], [2, 4], [3, 6]])
            >>> joint = Joint(("a", "b"), 3, scores.sum(0), scores.T @ scores)
            >>> joint.correlations().round(6).tolist()
            [[1.0, 1.0], [1.0, 1.0]]
        """
        rows = max(1, self.rows)
        mean = self.sums / rows
        covariance = self.products / rows - np.outer(mean, mean)
        spread = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        scale = np.outer(spread, spread)
        found: Array = np.where(scale > 1e-12, covariance / np.maximum(scale, 1e-12), 0.0)
        return np.clip(found, -1.0, 1.0)


@dataclass(frozen=True)
class Frame:
    """All columns of one window, or of one block of the reference."""

    columns: dict[str, Counts]
    joint: Joint | None = None

    @property
    def rows(self) -> int:
        """Rows of the fullest column."""
        return max((counts.rows for counts in self.columns.values()), default=0)

    def __add__(self, other: Frame) -> Frame:
        columns = {name: self.columns[name] + other.columns[name] for name in self.columns}
        if self.joint is None or other.joint is None:
            return Frame(columns)
        return Frame(columns, self.joint + other.joint)

    def __sub__(self, other: Frame) -> Frame:
        columns = {name: self.columns[name] - other.columns[name] for name in self.columns}
        if self.joint is None or other.joint is None:
            return Frame(columns)
        return Frame(columns, self.joint - other.joint)


@dataclass(frozen=True)
class Spread:
    """How far correlations of `n` rows scatter: `one_row` / sqrt(n), [c, c].

    `inflation`: rows -> by how much the largest standardised change of that many rows of the
    reference exceeded what the normal law allows.
    """

    one_row: Array
    inflation: dict[int, float] = field(default_factory=dict)

    def widened(self, rows: int) -> float:
        """The inflation of windows of this size: that of the next smaller size known."""
        if not self.inflation:
            return 1.0
        smaller = [size for size in self.inflation if size <= rows]
        return self.inflation[max(smaller) if smaller else min(self.inflation)]


@dataclass(frozen=True)
class Reference:
    """What windows are held against.

    Attributes:
        kinds: column -> "number" or "category".
        blocks: the reference in order of time, cut into stretches of about a thousand rows. With
            fewer than four nothing is known of how much it changes by itself.
        spread: of its correlations (`spread_of`).
        first: columns that are reported first: score and predicted class.
        levels: column -> names of its bins, to say what there is more of.
    """

    kinds: dict[str, Literal["number", "category"]]
    blocks: tuple[Frame, ...]
    spread: Spread | None = None
    first: tuple[str, ...] = ()
    levels: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def whole(self) -> Frame:
        """All of it."""
        return total(self.blocks)


def total(frames: Sequence[Frame]) -> Frame:
    """The sum of frames.

    Raises:
        DataError: there are none.
    """
    if not frames:
        raise DataError("There is nothing to add up.", hint="A reference has at least one block.")
    found = frames[0]
    for frame in frames[1:]:
        found = found + frame
    return found


def to_json(reference: Reference) -> bytes:
    """The reference as it is stored; counts are whole numbers, so nothing is lost."""
    return msgspec.json.encode(reference, enc_hook=_plain)


def from_json(stored: bytes) -> Reference:
    """The reference that `to_json` wrote.

    Raises:
        DataError: it is something else.
    """
    try:
        return msgspec.json.decode(stored, type=Reference, dec_hook=_array)
    except msgspec.ValidationError as error:
        raise DataError(
            f"This is no stored reference: {error}.", hint="Make it anew from the training data."
        ) from error


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise NotImplementedError(type(value))


def _array(wanted: type, value: object) -> object:
    return np.asarray(value) if wanted == Array else value


def spread_of(scores: Array, *, sizes: Sequence[int] = (200, 1000), seed: int = 0) -> Spread:
    """How far correlations scatter by chance, from the rows of the reference.

    The spread is the influence function's (Devlin, Gnanadesikan, Kettenring 1975), which holds for
    scores of any law. Small windows of skewed scores stray further; resamples say by how much.

    Args:
        scores: [rows, c] bounded scores, as in the cross products.
        sizes: of the windows that are drawn to calibrate.
        seed: of the draws.
    """
    z = scores.astype(np.float64)
    z = z - z.mean(axis=0)
    scale = z.std(axis=0)
    z = np.where(scale > 1e-12, z / np.maximum(scale, 1e-12), 0.0)
    rows, square = len(z), z**2
    r = z.T @ z / rows
    cubed = (z**3).T @ z / rows
    fourth = (square**2).mean(axis=0)
    both = square.T @ square / rows
    variance = both - r * (cubed + cubed.T)
    variance += r**2 / 4 * (fourth[:, None] + fourth[None, :] + 2 * both)
    one_row = np.sqrt(np.maximum(variance, 1e-9))
    np.fill_diagonal(one_row, NEVER)
    return Spread(one_row, {n: _inflation(z, r, one_row, n, seed) for n in sizes if n < rows})


def _inflation(z: Array, r: Array, one_row: Array, size: int, seed: int) -> float:
    """The largest change of resamples over the largest that as many normal ones would show."""
    rng = np.random.default_rng([seed, size])
    largest = []
    for _ in range(PAIRED_RESAMPLES):
        drawn = z[rng.integers(0, len(z), size)]
        joint = Joint((), size, drawn.sum(axis=0), drawn.T @ drawn)
        largest.append(float((np.abs(joint.correlations() - r) / one_row).max()) * np.sqrt(size))
    pairs = max(1, z.shape[1] * (z.shape[1] - 1) // 2)
    expected = float(ndtri((1 + 0.99 ** (1 / pairs)) / 2))
    return max(1.0, float(np.quantile(largest, 0.99)) / expected)
