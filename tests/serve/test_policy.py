"""What training never saw is counted or refused, row by row, in one row as in many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelwright.core.errors import RowsError
from modelwright.core.intake import feeds_from_rows
from modelwright.core.schema import Column, Schema, Target
from modelwright.serve.messages import ProtocolError
from modelwright.serve.policy import Policy

SCHEMA = Schema(
    (
        Column("job", "category", nullable=True, levels=("a", "b")),
        Column("age", "number", nullable=True, minimum=17, maximum=90),
        Column("since", "datetime", nullable=True, minimum=0, maximum=86400e6),
        Column("tags", "list", nullable=True, format="|", levels=("x", "y")),
        Column("income", "number", nullable=True, minimum=1, maximum=2, private=True),
        Column("flag", "boolean", nullable=True),
    ),
    Target("y", "regression"),
)
GOOD = {"job": "a", "age": 17, "since": "1970-01-01", "tags": ["x"], "income": 1.5, "flag": True}
ODD = {
    "job": {"unseen": 1}, "age": {"out_of_range": 1}, "since": {"out_of_range": 1},
    "tags": {"unseen": 1}, "income": {"out_of_range": 1},
}  # fmt: skip
BAD = {"job": "c", "age": 16.9, "since": "1980-01-01", "tags": ["x", "z"], "income": 7}


def feeds(*rows: dict[str, Any]) -> Any:
    return feeds_from_rows(SCHEMA, rows)


@pytest.mark.parametrize("row", [GOOD, {**GOOD, "job": None, "age": None}, {}])
def test_usual_and_missing_values_are_not_odd(row: dict[str, Any]) -> None:
    policy = Policy(SCHEMA, unseen_levels="refuse", out_of_range="refuse")
    assert policy.judge(feeds(row)) == {} == policy.judge(feeds(row, GOOD))


def test_odd_values_are_counted_by_column() -> None:
    policy = Policy(SCHEMA)
    assert policy.judge(feeds(BAD)) == ODD
    twice = policy.judge(feeds(BAD, GOOD, BAD))
    assert twice == {name: dict.fromkeys(odd, 2) for name, odd in ODD.items()}


def test_refused_values_are_named_by_row_and_column() -> None:
    policy = Policy(SCHEMA, unseen_levels="refuse", out_of_range="refuse")
    with pytest.raises(ProtocolError) as caught:
        policy.judge(feeds(GOOD, BAD))
    assert caught.value.status == 422 and caught.value.message == "The input has 5 problem(s):"
    assert sorted(caught.value.problems) == [
        "row 1, column 'age': 16.9 is outside the range of training, 17 to 90",
        "row 1, column 'income': 7 is outside the range of training",
        "row 1, column 'job': 'c' was never seen in training",
        "row 1, column 'since': 1980-01-01 00:00:00 is outside the range of training, "
        "1970-01-01 00:00:00 to 1970-01-02 00:00:00",
        "row 1, column 'tags': 'z' was never seen in training",
    ]


def test_they_are_told_with_those_that_do_not_fit() -> None:
    policy = Policy(SCHEMA, unseen_levels="refuse", out_of_range="refuse")
    with pytest.raises(RowsError) as wrong:
        feeds({**GOOD, "age": "x", "job": "c"}, GOOD, {**GOOD, "age": 200, "flag": 7})
    assert policy.also(wrong.value).problems == (
        "row 0, column 'age': wanted a number, found 'x' (text)",
        "row 0, column 'job': 'c' was never seen in training",
        "row 2, column 'flag': wanted true or false, found 7 (number)",
        "row 2, column 'age': 200 is outside the range of training, 17 to 90",
    )
    assert Policy(SCHEMA).also(wrong.value).problems == wrong.value.problems
    with pytest.raises(RowsError) as many:
        feeds(*[{**BAD, "flag": 7}] * 300)
    found = policy.also(many.value)
    assert found.message == "The input has 1800 problem(s):" and len(found.problems) == 101
    assert found.problems[-1] == "... and 1700 more" and all(found.problems)


def test_only_what_is_refused_is_refused() -> None:
    assert Policy(SCHEMA, unseen_levels="refuse").judge(feeds({**GOOD, "age": 200}))
    with pytest.raises(ProtocolError) as caught:
        Policy(SCHEMA, unseen_levels="refuse").judge(feeds(*[BAD] * 60))
    assert len(caught.value.problems) == 101 and caught.value.problems[-1] == "... and 20 more"


def test_a_moment_beyond_the_calendar() -> None:
    given = {**feeds(GOOD, GOOD), "since": np.array([2**62, 0])}
    with pytest.raises(ProtocolError, match="problem") as caught:
        Policy(SCHEMA, out_of_range="refuse").judge(given)
    assert "a date after the year 9999" in caught.value.problems[0]
