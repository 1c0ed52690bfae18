"""Values from outside to the arrays that the graph takes: one pure function for every door.

Training data, `predict` on a file, `/predict` and OIP v2 all pass here, so that training and
serving cannot read the same value differently.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from modelwright.core.contract import row_breaches
from modelwright.core.errors import RowsError, did_you_mean
from modelwright.core.schema import (
    FALSE_WORDS,
    MISSING_TIME,
    TRUE_WORDS,
    Column,
    Schema,
    time_from,
)
from modelwright.core.texts import in_json, kind_of

Array = npt.NDArray[Any]
Feeds = dict[str, Array]
"""Column name -> one-dimensional array: float64 (NaN missing) for numbers and booleans, object
of str ("" missing) for categories and lists, int64 microseconds (-2**63 missing) for
date-times."""

_ROW = re.compile(r"row (\d+)\b")
SHOWN_PROBLEMS = 100
TOLD_BRIEFLY = 20
"""The same on a terminal, and in gRPC, where the header of an answer must hold them."""
MOST_WORDED = 1000
"""Problems that are put into words; a large body of wrong values must not cost seconds."""


def feeds_from_rows(
    schema: Schema, rows: Sequence[Any], *, unknown: dict[str, int] | None = None
) -> Feeds:
    """Turn records into graph inputs.

    Args:
        schema: the model's schema.
        rows: one mapping a row; a column that was sometimes missing in training may be absent.
        unknown: where columns that the schema does not have are counted; None refuses them.

    Returns:
        One array of `len(rows)` for each feature.

    Raises:
        RowsError: with a line for each wrong value, naming row and column.

    Example:
        >>> from modelwright.core.schema import Target
        >>> schema = Schema((Column("age", "number"),), Target("y", "regression"))
        >>> feeds_from_rows(schema, [{"age": 39}, {"age": None}])
        {'age': array([39., nan])}
        >>> seen = {}
        >>> feeds_from_rows(schema, [{"age": 39, "shoe": 44}], unknown=seen), seen
        ({'age': array([39.])}, {'shoe': 1})
    """
    problems: list[str] = []
    features = schema.features
    allowed = schema.tolerated.union(column.name for column in features)
    wanted = [column.name for column in features if not column.nullable]
    absent: dict[str, set[int]] = {c.name: set() for c in features if c.expect is not None}
    tidy: list[Any] = []
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            _say(problems, f"row {index}: wanted an object, found {kind_of(row)}")
            tidy.append({})
            for under_contract in absent.values():
                under_contract.add(index)
            continue
        tidy.append(row)
        for name in sorted(map(str, row.keys() - allowed)):
            _odd_column(schema, name, f"row {index}: ", problems, unknown)
        for name in wanted:
            if name not in row:
                _say(problems, f"row {index}: column {name!r} is missing")
                if name in absent:
                    absent[name].add(index)
    columns = {c.name: [row.get(c.name) for row in tidy] for c in features}
    return _feeds(schema, columns, problems, absent)


def feeds_from_columns(
    schema: Schema,
    columns: Mapping[str, Sequence[Any] | Array],
    *,
    unknown: dict[str, int] | None = None,
) -> Feeds:
    """Turn named columns of equal length into graph inputs; see `feeds_from_rows`.

    Raises:
        RowsError: a column is unknown, missing, of another length, or holds a wrong value.
    """
    problems: list[str] = []
    features = schema.features
    allowed = schema.tolerated.union(column.name for column in features)
    for name in sorted(map(str, columns.keys() - allowed)):
        _odd_column(schema, name, "", problems, unknown)
    sizes: dict[str, int] = {}
    for name, values in columns.items():
        if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
            problems.append(f"column {name!r}: wanted a list of values")
        else:
            sizes[name] = len(values)
    count = max(sizes.values(), default=0)
    problems += [
        f"column {name!r} has {size} values, another has {count}"
        for name, size in sizes.items()
        if size != count
    ]
    for column in features:
        if column.name not in columns and not column.nullable:
            problems.append(f"column {column.name!r} is missing")
    given = {c.name: columns[c.name] for c in features if sizes.get(c.name) == count}
    absent = {c.name: range(count) for c in features if c.name not in given and not c.nullable}
    filled = {c.name: given.get(c.name, [None] * count) for c in features}
    return _feeds(schema, filled, problems, absent)


def _say(problems: list[str], line: str) -> None:
    """Count a problem; those that will never be shown are not kept in words."""
    problems.append(line if len(problems) < MOST_WORDED else "")


def _odd_column(
    schema: Schema, name: str, where: str, problems: list[str], unknown: dict[str, int] | None
) -> None:
    if unknown is not None:
        unknown[name] = unknown.get(name, 0) + 1
    elif len(problems) < SHOWN_PROBLEMS:  # to look for a similar name takes long
        problems.append(where + unknown_column(schema, name))
    else:
        problems.append("")


def unknown_column(schema: Schema, name: object) -> str:
    """The message for a column that the model never saw."""
    found = str(name)[:80]
    hint = did_you_mean(found, [column.name for column in schema.columns])
    return f"unknown column {found!r}" + (f": {hint}" if hint else "")


def refuse(problems: Sequence[str], feeds: Feeds | None = None) -> None:
    """Raise RowsError when there are problems; at most 100 are spelled out, row by row.

    Args:
        problems: a line each; those that will never be shown may be empty.
        feeds: of the values that fit.
    """
    if problems:
        shown = sorted(problems[:SHOWN_PROBLEMS], key=_row_of)
        if len(problems) > SHOWN_PROBLEMS:
            shown.append(f"... and {len(problems) - SHOWN_PROBLEMS} more")
        error = RowsError(f"The input has {len(problems)} problem(s):", shown)
        error.all_problems, error.feeds = problems, feeds
        raise error


def _row_of(problem: str) -> int:
    """The row that a problem names; one of the whole input comes before all rows."""
    found = _ROW.match(problem)
    return int(found[1]) if found else -1


def _feeds(
    schema: Schema,
    columns: Mapping[str, Sequence[Any] | Array],
    problems: list[str],
    absent: Mapping[str, Collection[int]],
) -> Feeds:
    """Convert each column; `absent` rows have been complained of already."""
    feeds: Feeds = {}
    for column in schema.features:
        wrong: list[int] = []
        feeds[column.name] = column_feed(column, columns[column.name], problems, wrong)
        if column.expect is not None:
            known = {*wrong, *absent.get(column.name, ())}
            problems += row_breaches(column, feeds[column.name], known)
    refuse(problems, feeds)
    return feeds


def column_feed(
    column: Column,
    values: Sequence[Any] | Array,
    problems: list[str],
    wrong: list[int] | None = None,
) -> Array:
    """One column's array; what does not fit is added to `problems`, its rows to `wrong`, and left
    missing."""
    if isinstance(values, np.ndarray):
        if column.kind == "datetime" and values.dtype.kind == "M":
            return _moments(column, values, problems, wrong)
        fast = _from_array(column, values)
        if fast is not None:
            return fast
        values = values.tolist()
    convert = _CONVERT[column.kind]
    missing = _MISSING.get(column.kind, math.nan)
    out: Array = np.empty(len(values), _DTYPE.get(column.kind, np.float64))
    known: dict[str, Any] = {}
    for index, value in enumerate(values):
        if value is None:
            out[index] = missing
            continue
        if type(value) is str and value in known:
            out[index] = known[value]
            continue
        try:
            out[index] = convert(column, value)
            if type(value) is str:
                known[value] = out[index]
        except (ValueError, TypeError, OverflowError):
            out[index] = missing
            problems.append(
                _wrong_value(column, index, value) if len(problems) < MOST_WORDED else ""
            )
            if wrong is not None:
                wrong.append(index)
    return out


def _wrong_value(column: Column, index: int, value: object) -> str:
    hint = "; a missing value is null" if isinstance(value, str) and not value else ""
    return (
        f"row {index}, column {column.name!r}: wanted {wanted_of(column)}, found "
        f"{in_json(value)}{hint}"
    )


def wanted_of(column: Column) -> str:
    """What a column takes, in words.

    Example:
        >>> wanted_of(Column("day", "datetime", format="%d/%m/%Y"))
        'a date-time in ISO 8601 or %d/%m/%Y'
    """
    wanted = _WANTED[column.kind]
    if column.kind == "datetime" and column.format:
        wanted += f" or {column.format}"
    return wanted


def _from_array(column: Column, values: Array) -> Array | None:
    """Arrays that already have the right type need no look at each value."""
    if column.kind in ("number", "boolean") and values.dtype.kind in "iuf":
        if column.kind == "number":
            return _without_sentinels(column, values.astype(np.float64, copy=False))
    elif column.kind == "boolean" and values.dtype.kind == "b":
        return values.astype(np.float64)
    return None


def _moments(column: Column, values: Array, problems: list[str], wrong: list[int] | None) -> Array:
    """Microseconds; what is too far away to be counted in them would silently become another day.

    Units that are coarser come back from microseconds as they were, unless they did not fit.
    """
    exact = values.astype("datetime64[us]")
    if np.datetime_data(values.dtype)[0] not in ("us", "ns", "ps", "fs", "as"):
        far = np.flatnonzero((exact.astype(values.dtype) != values) & ~np.isnat(values))
        for index in far.tolist():
            known = len(problems) < MOST_WORDED
            problems.append(_wrong_value(column, index, values[index]) if known else "")
        exact[far] = np.datetime64("NaT")
        if wrong is not None:
            wrong += far.tolist()
    return exact.astype(np.int64)


def _without_sentinels(column: Column, numbers: Array) -> Array:
    """Numbers such as -999 that the schema says mean missing become missing."""
    sentinels = sentinels_of(column)
    return np.where(np.isin(numbers, sentinels), np.nan, numbers) if sentinels else numbers


def sentinels_of(column: Column) -> list[float]:
    """The numbers among the values that mean missing."""
    found = []
    for word in column.missing:
        try:
            found.append(float(word))
        except ValueError:
            continue
    return found


_MISSING: dict[str, Any] = {"category": "", "list": "", "datetime": MISSING_TIME}
_DTYPE: dict[str, Any] = {"category": object, "list": object, "datetime": np.int64}
_WANTED = {
    "number": "a number",
    "category": "text",
    "boolean": "true or false",
    "datetime": "a date-time in ISO 8601",
    "list": "text or a list of texts",
}


def _number(column: Column, value: object) -> float:
    if isinstance(value, str) and value.strip() in column.missing:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise ValueError("not a number")
    number = float(value)
    return math.nan if column.missing and number in sentinels_of(column) else number


def _category(column: Column, value: object) -> str:
    """Text without blanks at its ends, under the spelling that the schema knows it by."""
    text = _text(value).strip()
    if text in column.missing:
        return ""
    return column.spellings.get(text, text)


def _list(column: Column, value: object) -> str:
    """Items of a list, each tidied, joined by the separator that training had."""
    separator = column.format or "|"
    items = value if isinstance(value, (list, tuple)) else str(_text(value)).split(separator)
    texts = [_category(column, item) for item in items]
    if any(separator in text for text in texts):
        raise ValueError("an item holds the separator")
    return separator.join(text for text in texts if text)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        return "" if math.isnan(value) else level_text(float(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (dt.date, dt.datetime)):
        return value.isoformat()
    raise ValueError("not text")


def level_text(value: float) -> str:
    """A number used as a category, written so that 1 and 1.0 are the same level.

    Example:
        >>> level_text(1.0), level_text(1.5)
        ('1', '1.5')
    """
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _boolean(column: Column, value: object) -> float:
    if isinstance(value, (float, np.floating)) and math.isnan(value):
        return math.nan
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, (int, float)) and value in (0, 1)):
        return float(value)
    if isinstance(value, str):
        word = value.strip().lower()
        if word == "" or value.strip() in column.missing:
            return math.nan
        if word in TRUE_WORDS or word in FALSE_WORDS:
            return float(word in TRUE_WORDS)
    raise ValueError("not a boolean")


def _time(column: Column, value: object) -> int:
    if value == "" or value != value:  # NaN and pandas.NaT differ from themselves
        return MISSING_TIME
    if column.format == "%Y%m%d" and isinstance(value, (int, float)):
        value = str(int(value))
    if isinstance(value, str):
        value = value.strip()
        if value in column.missing or not value:
            return MISSING_TIME
    return time_from(value, column.format)


_CONVERT: dict[str, Callable[[Column, Any], Any]] = {
    "number": _number,
    "category": _category,
    "list": _list,
    "boolean": _boolean,
    "datetime": _time,
}
