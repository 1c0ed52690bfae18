"""The wire format, held against the real library."""

from __future__ import annotations

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as some

from modelwright.core.errors import ArtefactError
from modelwright.pack.wire import entry, fields, integers, text, texts, varint


@given(some.integers(0, 2**64 - 1))
def test_numbers(number: int) -> None:
    data = entry(3, number)
    assert list(fields(data)) == [(3, number)]
    assert varint(data, 1) == (number, len(data))


@given(some.text(max_size=300), some.lists(some.integers(-(2**63), 2**63 - 1), max_size=30))
def test_what_onnx_writes_is_read_and_the_other_way_round(word: str, numbers: list[int]) -> None:
    proto = onnx.TensorProto(name=word, int64_data=numbers)
    data = proto.SerializeToString()
    assert text(data, 8) == word and integers(data, 7) == numbers
    rebuilt = b"".join(entry(number, value) for number, value in fields(data))
    assert onnx.TensorProto.FromString(rebuilt) == proto


@given(some.lists(some.text(max_size=20), max_size=5))
def test_repeated_texts(words: list[str]) -> None:
    data = onnx.NodeProto(input=words).SerializeToString()
    assert texts(data, 1) == words and text(data, 1) == (words or [""])[-1]


@given(some.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        found = list(fields(data))
    except ArtefactError:
        return
    assert sum(isinstance(value, (int, bytes)) for _, value in found) == len(found)


@pytest.mark.parametrize("data", [b"\x0a\x05ab", b"\x80", b"\x08" + b"\xff" * 11, b"\x0b"])
def test_what_is_cut_short_is_refused(data: bytes) -> None:
    with pytest.raises(ArtefactError, match="cut short"):
        list(fields(data))
