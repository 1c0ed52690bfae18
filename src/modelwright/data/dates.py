"""The text of a cell to a moment, whole columns at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import polars as pl

from modelwright.core.intake import Array
from modelwright.core.schema import MISSING_TIME, parse_time
from modelwright.data.cells import FEWEST_OF_KIND, KIND_SHARE

FIRST_YEAR = 1000
DATE_FORMATS = (
    "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M",
    "%m/%d/%Y %I:%M:%S %p", "%d/%m/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%d/%m/%Y %I:%M %p",
    "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y",
    "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y.%m.%d", "%m-%d-%Y", "%d-%m-%Y",
    "%d-%m-%Y %H:%M:%S", "%m-%d-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%m-%d-%Y %H:%M",
    "%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%m/%d/%y %H:%M", "%d/%m/%y %H:%M",
    "%m/%d/%y %I:%M %p", "%d/%m/%y %I:%M %p", "%Y-%m-%d %I:%M %p", "%Y-%m-%d %I:%M:%S %p", "%Y-%m",
    "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y",
    "%d-%b-%Y %H:%M:%S", "%d %b %Y %H:%M:%S", "%d/%b/%Y", "%a %b %d %H:%M:%S %Y",
    "%H:%M:%S", "%H:%M", "%H.%M.%S", "%I:%M %p", "%I:%M:%S %p",
)  # fmt: skip


def date_format(present: pl.Series) -> str | None:
    """The format that reads every value: '' for ISO 8601, None when there is none."""
    unique = present.unique()
    sample = unique.head(200).to_list()
    if any(sum(c.isdigit() for c in text) < 3 for text in sample):
        return None
    if _all_parse(sample, None):
        return "" if moments(unique, None)[1] else None
    return None if _are_versions(sample) else _fitting(unique, sample)


def nearly_all(present: pl.Series, given: str | None = None) -> tuple[str, pl.Series] | None:
    """Dates among which a few texts are none, as a slip of the pen leaves them.

    Args:
        given: the format, where it is known.

    Returns:
        (the format as of `date_format`, the different texts that it cannot read), or None where
        fewer than `KIND_SHARE` of the values, or than `FEWEST_OF_KIND`, are dates of one form.

    Example:
        >>> days = pl.Series([f"2024-01-{day:02}" for day in range(1, 32)] * 2 + ["2024-01-99"])
        >>> nearly_all(days)[1].to_list()
        ['2024-01-99']
    """
    unique = present.unique(maintain_order=True)
    sample = unique.head(50).to_list()
    if present.len() < FEWEST_OF_KIND or (given is None and _are_versions(sample)):
        return None
    if 2 * sum(sum(c.isdigit() for c in text) >= 3 for text in sample) < len(sample):
        return None
    best: tuple[int, int, str, pl.Series] | None = None
    for format in (None, *DATE_FORMATS) if given is None else (given,):
        if 2 * sum(_parses(text, format) for text in sample) <= len(sample):
            continue
        found, _ = moments(unique, format)
        wrong = unique.filter(pl.Series(found == MISSING_TIME))
        right = present.len() - int(present.is_in(wrong.to_list()).sum())
        width = -span(unique, format)
        if best is None or (right, width) > best[:2]:
            best = (right, width, format or "", wrong)
    if best is None or best[0] < max(KIND_SHARE * present.len(), FEWEST_OF_KIND):
        return None
    return best[2], best[3]


def no_date(texts: pl.Series) -> str:
    """Which value keeps a column from being one of date-times, in words."""
    rows = texts.is_not_null().arg_true()
    if not len(rows):
        return "no value at all"
    known = texts.drop_nulls()
    good, bad = 0, len(known)  # values from the top that have a format, and that have none
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if date_format(known.head(middle)) else (good, middle)
    place = bad - 1
    like = f", as {known[0]!r} is" if place else ""
    return f"row {rows[place]}: {known[place]!r} is no date-time{like}"


def _are_versions(sample: list[str]) -> bool:
    """1.2.13 is no time of day."""
    versions = [text for text in sample if re.fullmatch(r"\d+\.\d+\.\d{1,2}", text)]
    return 2 * len(versions) > len(sample) and any(len(text) < 8 for text in versions)


def _fitting(unique: pl.Series, sample: list[str]) -> str | None:
    fitting = [f for f in DATE_FORMATS if _all_parse(sample, f) and moments(unique, f)[1]]
    return min(fitting, key=lambda f: span(unique, f)) if fitting else None


def _all_parse(values: list[str], format: str | None) -> bool:
    return all(_parses(value, format) for value in values)


def _parses(value: str, format: str | None) -> bool:
    if format is None and value.isdigit():
        return False  # fromisoformat reads 20240101, but a bare number is no date here
    try:
        parse_time(value, format)
    except ValueError:
        return False
    return format is None or value[:4].isdigit() == format.startswith("%Y")


def moments(unique: pl.Series, format: str | None) -> tuple[Array, bool]:
    """(microseconds since 1970 a text, whether every text is a date-time)."""
    out = np.full(unique.len(), MISSING_TIME, np.int64)
    texts, whole = unique.to_list(), True
    left: Iterable[int] = range(len(texts))
    if unique.len() > 2000:
        likely = format or _iso_shape(texts[0])
        fast = unique.str.to_datetime(likely, strict=False, time_unit="us")
        done = (fast.dt.year() >= FIRST_YEAR).fill_null(False).to_numpy()  # 21 is no year
        out[done] = fast.filter(pl.Series(done)).to_physical().to_numpy()
        left = np.flatnonzero(~done).tolist()
    for index in left:
        try:
            out[index] = parse_time(texts[index], format)
        except (ValueError, TypeError):
            whole = False
    return out, whole


def _iso_shape(text: str) -> str:
    if len(text) <= 10:
        return "%Y-%m-%d"
    return f"%Y-%m-%d{text[10]}%H:%M:%S%.f"


def span(unique: pl.Series, format: str | None) -> int:
    """Time from the first to the last date: where day and month can change places, the reading
    that keeps the dates close together is the likelier one, whatever the order of the rows."""
    found, _ = moments(unique, format)
    known = found[found != MISSING_TIME]
    return int(known.max() - known.min()) if len(known) else 0


def exchangeable(unique: pl.Series, format: str | None) -> bool:
    """Whether the same texts could be read with day and month exchanged."""
    if format is None or format[:2] not in ("%d", "%m") or "%b" in format or "%B" in format:
        return False
    other = format.translate(str.maketrans("dm", "md"))
    return _all_parse(unique.head(200).to_list(), other) and moments(unique, other)[1]
