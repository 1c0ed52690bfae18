"""Counts add up exactly: parts to the whole, in any order."""

from __future__ import annotations

import functools
import itertools
import operator
import random
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.watch.summaries import (
    ABOVE,
    ABSENT,
    BELOW,
    FAR,
    GAP,
    OTHER,
    PREDICTION,
    SCORE,
    UNSEEN,
    Bins,
    Plan,
    Summary,
    number_cells,
)
from watch.counted import BEGIN, LEVELS, manifest, table

PLAN = Plan.of(manifest())
FIRST = int(BEGIN.timestamp()) // 60 * 60


def whole(found: dict[int, Summary]) -> Summary:
    return functools.reduce(operator.add, found.values(), PLAN.empty())


def same(one: Summary, two: Summary) -> bool:
    return bool((one.numbers == two.numbers).all())


def test_every_row_is_in_one_cell_of_each_column() -> None:
    found = whole(PLAN.count(table(5000)))
    assert found.rows == 5000 and found.numbers.dtype == np.int64
    assert [bins.name for bins in PLAN.bins] == [
        SCORE, PREDICTION, "f_age", "f_member", "f_start", "f_colour",
    ]  # fmt: skip
    for bins in PLAN.bins:
        assert found.of(bins.name).sum() == 5000, bins.name


def test_cells_are_what_they_are_called() -> None:
    rows = table(5000)
    found = whole(PLAN.count(rows))
    age = rows["f_age"].to_numpy()
    colour = rows["f_colour"].to_pylist()
    ages, colours = found.of("f_age"), found.of("f_colour")
    assert ages[FAR] == ((age < -64) | (age > 128)).sum() > 0
    assert ages[BELOW] == ((age < 0) & (age >= -64)).sum() > 0
    assert ages[ABOVE] == ((age > 64) & (age <= 128)).sum() > 0
    assert ages[GAP] == np.isnan(age).sum() > 0
    assert ages[5] == ((age >= 5) & (age < 6)).sum() > 0
    assert colours[7] == colour.count("l7") > 0
    assert colours[OTHER] == sum(text in LEVELS[64:] for text in colour) > 0
    assert colours[UNSEEN] == colour.count("new") > 0
    assert colours[ABSENT] == colour.count(None) > 0
    assert found.of(SCORE)[32:64].sum() == found.of(PREDICTION)[1]
    member = found.of("f_member")
    assert member[GAP] == ages[GAP] and (member > 0).sum() == 3  # two values, and missing
    assert found.of("f_start")[:64].sum() == 5000


def test_minutes_are_those_of_the_answers() -> None:
    rows = table(1000)
    found = PLAN.count(rows)
    assert list(found) == [FIRST, FIRST + 60, FIRST + 120]
    for minute, summary in found.items():
        micros = rows["time"].cast("int64").to_numpy()
        part = rows.filter(pa.array(micros // 60_000_000 == minute // 60))
        assert same(PLAN.count(part)[minute], summary)
    assert PLAN.count(rows.slice(0, 0)) == {}


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 400),
    cuts=st.lists(st.integers(0, 400), max_size=6),
    seed=st.integers(0, 10**6),
)
def test_parts_add_up_to_the_whole_in_any_order(rows: int, cuts: list[int], seed: int) -> None:
    everything = table(rows, seed)
    ends = sorted({0, rows, *[cut for cut in cuts if cut < rows]})
    parts = [everything.slice(a, b - a) for a, b in itertools.pairwise(ends)]
    random.Random(seed).shuffle(parts)
    summed = PLAN.empty()
    for part in parts:
        for summary in PLAN.count(part).values():
            summed += summary
    assert same(summed, whole(PLAN.count(everything)))
    joined = pa.concat_tables(parts)  # chunks with dictionaries of their own
    assert same(whole(PLAN.count(joined)), summed)


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(0, 300), seed=st.integers(0, 10**6))
def test_bytes_come_back(rows: int, seed: int) -> None:
    found = whole(PLAN.count(table(rows, seed)))
    assert same(PLAN.decoded(found.encoded()), found)


def test_products_are_those_of_the_scores() -> None:
    rows = table(2000)
    found = whole(PLAN.count(rows))
    by_name = {bins.name: bins for bins in PLAN.bins}
    age = by_name["f_age"].scores()[number_cells(by_name["f_age"], rows["f_age"].to_numpy())]
    score = by_name[SCORE].scores()[number_cells(by_name[SCORE], rows["score"].to_numpy())]
    products = found.products()
    names = [bins.name for bins in PLAN.crossed]
    one, two = names.index(SCORE), names.index("f_age")
    assert products[one, two] == products[two, one] == (age * score).sum()
    assert products[two, two] == (age**2).sum()
    assert found.sums()[two] == age.sum()
    assert PREDICTION not in names


def test_odd_values_have_a_cell() -> None:
    bins = next(bins for bins in PLAN.bins if bins.name == "f_age")
    odd = np.array([np.inf, -np.inf, 1e300, -0.0, 64.0, np.nan])
    assert number_cells(bins, odd).tolist() == [FAR, FAR, FAR, 0, 63, GAP]
    nothing = Bins("f_x", "number")
    assert number_cells(nothing, np.array([1.0, np.nan])).tolist() == [ABOVE, GAP]
    constant = manifest().baseline["age"]
    assert constant.edges


def test_private_columns_and_absent_ones_count_nothing() -> None:
    plan = Plan.of(manifest("colour"))
    assert "f_colour" not in [bins.name for bins in plan.bins]
    lacking = table(100).drop_columns(["f_age"])
    found = functools.reduce(operator.add, PLAN.count(lacking).values())
    assert found.rows == 100 and found.of("f_age").sum() == 0
    with pytest.raises(ValueError, match="different plans"):
        found + plan.empty()
    with pytest.raises(ValueError, match="wanted"):
        plan.decoded(found.encoded())


def test_memory_is_the_same_for_many_rows() -> None:
    few, many = (whole(PLAN.count(table(rows))) for rows in (10, 100_000))
    assert few.numbers.nbytes == many.numbers.nbytes < 6000


@pytest.mark.alone
def test_a_hundred_thousand_rows_are_counted_in_a_tenth_of_a_second() -> None:
    rows = table(100_000)
    PLAN.count(rows)
    best = min(_seconds(rows) for _ in range(5))
    assert best < 0.1


def _seconds(rows: pa.Table) -> float:
    started = time.thread_time()
    PLAN.count(rows)
    return time.thread_time() - started
