"""What each column is."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import pytest

from modelwright.core.errors import DataError, RowsError
from modelwright.core.schema import FEATURE_KINDS, MISSING_TIME
from modelwright.data.hints import Hints
from modelwright.data.kinds import infer
from modelwright.data.typed import Typing

N = 200
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("x", [1.5, 2.5, None], "number"),
        ("x", [1, 2, 2], "number"),
        ("x", [True, False, None], "boolean"),
        ("x", ["yes", "No", "yes"], "boolean"),
        ("x", ["T", "F", "T"], "boolean"),
        ("x", ["a", "b", "a"], "category"),
        ("x", ["yes", "no", "maybe"], "category"),
        ("x", ["2020-01-01", "2021-02-03", None], "datetime"),
        ("x", ["2020-01-01T10:00:00Z", "2021-02-03T10:00:00Z"], "datetime"),
        ("x", ["12/31/2020", "1/2/2021"], "datetime"),
        ("x", ["31.12.2020", "1.2.2021"], "datetime"),
        ("x", ["a", "a", "a"], "constant"),
        ("ticked", ["x", "x", None], "category"),
        ("x", [None, None], "constant"),
        ("x", [float("nan"), None, float("nan")], "constant"),
        ("x", list(range(N)), "id"),
        ("customer_id", RNG.permutation(N).tolist(), "id"),
        ("PID", RNG.permutation(N).tolist(), "id"),
        ("customerId", RNG.permutation(N).tolist(), "id"),
        ("paid", (RNG.permutation(N) * 7).tolist(), "number"),
        ("x", RNG.permutation(N).tolist(), "id"),
        ("x", ["1", "NA", "2.5", "?"], "number"),
        ("x", ["0", "1", "1"], "number"),
        ("room", [f"{i}B" for i in range(1, 30)], "number"),
        ("version", [f"1.2.{i}" for i in range(30)], "category"),
        ("day", ["13/1/2020", "N/A", "2/2/2020"], "datetime"),
        ("x", ["01234", "00007", "12345"], "category"),
        ("x", [[1], [2, 1]], "list"),
        ("x", [{"a": 1}, {"a": 2}], "text"),
        ("x", [f"user-{i}" for i in range(N)], "id"),
        ("x", [f"a note about thing number {i}" for i in range(N)], "text"),
        ("x", [dt.date(2020, 1, 1), dt.date(2021, 1, 1)], "datetime"),
        ("x", [dt.timedelta(seconds=1), dt.timedelta(seconds=2)], "number"),
        ("x", [["a"], ["b"]], "list"),
        ("x", ["a|b", "b|c", "a|c", "a|b|c", "c", "b"], "list"),
    ],
)
def test_kinds(name: str, values: list[Any], kind: str) -> None:
    found = infer(pl.Series(name, values))
    assert found.column.kind == kind
    assert len(found.values) == len(values)
    assert found.column.is_feature == (kind in FEATURE_KINDS)


def test_empty_text_is_missing() -> None:
    found = infer(pl.Series("x", ["a", "", "b", None]))
    assert found.values.tolist() == ["a", "", "b", ""] and found.column.nullable
    assert found.column.levels == ("a", "b")


def test_day_first_is_proved_by_the_data_or_likelier_and_said() -> None:
    assert infer(pl.Series("x", ["13/1/2020", "2/1/2020"])).column.format == "%d/%m/%Y"
    assert infer(pl.Series("x", ["1/13/2020", "2/1/2020"])).column.format == "%m/%d/%Y"
    dense = [f"{day}/{month}/2020" for month in (1, 2, 3) for day in range(1, 13)]
    for values in (dense, dense[::-1]):
        found = infer(pl.Series("x", values))
        assert found.column.format == "%d/%m/%Y" and "can be exchanged" in found.notes[0].measured


def test_text_and_real_dates_give_equal_values() -> None:
    moments = [dt.datetime(1969, 12, 31, 23), None, dt.datetime(2024, 2, 29)]
    real = infer(pl.Series("x", moments)).values
    text = infer(pl.Series("x", [m.isoformat() if m else None for m in moments])).values
    assert real.tolist() == text.tolist() and real[1] == MISSING_TIME
    zoned = pl.Series("x", moments).dt.replace_time_zone("Europe/Paris")
    assert infer(zoned).values[2] == real[2] - 3600 * 1_000_000


def test_forced_kinds() -> None:
    assert infer(pl.Series("zip", [1, 2, 1]), "category").values.tolist() == ["1", "2", "1"]
    assert infer(pl.Series("x", ["1", "2"]), "number").values.tolist() == [1.0, 2.0]
    with pytest.raises(RowsError, match="row 1, column 'x': wanted a number, found 'b'"):
        infer(pl.Series("x", ["1", "b"]), "number")
    with pytest.raises(DataError, match="is no date-time"):
        infer(pl.Series("x", ["2020-01-01", "soon"]), "datetime")


def test_a_few_dates_that_are_none_are_missing_and_named() -> None:
    days = [f"2024-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)]
    found = infer(pl.Series("day", [*days[:40], "2024-02-31", *days[40:], "N/A"]))
    assert found.column.kind == "datetime" and found.column.missing == ("N/A",)
    assert found.values[40] == found.values[-1] == MISSING_TIME
    mixed = next(note for note in found.notes if note.check == "mixed types")
    assert mixed.rows == (40,) and "1 are no date-times: row 40: '2024-02-31'" in mixed.measured
    again = Typing((found.column,))
    assert again.feeds(pl.DataFrame({"day": ["2024-05-05", "2024-02-31"]}))["day"][1] == (
        MISSING_TIME
    )
    assert again.wrong["day"].shown == [(1, "2024-02-31")]
    slip = [*days[:100], "2024-02-31"]
    pinned = infer(pl.Series("day", slip), None, Hints(dates={"day": "%Y-%m-%d"}))
    assert pinned.column.format == "%Y-%m-%d" and pinned.notes[0].rows == (100,)
    with pytest.raises(DataError, match=r"'day', row 1: '31\.2\.2024' is no date-time in"):
        infer(pl.Series("day", ["1.2.2024", "31.2.2024"]), None, Hints(dates={"day": "%d.%m.%Y"}))


def test_levels_are_ordered_by_frequency() -> None:
    assert infer(pl.Series("x", ["b", "a", "b", "c"])).column.levels == ("b", "a", "c")


@pytest.mark.parametrize("texts", [["1,5", "-200,0", "3"], ["1,5", "-200", "3"]])
def test_sentinels_are_missing_however_they_are_written(texts: list[str]) -> None:
    found = infer(pl.Series("x", texts), None, Hints("1.234,5", missing={"x": ["-200"]}))
    assert np.isnan(found.values[1]) and found.column.missing == ("-200",)
    batch = Typing((found.column,)).feeds(pl.DataFrame({"x": texts}))
    np.testing.assert_array_equal(batch["x"], found.values)


def test_words_for_missing_are_said() -> None:
    [note] = infer(pl.Series("x", ["1", "NA", "2.5", "?"])).notes
    assert note.measured == "?, NA read as missing"
