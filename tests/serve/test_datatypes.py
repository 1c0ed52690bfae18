"""JSON, typed fields and bytes say the same in each of the 13 datatypes; anything else is a 4xx."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.schema import Column, Schema, Target
from modelwright.serve.datatypes import DTYPE, Tensor, texts_from, values_of
from modelwright.serve.messages import ProtocolError
from modelwright.serve.oip_proto import MESSAGES, parsed, read_message
from modelwright.serve.outputs import text_bytes
from modelwright.serve.tensors import read_tensors

TARGET = Target("y", "regression")
NUMBER = Schema((Column("x", "number"),), TARGET)
TEXT = Schema((Column("x", "category"),), TARGET)
FLAG = Schema((Column("x", "boolean"),), TARGET)
FIELD = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents",
    "INT32": "int_contents", "INT64": "int64_contents", "UINT8": "uint_contents",
    "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
WHOLE = [name for name, dtype in DTYPE.items() if dtype.kind in "iu" and name != "BOOL"]
SHORT = ["FP16", "FP32", "FP64"]


def by_json(schema: Schema, datatype: str, values: list[Any], **more: Any) -> Any:
    tensor = Tensor("x", more.get("shape", [len(values)]), datatype, values)
    return read_tensors(schema, [tensor], [None], 10_000)[0]["x"].tolist()


def by_bytes(schema: Schema, datatype: str, raw: bytes, count: int) -> Any:
    return read_tensors(schema, [Tensor("x", [count], datatype)], [raw], 10_000)[0]["x"].tolist()


def by_field(schema: Schema, datatype: str, values: list[Any]) -> Any:
    request = MESSAGES["ModelInferRequest"]()
    tensor = request.inputs.add(name="x", datatype=datatype, shape=[len(values)])
    getattr(tensor.contents, FIELD[datatype]).extend(values)
    lean = parsed("Infer", request.SerializeToString())
    return read_message(schema, lean, 10_000).feeds["x"].tolist()


def same(*found: list[float]) -> bool:
    first = np.array(found[0], np.float64).tobytes()
    return all(np.array(one, np.float64).tobytes() == first for one in found)


@pytest.mark.parametrize("datatype", WHOLE)
@settings(deadline=None)
@given(data=st.data())
def test_whole_numbers_three_ways(datatype: str, data: st.DataObject) -> None:
    low, high = int(np.iinfo(DTYPE[datatype]).min), int(np.iinfo(DTYPE[datatype]).max)
    values = [*data.draw(st.lists(st.integers(low, high), max_size=20)), low, high]
    raw = np.array(values, DTYPE[datatype]).tobytes()
    wanted = [float(v) for v in values]
    assert same(
        wanted, by_json(NUMBER, datatype, values), by_field(NUMBER, datatype, values),
        by_bytes(NUMBER, datatype, raw, len(values)),
    )  # fmt: skip
    for wrong in (low - 1, high + 1, 0.5, 1e300, True, "1", [1]):
        with pytest.raises(ProtocolError) as caught:
            by_json(NUMBER, datatype, [*values, wrong])
        assert caught.value.status == 422
        assert caught.value.problems[0].startswith(f"row {len(values)}, column 'x': wanted")


@pytest.mark.parametrize("datatype", SHORT)
@settings(deadline=None)
@given(data=st.data())
def test_floats_three_ways(datatype: str, data: st.DataObject) -> None:
    dtype = DTYPE[datatype]
    width = dtype.itemsize * 8
    some = st.floats(width=width, allow_nan=False, allow_infinity=False)
    edges = [float(np.finfo(dtype).max), float(np.finfo(dtype).smallest_subnormal), -0.0, 1.0]
    values = data.draw(st.lists(some, max_size=20)) + edges
    raw = np.array(values, dtype).tobytes()
    found = [by_json(NUMBER, datatype, values), by_bytes(NUMBER, datatype, raw, len(values))]
    if datatype != "FP16":  # which has no typed field
        found.append(by_field(NUMBER, datatype, values))
    assert same(values, *found)


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["FP16", "FP32"]))
def test_json_is_rounded_as_bytes_would_be(value: float, datatype: str) -> None:
    with np.errstate(over="ignore"):
        short = float(np.float64(value).astype(DTYPE[datatype]))
    if math.isinf(short):
        with pytest.raises(ProtocolError, match="problem") as caught:
            by_json(NUMBER, datatype, [value])
        assert f"wanted {datatype}" in caught.value.problems[0]
    else:
        assert same([short], by_json(NUMBER, datatype, [value]))


def test_missing_and_infinite_numbers() -> None:
    assert same([math.nan, 1.0], by_json(NUMBER, "FP64", [None, 1]))
    assert same([math.nan, 1.0], by_json(NUMBER, "INT8", [None, 1]))
    for datatype in SHORT:
        values = [math.nan, math.inf, -math.inf]
        raw = np.array(values, DTYPE[datatype]).tobytes()
        assert same(values, by_bytes(NUMBER, datatype, raw, 3))
    with pytest.raises(ProtocolError) as caught:
        by_json(NUMBER, "FP64", [10**400])
    assert caught.value.status == 422


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1))
def test_booleans_three_ways(values: list[bool]) -> None:
    raw = bytes(values)
    found = (
        by_json(FLAG, "BOOL", values),
        by_field(FLAG, "BOOL", values),
        by_bytes(FLAG, "BOOL", raw, len(values)),
    )
    assert same([float(v) for v in values], *found)
    assert same(found[0], by_json(FLAG, "UINT8", [int(v) for v in values]))


@pytest.mark.parametrize("wrong", ["true", 1, 0.0, [True]])
def test_a_boolean_is_no_word_and_no_number(wrong: object) -> None:
    with pytest.raises(ProtocolError) as caught:
        by_json(FLAG, "BOOL", [True, wrong])
    assert caught.value.problems[0].startswith("row 1, column 'x': wanted true or false")
    with pytest.raises(ProtocolError, match="a byte 0 or 1"):
        by_bytes(FLAG, "BOOL", b"\x02", 1)


@settings(deadline=None)
@given(st.lists(st.text(), min_size=1))
def test_texts_three_ways(values: list[str]) -> None:
    raw = b"".join(map(text_bytes, values))
    found = by_json(TEXT, "BYTES", values)
    assert found == [value.strip() for value in values]
    assert found == by_field(TEXT, "BYTES", [value.encode() for value in values])
    assert found == by_bytes(TEXT, "BYTES", raw, len(values))
    assert texts_from("x", raw, len(values), []) == values


def test_missing_texts() -> None:
    assert by_json(TEXT, "BYTES", [None, ""]) == ["", ""]
    assert by_bytes(TEXT, "BYTES", bytes(8), 2) == ["", ""]


@pytest.mark.parametrize(
    ("raw", "count", "status", "said"),
    [
        (b"\x01\x00\x00\x00\xff", 1, 422, "UTF-8"),
        (b"\x02\x00\x00\x00a", 1, 400, "cut off"),
        (b"\xff\xff\xff\xffa", 1, 400, "cut off"),
        (b"\x01\x00", 1, 400, "cut off"),
        (b"", 1, 400, "0 values"),
        (bytes(4) * 3, 2, 400, "more values"),
        (bytes(4) * 2, 3, 400, "2 values"),
    ],
)
def test_wrong_bytes_of_texts(raw: bytes, count: int, status: int, said: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        by_bytes(TEXT, "BYTES", raw, count)
    assert caught.value.status == status
    assert said in " ".join([caught.value.message, *caught.value.problems])


@pytest.mark.parametrize("wrong", [5, 1.5, True, ["a"], {"a": 1}])
def test_a_text_is_text(wrong: object) -> None:
    with pytest.raises(ProtocolError) as caught:
        by_json(TEXT, "BYTES", ["a", wrong])
    assert caught.value.problems[0].startswith("row 1, column 'x': wanted text")


@settings(deadline=None)
@given(st.binary(max_size=64), st.sampled_from([*DTYPE, "BYTES"]), st.integers(0, 6))
def test_any_bytes_are_values_or_a_fault_of_the_caller(raw: bytes, kind: str, count: int) -> None:
    problems: list[str] = []
    try:
        found = values_of(Tensor("x", [count], kind), raw, problems)
    except ProtocolError as error:
        assert error.status in (400, 422)
    else:
        assert len(found) == count and not problems


def test_bytes_are_little_endian_and_flat_is_nested() -> None:
    assert by_bytes(NUMBER, "INT16", struct.pack("<h", 258), 1) == [258.0]
    flat = by_json(NUMBER, "FP64", [1.0, 2.0], shape=[2, 1])
    assert flat == by_json(NUMBER, "FP64", [[1.0], [2.0]], shape=[2, 1]) == [1.0, 2.0]
    for data, shape in (([[1.0], 2.0], [2, 1]), ([[1.0, 2.0]], [2, 1]), ([[[1.0]]], [1, 1])):
        with pytest.raises(ProtocolError):
            by_json(NUMBER, "FP64", data, shape=shape)
