"""The training table cut into folds, each encoded when first asked for."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from modelwright.core.errors import DataError
from modelwright.core.intake import Array, Feeds
from modelwright.core.spec import FitSpec
from modelwright.data.dataset import Dataset
from modelwright.data.split import folds as cuts_of
from modelwright.fit.certainty import Clusters
from modelwright.fit.features import Encoder, Encoding, fit_encoder
from modelwright.fit.in_time import InTime
from modelwright.fit.noise import TIME_BLOCKS

MANY_ROWS = 100_000
FEW_ROWS = 2_000
REPEATS = 3
CACHE_BYTES = 150e6
"""Encoded folds that are kept; making one anew costs a tenth of a second where keeping all would
cost a quarter of a gigabyte (Adult)."""
NEWEST = 2.0
"""Weight of the newest fold where rows are in time order: it is the nearest to production."""


@dataclass(frozen=True)
class Fold:
    """One fold, encoded.

    Attributes:
        rows: places of the validation rows in the training table.
        y, y_valid: targets on their own scale.
    """

    encoder: Encoder
    x: Array
    y: Array
    x_valid: Array
    y_valid: Array
    rows: Array

    @property
    def nbytes(self) -> int:
        """Bytes of its matrices."""
        return self.x.nbytes + self.x_valid.nbytes


@dataclass
class Folds:
    """All folds, those of further repeats after those of the first.

    Attributes:
        count: folds of one repeat.
        repeats: how many times the table is cut anew; more than once on small tables only.
    """

    dataset: Dataset
    count: int
    repeats: int = 1
    _cache: dict[tuple[int, Encoding], Fold] = field(default_factory=dict)
    _locks: dict[tuple[int, Encoding], threading.Lock] = field(
        default_factory=lambda: defaultdict(threading.Lock)
    )

    def __post_init__(self) -> None:
        train, seed = self.dataset.train, self.dataset.record.seed
        classes = train.target if self.dataset.schema.target.levels else None
        if train.groups is not None:
            self.count = min(self.count, len(np.unique(train.groups)))
        if self.dataset.ordered:
            self.repeats = 1
        self.cuts: list[tuple[Array, Array]] = []
        for repeat in range(self.repeats):
            found = cuts_of(
                self.count, train.rows, seed + 1000 * repeat, classes=classes,
                groups=train.groups, ordered=self.dataset.ordered,
            )  # fmt: skip
            good = [cut for cut in found if classes is None or _can_teach(classes, *cut)]
            if repeat and len(good) < self.count:
                self.repeats = repeat
                break
            self.cuts += good
            self.count = len(good)
        if self.count == 0 or (train.groups is not None and self.count < 2):
            raise DataError(
                "The training rows cannot be cut into folds that each hold two classes or groups.",
                hint="Choose another data.split, or a smaller fit.folds.",
            )
        self._tidying = threading.Lock()

    @property
    def weights(self) -> list[float]:
        """Of each fold in a candidate's score."""
        weights = [1.0] * len(self.cuts)
        if self.dataset.ordered:
            weights[-1] = NEWEST
        return weights

    @property
    def name(self) -> str:
        """For the record: how the folds were cut."""
        if self.dataset.ordered:
            return f"{self.count} folds, expanding in time, the newest counts double"
        how = "by group" if self.dataset.train.groups is not None else "shuffled"
        return f"{self.count} folds, {how}" + (
            f", {self.repeats} times for the best" if self.repeats > 1 else ""
        )

    @property
    def growth(self) -> float:
        """Rows of the whole table for one of a fold; 1 where rows are in time order, since its
        first folds are short and what they learn ages."""
        if self.dataset.ordered:
            return 1.0
        return self.dataset.train.rows / float(np.mean([len(rows) for rows, _ in self.cuts]))

    @property
    def widest(self) -> int:
        """Number of a fold that learns from the most rows: in order of time the last one."""
        return self.count - 1 if self.dataset.ordered else 0

    def more_rows(self, number: int) -> float:
        """Rows of the whole table for one that a fold learns from."""
        return self.dataset.train.rows / len(self.cuts[number][0])

    def valid(self, number: int) -> Array:
        """Places of a fold's validation rows."""
        return self.cuts[number][1]

    def training(self, number: int) -> Feeds:
        """Columns of a fold's training rows."""
        return self.dataset.train.take(self.cuts[number][0]).feeds

    def truth(self, number: int) -> Array:
        """Targets of a fold's validation rows."""
        return np.asarray(self.dataset.train.target[self.valid(number)])

    def clusters(self, number: int) -> Array | None:
        """Which validation rows vary together: groups, or blocks of time; None for neither."""
        rows = self.valid(number)
        if self.dataset.train.groups is not None:
            return np.unique(self.dataset.train.groups[rows], return_inverse=True)[1]
        if self.dataset.ordered:
            return time_blocks(len(rows))
        return None

    def together(self, number: int) -> Clusters:
        """The same for what can learn from rows in order of time how far neighbours vary
        together."""
        if self.dataset.train.groups is None and self.dataset.ordered:
            return InTime.of(len(self.valid(number)))
        return self.clusters(number)

    def get(self, number: int, encoding: Encoding) -> Fold:
        """Fold `number` under an encoding; safe to call from several threads."""
        key = (number, encoding)
        with self._locks[key]:
            if key not in self._cache:
                fold = self._encoded(number, encoding)
                with self._tidying:
                    self._make_room(fold.nbytes)
                    self._cache[key] = fold
                return fold
            return self._cache[key]

    def forget(self) -> None:
        """Drop all encoded folds."""
        self._cache.clear()

    def _make_room(self, wanted: int) -> None:
        """Forget the folds that were encoded first."""
        while self._cache and sum(f.nbytes for f in self._cache.values()) + wanted > CACHE_BYTES:
            del self._cache[next(iter(self._cache))]

    def _encoded(self, number: int, encoding: Encoding) -> Fold:
        train_rows, valid_rows = self.cuts[number]
        table, valid = self.dataset.train.take(train_rows), self.dataset.train.take(valid_rows)
        encoder, x = fit_encoder(self.dataset.schema, table, encoding, self.dataset.record.seed)
        x_valid = encoder.transform(valid.feeds)
        return Fold(encoder, x, table.target, x_valid, valid.target, valid_rows)


def time_blocks(rows: int) -> Array:
    """Number of the stretch of time of each row of a table in time order; neighbours vary together.

    Example:
        >>> time_blocks(40)[:6].tolist()
        [0, 0, 1, 1, 2, 2]
    """
    return np.arange(rows) * TIME_BLOCKS // max(1, rows)


def _can_teach(classes: Array, train_rows: Array, valid_rows: Array) -> bool:
    """Whether both sides of a fold have more than one class."""
    sides = (train_rows, valid_rows)
    return all(len(np.unique(classes[rows])) > 1 for rows in sides)


def folds_for(spec: FitSpec, dataset: Dataset) -> Folds:
    """The spec's number of folds, else 5, or 3 on many rows; small tables are cut 3 times."""
    rows = dataset.train.rows
    count = spec.folds or (3 if rows > MANY_ROWS else 5)
    return Folds(dataset, count, REPEATS if rows < FEW_ROWS else 1)
