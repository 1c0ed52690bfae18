"""What each column is: number, category, boolean, date-time, id-like, constant or free text."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec
import numpy as np
import polars as pl

from modelwright.core.errors import DataError
from modelwright.core.intake import Array, column_feed, refuse
from modelwright.core.schema import (
    FALSE_WORDS,
    FEATURE_KINDS,
    MISSING_TIME,
    TRUE_WORDS,
    Column,
    Kind,
    parse_time,
)

DATE_FORMATS = (
    "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M",
    "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y",
    "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%m-%d-%Y", "%d-%m-%Y",
)  # fmt: skip
ID_NAME = re.compile(r"(^|[^a-zA-Z])(?i:id|uuid|guid|key|index|rowid|row)$|[a-z]I[Dd]$|^PID$")
MISSING_WORDS = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "?", "-", "--"})
"""Words that mean missing in a column that otherwise holds numbers."""
MOST_LEVELS = 10_000
"""Levels kept for one category column; rarer ones count as unseen."""


@dataclass(frozen=True)
class Inferred:
    """A column with its values in the form that every later stage uses."""

    column: Column
    values: Array
    doubt: str = ""


def infer(series: pl.Series, forced: Kind | None = None) -> Inferred:
    """Decide what a column is and convert its values.

    Args:
        series: the raw column.
        forced: the kind that the spec gives; then values that do not fit are an error.

    Raises:
        DataError: `forced` does not fit the values; row and value are named.

    Example:
        >>> infer(pl.Series("married", ["yes", "no", "yes"])).column.kind
        'boolean'
        >>> infer(pl.Series("day", ["13/1/2020", "1/2/2020"])).column.format
        '%d/%m/%Y'
    """
    series = plain(series)
    if not _is_supported(series.dtype):
        empty = pl.Series(series.name, [None] * series.len(), dtype=pl.String)
        return _unused(empty, "text", f"type {series.dtype} is not supported")
    if forced is not None:
        return _as_forced(series, forced)
    present = series.drop_nulls()
    if present.len() == 0:
        return _unused(series, "constant", "it has no values")
    found = _guessed(series, present)
    if present.n_unique() == 1:
        column = Column(series.name, "constant", found.column.nullable, unused="it has one value")
        return Inferred(column, found.values)
    return found


def _is_supported(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype in (pl.Boolean, pl.Datetime, pl.String, pl.Null)


def _guessed(series: pl.Series, present: pl.Series) -> Inferred:
    if series.dtype == pl.Boolean:
        return _finished(series, "boolean")
    if series.dtype.is_numeric():
        return _number(series, present)
    if series.dtype == pl.Datetime:
        return _finished(series, "datetime")
    return _text(series, present)


def plain(series: pl.Series) -> pl.Series:
    """Fold the many types of Parquet into numbers, text, booleans and date-times."""
    kind = series.dtype
    if kind == pl.Date:
        return series.cast(pl.Datetime("us"))
    if kind == pl.Datetime:
        zone = getattr(kind, "time_zone", None)
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else series
        return series.cast(pl.Datetime("us"))
    if kind == pl.Duration:
        return (series.cast(pl.Duration("us")).cast(pl.Int64) / 1e6).alias(series.name)
    if kind == pl.Decimal:
        return series.cast(pl.Float64)
    if kind in (pl.Categorical, pl.Enum, pl.Time):
        return series.cast(pl.String)
    if kind == pl.String:
        return series.set(series == "", None)
    if kind in (pl.Float32, pl.Float64):
        return series.cast(pl.Float64).fill_nan(None)
    return series


def _number(series: pl.Series, present: pl.Series) -> Inferred:
    unique = present.n_unique()
    if present.dtype.is_integer() and unique == series.len() and unique >= 50:
        values = present.to_numpy()
        counts = int(values.max()) - int(values.min()) + 1 == unique
        if ID_NAME.search(series.name) or counts:
            return _unused(series, "id", "each row has its own number")
    return _finished(series, "number")


def _text(series: pl.Series, present: pl.Series) -> Inferred:
    words = {value.strip().lower() for value in present.unique().to_list()[:5000]}
    unique = present.n_unique()
    if len(words) == 2 and words & TRUE_WORDS and words & FALSE_WORDS:
        return _finished(series, "boolean")
    numbers = _nearly_numbers(series)
    if numbers is not None:
        return numbers
    format = _date_format(present)
    if format is not None:
        return _dates(series, format or None)
    average_words = present.str.count_matches(r"\S+").to_numpy().mean()
    if unique > max(50, 0.5 * present.len()):
        if average_words >= 3:
            return _unused(series, "text", "it is free text")
        if unique > 0.9 * present.len():
            return _unused(series, "id", "nearly every row has its own text")
    return _finished(series, "category")


def _date_format(present: pl.Series) -> str | None:
    """The format that reads every value: '' for ISO 8601, None when there is none."""
    sample = present.head(200).to_list()
    if any(not any(c.isdigit() for c in text) for text in sample):
        return None
    if _all_parse(sample, None) and _all_parse(present.unique().to_list(), None):
        return ""
    unique = present.unique().to_list()
    fitting = [f for f in DATE_FORMATS if _all_parse(sample, f) and _all_parse(unique, f)]
    return min(fitting, key=lambda f: _span(unique, f)) if fitting else None


def _all_parse(values: list[str], format: str | None) -> bool:
    try:
        for value in values:
            if format is None and value.isdigit():
                return False  # fromisoformat reads 20240101, but a bare number is no date here
            parse_time(value, format)
            if format is not None and value[:4].isdigit() != format.startswith("%Y"):
                return False
    except ValueError:
        return False
    return True


def _span(values: list[str], format: str) -> int:
    """Time from the first to the last date: where day and month can change places, the reading
    that keeps the dates close together is the likelier one, whatever the order of the rows."""
    moments = [parse_time(value, format) for value in values]
    return max(moments) - min(moments)


def _dates(series: pl.Series, format: str | None) -> Inferred:
    known = {text: parse_time(text, format) for text in series.drop_nulls().unique().to_list()}
    values = np.array([known.get(text, MISSING_TIME) for text in series.to_list()], np.int64)
    column = Column(series.name, "datetime", format=format)
    return Inferred(describe(column, values), values, _doubt(format, list(known)))


def _doubt(format: str | None, values: list[str]) -> str:
    """Said when the same text could also be read with day and month exchanged."""
    if format is None or format[:2] not in ("%d", "%m"):
        return ""
    other = format.translate(str.maketrans("dm", "md"))
    if not _all_parse(values, other):
        return ""
    return f"day and month can be exchanged; read as {format}"


def _nearly_numbers(series: pl.Series) -> Inferred | None:
    """Text that is numbers but for words such as NA, which then mean missing."""
    numbers, words = numbers_in(series)
    if words is None:
        return None
    found = infer(numbers)
    doubt = f"{', '.join(sorted(words))} read as missing" if words else ""
    return Inferred(found.column, found.values, doubt)


def numbers_in(series: pl.Series) -> tuple[pl.Series, set[str] | None]:
    """Numbers out of text, and the words among them that stand for missing.

    Returns:
        (numbers, the words); (the series itself, None) when it holds other text as well.

    Example:
        >>> numbers, words = numbers_in(pl.Series("x", ["1", "NA", "2"]))
        >>> numbers.to_list(), words
        ([1.0, None, 2.0], {'NA'})
    """
    numbers = series.str.strip_chars().cast(pl.Float64, strict=False)
    words = set(series.filter(numbers.is_null() & series.is_not_null()).unique().to_list())
    missing = all(word.strip().lower() in MISSING_WORDS for word in words)
    codes = bool(series.str.contains(r"^\s*0\d").any())  # 01234 is a code, not a number
    if not missing or codes or numbers.null_count() > 0.5 * series.len():
        return series, None
    return numbers, words


def _as_forced(series: pl.Series, kind: Kind) -> Inferred:
    if kind not in FEATURE_KINDS:
        return _unused(series, kind, f"data.kinds says it is {kind}")
    if kind == "datetime" and series.dtype == pl.String:
        format = _date_format(series.drop_nulls())
        if format is None:
            found = series.drop_nulls()[0]
            raise DataError(
                f"data.kinds.{series.name}: not every value is a date-time, such as {found!r}.",
                hint="Wanted ISO 8601 or one of " + ", ".join(DATE_FORMATS[:4]) + ", ...",
            )
        return _dates(series, format or None)
    if kind == "number" and series.dtype == pl.String:
        series = series.cast(pl.Float64, strict=False) if _castable(series) else series
    return _finished(series, kind)


def _castable(series: pl.Series) -> bool:
    return series.cast(pl.Float64, strict=False).null_count() == series.null_count()


def _finished(series: pl.Series, kind: Kind) -> Inferred:
    """A feature column: its values through the one intake, then its description."""
    integer = kind == "number" and series.dtype.is_integer()
    column = Column(series.name, kind, integer=integer)
    problems: list[str] = []
    values = column_feed(column, raw_values(series), problems)
    refuse(problems)
    return Inferred(describe(column, values), values)


def raw_values(series: pl.Series) -> Array | list[object]:
    """A column as the intake likes it best: typed arrays where there are any."""
    if series.dtype.is_numeric():
        return series.cast(pl.Float64).to_numpy()
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
    if column.kind == "category":
        names, counts = np.unique(present.astype(str), return_counts=True)
        order = np.lexsort((names, -counts))[:MOST_LEVELS]
        levels = tuple(str(name) for name in names[order])
    elif len(present):
        minimum, maximum = float(present.min()), float(present.max())
    return msgspec.structs.replace(
        column,
        nullable=bool(missing.any()),
        minimum=minimum,
        maximum=maximum,
        levels=levels,
    )


def missing_in(values: Array) -> Array:
    """Where a feed has no value.

    Example:
        >>> missing_in(np.array(["", "a"], dtype=object)).tolist()
        [True, False]
    """
    if values.dtype == object:
        return np.asarray(values == "", dtype=bool)
    if values.dtype.kind == "i":
        return np.asarray(values == MISSING_TIME)
    return np.asarray(np.isnan(values))


def _unused(series: pl.Series, kind: Kind, why: str) -> Inferred:
    numeric = series.dtype.is_numeric() or series.dtype == pl.Boolean
    shown = Column(series.name, "number" if numeric else "category")
    raw = series.cast(pl.Float64).to_numpy() if numeric else series.cast(pl.String).to_list()
    values = column_feed(shown, raw, [])
    return Inferred(Column(series.name, kind, bool(missing_in(values).any()), unused=why), values)
