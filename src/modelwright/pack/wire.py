"""The wire format of protocol buffers: just enough to look into an ONNX file, and to write one.

Serving needs no onnx package (30 MB), and what is checked here are the very bytes that ONNX Runtime
gets. Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from modelwright.core.errors import ArtefactError

NUMBERS_7_8 = re.compile(rb"(?:\x40[\x80-\xff]{0,9}[\x00-\x7f])+|(?:\x3d.{4})+", re.DOTALL)
"""Runs of whole numbers under field 8 and of floats under field 7: an attribute's long lists."""


def fields(
    data: bytes, *, without: re.Pattern[bytes] | None = None
) -> Iterator[tuple[int, bytes | int]]:
    """Field number and value of each entry of a message; numbers that are packed stay bytes.

    Args:
        data: the message.
        without: runs of entries that are stepped over, a hundred times faster than one by one.

    Raises:
        ArtefactError: not a message, or cut short.

    Example:
        >>> list(fields(entry(1, 300) + entry(2, b"ab")))
        [(1, 300), (2, b'ab')]
    """
    at, end = 0, len(data)
    while at < end:
        if without is not None and (run := without.match(data, at)):
            at = run.end()
            continue
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = varint(data, at)
            yield number, value
            continue
        size, at = (8, at) if wire == 1 else (4, at) if wire == 5 else varint(data, at)
        if wire not in (1, 2, 5) or at + size > end:
            raise ArtefactError("The model file is not ONNX, or it is cut short.")
        yield number, data[at : at + size]
        at += size


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in as few bytes as it needs, and where it ends."""
    result = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return result, at
        shift += 7
    raise ArtefactError("The model file is not ONNX, or it is cut short.")


def texts(data: bytes, wanted: int) -> list[str]:
    """Every text under a field number."""
    return [
        value.decode("utf-8", "replace")
        for number, value in fields(data)
        if number == wanted and isinstance(value, bytes)
    ]


def text(data: bytes, wanted: int) -> str:
    """The last text under a field number, which is the one that counts; empty without any."""
    return (texts(data, wanted) or [""])[-1]


def integers(data: bytes, wanted: int) -> list[int]:
    """Every whole number under a field number, packed or not."""
    found: list[int] = []
    for number, value in fields(data):
        if number != wanted:
            continue
        if isinstance(value, int):
            found.append(_signed(value))
            continue
        at = 0
        while at < len(value):
            one, at = varint(value, at)
            found.append(_signed(one))
    return found


def entry(number: int, value: bytes | str | int) -> bytes:
    """One entry of a message.

    Example:
        >>> entry(1, 3), entry(2, "a")
        (b'\\x08\\x03', b'\\x12\\x01a')
    """
    if isinstance(value, int):
        return _written(number << 3) + _written(value)
    data = value.encode() if isinstance(value, str) else value
    return _written(number << 3 | 2) + _written(len(data)) + data


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _written(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
