"""Answered rows whose truth is known, as typed rows and as the table's source writes them.

New rows go through the same reading as old ones: numbers, dates, truths and lists are written in
the column's own way, and what the model does not read stays missing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from modelwright.core.contract import missing_in
from modelwright.core.errors import DataError
from modelwright.core.intake import Array, Feeds, column_feed, level_text
from modelwright.core.schema import (
    BOOLEAN_PAIRS,
    EPOCH,
    FALSE_WORDS,
    TRUE_WORDS,
    Column,
    Schema,
    Target,
)
from modelwright.core.table import take_feeds
from modelwright.core.texts import STYLES
from modelwright.data.kinds import plain, raw_values

FEATURE = "f_"
"""Before the name of a feature in a journal."""


@dataclass(frozen=True)
class Labelled:
    """Answered rows with their truth, in order of time.

    Attributes:
        rows: as they came.
        feeds: what the model reads, see `core.intake.Feeds`.
        target: number of the class, or the value.
        times: of the answers, microseconds since 1970.
        left_out: why rows are not here -> how many.
    """

    rows: pl.DataFrame
    feeds: Feeds
    target: Array
    times: Array
    left_out: Mapping[str, int]

    def take(self, which: Array) -> Labelled:
        """Some of the rows, by mask."""
        kept = take_feeds(self.feeds, which)
        return Labelled(
            self.rows.filter(pl.Series(which)), kept, self.target[which], self.times[which], {}
        )


def labelled_of(rows: pl.DataFrame, schema: Schema, since: float = float("-inf")) -> Labelled:
    """Rows of a journal, joined with their labels, as far as they can be learned from.

    Args:
        rows: `label` (null for none), `time` and a `f_<column>` for each feature.
        schema: of the champion.
        since: Unix time from which rows are taken.

    Raises:
        DataError: a column is absent.
    """
    absent = [name for name in ("label", "time") if name not in rows.columns]
    if absent:
        raise DataError(f"The answered rows have no column {' and '.join(absent)}.")
    rows = rows.filter(pl.col("label").is_not_null() & pl.col("time").is_not_null())
    times = plain(rows["time"]).dt.epoch("us").to_numpy() if rows.height else np.empty(0, np.int64)
    order = np.argsort(times, kind="stable")
    order = order[times[order] >= since * 1e6]
    rows, times = rows[order], times[order]
    feeds, fits = journal_feeds(rows, schema)
    target = label_values(rows["label"], schema.target)
    known = ~np.isnan(target)
    left_out = {
        "their label is none of the model's classes": int((~known).sum()),
        "a value does not fit its column any more": int((known & ~fits).sum()),
    }
    found = Labelled(rows, feeds, target, times, {}).take(known & fits)
    return replace(found, left_out={why: n for why, n in left_out.items() if n})


def label_values(labels: pl.Series, target: Target) -> Array:
    """Late labels as class numbers or values; NaN for one that the model does not know.

    Example:
        >>> target = Target("y", "binary", "boolean", ("false", "true"))
        >>> label_values(pl.Series(["True", "no", "maybe"]), target).tolist()
        [1.0, 0.0, nan]
    """
    if not target.levels:
        found = labels.cast(pl.Float64, strict=False).to_numpy()
        return np.where(np.isfinite(found), found, np.nan)
    number = {level: float(place) for place, level in enumerate(target.levels)}
    texts = [_level(value, target) for value in labels.to_list()]
    return np.array([number.get(text, np.nan) for text in texts], np.float64)


def _level(value: object, target: Target) -> str:
    """A label as the name of its class."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, (int, float)):
        text = level_text(float(value))
    else:
        text = str(value).strip()
    if text in target.levels or target.label_type == "string":
        return text
    if target.label_type == "boolean":
        low = text.lower()
        return "true" if low in TRUE_WORDS else "false" if low in FALSE_WORDS else text
    try:
        return level_text(float(text))
    except ValueError:
        return text


def journal_feeds(rows: pl.DataFrame, schema: Schema) -> tuple[Feeds, Array]:
    """Features of answered rows as the model took them, and which rows it would take again.

    Raises:
        DataError: a column that the model reads is not in the journal.
    """
    if not rows.height:
        return {c.name: column_feed(c, [], []) for c in schema.features}, np.ones(0, bool)
    absent = [c.name for c in schema.features if f"{FEATURE}{c.name}" not in rows.columns]
    if absent:
        private = [c.name for c in schema.features if c.private and c.name in absent]
        why = "private columns are never written to it" if private else "they came later"
        raise DataError(
            f"The journal has no {', '.join(absent[:5])}: {why}.",
            hint="Retrain on the source alone: watch.retrain.data: source.",
        )
    fits = np.ones(rows.height, bool)
    feeds: Feeds = {}
    for column in schema.features:
        wrong: list[int] = []
        values = raw_values(plain(rows[f"{FEATURE}{column.name}"]))
        feeds[column.name] = column_feed(column, values, [], wrong)
        fits[wrong] = False
    return feeds, fits


def as_source(
    frame: pl.DataFrame, columns: Mapping[str, Column], feeds: Feeds, style: str, rows: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two tables that can be put together: the source's rows, and the new ones written like them.

    Args:
        frame: the source, as it was read.
        columns: name -> what it is; those that `feeds` lacks are missing in the new rows.
        feeds: values of the new rows, the target's included.
        style: how numbers are written.
        rows: how many new ones there are.
    """
    old: dict[str, pl.Series] = {}
    new: dict[str, pl.Series] = {}
    for name in frame.columns:
        series = _storable(plain(frame[name]))
        column, values = columns.get(name), feeds.get(name)
        if column is None or values is None:
            old[name], new[name] = series, pl.Series(name, [None] * rows, dtype=series.dtype)
            continue
        if column.kind in ("category", "list") and series.dtype != pl.String:
            found = column_feed(Column(name, "category"), raw_values(series), []).tolist()
            series = pl.Series(name, [text or None for text in found], dtype=pl.String)
        old[name] = series
        new[name] = pl.Series(name, _written(series, column, values, style), strict=False)
    return pl.DataFrame(old), pl.DataFrame(new)


def _storable(series: pl.Series) -> pl.Series:
    """A column that a Parquet file can hold; of types that no model reads, its text."""
    kind = series.dtype
    if isinstance(kind, pl.List) and not kind.inner.is_nested():
        items = series.cast(pl.List(pl.String))
        return items.list.eval(pl.element().str.strip_chars()).list.join("|")
    if kind.is_numeric() or kind in (pl.Boolean, pl.Datetime, pl.String):
        return series
    texts = [None if value is None else str(value) for value in series.to_list()]
    return pl.Series(series.name, texts, dtype=pl.String)


def _written(series: pl.Series, column: Column, values: Array, style: str) -> list[Any]:
    """Values of a feed in the source's own way; None for missing."""
    absent = missing_in(values).tolist()
    write = _writer(series, column, style)
    return [None if gone else write(v) for v, gone in zip(values.tolist(), absent, strict=True)]


def _writer(series: pl.Series, column: Column, style: str) -> Callable[[Any], Any]:
    is_text = series.dtype == pl.String
    if column.kind == "number":
        if not is_text:
            return float
        decimal = STYLES[column.format or style][1]
        return lambda number: level_text(number).replace(".", decimal)
    if column.kind == "boolean":
        words = _truths(series) if is_text else (False, True)
        return lambda truth: words[int(truth)]
    if column.kind == "datetime":
        return _moments(series, column)
    return str


def _truths(series: pl.Series) -> tuple[str, str]:
    """What a column of text writes for false and true."""
    texts = {text.lower(): text for text in series.drop_nulls().unique().sort().to_list()}
    true = next((word for word in texts if word in TRUE_WORDS), "")
    false = next((word for word in texts if word in FALSE_WORDS), "")
    pairs = [pair for pair in BOOLEAN_PAIRS if true in ("", pair[0]) and false in ("", pair[1])]
    usual_true, usual_false = pairs[0] if pairs else BOOLEAN_PAIRS[0]
    return texts.get(false, usual_false), texts.get(true, usual_true)


def _moments(series: pl.Series, column: Column) -> Callable[[Any], Any]:
    def moment(microseconds: int) -> Any:
        found = EPOCH + dt.timedelta(microseconds=microseconds)
        if series.dtype == pl.Datetime:
            return found
        text = found.strftime(column.format) if column.format else found.isoformat()
        return int(text) if series.dtype.is_numeric() else text

    return moment
