"""One row or many, the same counts."""

from __future__ import annotations

import math
import timeit
from typing import Any

import numpy as np
import pytest

from modelwright.core.intake import Feeds
from modelwright.core.schema import MISSING_TIME, Column, Schema
from modelwright.serve.dense import Dense
from modelwright.serve.metrics import Counts
from modelwright.serve.odd_values import LOOP, OddValues
from serve.made import BINARY, served

SCHEMA = Schema(
    (
        Column("age", "number", minimum=17.0, maximum=90.0),
        Column("free", "number"),
        Column("member", "boolean"),
        Column("colour", "category", levels=("red", "blue")),
        Column("text", "category"),
        Column("tags", "list"),
        Column("start", "datetime", minimum=10.0, maximum=20.0),
    ),
    BINARY,
)
ROWS: list[tuple[Any, ...]] = [
    (39.0, 1.0, 1.0, "red", "x", "a|b", 15),
    (math.nan, math.nan, math.nan, "", "", "", MISSING_TIME),
    (16.9, math.inf, 0.0, "green", "y", "z", 9),
    (90.0, -1e308, 0.0, "blue", "z", "a", 20),
    (math.inf, 0.0, 1.0, "RED", "q", "a", 21),
    (-math.inf, 0.0, 1.0, "red", "q", "a", 10),
]
WANTED = {
    "missing": {"age": 1, "free": 1, "member": 1, "colour": 1, "tags": 1, "start": 1},
    "out_of_range": {"age": 3, "start": 2},
    "unseen_categories": {"colour": 2},
}


def feeds(rows: list[tuple[Any, ...]]) -> Feeds:
    kinds = {"category": object, "list": object, "datetime": np.int64}
    return {
        column.name: np.array([row[place] for row in rows], kinds.get(column.kind, np.float64))
        for place, column in enumerate(SCHEMA.columns)
    }


def found(counts: Counts) -> dict[str, dict[str, float]]:
    tables = counts.book.counters
    return {
        what: {labels[0]: cell[0] for labels, cell in tables[f"modelwright_{what}_total"].items()}
        for what in WANTED
    }


@pytest.mark.parametrize("times", [1, LOOP])
def test_one_batch(times: int) -> None:
    counts = Counts()
    OddValues(SCHEMA, served(counts)).count(feeds(ROWS * times))
    wanted = {what: {k: v * times for k, v in by.items()} for what, by in WANTED.items()}
    assert found(counts) == wanted


def test_row_by_row() -> None:
    counts = Counts()
    odd = OddValues(SCHEMA, served(counts))
    for row in ROWS:
        odd.count(feeds([row]))
    assert found(counts) == WANTED


@pytest.mark.parametrize("rows", [1, len(ROWS)])
def test_one_matrix_is_counted_like_its_columns(rows: int) -> None:
    numbers = Schema(SCHEMA.columns[:2], BINARY)
    matrix = np.array([row[:2] for row in ROWS[-rows:]])
    told = []
    names = ("age", "free")
    for given in (Dense(names, matrix), dict(zip(names, matrix.T, strict=True))):
        counts = Counts()
        odd = OddValues(numbers, served(counts))
        for _ in range(20):
            odd.count(given)
        odd.finish()
        told.append({k: v for k, v in counts.book.counters.items() if "missing" in k or "out" in k})
    assert told[0] == told[1] and told[0]["modelwright_out_of_range_total"]


def test_usual_values_are_cheap() -> None:
    """About 10 us here; the bound leaves room for a busy machine."""
    odd = OddValues(SCHEMA, served(Counts()))
    usual = feeds(ROWS[:1] * 20)
    assert min(timeit.repeat(lambda: odd.count(usual), number=500, repeat=5)) / 500 < 1e-4
