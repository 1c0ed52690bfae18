"""What each column is: number, category, boolean, date-time, list, id-like, constant or text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import polars as pl

from modelwright.core.contract import missing_in
from modelwright.core.errors import DataError
from modelwright.core.intake import Array, column_feed, refuse
from modelwright.core.records import Finding
from modelwright.core.schema import FEATURE_KINDS, MISSING_TIME, Column, Kind
from modelwright.data import cells, dates
from modelwright.data.cells import PLAIN
from modelwright.data.hints import Hints

ID_NAME = re.compile(r"(^|[^a-zA-Z])(?i:id|uuid|guid|key|index|rowid|row)$|[a-z]I[Dd]$|^PID$")
MOST_LEVELS = 10_000
"""Levels kept for one category column; rarer ones count as unseen."""
MOST_ITEMS = 1_000


@dataclass(frozen=True)
class Inferred:
    """A column with its values in the form that every later stage uses."""

    column: Column
    values: Array
    notes: tuple[Finding, ...] = ()


def infer(series: pl.Series, forced: Kind | None = None, hints: Hints | None = None) -> Inferred:
    """Decide what a column is and convert its values.

    Args:
        series: the raw column.
        forced: the kind that the spec gives; then values that do not fit are an error.
        hints: what is known about the table.

    Raises:
        DataError: `forced` does not fit the values; row and value are named.

    Example:
        >>> infer(pl.Series("married", ["yes", "no", "yes"])).column.kind
        'boolean'
        >>> infer(pl.Series("day", ["13/1/2020", "1/2/2020"])).column.format
        '%d/%m/%Y'
    """
    known = hints or Hints()
    if isinstance(series.dtype, pl.List) and not series.dtype.inner.is_nested():
        texts = series.cast(pl.List(pl.String))
        series = texts.list.eval(pl.element().str.strip_chars()).list.join("|")
        forced = forced or "list"
    series = plain(series)
    if not _is_supported(series.dtype):
        texts = pl.Series(series.name, [None if v is None else str(v) for v in series.to_list()],
                          dtype=pl.String)  # fmt: skip
        return _unused(texts, "text", f"type {str(series.dtype)[:60]} is not supported")
    series, marks = without_marks(series, known.missing_of(series.name))
    if forced is not None:
        found = _as_forced(series, forced, known)
    else:
        present = series.drop_nulls()
        if present.len() == 0:
            return _unused(series, "constant", "it has no values")
        found = _guessed(series, present, known)
        if present.n_unique() == 1 and present.len() == series.len():
            column = msgspec.structs.replace(
                found.column, kind="constant", unused="it has one value", levels=()
            )
            return Inferred(column, found.values)
    if not marks:
        return found
    column = msgspec.structs.replace(found.column, missing=(*found.column.missing, *marks))
    return Inferred(column, found.values, found.notes)


def _is_supported(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype in (pl.Boolean, pl.Datetime, pl.String, pl.Null)


def _guessed(series: pl.Series, present: pl.Series, known: Hints) -> Inferred:
    if series.dtype == pl.Boolean:
        return _finished(series, Column(series.name, "boolean"))
    if series.dtype.is_numeric():
        return _number(series, present)
    if series.dtype == pl.Datetime:
        return _finished(series, Column(series.name, "datetime"))
    return _text(series, present, known)


def plain(series: pl.Series) -> pl.Series:
    """Fold the many types of files into numbers, tidy text, booleans, date-times and lists."""
    kind = series.dtype
    if kind == pl.Date:
        return series.cast(pl.Datetime("us"))
    if kind == pl.Datetime:
        zone = getattr(kind, "time_zone", None)
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else series
        return series.cast(pl.Datetime("us"))
    if kind == pl.Duration:
        return (series.cast(pl.Duration("us")).cast(pl.Int64) / 1e6).alias(series.name)
    if kind in (pl.Decimal, pl.Int128, pl.UInt128):
        return series.cast(pl.Float64)
    if kind in (pl.Categorical, pl.Enum, pl.Time):
        return cells.stripped(series.cast(pl.String))
    if kind == pl.String:
        return cells.stripped(series)
    if kind in (pl.Float32, pl.Float64):
        return series.cast(pl.Float64).fill_nan(None)
    return series


def without_marks(series: pl.Series, marks: tuple[str, ...]) -> tuple[pl.Series, tuple[str, ...]]:
    """Values that mean missing taken out, and those of them that the column really holds."""
    if not marks:
        return series, ()
    if series.dtype == pl.String:
        found = set(series.filter(series.is_in(list(marks))).unique().to_list())
        shown = tuple(mark for mark in dict.fromkeys(marks) if mark in found or _is_float(mark))
        series = series.set(series.is_in(list(marks)), None) if found else series
        return series, shown
    numbers = [float(mark) for mark in marks if _is_float(mark)]
    if not series.dtype.is_numeric() or not numbers:
        return series, ()
    hit = series.cast(pl.Float64).is_in(numbers).fill_null(False)
    return (
        pl.select(pl.when(hit).then(None).otherwise(series).alias(series.name)).to_series(),
        tuple(dict.fromkeys(mark for mark in marks if _is_float(mark))),
    )


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(series: pl.Series, present: pl.Series) -> Inferred:
    unique = present.n_unique()
    if present.dtype.is_integer():
        ends = present.to_numpy()
        low, high = int(ends.min()), int(ends.max())
        if unique == series.len() and unique >= 50:
            counts = high - low + 1 == unique
            if ID_NAME.search(series.name) or counts:
                return _unused(series, "id", "each row has its own number")
        if low >= 19000101 and high <= 21001231 and unique >= 20:
            texts = series.cast(pl.String)
            if dates.moments(texts.drop_nulls().unique(), "%Y%m%d")[1]:
                return _dates(texts, "%Y%m%d")
    return _finished(series, Column(series.name, "number", integer=present.dtype.is_integer()))


def _text(series: pl.Series, present: pl.Series, known: Hints) -> Inferred:
    name = series.name
    booleans = cells.booleans_in(series)
    if booleans is not None:
        return _finished(booleans, Column(name, "boolean"))
    for style in (known.style, *known.others):
        found = cells.numbers_in(series, style)
        if found is not None:
            return _from_text(series, found, replace(known, style=style))
    dated = _dated(series, present, known)
    if dated is not None:
        return dated
    separator = cells.list_separator(present)
    if separator:
        return _list(series, separator, known)
    unique = present.n_unique()
    average_words = present.str.count_matches(r"\S+").sum() / present.len()
    if unique > max(50, 0.5 * present.len()):
        if average_words >= 3:
            return _unused(series, "text", "it is free text")
        if unique > 0.9 * present.len():
            return _unused(series, "id", "nearly every row has its own text")
    return _category(series, known)


def _from_text(series: pl.Series, found: cells.Numbers, known: Hints) -> Inferred:
    """A number column out of text, with what had to be decided about it."""
    name, style = series.name, known.style
    values, _ = without_marks(found.values, known.missing_of(name))
    if values.null_count() == values.len():
        return _unused(values, "constant", "it has no values")
    if found.whole and cells.are_exact(values):
        values = values.cast(pl.Int64)
    inferred = _number(values, values.drop_nulls())
    column, notes = inferred.column, []
    if column.kind == "number":
        written = style if style != PLAIN else None
        column = msgspec.structs.replace(column, format=written, missing=found.words)
    if found.words:
        notes.append(_words_note(name, found.words))
    if found.wrong_count:
        notes.append(_mixed(series, found.wrong, "numbers", found.wrong_count))
    if found.some_units:
        notes.append(_doubtful(name, f"{found.unit!r} stands beside some of the numbers only",
                               "are they all in one unit?"))  # fmt: skip
    elif found.unit:
        notes.append(Finding("unit", name, "pass", f"{found.unit!r} left out",
                             why="it stands beside every number", severity="info"))  # fmt: skip
    return Inferred(column, inferred.values, (*inferred.notes, *notes))


def _dated(series: pl.Series, present: pl.Series, known: Hints) -> Inferred | None:
    """A date-time column out of text, with what had to be decided about it."""
    name = series.name
    words = {w for w in present.unique().to_list() if w.lower() in cells.MISSING_WORDS}
    texts = present.filter(~present.is_in(list(words))) if words else present
    format = known.dates.get(name) or (dates.date_format(texts) if texts.len() else None)
    notes = [_words_note(name, words)] if words else []
    if words:
        series = series.set(series.is_in(list(words)), None)
    nearly = None
    if format is None or name in known.dates:
        nearly = dates.nearly_all(texts, format)
        if nearly is None and format is None:
            return None
    if nearly is not None and nearly[1].len():
        format, wrong = nearly
        is_wrong = series.is_in(wrong.to_list()).fill_null(False)
        notes.append(_mixed(series, is_wrong.arg_true().to_list(), "date-times"))
        series = series.set(is_wrong, None)
    found = _dates(series, format or None)
    column = msgspec.structs.replace(found.column, missing=tuple(sorted(words)))
    return Inferred(column, found.values, (*found.notes, *notes))


def _mixed(series: pl.Series, rows: Sequence[int], wanted: str, count: int = 0) -> Finding:
    """Values that are not what the rest of their column is."""
    name, shown = series.name, "; ".join(f"row {r}: {str(series[r])[:30]!r}" for r in rows[:4])
    return Finding("mixed types", name, "fail", f"{count or len(rows):,} are no {wanted}: {shown}",
                   "", "the rest are; these are read as missing",
                   "mend them, or data.kinds: {" + name + ": category}", "warning",
                   rows=tuple(rows[:20]))  # fmt: skip


def _words_note(name: str, words: Iterable[str]) -> Finding:
    listed = ", ".join(sorted(words))
    advice = f"data.read.missing: {{{name}: [{listed}]}}"
    return _doubtful(name, f"{listed} read as missing", advice)


def _doubtful(name: str, doubt: str, advice: str) -> Finding:
    """Something that was decided about a column although the data do not prove it."""
    why = "the data do not prove it"
    return Finding("doubtful values", name, "fail", doubt, "", why, advice, "warning")


def _dates(series: pl.Series, format: str | None) -> Inferred:
    unique = series.drop_nulls().unique()
    moments, whole = dates.moments(unique, format)
    if not whole:
        bad = unique.filter(pl.Series(moments == MISSING_TIME))
        row = int(series.is_in(bad.to_list()).arg_true()[0])
        raise DataError(
            f"Column {series.name!r}, row {row}: {series[row]!r} is no date-time in "
            f"{format or 'ISO 8601'}.",
            hint="Mend data.read.dates, or the value.",
        )
    values = spread(series, unique, moments)
    column = describe(Column(series.name, "datetime", format=format), values)
    if not dates.exchangeable(unique, format):
        return Inferred(column, values)
    doubt = f"day and month can be exchanged; read as {format}"
    advice = f"pin it with data.read.dates: {{{series.name}: '{format}'}}"
    return Inferred(column, values, (_doubtful(series.name, doubt, advice),))


def spread(series: pl.Series, unique: pl.Series, values: Array) -> Array:
    """The value of each different text for every row that has it; missing where there is none.

    Args:
        series: text.
        unique: its different texts.
        values: of them, as in `core.intake.Feeds`.
    """
    codes = series.cast(pl.Enum(unique)).to_physical().cast(pl.Int64).fill_null(unique.len())
    known = np.empty(len(values) + 1, values.dtype)
    known[:-1] = values
    known[-1] = {"O": "", "i": MISSING_TIME}.get(values.dtype.kind, np.nan)
    return np.asarray(known[codes.to_numpy()])


def _list(series: pl.Series, separator: str, known: Hints) -> Inferred:
    spellings = dict(known.spellings.get(series.name, {}))
    return _finished(series, Column(series.name, "list", format=separator, spellings=spellings))


def _category(series: pl.Series, known: Hints) -> Inferred:
    spellings = dict(known.spellings.get(series.name, {}))
    return _finished(series, Column(series.name, "category", spellings=spellings))


def _as_forced(series: pl.Series, kind: Kind, known: Hints) -> Inferred:
    name = series.name
    if kind not in FEATURE_KINDS:
        return _unused(series, kind, f"data.kinds says it is {kind}")
    if kind == "datetime" and series.dtype != pl.Datetime:
        texts = series.cast(pl.String)
        format = known.dates.get(name) or dates.date_format(texts.drop_nulls())
        if format is None and _is_compact(texts):
            format = "%Y%m%d"
        if format is None:
            raise DataError(
                f"data.kinds.{name}: {dates.no_date(texts)}.",
                hint=f"Wanted ISO 8601, or a format: data.read.dates: {{{name}: '%d/%m/%Y'}}.",
            )
        return _dates(texts, format or None)
    if kind == "number" and series.dtype == pl.String:
        values, _, _ = cells.parsed(series, known.style)
        left = series.filter(values.is_null() & series.is_not_null())
        words = {w for w in left.unique().to_list() if w.lower() in cells.MISSING_WORDS}
        if left.len() == left.is_in(list(words)).sum():
            written = known.style if known.style != PLAIN else None
            column = Column(name, "number", format=written, missing=tuple(sorted(words)))
            return _finished(without_marks(values, known.missing_of(name))[0], column)
    if kind == "list":
        return _list(series, cells.list_separator(series.drop_nulls()) or "|", known)
    if kind == "category" and series.dtype == pl.String:
        return _category(series, known)
    return _finished(series, Column(name, kind))


def _is_compact(texts: pl.Series) -> bool:
    unique = texts.drop_nulls().unique()
    return unique.len() > 0 and dates.moments(unique, "%Y%m%d")[1]


def _finished(series: pl.Series, column: Column) -> Inferred:
    """A feature column: its values through the one intake, then its description."""
    problems: list[str] = []
    if series.dtype == pl.String and column.kind in ("category", "list"):
        unique = series.drop_nulls().unique()
        values = spread(series, unique, column_feed(column, unique.to_list(), problems))
    else:
        values = column_feed(column, raw_values(series), problems)
    refuse(problems)
    return Inferred(describe(column, values), values)


def raw_values(series: pl.Series) -> Array | list[object]:
    """A column as the intake likes it best: typed arrays where there are any."""
    if series.dtype.is_numeric():
        return series.cast(pl.Float64).to_numpy()
    if series.dtype == pl.Boolean and not series.null_count():
        return series.to_numpy()
    if series.dtype == pl.Datetime:
        values: Array = series.dt.epoch("us").fill_null(MISSING_TIME).to_numpy()
        return values.astype("datetime64[us]")
    return series.to_list()


def describe(column: Column, values: Array) -> Column:
    """The column with what its values show: missing ones, range, levels."""
    minimum = maximum = None
    levels: tuple[str, ...] = ()
    missing = missing_in(values)
    present = values[~missing]
    if column.kind in ("category", "list"):
        texts = pl.Series("level", present, dtype=pl.String)
        if column.kind == "list":
            texts = texts.str.split(column.format or "|").explode()
        most = MOST_LEVELS if column.kind == "category" else MOST_ITEMS
        levels = tuple(name for name, _ in counted(texts)[:most])
    elif len(present):
        minimum, maximum = float(present.min()), float(present.max())
    return msgspec.structs.replace(
        column,
        nullable=bool(missing.any()),
        minimum=minimum,
        maximum=maximum,
        levels=levels,
    )


def counted(texts: pl.Series) -> list[tuple[str, int]]:
    """Different texts with their counts, most frequent first, equal counts by name."""
    if texts.len() == 0:
        return []
    counts = texts.alias("level").value_counts(name="n")
    return sorted(counts.rows(), key=lambda item: (-item[1], item[0]))


def _unused(series: pl.Series, kind: Kind, why: str) -> Inferred:
    numeric = series.dtype.is_numeric() or series.dtype == pl.Boolean
    shown = Column(series.name, "number" if numeric else "category")
    raw = series.cast(pl.Float64).to_numpy() if numeric else series.cast(pl.String).to_list()
    values = column_feed(shown, raw, [])
    return Inferred(Column(series.name, kind, bool(missing_in(values).any()), unused=why), values)
