"""A batch of raw columns under kinds that are known already, wrong values counted."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np
import polars as pl

from modelwright.core.contract import missing_in
from modelwright.core.intake import Array, Feeds, column_feed
from modelwright.core.schema import MISSING_TIME, Column, Kind
from modelwright.data import cells, dates
from modelwright.data.cells import MISSING_WORDS, PLAIN
from modelwright.data.kinds import plain, raw_values, spread, without_marks

MOST_SHOWN = 20


@dataclass
class WrongValues:
    """Values of one column that its kind cannot hold."""

    count: int = 0
    shown: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class Typing:
    """Turns batches into feeds; what does not fit becomes missing and is counted.

    Attributes:
        columns: with kinds and formats.
        numeric: names of unused columns that hold numbers.
        style: how numbers in text are written, where that is proven; else each column says.
        wrong: by column.
        unused_style: how the numbers of unused columns are written.
    """

    columns: tuple[Column, ...]
    numeric: frozenset[str] = frozenset()
    style: str | None = None
    wrong: dict[str, WrongValues] = field(default_factory=dict)
    rows: int = 0
    unused_style: str | None = None

    def feeds(self, frame: pl.DataFrame) -> Feeds:
        """The batch's values; a column that it lacks is missing throughout."""
        found = {}
        for column in self.columns:
            if column.name in frame.columns:
                found[column.name] = self._values(column, frame[column.name])
            else:
                nothing = pl.Series(column.name, [None] * frame.height, dtype=pl.String)
                found[column.name] = self._values(column, nothing)
        self.rows += frame.height
        return found

    def _values(self, column: Column, raw: pl.Series) -> Array:
        shown = column
        if not column.is_feature:
            kind: Kind = "number" if column.name in self.numeric else "category"
            shown = Column(column.name, kind, missing=column.missing, format=self.unused_style)
        series, _ = without_marks(plain(raw), column.missing)
        wanted = series.is_not_null().to_numpy()
        values = _converted(msgspec.structs.replace(shown, missing=()), series, self.style)
        lost = wanted & missing_in(values)
        if shown.kind == "number" and shown.missing:
            values = column_feed(shown, values, [])
        if lost.any():
            self._count(column, series, np.flatnonzero(lost))
        return values

    def _count(self, column: Column, series: pl.Series, rows: Array) -> None:
        texts = [(int(row), str(series[int(row)])) for row in rows[: 10 * MOST_SHOWN]]
        real = [(row, text) for row, text in texts if text.lower() not in MISSING_WORDS]
        if not real and len(rows) <= len(texts):
            return
        wrong = self.wrong.setdefault(column.name, WrongValues())
        wrong.count += len(rows) - (len(texts) - len(real))
        room = MOST_SHOWN - len(wrong.shown)
        wrong.shown += [(self.rows + row, text[:60]) for row, text in real[:room]]


def _converted(column: Column, series: pl.Series, style: str | None) -> Array:
    if column.kind == "number":
        if series.dtype == pl.String:
            written = column.format if column.format in cells.STYLES else PLAIN
            series, _, _ = cells.parsed(series, style or written)
        if series.dtype.is_numeric() or series.dtype == pl.Boolean:
            return column_feed(column, series.cast(pl.Float64).to_numpy(), [])
        return np.full(series.len(), np.nan)
    if column.kind == "datetime":
        return _moments(column, series)
    if column.kind == "boolean" and series.dtype == pl.String:
        found = cells.booleans_in(series)
        if found is not None:
            return found.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    raw = raw_values(series)
    if isinstance(raw, list):
        unique = series.drop_nulls().unique()
        if unique.dtype == pl.String:
            known = column_feed(column, unique.to_list(), [])
            return spread(series, unique, known)
    return column_feed(column, raw, [])


def _moments(column: Column, series: pl.Series) -> Array:
    if series.dtype == pl.Datetime:
        return series.dt.epoch("us").fill_null(MISSING_TIME).to_numpy()
    texts = series.cast(pl.String)
    unique = texts.drop_nulls().unique()
    found, _ = dates.moments(unique, column.format)
    return spread(texts, unique, found)
