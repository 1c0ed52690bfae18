"""A file of new rows to graph inputs, checked against the model's schema."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from modelwright.core.errors import RowsError
from modelwright.core.intake import SHOWN_PROBLEMS, Array, Feeds, feeds_from_columns, refuse
from modelwright.core.schema import Column, Schema
from modelwright.data.kinds import MISSING_WORDS, plain, raw_values
from modelwright.data.sources import read_file


def read_rows(path: Path, schema: Schema) -> Feeds:
    """Read a CSV or Parquet file of rows to answer, in file order.

    Args:
        path: the file; the target and columns that the model does not use may be in it.
        schema: the model's.

    Raises:
        DataError: the file cannot be read.
        RowsError: a column is missing or unknown, or a value does not fit; row 0 is the first.
    """
    frame = read_file(path, as_text=True).frame
    problems: list[str] = []
    columns: dict[str, Sequence[Any] | Array] = {}
    kinds = {column.name: column for column in schema.features}
    for name in frame.columns:
        column = kinds.get(name)
        series = plain(frame[name])
        if column is not None and column.kind == "number" and series.dtype == pl.String:
            series = _numbers(column, series, problems)
        columns[name] = raw_values(series) if column is not None else [None] * frame.height
    try:
        feeds = feeds_from_columns(schema, columns)
    except RowsError as error:
        raise RowsError(f"{path.name} does not fit the model:", error.problems) from error
    if problems:
        refuse(problems)
    return feeds


def _numbers(column: Column, series: pl.Series, problems: list[str]) -> pl.Series:
    """Text to numbers; every text that is none is named with its row."""
    numbers = series.str.strip_chars().cast(pl.Float64, strict=False)
    missing = series.str.strip_chars().str.to_lowercase().is_in(list(MISSING_WORDS))
    wrong = numbers.is_null() & series.is_not_null() & ~missing
    if wrong.any():
        rows = wrong.arg_true().to_list()
        problems += [
            f"row {row}, column {column.name!r}: wanted a number, found {str(series[row])[:60]!r}"
            for row in rows[: SHOWN_PROBLEMS + 1]
        ]
    return numbers
