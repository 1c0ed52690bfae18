"""A file of new rows to graph inputs, a batch at a time, checked against the model's schema."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from modelwright.core.contract import missing_in, row_breaches
from modelwright.core.errors import RowsError
from modelwright.core.intake import TOLD_BRIEFLY, Array, Feeds, unknown_column, wanted_of
from modelwright.core.schema import Column, Schema
from modelwright.core.spec_data import ReadSpec
from modelwright.data import cells
from modelwright.data.fingerprint import row_hashes
from modelwright.data.sources import Source, open_source
from modelwright.data.typed import Typing

MOST_PROBLEMS = 1_000
SHOWN_A_COLUMN = 4
FEWEST_ROWS = 100
"""Rows from which a share of missing values means something."""


def scored_batches(source: Source, schema: Schema) -> Iterator[Feeds]:
    """Read rows to answer, in file order and in constant memory.

    Args:
        source: the opened file; the target and columns that the model does not use may be in it.
        schema: the model's.

    Raises:
        DataError: the file cannot be read.
        RowsError: a column is missing or unknown, or values do not fit; row 0 is the first. Raised
            when the file has been read to its end, so that all problems are told at once.
    """
    first, problems = 0, list[str]()
    table = _TableContract(schema)
    typing: Typing | None = None
    for frame in source.batches():
        if typing is None:
            problems += _wrong_names(frame.columns, schema)
            typing = Typing(schema.features, style=style_of_rows(frame, schema))
        feeds = typing.feeds(frame)
        for column in schema.features:
            problems += [_shifted(line, first) for line in row_breaches(column, feeds[column.name])]
        if len(problems) > MOST_PROBLEMS:
            break
        table.add(feeds)
        if not problems and not typing.wrong:
            yield feeds
        first += frame.height
    assert typing is not None  # a source without a row has raised
    problems += [line for column in schema.features for line in _wrong_values(column, typing)]
    problems += table.breaches()
    if problems:
        shown = problems[:TOLD_BRIEFLY]
        if len(problems) > len(shown):
            shown.append("... and more")
        raise RowsError(f"{source.name} does not fit the model:", shown)


def _wrong_names(names: Sequence[str], schema: Schema) -> list[str]:
    known = {column.name for column in schema.features}
    unknown = [n for n in names if n not in known and n not in schema.tolerated]
    absent = [c.name for c in schema.features if c.name not in names and not c.nullable]
    return [
        *(unknown_column(schema, name) for name in unknown),
        *(f"column {name!r} is missing" for name in absent),
    ]


def _wrong_values(column: Column, typing: Typing) -> list[str]:
    wrong = typing.wrong.get(column.name)
    if wrong is None:
        return []
    wanted = wanted_of(column)
    lines = [
        f"row {row}, column {column.name!r}: wanted {wanted}, found {text!r}"
        for row, text in wrong.shown[:SHOWN_A_COLUMN]
    ]
    rest = wrong.count - len(lines)
    return [*lines, f"column {column.name!r}: and {rest:,} more such values"] if rest > 0 else lines


def open_rows(source: str) -> Source:
    """Open a file, folder, glob or URL of rows to answer; no row of it may get lost."""
    return open_source(source, Path(), ReadSpec(), strict=True)


def style_of_rows(frame: pl.DataFrame, schema: Schema) -> str | None:
    """How numbers are written in this file, where it proves it; else the schema says."""
    numbers = {column.name for column in schema.features if column.kind == "number"}
    texts = [cells.stripped(frame[n].head(5000)) for n, dtype in frame.schema.items()
             if dtype == pl.String and n in numbers]  # fmt: skip
    return cells.proven_style(texts)


def _shifted(problem: str, first: int) -> str:
    """A problem of a batch with the row's number in the whole file."""
    return re.sub(r"^row (\d+)", lambda found: f"row {int(found[1]) + first}", problem)


class _TableContract:
    """The parts of `expect:` that only a whole table can break, over batches."""

    def __init__(self, schema: Schema) -> None:
        self._columns = [c for c in schema.features if c.expect is not None]
        self._missing = {c.name: 0 for c in self._columns}
        self._hashes: dict[str, list[Array]] = {c.name: [] for c in self._columns}
        self._rows = 0

    def add(self, feeds: Feeds) -> None:
        for column in self._columns:
            assert column.expect is not None
            values = feeds[column.name]
            missing = missing_in(values)
            self._missing[column.name] += int(missing.sum())
            if column.expect.unique:
                self._hashes[column.name].append(row_hashes({"": values[~missing]}))
        self._rows += len(next(iter(feeds.values())))

    def breaches(self) -> list[str]:
        found = []
        for column in self._columns:
            assert column.expect is not None
            share, most = self._missing[column.name] / max(1, self._rows), column.expect.max_missing
            most = most if self._rows >= FEWEST_ROWS else None
            if most is not None and share > most:
                found.append(f"column {column.name!r}: {share:.1%} is missing, at most {most:.1%} "
                             "is expected")  # fmt: skip
            parts = self._hashes[column.name]
            twice = sum(map(len, parts)) - len(np.unique(np.concatenate(parts))) if parts else 0
            if twice:
                found.append(f"column {column.name!r}: {twice:,} values occur more than once; "
                             "each is expected once")  # fmt: skip
        return found
