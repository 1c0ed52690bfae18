"""A constant that fits the target or is refused at start."""

from __future__ import annotations

import pytest

from modelwright.core.errors import UsageError
from modelwright.core.schema import Schema, Target
from modelwright.serve.fallback import Constant


def schema(task: str, kind: str = "number", levels: tuple[str, ...] = (), **more: float) -> Schema:
    return Schema((), Target("t", task, kind, levels, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "levels", "value", "answer"),
    [
        ("string", ("no", "yes"), "yes", "yes"),
        ("integer", ("0", "1"), 1, 1),
        ("integer", ("0", "1"), "1", 1),
        ("boolean", ("false", "true"), False, False),
        ("boolean", ("no", "yes"), True, True),
        ("string", ("a", "b", "c"), "b", "b"),
    ],
)
def test_a_label_in_the_type_of_the_data(
    kind: str, levels: tuple[str, ...], value: object, answer: object
) -> None:
    found = Constant(schema("binary", kind, levels), value).answer(3)  # type: ignore[arg-type]
    assert found.predictions() == [answer] * 3
    assert type(found.predictions()[0]) is type(answer)
    assert found.probabilities is not None
    assert found.probabilities.sum(axis=1).tolist() == [1.0] * 3


def test_a_value() -> None:
    assert Constant(schema("regression"), 3).answer(2).columns() == {"prediction": [3.0, 3.0]}
    found = Constant(schema("regression", interval=0.9), 3.5).answer(1)
    assert found.columns() == {"prediction": [3.5], "low": [3.5], "high": [3.5]}


@pytest.mark.parametrize(
    ("made", "value", "said"),
    [
        (schema("binary", "string", ("no", "yes")), "maybe", "Its labels: 'no', 'yes'"),
        (schema("binary", "integer", ("0", "1")), True, "no label of t"),
        (schema("binary", "boolean", ("false", "true")), 1, "no label of t"),
        (schema("binary", "string", ("no", "yes")), None, "no label of t"),
        (schema("regression"), "3", "t is a number"),
        (schema("regression"), True, "t is a number"),
        (schema("regression"), float("nan"), "t is a number"),
    ],
)
def test_what_does_not_fit_is_refused(made: Schema, value: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Constant(made, value)  # type: ignore[arg-type]
