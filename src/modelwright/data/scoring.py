"""A file of new rows to graph inputs, a batch at a time, checked against the model's schema."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from modelwright.core.contract import missing_in
from modelwright.core.errors import RowsError
from modelwright.core.intake import SHOWN_PROBLEMS, Array, Feeds, feeds_from_columns
from modelwright.core.schema import MISSING_TIME, Column, Schema
from modelwright.core.spec_data import ReadSpec
from modelwright.data import cells
from modelwright.data.cells import MISSING_WORDS, PLAIN
from modelwright.data.fingerprint import row_hashes
from modelwright.data.kinds import plain, raw_values, without_marks
from modelwright.data.sources import Source, open_source

MOST_PROBLEMS = 1_000


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
    style: str | None = None
    table = _TableContract(schema)
    for frame in source.batches():
        style = style or _style(frame, schema, source)
        try:
            feeds = _feeds(frame, schema, style)
            table.add(feeds)
            if not problems:
                yield feeds
        except RowsError as error:
            problems += [_shifted(problem, first) for problem in error.problems]
            if len(problems) > MOST_PROBLEMS or not problems[0].startswith("row "):
                break
        first += frame.height
    problems += table.breaches()
    if problems:
        shown = problems[:SHOWN_PROBLEMS]
        if len(problems) > len(shown):
            shown.append(f"... and {len(problems) - len(shown)} more")
        raise RowsError(f"{source.name} does not fit the model:", shown)


def open_rows(path: Path) -> Source:
    """Open a file, folder, glob or URL of rows to answer."""
    return open_source(str(path), Path(), ReadSpec())


def _style(frame: pl.DataFrame, schema: Schema, source: Source) -> str:
    """How numbers are written in this file, where the schema does not say."""
    numbers = {column.name for column in schema.features if column.kind == "number"}
    texts = [cells.stripped(frame[n].head(5000)) for n, dtype in frame.schema.items()
             if dtype == pl.String and n in numbers]  # fmt: skip
    return cells.number_style(texts, str(source.detected.get("delimiter", ",")))[0]


def _feeds(frame: pl.DataFrame, schema: Schema, style: str) -> Feeds:
    problems: list[str] = []
    columns: dict[str, Sequence[Any] | Array] = {}
    known = {column.name: column for column in schema.features}
    nothing: Array = np.full(frame.height, None, object)
    for name in frame.columns:
        column = known.get(name)
        if column is None:
            columns[name] = nothing
            continue
        series, _ = without_marks(plain(frame[name]), column.missing)
        columns[name] = _typed(column, series, style, problems)
    try:
        feeds = feeds_from_columns(schema, columns)
    except RowsError as error:
        raise RowsError("", [*problems, *error.problems]) from error
    if problems:
        raise RowsError("", problems)
    return feeds


def _typed(
    column: Column, series: pl.Series, style: str, problems: list[str]
) -> Sequence[Any] | Array:
    """A column in the type that the intake takes without a look at each value."""
    if series.dtype != pl.String:
        if column.kind == "datetime" and series.dtype.is_integer() and column.format:
            return _moments(column, series.cast(pl.String))
        return raw_values(series)
    if column.kind == "number":
        return raw_values(_numbers(column, series, style, problems))
    if column.kind == "datetime":
        return _moments(column, series)
    if column.kind == "boolean":
        found = cells.booleans_in(series)
        return series.to_list() if found is None else found.cast(pl.Float64).to_numpy()
    return series.to_list()


def _moments(column: Column, series: pl.Series) -> Sequence[Any] | Array:
    unique = series.drop_nulls().unique()
    moments, whole = cells.moments(unique, column.format)
    if not whole:
        return series.to_list()
    found = series.replace_strict(unique, pl.Series(moments), default=MISSING_TIME,
                                  return_dtype=pl.Int64)  # fmt: skip
    return found.fill_null(MISSING_TIME).to_numpy().astype("datetime64[us]")


def _numbers(column: Column, series: pl.Series, style: str, problems: list[str]) -> pl.Series:
    """Text to numbers; every text that is none is named with its row."""
    written = column.format if column.format in cells.STYLES else None
    numbers, _, _ = cells.parsed(series, written or style or PLAIN)
    wrong = numbers.is_null() & series.is_not_null()
    if wrong.any():
        wrong &= ~series.str.to_lowercase().is_in(list(MISSING_WORDS))
        rows = wrong.arg_true().to_list()
        problems += [
            f"row {row}, column {column.name!r}: wanted a number, found {str(series[row])[:60]!r}"
            for row in rows[: SHOWN_PROBLEMS + 1]
        ]
    return numbers


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
            if most is not None and share > most:
                found.append(f"column {column.name!r}: {share:.1%} is missing, at most {most:.1%} "
                             "is expected")  # fmt: skip
            parts = self._hashes[column.name]
            twice = sum(map(len, parts)) - len(np.unique(np.concatenate(parts))) if parts else 0
            if twice:
                found.append(f"column {column.name!r}: {twice:,} values occur more than once; "
                             "each is expected once")  # fmt: skip
        return found
