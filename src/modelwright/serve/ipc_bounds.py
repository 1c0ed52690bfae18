"""How large an Arrow IPC stream or file is when decoded, read from its headers alone.

Format: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format; a message's header
is a FlatBuffer (format/Message.fbs), of which only the fields needed here are read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from modelwright.serve.messages import ProtocolError

MAGIC = b"ARROW1"
_CONTINUES = 0xFFFFFFFF
_DICTIONARY, _BATCH = 2, 3
_VALUE = 8
"""Bytes charged for a value of any type: some, such as nulls, have no bytes of their own."""
MOST_MESSAGES = 65_536


def check_ipc(body: memoryview, max_rows: int, most_decoded: int) -> None:
    """Add up rows and decoded bytes of a stream, or of a file, which begins with ARROW1.

    Raises:
        ProtocolError: 400 no such stream or file, 413 over a limit.
    """
    rows, decoded = 0, 0
    is_file = body[: len(MAGIC)] == MAGIC
    try:
        for header, content in _blocks(body) if is_file else _messages(body):
            kind, batch = _content(header)
            if kind == _DICTIONARY:
                batch = _child(header, batch, 1)
            elif kind == _BATCH:
                rows += _long(header, batch, 0)
            else:
                continue
            decoded += len(content) + _decoded(header, batch, content)
            _check(rows, max_rows, decoded, most_decoded)
    except (struct.error, IndexError) as error:
        raise ProtocolError(400, "The body is not Arrow IPC: a header is cut.") from error


def _check(rows: int, max_rows: int, decoded: int, most_decoded: int) -> None:
    if rows > max_rows:
        raise ProtocolError(413, f"{rows:,} rows in one request, at most {max_rows:,} are taken.")
    if decoded > most_decoded:
        raise ProtocolError(413, f"The table is larger than {most_decoded:,} bytes when decoded.")


def _messages(stream: memoryview) -> Iterator[tuple[memoryview, memoryview]]:
    """Header and content of each message."""
    at, count = 0, 0
    while at < len(stream):
        begins, size = struct.unpack_from("<Ii", stream, at)
        if begins != _CONTINUES or size < 0 or at + 8 + size > len(stream):
            raise ProtocolError(400, "The body is not an Arrow IPC stream.")
        if size == 0:
            return
        header = stream[at + 8 : at + 8 + size]
        length = _long(header, _root(header), 3)
        at += 8 + size
        if length < 0 or at + length > len(stream):
            raise ProtocolError(400, "The Arrow IPC stream is cut.")
        yield header, stream[at : at + length]
        at += length
        count += 1
        if count > MOST_MESSAGES:
            raise ProtocolError(413, f"More than {MOST_MESSAGES:,} messages in one Arrow stream.")


def _blocks(file: memoryview) -> Iterator[tuple[memoryview, memoryview]]:
    """Header and content of each message that a file's footer names."""
    (size,) = struct.unpack_from("<i", file, len(file) - 10)
    if size < 0 or size > len(file) - 18 or file[-len(MAGIC) :] != MAGIC:
        raise ProtocolError(400, "The body is not an Arrow IPC file: it has no footer.")
    footer = file[len(file) - 10 - size : len(file) - 10]
    root = _root(footer)
    places = [*_vector(footer, root, 2, 24), *_vector(footer, root, 3, 24)]
    if len(places) > MOST_MESSAGES:
        raise ProtocolError(413, f"More than {MOST_MESSAGES:,} messages in one Arrow file.")
    for place in places:
        at, head, length = struct.unpack_from("<qi4xq", footer, place)
        if at < 0 or head < 8 or length < 0 or at + head + length > len(file):
            raise ProtocolError(400, "The Arrow IPC file is cut.")
        begins, _ = struct.unpack_from("<Ii", file, at)
        header = file[at + (8 if begins == _CONTINUES else 4) : at + head]
        yield header, file[at + head : at + head + length]


def _content(header: memoryview) -> tuple[int, int]:
    """A message's type and where its content stands."""
    root = _root(header)
    place = _field(header, root, 1)
    return (header[place] if place else 0), _child(header, root, 2)


def _decoded(header: memoryview, batch: int, body: memoryview) -> int:
    """Bytes that a batch takes beyond its body: values without bytes, and compressed buffers."""
    total = 0
    for node in _vector(header, batch, 1):
        (values,) = struct.unpack_from("<q", header, node)
        if values < 0:
            raise struct.error
        total += _VALUE * values
    if not _field(header, batch, 3):
        return total
    for buffer in _vector(header, batch, 2):
        at, length = struct.unpack_from("<qq", header, buffer)
        if length > 0:
            if at < 0:
                raise struct.error
            (size,) = struct.unpack_from("<q", body, at)
            total += max(0, size)
    return total


def _root(header: memoryview) -> int:
    (root,) = struct.unpack_from("<I", header, 0)
    return int(root)


def _field(header: memoryview, table: int, number: int) -> int:
    """Where a field of a FlatBuffer table stands; 0 when it is absent."""
    (back,) = struct.unpack_from("<i", header, table)
    vtable = table - back
    if vtable < 0:
        raise struct.error
    (size,) = struct.unpack_from("<H", header, vtable)
    if 4 + 2 * number >= size:
        return 0
    (offset,) = struct.unpack_from("<H", header, vtable + 4 + 2 * number)
    return table + int(offset) if offset else 0


def _child(header: memoryview, table: int, number: int) -> int:
    place = _field(header, table, number)
    if not place:
        raise struct.error
    (offset,) = struct.unpack_from("<I", header, place)
    return place + int(offset)


def _long(header: memoryview, table: int, number: int) -> int:
    place = _field(header, table, number)
    (value,) = struct.unpack_from("<q", header, place) if place else (0,)
    return int(value)


def _vector(header: memoryview, table: int, number: int, size: int = 16) -> Iterator[int]:
    """Where each of a vector's structures stands."""
    if not _field(header, table, number):
        return
    start = _child(header, table, number)
    (count,) = struct.unpack_from("<I", header, start)
    if start + 4 + size * count > len(header):
        raise struct.error
    yield from range(start + 4, start + 4 + size * count, size)
