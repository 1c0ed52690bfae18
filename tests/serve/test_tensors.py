"""Names, shapes and limits of tensors, and that they answer exactly as `/predict` does."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.schema import Column, Expect, Schema, Target
from modelwright.serve.dense import Dense
from modelwright.serve.messages import ProtocolError
from modelwright.serve.oip import read_infer
from modelwright.serve.outputs import text_bytes
from modelwright.serve.protocol import read_predict
from modelwright.serve.tensors import DATATYPE, Tensor, read_tensors

TARGET = Target("y", "binary", "string", ("no", "yes"))
MIXED = Schema(
    (
        Column("age", "number", nullable=True, missing=("-999", "NA"), expect=Expect(maximum=120)),
        Column("job", "category", nullable=True, spellings={"Dr": "doctor"}, missing=("?",)),
        Column("member", "boolean"),
        Column("since", "datetime", nullable=True, format="%d/%m/%Y"),
        Column("tags", "list", nullable=True, format=";"),
        Column("row", "id", unused="id-like"),
    ),
    TARGET,
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "age": st.one_of(st.none(), st.floats(-1e6, 120), st.integers(-1000, 120), st.just(-999)),
    "job": st.one_of(st.none(), st.sampled_from(["Dr", " clerk ", "?", "", "\u00e9\x00"])),
    "member": st.one_of(st.none(), st.booleans()),
    "since": st.one_of(st.none(), st.sampled_from(["1/2/2020", "2020-02-01T10:00", ""])),
    "tags": st.one_of(st.none(), st.sampled_from(["a;b", "", "Dr"])),
}


def infer(columns: dict[str, list[Any]], schema: Schema = MIXED) -> bytes:
    kinds = {c.name: DATATYPE[c.kind] for c in schema.features}
    return json.dumps(
        {
            "inputs": [
                {"name": n, "shape": [len(v)], "datatype": kinds.get(n, "INT64"), "data": v}
                for n, v in columns.items()
            ]
        }
    ).encode()


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    assert one.keys() == other.keys()
    return all(
        one[n].dtype == other[n].dtype and one[n].tolist() == other[n].tolist()
        if one[n].dtype != np.float64
        else np.array_equal(one[n], other[n], equal_nan=True)
        for n in one
    )


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(1, 4))
def test_the_same_rows_give_the_same_feeds_as_predict(data: st.DataObject, rows: int) -> None:
    columns = {n: [data.draw(values) for _ in range(rows)] for n, values in VALUES.items()}
    predict = read_predict(MIXED, json.dumps({"columns": columns}).encode(), 100)
    for _ in range(2):  # the second time single texts are remembered
        found = read_infer(MIXED, infer(columns), {}, 100)
        assert found.rows == rows and equal(dict(found.feeds), dict(predict.feeds))


@pytest.mark.parametrize(
    "wrong",
    [{"age": [121]}, {"age": ["x"]}, {"since": ["soon"]}, {"job": []}, {"member": None}],
)
def test_the_same_faults_are_named_as_by_predict(wrong: dict[str, Any]) -> None:
    columns: dict[str, Any] = {"age": [5], "member": [True], **wrong}
    columns = {name: values for name, values in columns.items() if values is not None}
    with pytest.raises(ProtocolError) as caught:
        read_infer(MIXED, infer(columns), {}, 100)
    if wrong == {"job": []}:  # the protocol's own business: shapes that differ
        assert caught.value.status == 400
        return
    with pytest.raises(ProtocolError) as predict:
        read_predict(MIXED, json.dumps({"columns": columns}).encode(), 100)
    assert (caught.value.status, caught.value.problems) == (422, predict.value.problems)


def test_every_problem_of_a_body_is_listed() -> None:
    columns = {"age": [300, "x"], "job": [1, "a"], "member": [True, "no way"], "since": ["?", None]}
    with pytest.raises(ProtocolError) as caught:
        read_infer(MIXED, infer(columns), {}, 100)
    assert {p.split(":")[0] for p in caught.value.problems} == {
        "row 0, column 'age'", "row 1, column 'age'", "row 0, column 'job'",
        "row 1, column 'member'", "row 0, column 'since'",
    }  # fmt: skip
    long, odd = text_bytes("soon"), (2).to_bytes(4, "little") + b"\xff\xfe"
    tensors = [one(shape=[2], kind="INT8", data=[1, 300]), one("since", [2], "BYTES", None)]
    tensors[1].data = None
    with pytest.raises(ProtocolError) as caught:  # `member` is missing besides
        read_tensors(MIXED, tensors, [None, long + odd], 9)
    assert [p.split(":")[0] for p in caught.value.problems] == [
        "column 'member' is missing", "row 1, column 'age'", "row 1, column 'since'",
    ]  # fmt: skip


def test_columns_that_the_model_does_not_read_are_checked_and_dropped() -> None:
    columns = {"member": [True], "row": [7], "y": [1]}
    assert "row" not in read_infer(MIXED, infer(columns), {}, 9).feeds
    with pytest.raises(ProtocolError, match="does not exist"):
        read_tensors(MIXED, [Tensor("row", [1], "FLOAT", [1])], [None], 9)


def one(name: str = "age", shape: Any = None, kind: str = "FP64", data: Any = None) -> Tensor:
    return Tensor(name, [1] if shape is None else shape, kind, [1] if data is None else data)


@pytest.mark.parametrize(
    ("tensors", "status", "said"),
    [
        ([], 400, "no rows"),
        ([one(shape=[0], data=[])], 400, "no rows"),
        ([one(shape=[])], 400, "'shape' must be"),
        ([one(shape=[1, 2])], 400, "'shape' must be"),
        ([one(shape=[1, 1, 1])], 400, "'shape' must be"),
        ([one(shape=[-1])], 400, "'shape' must be"),
        ([one(shape=[2**60, 2**60])], 400, "'shape' must be"),
        ([one(shape=[2**62])], 413, "at most 100"),
        ([one(shape=[101])], 413, "at most 100"),
        ([one(shape=[3])], 400, "1 values, but shape [3] wants 3"),
        ([Tensor("age", [1], "FP64")], 400, "'data' is missing"),
        ([one("agee")], 400, "did you mean 'age'?"),
        ([one("job", kind="INT64")], 400, "wanted BYTES"),
        ([one(kind="BYTES")], 400, "wanted a numeric type"),
        ([one(kind="BOOL")], 400, "wanted a numeric type"),
        ([one(kind="fp64")], 400, "wanted a numeric type"),
        ([one(), one()], 400, "given twice"),
        ([one(), one("member", [2], "BOOL", [True, True])], 400, "another input has 1"),
        ([one()], 422, "'member' is missing"),
        ([one()] * 1025, 400, "at most 1,024"),
    ],
)
def test_what_does_not_fit(tensors: list[Tensor], status: int, said: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_tensors(MIXED, tensors, [None] * len(tensors), 100)
    assert caught.value.status == status
    assert said in " ".join([caught.value.message, *caught.value.problems])


WIDE = Schema(
    (
        *(Column(f"p{n}", "number") for n in range(6)),
        Column("q", "number", missing=("-1",), expect=Expect(maximum=9)),
    ),
    Target("y", "regression"),
)


def dense(rows: list[list[Any]], kind: str = "FP64", shape: Any = None) -> Tensor:
    flat = [value for row in rows for value in row]
    return Tensor("numbers", shape or [len(rows), 7], kind, flat)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(-1, 9), min_size=7, max_size=7), min_size=1, max_size=5))
def test_one_tensor_for_all_numbers_is_the_same_as_a_tensor_a_column(rows: list[list[int]]) -> None:
    names = [column.name for column in WIDE.features]
    parts = [
        Tensor(n, [len(rows)], "INT8", list(v))
        for n, v in zip(names, zip(*rows, strict=True), strict=True)
    ]
    wanted, count = read_tensors(WIDE, parts, [None] * 7, 9)
    nested = Tensor("numbers", [len(rows), 7], "FP64", rows)
    raw = np.array(rows, "<f4").tobytes()
    for tensor, data in (
        (dense(rows), None),
        (nested, None),
        (Tensor("numbers", [len(rows), 7], "FP32"), raw),
        (Tensor("numbers", [len(rows), 7], "FP32"), memoryview(raw)),
    ):
        feeds, found = read_tensors(WIDE, [tensor], [data], 9)
        assert found == count and isinstance(feeds, Dense)
        assert feeds.matrix.shape == (count, 7) and feeds.matrix.flags.writeable
        assert equal({**feeds}, wanted)


@pytest.mark.parametrize(
    ("tensor", "status", "said"),
    [
        (dense([[0] * 7], shape=[7]), 400, "'shape' must be [rows, 7]"),
        (dense([[0] * 7], shape=[1, 6]), 400, "'shape' must be [rows, 7]"),
        (dense([[0] * 7], "BYTES"), 400, "wanted a numeric type"),
        (dense([[0] * 6]), 400, "6 values, but shape [1, 7] wants 7"),
        (dense([[0] * 7, [0, "x", 0, 0, 0, 0, 0]]), 422, "row 1, column 'p1': wanted a number"),
        (dense([[0] * 7, [0, 0, 300, 0, 0, 0, 0]], "INT8"), 422, "row 1, column 'p2': wanted INT8"),
        (dense([[0] * 6 + [10]]), 422, "row 0, column 'q': 10 is over 9"),
        (dense([[True] + [0] * 6]), 422, "row 0, column 'p0': wanted a number"),
    ],
)
def test_one_tensor_that_does_not_fit(tensor: Tensor, status: int, said: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_tensors(WIDE, [tensor], [None], 100)
    assert caught.value.status == status
    assert said in " ".join([caught.value.message, *caught.value.problems])


def test_columns_of_one_tensor_are_made_when_they_are_asked_for() -> None:
    feeds, _ = read_tensors(WIDE, [dense([[1] * 7, [2] * 7])], [None], 100)
    assert dict.__len__(feeds) == 0 and len(feeds) == 7 and "q" in feeds
    assert feeds["p0"].tolist() == [1.0, 2.0] and np.shares_memory(feeds["p0"], feeds.matrix)
    assert [n for n, _ in feeds.items()] == list(feeds) == list(feeds.keys())
    assert len(feeds.values()) == 7 and feeds.get("nothing") is None


def test_every_tensor_that_does_not_fit_is_named_in_one_bounded_error() -> None:
    schema = Schema((Column("age", "number"),), Target("y", "regression"))
    wrong = [Tensor("age", [1], "BYTES", ["a"]), Tensor("agee", [1], "FP64", [1.0])]
    with pytest.raises(ProtocolError) as found:
        read_tensors(schema, wrong, [None, None], 9)
    assert found.value.status == 400
    assert "'age'" in found.value.problems[0] and "'agee'" in found.value.problems[1]
    many = [Tensor(f"x{place}", [1], "FP64", [1.0]) for place in range(1000)]
    with pytest.raises(ProtocolError, match="1000 problem") as found:
        read_tensors(schema, many, [None] * 1000, 9)
    assert len(found.value.problems) == 101  # a hundred, and how many more
