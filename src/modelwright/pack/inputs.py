"""How the graph takes rows: one matrix for each type of value, a column of it for each column.

ONNX Runtime spends about 5 us on every input tensor, so one input a column would cost a row of 856
columns 4.4 ms, and one of 14 columns more than its trees do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from modelwright.core.intake import Array, Feeds
from modelwright.core.schema import Schema

NUMBERS, TEXTS, TIMES = "numbers", "texts", "times"
_GROUP = {
    "number": NUMBERS, "boolean": NUMBERS, "category": TEXTS, "list": TEXTS, "datetime": TIMES,
}  # fmt: skip
_DTYPE = {NUMBERS: np.float64, TEXTS: object, TIMES: np.int64}


def inputs_of(schema: Schema) -> dict[str, tuple[str, ...]]:
    """Graph input -> the columns it holds, in order.

    Example:
        >>> from modelwright.core.schema import Column, Target
        >>> columns = Column("a", "number"), Column("b", "category"), Column("c", "boolean")
        >>> inputs_of(Schema(columns, Target("y", "regression")))
        {'numbers': ('a', 'c'), 'texts': ('b',)}
    """
    found: dict[str, tuple[str, ...]] = {}
    for column in schema.features:
        group = _GROUP[column.kind]
        found[group] = (*found.get(group, ()), column.name)
    return found


def matrices(feeds: Feeds, inputs: Mapping[str, Sequence[str]]) -> dict[str, Array]:
    """Columns to the graph's inputs, each [rows, columns]."""
    rows = len(next(iter(feeds.values())))
    found = {}
    for name, columns in inputs.items():
        if rows == 1:
            values = [feeds[column][0] for column in columns]
            found[name] = np.array(values, _DTYPE[name]).reshape(1, -1)
            continue
        matrix = np.empty((rows, len(columns)), _DTYPE[name])
        for place, column in enumerate(columns):
            matrix[:, place] = feeds[column]
        found[name] = matrix
    return found
