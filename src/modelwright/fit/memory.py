"""How many folds may be trained at once in the memory that is free."""

from __future__ import annotations

from modelwright.core.schema import Schema
from modelwright.data.dataset import Dataset
from modelwright.data.memory import refuse_if_too_large
from modelwright.fit.features import Encoding

COPIES = 3
"""The encoded fold itself, and what a library makes of it (binned, in float32, sorted)."""
SHARE = 0.6
"""Part of the free memory that training may take."""


def workers_that_fit(dataset: Dataset, wanted: int) -> int:
    """At most `wanted` folds at a time, fewer on large tables; estimated before anything is copied.

    Raises:
        DataError: not even one fold fits.
    """
    a_fold = COPIES * 8 * dataset.train.rows * width_of(dataset.schema)
    free = refuse_if_too_large(a_fold, "One encoded fold needs about {} to learn from")
    return max(1, min(wanted, int(SHARE * free / max(1, a_fold))))


def width_of(schema: Schema) -> int:
    """About how many features the columns become.

    Example:
        >>> from modelwright.core.schema import Column, Target
        >>> columns = Column("a", "number"), Column("b", "category", levels=("x", "y"))
        >>> width_of(Schema(columns, Target("y", "regression")))
        6
    """
    encoding = Encoding()
    classes = max(1, len(schema.target.levels))
    sizes = {"datetime": 8, "list": encoding.list_items}
    width = 0
    for column in schema.features:
        if column.kind == "category":
            width += min(len(column.levels), encoding.onehot_levels) + 2 + classes
        else:
            width += sizes.get(column.kind, 1)
    return width
