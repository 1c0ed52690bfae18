"""A head that was read before means the same as one that is read for the first time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.schema import Column, Expect, Schema, Target
from modelwright.serve import oip_heads
from modelwright.serve.messages import ProtocolError, Question
from modelwright.serve.oip import HEADER_LENGTH, read_infer

MIXED = Schema(
    (
        Column("age", "number"),
        Column("colour", "category", levels=("red", "blue")),
        Column("member", "boolean"),
    ),
    Target("y", "binary", "string", ("no", "yes")),
)
NUMBERS = Schema(
    (Column("a", "number", missing=("-1",)), Column("b", "number", expect=Expect(minimum=0))),
    Target("y", "regression"),
)


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    oip_heads._KNOWN.clear()
    yield
    oip_heads._KNOWN.clear()


def mixed(ages: list[float], words: list[str], member: bytes) -> tuple[list[dict[str, Any]], bytes]:
    texts = b"".join(len(w.encode()).to_bytes(4, "little") + w.encode() for w in words)
    raws = [np.array(ages, "<f4").tobytes(), texts, member]
    about = [("age", "FP32"), ("colour", "BYTES"), ("member", "BOOL")]
    inputs = [
        {"name": name, "shape": [len(ages)], "datatype": kind,
         "parameters": {"binary_data_size": len(raw)}}
        for (name, kind), raw in zip(about, raws, strict=True)
    ]  # fmt: skip
    return inputs, b"".join(raws)


def dense(matrix: np.ndarray) -> tuple[list[dict[str, Any]], bytes]:
    raw = matrix.astype("<f8").tobytes()
    return [{"name": "numbers", "shape": list(matrix.shape), "datatype": "FP64",
             "parameters": {"binary_data_size": len(raw)}}], raw  # fmt: skip


def ask(
    schema: Schema, inputs: list[dict[str, Any]], raw: bytes, max_rows: int = 10, **more: Any
) -> Question:
    head = json.dumps({"inputs": inputs, **more}).encode()
    return read_infer(schema, head + raw, {HEADER_LENGTH: str(len(head))}, max_rows)


def outcome(*args: Any, **more: Any) -> Any:
    """What is read, as plain values; or what it is refused with."""
    try:
        found = ask(*args, **more)
    except ProtocolError as error:
        return error.status, str(error), error.problems
    feeds = {name: [str(v) for v in values.tolist()] for name, values in found.feeds.items()}
    return feeds, found.rows, found.shape, found.id, found.outputs, found.binary


def twice(*args: Any, **more: Any) -> Any:
    """The second time says what the first said."""
    first = outcome(*args, **more)
    assert outcome(*args, **more) == first
    return first


def test_mixed_tensors_are_read_by_their_head() -> None:
    inputs, raw = mixed([1.5, 2.5], ["red", "blue"], b"\x00\x01")
    asked = {"outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}]}
    feeds, rows, *_, outputs, binary = twice(MIXED, inputs, raw, **asked)
    assert (rows, outputs, binary) == (2, ("probabilities",), frozenset({"probabilities"}))
    assert feeds["colour"] == ["red", "blue"] and len(oip_heads._KNOWN) == 1
    other, raw = mixed([3.0, np.nan], ["blue", "teal"][:2], b"\x01\x01")
    again = outcome(MIXED, other, raw, **asked)
    assert again[0]["age"] == ["3.0", "nan"] and again[0]["colour"] == ["blue", "teal"]


@given(st.lists(st.lists(st.sampled_from([-1.0, 0.0, 2.5, -3.0, float("nan"), float("inf")]),
                         min_size=2, max_size=2), min_size=1, max_size=4))  # fmt: skip
def test_values_are_judged_each_time(rows: list[list[float]]) -> None:
    """Missing by a sentinel, or against the contract of their column."""
    first = dense(np.ones((len(rows), 2)))
    ask(NUMBERS, *first)  # the same head, with nothing to complain of
    known = outcome(NUMBERS, *dense(np.array(rows)))
    oip_heads._KNOWN.clear()
    assert outcome(NUMBERS, *dense(np.array(rows))) == known


def test_another_length_behind_it_is_no_known_head() -> None:
    inputs, raw = dense(np.ones((2, 2)))
    ask(NUMBERS, inputs, raw)
    for behind in (raw[:-1], raw + b"x", b""):
        known = outcome(NUMBERS, inputs, behind)
        oip_heads._KNOWN.clear()
        assert known[0] == 400 and outcome(NUMBERS, inputs, behind) == known
        ask(NUMBERS, inputs, raw)


def test_a_bool_of_two_is_refused_behind_a_known_head() -> None:
    ask(MIXED, *mixed([1.0], ["red"], b"\x01"))
    assert outcome(MIXED, *mixed([1.0], ["red"], b"\x02"))[0] == 400


def test_a_head_is_known_for_its_schema_and_as_many_rows_as_are_taken() -> None:
    inputs, raw = dense(np.ones((3, 2)))
    ask(NUMBERS, inputs, raw)
    other = Schema((Column("c", "number"), Column("d", "number")), Target("y", "regression"))
    assert set(ask(other, inputs, raw).feeds) == {"c", "d"}
    assert outcome(NUMBERS, inputs, raw, max_rows=2)[0] == 413


def test_heads_with_an_id_with_json_or_too_long_are_not_kept() -> None:
    inputs, raw = dense(np.ones((1, 2)))
    assert ask(NUMBERS, inputs, raw, id="7").id == "7"
    assert not oip_heads._KNOWN
    plain = {"name": "a", "shape": [1], "datatype": "FP64", "data": [1.0]}
    behind = {"name": "b", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}}
    ask(NUMBERS, [plain, behind], np.ones(1).tobytes())
    ask(NUMBERS, inputs, raw, parameters={"x": "y" * oip_heads.LONGEST_HEAD})
    assert not oip_heads._KNOWN


def test_only_so_many_heads_are_kept() -> None:
    for number in range(oip_heads.MOST_HEADS + 10):
        ask(NUMBERS, *dense(np.ones((1, 2))), parameters={"number": number})
    assert len(oip_heads._KNOWN) == oip_heads.MOST_HEADS
