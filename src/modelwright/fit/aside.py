"""Training rows that no model learns from, which say how wide the interval of a value must be."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from modelwright.core.errors import UsageError
from modelwright.core.intake import Array
from modelwright.core.spec import FitSpec
from modelwright.core.table import Table
from modelwright.data.dataset import Dataset
from modelwright.data.fingerprint import row_hashes
from modelwright.data.split import group_holdout, parted, random_holdout

MOST_ROWS, MOST_SHARE = 1000, 0.2
"""Rows set aside: the share that their quantile holds is then 1 % off, at one standard error
(sqrt(.9 * .1 / 1000)); a smaller table loses a fifth."""
ENOUGH_ROWS = 10 * MOST_ROWS
"""Training rows from which rows are set aside unasked: fewer are worth more to the model (Ames, a
fifth of 2,344: RMSE up by 3 to 11 %, and no better intervals)."""


@dataclass(frozen=True)
class Aside:
    """The rows set aside.

    Attributes:
        table: their columns and targets.
        mask: which training rows they are.
    """

    table: Table
    mask: Array

    def among(self, answers: Array, others: Array) -> Array:
        """Answers of all training rows, from those set aside and those of the rest."""
        whole = np.empty((len(self.mask), *others.shape[1:]), others.dtype)
        whole[self.mask], whole[~self.mask] = answers, others
        return whole


def set_aside(spec: FitSpec, dataset: Dataset) -> tuple[Dataset, Aside | None]:
    """(what models may learn from, the rows set aside for the interval; None where none is).

    Which rows depends on their content and the seed, as it does for the sealed ones, so that
    equal rows stay together; whole groups where the split is by group; the newest where it is by
    time.

    Raises:
        UsageError: too few rows for the level.
    """
    if spec.interval is None:
        return dataset, None
    rows = dataset.train.rows
    if not _is_split(spec, dataset):
        _must_be_enough(spec.interval, rows, rows)
        return dataset, None
    mask = _chosen(dataset)
    _must_be_enough(spec.interval, int(mask.sum()), rows)
    rest = dataset.train.take(np.flatnonzero(~mask))
    return replace(dataset, train=rest), Aside(dataset.train.take(np.flatnonzero(mask)), mask)


def _is_split(spec: FitSpec, dataset: Dataset) -> bool:
    if spec.interval_method is None:
        return not dataset.ordered and dataset.train.rows >= ENOUGH_ROWS
    return spec.interval_method == "split_conformal"


def _chosen(dataset: Dataset) -> Array:
    """Mask of the training rows set aside."""
    train = dataset.train
    share = min(MOST_SHARE, MOST_ROWS / train.rows)
    if dataset.ordered:
        return np.asarray(np.arange(train.rows) >= train.rows - round(share * train.rows))
    salt = f"interval {dataset.record.seed}"
    if train.groups is not None:
        hashes = row_hashes({"group": train.groups.astype(np.float64)}, salt=salt)
        return group_holdout(train.groups, hashes, share)
    return random_holdout(parted(row_hashes(train.feeds, salt=salt), train.target), share)


def _must_be_enough(level: float, rows: int, of: int) -> None:
    """The quantile of so many errors must exist: ``(rows + 1) * level <= rows``."""
    wanted = math.ceil(round(level / (1 - level), 6))
    if rows >= wanted:
        return
    found = f"there are {of:,} training rows"
    if rows < of:
        found = f"{rows:,} of {of:,} training rows would be set aside"
    other = ", or fit.interval_method: out_of_fold" if of >= wanted else ""
    raise UsageError(
        f"fit.interval: {level:g} wants at least {wanted:,} rows to find its width, and {found}.",
        hint=f"Give a lower level, more rows{other}.",
    )
