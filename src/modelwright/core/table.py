"""A table as the stages pass it on: typed arrays under the caller's column names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from modelwright.core.intake import Array, Feeds


@dataclass(frozen=True)
class Table:
    """Feature columns and, where it is known, the target.

    Attributes:
        feeds: column name -> array of `rows` values, see `core.intake.Feeds`.
        target: class index (int64) or value (float64) a row; empty for an unlabelled table.
        groups: integer group a row, or None; rows of one group stay together in folds.
        file_rows: number of each row in the table that was read, from 0, or None where there was
            none.
    """

    feeds: Feeds
    target: Array
    groups: Array | None = None
    file_rows: Array | None = None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.feeds.values()))) if self.feeds else len(self.target)

    def take(self, index: Array | slice) -> Table:
        """The rows at `index`, in that order.

        Example:
            >>> table = Table({"a": np.array([1.0, 2.0])}, np.array([0, 1]))
            >>> table.take(np.array([1])).feeds
            {'a': array([2.])}
        """
        return Table(
            take_feeds(self.feeds, index),
            self.target[index] if len(self.target) else self.target,
            self.groups[index] if self.groups is not None else None,
            self.file_rows[index] if self.file_rows is not None else None,
        )

    def unlabelled(self) -> Table:
        """The same rows without their target."""
        return Table(self.feeds, np.empty(0), None, self.file_rows)


def take_feeds(feeds: Feeds, index: Any) -> Feeds:
    """The rows at `index` of every column."""
    return {name: values[index] for name, values in feeds.items()}


def concat_feeds(first: Feeds, second: Feeds) -> Feeds:
    """The rows of `first`, then those of `second`."""
    return {name: np.concatenate([values, second[name]]) for name, values in first.items()}
