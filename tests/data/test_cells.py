"""Numbers and booleans out of the texts that people write."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.data.cells import (
    STYLES,
    booleans_in,
    number_style,
    numbers_in,
    parsed,
    stripped,
)

WRITTEN = [
    ("1234.5", ["1", "-2.5", "+3", "1e3", ".5", "4."], [1, -2.5, 3, 1000, 0.5, 4]),
    ("1,234.5", ["1,234.5", "12", "1,234,567", "-1,000"], [1234.5, 12, 1234567, -1000]),
    ("1,234.5", ["12,34,567.5", "1,00,000"], [1234567.5, 100000]),
    ("1.234,5", ["1.234,5", "12", "2,6", "-1.000"], [1234.5, 12, 2.6, -1000]),
    ("1 234,5", ["1 234,5", "12\u00a0345", "2,6"], [1234.5, 12345, 2.6]),
    ("1'234.5", ["1'234.5", "12'345'678"], [1234.5, 12345678]),
    ("1234.5", ["$5", "$ 7.5", "-$3", "($2)"], [5, 7.5, -3, -2]),
    ("1,234.5", ["USD 1,200", "USD 3"], [1200, 3]),
    ("1.234,5", ["1.200,50 \u20ac", "3 \u20ac"], [1200.5, 3]),
    ("1234.5", ["45%", "5.5 %"], [45, 5.5]),
    ("1234.5", ["12 kg", "7.5kg"], [12, 7.5]),
    ("1234.5", ["5 km/h", "7 km/h"], [5, 7]),
    ("1234.5", ["19M", "14k", "800"], [19e6, 14e3, 800]),
    ("1,234.5", ["1,000+", "500+"], [1000, 500]),
    ("1234.5", ["5-", "\u22127"], [-5, -7]),
]


@pytest.mark.parametrize(("style", "texts", "numbers"), WRITTEN, ids=lambda v: str(v)[:30])
def test_numbers_as_people_write_them(style: str, texts: list[str], numbers: list[float]) -> None:
    found = numbers_in(stripped(pl.Series("x", texts)), style)
    assert found is not None and found.values.to_list() == numbers and not found.wrong_count


@pytest.mark.parametrize(
    "texts",
    [
        ["01234", "56789"],
        ["12 kg", "300 g"],
        ["1st", "2nd", "3rd"],
        ["a", "1"],
        ["10:30", "11:45"],
        ["747-100", "A320"],
        ["1.2.3", "1.2.4"],
        ["inf", "nan"],
        ["SKU12", "SKU13"],
        ["1.2.13", "1.2.14"],
    ],
)
def test_what_is_no_number(texts: list[str]) -> None:
    assert numbers_in(pl.Series("x", texts)) is None


def test_a_few_slips_among_numbers_are_named() -> None:
    found = numbers_in(pl.Series("x", [str(i) for i in range(200)] + ["n/a", "abc"]))
    assert found is not None
    assert (found.words, found.wrong, found.wrong_count) == (("n/a",), (201,), 1)


@pytest.mark.parametrize(
    ("columns", "delimiter", "style"),
    [
        ([["1,5", "2,25"]], ",", "1.234,5"),
        ([["1,234", "5,678"]], ",", "1,234.5"),
        ([["1,234", "5,678"]], ";", "1.234,5"),
        ([["1.234", "5.678"]], ",", "1234.5"),
        ([["1.234", "5.678"], ["2,6", "3,1"]], ";", "1.234,5"),
        ([["1 234,5", "7,5"]], ";", "1 234,5"),
        ([["1.5", "2.25"], ["word", "other"]], ",", "1234.5"),
        ([["12", "13"]], ";", "1234.5"),
        ([["850", "1.200", "12.345"], ["0,5", "1,5"]], ";", "1.234,5"),
        ([["2.200", "1.125"], ["-5.2", "3.1"]], ",", "1234.5"),
    ],
)
def test_the_style_of_a_file(columns: list[list[str]], delimiter: str, style: str) -> None:
    assert number_style([pl.Series(c) for c in columns], delimiter)[0] == style


def test_thousands_or_decimals_is_a_doubt() -> None:
    assert "could also be written as" in number_style([pl.Series(["1,234", "5,678"])])[1]
    assert number_style([pl.Series(["1,234.5", "5,678"])])[1] == ""


@given(st.floats(-1e12, 1e12, allow_nan=False), st.sampled_from(sorted(STYLES)))
def test_what_a_style_writes_it_reads(number: float, style: str) -> None:
    thousands, decimal = STYLES[style]
    text = f"{number:,.4f}".replace(",", "T").replace(".", decimal).replace("T", thousands)
    values, _, _ = parsed(pl.Series([text]), style)
    assert values[0] == round(number, 4)


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["Yes", "no", "YES ", "N", "y"], [1, 0, 1, 0, 1]),
        (["t", "f"], [1, 0]),
        (["ja", "nein"], [1, 0]),
        (["TRUE", "False"], [1, 0]),
        (["yes", "0", "no", "1"], [1, 0, 0, 1]),
        (["1.0", "0.0"], None),
        (["1", "0"], None),
        (["f", "y"], None),
        (["yes", "maybe"], None),
        (["yes"], None),
    ],
)
def test_booleans(texts: list[str], wanted: list[int] | None) -> None:
    found = booleans_in(pl.Series("x", texts))
    assert (found.to_list() if found is not None else None) == wanted


def test_odd_blanks_are_blanks() -> None:
    found = stripped(pl.Series("x", ["\u00a0a ", "\u2009", " b\u00a0c", None]))
    assert found.to_list() == ["a", None, "b c", None]
    assert np.isnan(parsed(pl.Series(["x"]), None)[0].to_numpy()[0])
