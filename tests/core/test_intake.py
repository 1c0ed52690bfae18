"""The one intake: what fits becomes arrays, what does not is named by row and column."""

from __future__ import annotations

import datetime as dt
import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.errors import RowsError
from modelwright.core.intake import feeds_from_columns, feeds_from_rows
from modelwright.core.schema import MISSING_TIME, Column, Expect, Schema, Target

SCHEMA = Schema(
    (
        Column("age", "number"),
        Column("job", "category", nullable=True, levels=("a", "b")),
        Column("member", "boolean", nullable=True),
        Column("since", "datetime", nullable=True, format="%d/%m/%Y"),
        Column("id", "id", unused="id-like"),
    ),
    Target("y", "binary", "string", ("no", "yes")),
)
ROW = {"age": 39, "job": "a", "member": True, "since": "2020-02-29"}


def refused(rows: list[Any]) -> tuple[str, ...]:
    with pytest.raises(RowsError) as caught:
        feeds_from_rows(SCHEMA, rows)
    return caught.value.problems


def test_rows_and_columns_agree() -> None:
    rows = [ROW, {"age": 1.5}]
    columns: dict[str, Any] = {
        "age": [39, 1.5], "job": ["a", None], "member": [True, None], "since": ["29/02/2020", None],
    }  # fmt: skip
    by_row, by_column = feeds_from_rows(SCHEMA, rows), feeds_from_columns(SCHEMA, columns)
    for name, values in by_row.items():
        np.testing.assert_array_equal(values, by_column[name])
    assert by_row["since"].tolist() == [1582934400000000, MISSING_TIME]


def test_target_and_unused_columns_are_tolerated() -> None:
    assert len(feeds_from_rows(SCHEMA, [{**ROW, "y": "no", "id": 7}])["age"]) == 1


def test_every_problem_is_named() -> None:
    found = refused(
        [{**ROW, "age": "39"}, {"job": "a", "agee": 2}, 5, {**ROW, "member": "perhaps"},
         {**ROW, "since": "31/02/2020"}, {**ROW, "job": ["a"]}, {**ROW, "age": True}]
    )  # fmt: skip
    text = "\n".join(found)
    assert "row 1: unknown column 'agee': did you mean 'age'?" in text
    assert "row 1: column 'age' is missing" in text
    assert "row 2: wanted an object, found number" in text
    values = "\n".join(
        refused([{**ROW, "age": "39"}, {**ROW, "member": "perhaps"}, {**ROW, "since": "x"},
                 {**ROW, "job": ["a"]}, {**ROW, "age": True}])
    )  # fmt: skip
    assert "row 0, column 'age': wanted a number, found '39' (text)" in values
    assert "row 1, column 'member': wanted true or false, found 'perhaps'" in values
    assert "row 2, column 'since': wanted a date-time in ISO 8601 or %d/%m/%Y, found 'x'" in values
    assert "row 3, column 'job': wanted text" in values
    assert "row 4, column 'age': wanted a number, found true (boolean)" in values


def test_a_hundred_problems_are_spelled_out() -> None:
    found = refused([{**ROW, "age": "x"} for _ in range(150)])
    assert len(found) == 101 and found[-1] == "... and 50 more"


def test_columns_of_unequal_length() -> None:
    with pytest.raises(RowsError, match="has 1 values, another has 2"):
        feeds_from_columns(SCHEMA, {"age": [1, 2], "job": ["a"]})
    with pytest.raises(RowsError, match="wanted a list of values"):
        feeds_from_columns(SCHEMA, {"age": "12"})


def test_moments_in_every_form_are_equal() -> None:
    moments = [
        "2020-03-01T12:00:00", "2020-03-01 12:00:00", "2020-03-01T13:00:00+01:00",
        dt.datetime(2020, 3, 1, 12), dt.datetime(2020, 3, 1, 12, tzinfo=dt.UTC),
    ]  # fmt: skip
    values = feeds_from_rows(SCHEMA, [{**ROW, "since": moment} for moment in moments])["since"]
    array = np.array(["2020-03-01T12:00:00"], "datetime64[ns]")
    columns = {"age": [1], "since": array}
    assert set(values) == set(feeds_from_columns(SCHEMA, columns)["since"])


def test_dates_before_1970_and_missing_ones() -> None:
    values = feeds_from_rows(
        SCHEMA, [{**ROW, "since": v} for v in ("1969-12-31T23:59:59.999999", "", None, math.nan)]
    )["since"]
    assert values.tolist() == [-1, MISSING_TIME, MISSING_TIME, MISSING_TIME]


def test_categories_from_numbers() -> None:
    given_values = [1, 1.0, 1.5, True, None, math.nan, "1"]
    found = feeds_from_rows(SCHEMA, [{**ROW, "job": value} for value in given_values])["job"]
    assert found.tolist() == ["1", "1", "1.5", "true", "", "", "1"]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from([*ROW, "id", "q"]), JSON) | JSON, max_size=4))
def test_any_json_is_taken_or_refused(rows: list[Any]) -> None:
    try:
        feeds = feeds_from_rows(SCHEMA, rows)
    except RowsError:
        return
    assert {len(values) for values in feeds.values()} == {len(rows)}


def test_numbers_of_numpy_are_numbers_and_its_text_is_not() -> None:
    for value in (np.float32(1.5), np.int8(3), np.float64(2)):
        assert feeds_from_rows(SCHEMA, [{**ROW, "age": value}])["age"][0] == value
    for wrong in (np.str_("39"), np.array([1.0]), np.bool_(True), np.datetime64("2020-01-01")):
        assert "wanted a number" in refused([{**ROW, "age": wrong}])[0]


def test_names_and_values_that_are_wrong_are_told_together() -> None:
    found = refused([{**ROW, "agee": 1}, {"job": "a"}, {**ROW, "age": "old"}])
    assert [line.split(":")[0] for line in found] == ["row 0", "row 1", "row 2, column 'age'"]
    with pytest.raises(RowsError) as caught:
        feeds_from_columns(SCHEMA, {"agee": [1, 2], "member": ["x", True]})
    assert len(caught.value.problems) == 3


def test_a_broken_contract_is_told_beside_wrong_values() -> None:
    age = Column("age", "number", expect=Expect(required=True, maximum=120))
    schema = Schema((age,), Target("y", "regression"))
    rows = [{"age": "x"}, {"age": 323}, {"age": None}, {}]
    with pytest.raises(RowsError) as caught:
        feeds_from_rows(schema, rows)
    assert [line[:5] for line in caught.value.problems] == ["row 0", "row 1", "row 2", "row 3"]


def test_problems_are_told_row_by_row() -> None:
    rows = [{**ROW, "age": "x"} for _ in range(11)]
    rows[1] = {"job": "a"}
    found = refused([*rows, {**ROW, "agee": 1}])
    assert [int(line[4:6].strip(",:")) for line in found] == [*range(12)]


def test_unknown_columns_may_be_counted_instead() -> None:
    seen: dict[str, int] = {}
    by_row = feeds_from_rows(SCHEMA, [{**ROW, "q": 1}, {**ROW, "q": 2, "id": 3}], unknown=seen)
    assert seen == {"q": 2} and len(by_row["age"]) == 2
    seen.clear()
    feeds_from_columns(SCHEMA, {"age": [1], "q": [1]}, unknown=seen)
    assert seen == {"q": 1}


def test_a_large_body_of_wrong_values_costs_little() -> None:
    rows: list[Any] = [{"age": "x", f"odd{i}": 1} for i in range(20_000)]
    started = time.perf_counter()
    found = refused([*rows, *[5] * 20_000])
    assert len(found) == 101 and found[-1] == "... and 59900 more"
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("unit", ["s", "ms", "D", "us", "ns"])
def test_moments_that_no_microseconds_can_tell_are_refused(unit: str) -> None:
    when = Schema((Column("when", "datetime", nullable=True),), Target("y", "regression"))
    good = np.array(["2024-05-01", "NaT", "1969-12-31"], f"datetime64[{unit}]")
    wanted = good.astype("datetime64[us]").astype(np.int64).tolist()
    assert feeds_from_columns(when, {"when": good})["when"].tolist() == wanted
    if unit in ("us", "ns"):
        return
    far = good.copy()
    far[2] = np.datetime64(2**62 if unit != "D" else 2**31, unit)  # 1970, if it is let wrap
    with pytest.raises(RowsError) as caught:
        feeds_from_columns(when, {"when": far})
    [problem] = caught.value.problems
    assert (
        problem.startswith("row 2, column 'when': wanted a date-time") and "(datetime64)" in problem
    )
