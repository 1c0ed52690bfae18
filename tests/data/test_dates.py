"""Dates out of the texts that people write."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.schema import parse_time
from modelwright.data.dates import DATE_FORMATS, date_format, moments, nearly_all

DAYS = [f"{day % 28 + 1}.{day % 12 + 1}.2024" for day in range(300)]


@pytest.mark.parametrize("format", DATE_FORMATS)
def test_each_date_format_is_recognised_and_read_alike_fast_and_slow(format: str) -> None:
    start = dt.datetime(2015, 3, 14, 1, 59)
    every = [start + dt.timedelta(hours=13 * i, minutes=7 * i) for i in range(2500)]
    texts = pl.Series([moment.strftime(format) for moment in every]).unique()
    found = date_format(texts)
    assert found is not None
    slow = [parse_time(text, format) for text in texts.to_list()]
    values, whole = moments(texts, format)
    assert whole and values.tolist() == slow
    assert moments(texts, found)[0].tolist() == slow or "%d" in format


@given(st.lists(st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 1, 1)), min_size=1))
def test_iso_dates_are_read(every: list[dt.datetime]) -> None:
    texts = pl.Series([moment.isoformat() for moment in every]).unique()
    assert date_format(texts) == ""
    assert moments(texts, None)[0].tolist() == [parse_time(t, None) for t in texts.to_list()]


@pytest.mark.parametrize("wrong", ["31.2.2024", "soon", "1/2/2024"])
def test_a_date_that_is_none_is_found_among_many(wrong: str) -> None:
    found = nearly_all(pl.Series([*DAYS[:100], wrong, *DAYS[100:], wrong]))
    assert found is not None
    assert found[0] == "%d.%m.%Y" and found[1].to_list() == [wrong]


@pytest.mark.parametrize(
    "texts",
    [
        [*DAYS[:15], "soon"],
        [*DAYS, *["soon"] * 9],
        [f"{i}.{i % 7}.{i % 90}" for i in range(300)],
        [f"AB-{i:04}" for i in range(300)],
        ["a", "b"] * 100,
        [],
    ],
    ids=["too few dates", "too many others", "versions", "codes", "words", "nothing"],
)
def test_what_is_no_column_of_dates(texts: list[str]) -> None:
    assert nearly_all(pl.Series("x", texts, dtype=pl.String)) is None
