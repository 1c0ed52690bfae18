"""The short way for typed rows is only faster, never different: held against the careful one."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from modelwright.core.schema import Column, Expect, Schema, Target
from modelwright.pack.compiled import compiled
from modelwright.pack.graph import ML, GraphWriter
from modelwright.pack.inputs import TEXTS, inputs_of
from modelwright.serve.engine import Engine
from modelwright.serve.messages import ProtocolError
from modelwright.serve.odd_values import OddValues
from modelwright.serve.policy import Policy
from modelwright.serve.protocol import read_predict
from modelwright.serve.rows import LONGEST_REMEMBERED, MOST_REMEMBERED, Odd, RowReader
from serve import made

SCHEMA = Schema(
    (
        Column("size, cm", "number", nullable=True, minimum=0.0, maximum=100.0,
               missing=("n/a", "-999")),
        Column("age", "number", expect=Expect(required=True, minimum=0.0, maximum=130.0)),
        Column("member", "boolean", nullable=True),
        Column("colour", "category", nullable=True, levels=("red", "green", "d\u00e9j\u00e0"),
               missing=("?", "none"), spellings={"RED": "red", "grn": "green"}),
        Column("job", "category", levels=("a1", "b2"), expect=Expect(regex="[a-z][0-9]")),
        Column("start", "datetime", nullable=True, minimum=0.0, maximum=1.6e15,
               missing=("never",)),
        Column("tags", "list", nullable=True, levels=("x", "y"), format="|"),
        Column("note", "text", unused="free text"),
    ),
    Target("y", "regression"),
)  # fmt: skip


def graph() -> bytes:
    """Plain arithmetic over every column, the same to the last bit in any batch."""
    writer = GraphWriter()
    kinds = {"numbers": "float64", "texts": "string", "times": "int64"}
    groups = inputs_of(SCHEMA)
    for name, columns in groups.items():
        writer.input(name, kinds[name], [None, len(columns)])

    def column(name: str, group: str) -> str:
        at = groups[group].index(name)
        return writer.add("Gather", group, writer.constant([at], np.int64), axis=1)

    gone = writer.constant([[-3.0]])
    parts = []
    for place, name in enumerate(groups["numbers"]):
        value = column(name, "numbers")
        value = writer.add("Where", writer.add("IsNaN", value), gone, value)
        parts.append(writer.add("Mul", value, writer.constant([[2.0**place]])))
    for name in ("colour", "job"):
        keys = [*SCHEMA.column(name).levels, ""]
        codes = list(range(5, 5 + len(keys)))
        code = writer.add("LabelEncoder", column(name, "texts"), domain=ML, keys_strings=keys,
                          values_int64s=codes, default_int64=77)  # fmt: skip
        parts.append(writer.add("Cast", code, to=11))
    match = writer.add("RegexFullMatch", column("tags", "texts"), pattern="(.*\\|)?x(\\|.*)?")
    parts.append(writer.add("Cast", match, to=11))
    parts.append(writer.add("Cast", column("start", "times"), to=11))
    total = parts[0]
    for part in parts[1:]:
        total = writer.add("Add", total, part)
    flat = writer.add("Reshape", total, writer.constant([-1], np.int64))
    writer.output(flat, "value", "float64", [None])
    return bytes(writer.finish("rows").SerializeToString())


def engine(*, cut: bool) -> Engine:
    manifest, model = (
        msgspec.structs.replace(
            made.manifest(), schema=SCHEMA, inputs=inputs_of(SCHEMA), outputs={"value": "value"}
        ),
        graph(),
    )
    if not cut:
        return Engine(manifest, model)
    found = compiled(model, manifest.inputs[TEXTS])
    assert found is not None and len(found.lookups) == 2
    return Engine(manifest, found.model, found)


ENGINES = {cut: engine(cut=cut) for cut in (True, False)}
texts = some.one_of(
    some.sampled_from(["red", "RED", "grn", " green ", "?", "none", "", "a1", "b2", "c3", "zz",
                       "never", "n/a", "-999", "x", "x|y", "y|z", "2020-01-01", "true",
                       "2020-01-01T10:00:00+02:00", "1960-05-05", "d\u00e9j\u00e0", "blue"]),
    some.text(max_size=8),
)  # fmt: skip
numbers = some.one_of(
    some.sampled_from([0, 1, -1, -999, -999.0, 50, 1e6, 1e308, 2**53 + 1, 10**30, 10**400, -0.0]),
    some.floats(allow_nan=False, allow_infinity=False),
    some.integers(-200, 200),
)
anything = some.one_of(numbers, texts, some.booleans(), some.none(), some.lists(texts, max_size=3))
GOOD: dict[str, Any] = {
    "size, cm": some.one_of(numbers, some.none()),
    "age": some.floats(0, 130),
    "member": some.one_of(some.booleans(), some.none()),
    "colour": some.one_of(texts, some.none()),
    "job": some.sampled_from(["a1", "b2", "c3"]),
    "start": some.one_of(some.sampled_from(["2020-01-01", "1960-01-01T00:00", ""]), some.none()),
    "tags": some.one_of(some.lists(texts, max_size=3), texts, some.none()),
    "note": anything,
    "y": anything,
}
optional = ("size, cm", "member", "colour", "start", "tags", "note", "y")


@some.composite
def row(draw: Any) -> dict[str, Any]:
    """Mostly as training was; now and then with something missing, odd or wrong."""
    found = {name: draw(values) for name, values in GOOD.items()}
    for name in optional:
        if draw(some.integers(0, 3)) == 0:
            del found[name]
    if draw(some.integers(0, 3)) == 0:
        found[draw(some.sampled_from([*GOOD, "unknown"]))] = draw(anything)
    return found


@dataclass
class Told:
    """Counts as `metrics.Served` takes them."""

    odds: Counter[tuple[str, str]] = field(default_factory=Counter)

    def odd(self, what: str, column: str, count: int = 1) -> None:
        self.odds[what, column] += count


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("refuse", [(False, False), (True, False), (False, True)])
@settings(max_examples=400, deadline=None)
@given(rows=some.lists(row(), min_size=1, max_size=4), form=some.integers(0, 2))
def test_whatever_is_accepted_is_what_the_careful_way_says(
    cut: bool, refuse: tuple[bool, bool], rows: list[dict[str, Any]], form: int
) -> None:
    unseen, outside = refuse
    reader = RowReader(ENGINES[cut], refuse_unseen=unseen, refuse_range=outside)
    content: Any = rows[0] if form == 0 else rows if form == 1 else {"rows": rows}
    body = json.dumps(content).encode()
    found = reader.decode(body)
    if found is None:
        return
    try:
        given = reader.inputs(found)
    except Odd:
        assert not reader.odds
        return
    question = read_predict(SCHEMA, body, 100)
    policy = Policy(SCHEMA, unseen_levels="refuse" if unseen else "count",
                    out_of_range="refuse" if outside else "count")  # fmt: skip
    policy.judge(question.feeds)
    wanted = ENGINES[cut].inputs(question.feeds)
    assert set(given) == set(wanted)
    for name, values in wanted.items():
        same = (given[name] == values) | ((given[name] != given[name]) & (values != values))
        if name != TEXTS:
            assert same.all() and given[name].dtype == values.dtype
    one, two = ENGINES[cut].run(given).raw, ENGINES[cut].run(wanted).raw
    assert one.tobytes() == two.tobytes()
    told = Told()
    OddValues(SCHEMA, told).count(question.feeds)
    assert dict(told.odds) == reader.odds


@settings(max_examples=200, deadline=None)
@given(body=some.one_of(some.binary(max_size=60), some.text(max_size=60).map(str.encode)))
def test_other_bodies_go_the_careful_way(body: bytes) -> None:
    reader = RowReader(ENGINES[True])
    assert not reader.decode(body)
    with pytest.raises(ProtocolError):
        read_predict(SCHEMA, body, 100)


USUAL = {"age": 40, "job": "a1"}


@pytest.mark.parametrize(
    "odd",
    [
        {"age": "40"}, {"age": None}, {"age": 131}, {"age": True}, {"job": "A1"},
        {"member": 1}, {"size, cm": "n/a"}, {"start": 5}, {"start": "soon"}, {"colour": 3},
        {"tags": ["x|y"]}, {"tags": 3}, {"unknown": 1},
    ],
)  # fmt: skip
def test_odd_rows_are_left_to_the_careful_way(odd: dict[str, Any]) -> None:
    reader = RowReader(ENGINES[True])
    rows = reader.decode(json.dumps(USUAL | odd).encode())
    if rows is not None:
        with pytest.raises(Odd):
            reader.inputs(rows)
    assert reader.decode(json.dumps(USUAL).encode())


def test_what_callers_invent_is_remembered_within_bounds() -> None:
    reader = RowReader(ENGINES[True])
    for number in range(3 * MOST_REMEMBERED):
        rows = reader.decode(json.dumps(USUAL | {"colour": f"made up {number}"}).encode())
        assert rows and reader.inputs(rows)
    long = {"colour": "z" * (LONGEST_REMEMBERED + 1)}
    assert reader.inputs(reader.decode(json.dumps(USUAL | long).encode()) or [])
    [colour] = [code for code in reader.codes if code.column == "colour"]
    kept = [*colour, *colour._new]
    assert len(kept) <= 2 * MOST_REMEMBERED
    assert max(len(text or "") for text in kept) <= LONGEST_REMEMBERED
    assert reader.odds["unseen_categories", "colour"] == 3 * MOST_REMEMBERED + 1
    assert math.isfinite(reader.odds["missing", "size, cm"])
