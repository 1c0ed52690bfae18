"""Columns of plain numbers, typed all at once."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.data.kinds import infer
from modelwright.data.plain import plain_numbers

NUMBER_LIKE = st.one_of(
    st.integers(-(10**17), 10**17).map(str),
    st.integers(-3, 3).map(str),
    st.integers(19000101, 20301231).map(str),
    st.floats(allow_nan=True, allow_infinity=True).map(str),
    st.decimals(-1000, 1000, places=3, allow_nan=False).map(str),
    st.sampled_from(["", " 1", "01", "-0", "+5", "1.", ".5", "1e5", "n/a", "1,5", "x",
                     "0.0", "1.0"]),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(-9, 200).map(str)), min_size=1, max_size=60)
    | st.lists(st.one_of(st.none(), st.integers(-9, 9).map(lambda n: f"{n}.5")), min_size=1)
    | st.lists(st.one_of(st.none(), NUMBER_LIKE), min_size=1, max_size=30)
)
def test_plain_numbers_are_what_the_long_way_finds(texts: list[str | None]) -> None:
    column = pl.Series("x", texts, dtype=pl.String)
    plain = plain_numbers(column.to_frame())
    simple = [text for text in texts if text is not None]
    whole = bool(simple) and all(re.fullmatch(r"[1-9]\d{0,14}", text) for text in simple)
    assert not whole or "x" in plain
    if "x" not in plain:
        return
    short, long = infer(plain["x"]), infer(column)
    if len(set(simple)) > 1 and len({float(text) for text in simple}) == 1:
        assert short.column.kind in ("constant", "number")  # 0.0 and 0.00 are one value
        return
    assert short.column == long.column and short.notes == long.notes
    np.testing.assert_array_equal(short.values, long.values)
