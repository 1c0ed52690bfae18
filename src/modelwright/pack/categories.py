"""Category columns inside the graph: many columns in a handful of steps.

A step of its own for each column costs ONNX Runtime a microsecond or more, and a column needs three
of them. So columns are looked up side by side: one dictionary of all their levels numbers the
texts, a table for each column turns that number into the column's own row, and one gather fetches
every feature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from modelwright.core.intake import Array
from modelwright.fit.features import CategoryTable
from modelwright.pack.graph import ML, GraphWriter

MOST_ENTRIES = 50_000
"""Columns times different texts that are looked up together; 400 KB of the file."""

Texts = Callable[[Sequence[str]], str]
"""Columns to a tensor of their texts, [rows, columns]."""


def category_features(
    writer: GraphWriter, tables: Sequence[CategoryTable], texts: Texts
) -> list[str]:
    """Features of all categories, tensors [rows, features] in the order of the tables."""
    return [_looked_up(writer, group, texts) for group in together(tables)]


def together(tables: Sequence[CategoryTable]) -> list[list[CategoryTable]]:
    """Neighbours that are cheap to look up side by side; a large column stays alone."""
    groups: list[list[CategoryTable]] = []
    known: set[str] = set()
    for table in tables:
        grown = known | {*table.levels, ""}
        if groups and (len(groups[-1]) + 1) * len(grown) <= MOST_ENTRIES:
            groups[-1].append(table)
            known = grown
        else:
            groups.append([table])
            known = {*table.levels, ""}
    return groups


def _looked_up(writer: GraphWriter, tables: Sequence[CategoryTable], texts: Texts) -> str:
    known = list(dict.fromkeys(level for table in tables for level in (*table.levels, "")))
    numbers = writer.add(
        "LabelEncoder",
        texts([table.column for table in tables]),
        domain=ML,
        keys_strings=known,
        values_int64s=list(range(len(known))),
        default_int64=len(known),
    )
    rows = numbers
    if len(tables) > 1:
        starts = np.arange(len(tables)) * (len(known) + 1)
        own = np.concatenate([_own_rows(table, known) for table in tables])
        at = writer.add("Add", numbers, writer.constant(starts, np.int64))
        rows = writer.add("Gather", writer.constant(own, np.int64), at, axis=0)
    elif known != [*tables[0].levels, ""]:
        own = _own_rows(tables[0], known)
        rows = writer.add("Gather", writer.constant(own, np.int64), numbers, axis=0)
    return _fetched(writer, tables, rows)


def _own_rows(table: CategoryTable, known: Sequence[str]) -> Array:
    """The row in a column's table for each known text, and for one that nobody knows."""
    return table.codes(np.array([*known, None], dtype=object))


def _fetched(writer: GraphWriter, tables: Sequence[CategoryTable], rows: str) -> str:
    """The features, from the row that each column has in its table, [rows, columns]."""
    widths = [table.table.shape[1] for table in tables]
    owner = np.repeat(np.arange(len(tables)), widths)
    values = [table.table[:, place] for table in tables for place in range(table.table.shape[1])]
    starts = np.cumsum([0, *map(len, values)])[:-1]
    if widths != [1] * len(tables):
        rows = writer.add("Gather", rows, writer.constant(owner, np.int64), axis=1)
    if len(values) > 1:
        rows = writer.add("Add", rows, writer.constant(starts, np.int64))
    return writer.add("Gather", writer.constant(np.concatenate(values), np.float64), rows, axis=0)
