"""Sentinels, slips of unit, spellings, personal data."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from modelwright.core.records import Finding
from modelwright.core.schema import Column
from modelwright.data.checks.privacy import personal
from modelwright.data.checks.values import numbers, spellings
from modelwright.data.kinds import infer

RNG = np.random.default_rng(0)
USUAL = RNG.normal(50, 8, 400).round(1)


def of(name: str, values: Any) -> list[tuple[str, tuple[int, ...]]]:
    found = numbers(Column(name, "number"), np.asarray(values, float))
    return [(f.check, f.rows) for f in found]


def with_odd(*odd: float) -> np.ndarray:
    return np.concatenate([USUAL, odd])


@pytest.mark.parametrize(
    ("name", "values", "check"),
    [
        ("co", with_odd(*[-200.0] * 30), "sentinel"),
        ("income", with_odd(*[-999.0] * 3), "sentinel"),
        ("gain", np.r_[RNG.exponential(900, 400).round(), [99999.0] * 12], "sentinel"),
        ("pressure", with_odd(*[0.0] * 20), "sentinel"),
        ("score", with_odd(*[-1.0] * 12), "sentinel"),
        ("pdays", np.r_[RNG.integers(1, 20, 400), [999.0] * 4000], "sentinel"),
        ("Age", with_odd(323.0), "impossible value"),
        ("humidity", with_odd(140.0), "impossible value"),
        ("latitude", with_odd(91.5), "impossible value"),
        ("weight", with_odd(50_100.0, 48_300.0), "unit error"),
        ("volts", with_odd(900.0), "impossible value"),
    ],
)
def test_odd_numbers_are_found_with_their_rows(name: str, values: np.ndarray, check: str) -> None:
    [(found, rows)] = of(name, values)
    assert found == check and rows[0] == 400


@pytest.mark.parametrize(
    "values",
    [
        USUAL,
        RNG.integers(0, 5, 400),
        RNG.exponential(100, 400),
        RNG.lognormal(3, 1.5, 400),
        RNG.poisson(0.3, 400),
        np.r_[np.zeros(350), RNG.exponential(5, 50)],
        RNG.integers(1900, 2020, 400),
    ],
)
def test_usual_numbers_are_left_in_peace(values: np.ndarray) -> None:
    assert of("x", values) == []


def spelled(values: list[str]) -> list[Finding]:
    found = infer(pl.Series("c", values))
    return spellings(found.column, found.values)


def test_spellings_of_one_level() -> None:
    [found] = spelled(["Private", "private", "State Gov", "state-gov ", "Other"] * 5)
    assert found.advice == (
        "data.spellings: {c: {'Private': ['private'], 'State Gov': ['state-gov']}}"
    )
    assert found.rows[0] == 1


def test_a_rare_typo() -> None:
    [found] = spelled(["Female"] * 90 + ["Males"] * 90 + ["Femlae"])
    assert "'Female': ['Femlae']" in found.advice


def test_levels_that_are_near_but_not_equal() -> None:
    assert spelled(["<=50K", ">50K"] * 20 + ["A1", "A2", "high", "higher"] * 10) == []


def test_markers_of_missing_are_proposed_not_applied() -> None:
    found = infer(pl.Series("c", ["a", "?", "b", "Unknown"] * 5))
    [note] = spellings(found.column, found.values)
    assert note.check == "missing marker" and "data.read.missing: {c: ['?', 'Unknown']}" in (
        note.advice
    )
    assert "?" in found.column.levels


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("contact", [f"u{i}@example.org" for i in range(60)], "e-mail"),
        ("x", [f"{c}@b.c" for c in "abcdefghijklmnopqrst"], "e-mail"),  # the shortest that is known
        ("x", [f"+49 170 {i:07d}" for i in range(60)], "phone"),
        ("x", [f"({i:03d}) 555-01{i:02d}" for i in range(60)], "phone"),
        ("x", [f"{i:03d}-12-{i:04d}" for i in range(60)], "social security"),
        ("Passenger Name", [f"Smith{i}, Mr. John" for i in range(60)], "names of people"),
        ("lastName", [f"Smith{i}" for i in range(60)], "names of people"),
        ("ip", [f"10.0.0.{i}" for i in range(60)], "IP"),
        ("note", [f"the patient came in with pain {i}" for i in range(60)], "free text"),
        ("birth_date", [f"19{i:02d}-01-01" for i in range(10, 70)], "dates of birth"),
        ("product_name", ["lamp", "chair"] * 30, ""),
        ("city", [f"city {i}" for i in range(30)] * 2, ""),
        ("day", [f"2020-01-{i:02d}" for i in range(1, 31)], ""),
        ("amount", list(range(60)), ""),
    ],
)
def test_personal_data(name: str, values: list[Any], said: str) -> None:
    series = pl.Series(name, values)
    why = personal(series, infer(series).column)
    assert (said in why) if said else why == ""
