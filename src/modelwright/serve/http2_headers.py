"""Header blocks of HTTP/2: read with their table, and written without one. RFC 7541.

A client sends the same block call after call as soon as its fields are in the table. Blocks that
change no table are remembered with what was made of them, until a block comes that changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from modelwright.core.errors import MissingExtra
from modelwright.serve.http2_frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, Http2Error

try:
    from hpack.exceptions import HPACKError
    from hpack.huffman_table import decode_huffman
    from hpack.table import HeaderTable
except ModuleNotFoundError as error:
    raise MissingExtra(error.name or "hpack", "grpc") from error

Fields = Sequence[tuple[bytes, bytes]]
LIST_BYTES = 16 * 1024
"""Fields that a call may have, each with 32 bytes on top (SETTINGS_MAX_HEADER_LIST_SIZE)."""
MOST_LIST_BYTES = 64 * 1024
"""More ends the connection; up to here the call alone is refused."""
BLOCK_BYTES = 32 * 1024
TABLE_BYTES = 4096
"""The table that a client may use; the protocol's default."""
_EXTRA = 32
_LONGEST_NUMBER = 28
_MOST_SEEN, _LARGEST_SEEN = 16, 2048
"""Blocks that are remembered, and bytes of their fields: of each of many thousand connections."""
Made = TypeVar("Made")


class HeaderReader(Generic[Made]):
    """Reads the header blocks of one connection, in their order.

    Args:
        make: turns the fields of a block into what the caller wants of them. It must depend on
            nothing else: what it gives for a block is given again for the same block.

    Attributes:
        excess: bytes of field lists that were larger than `LIST_BYTES`; the reader only adds.

    Example:
        >>> reader = HeaderReader(dict)
        >>> reader.read(bytes.fromhex("8286 4104 6e616d65"))[b":authority"]
        b'name'
        >>> reader.read(bytes.fromhex("be"))
        {b':authority': b'name'}
    """

    def __init__(self, make: Callable[[Fields], Made]) -> None:
        self._make = make
        self.excess = 0
        self._dynamic = HeaderTable()
        self._seen: dict[bytes, Made] = {}

    def read(self, block: bytes) -> Made:
        """Read a whole block.

        Raises:
            Http2Error: it cannot be read, or is too large; the table is lost with it.
        """
        found = self._seen.get(block)
        if found is not None:
            return found
        try:
            fields, size, changed = self._fields(block)
        except (HPACKError, IndexError) as error:
            raise Http2Error(COMPRESSION_ERROR, "a header block that cannot be read") from error
        if size > LIST_BYTES:
            self.excess += size
        found = self._make(fields)
        if changed:
            self._seen.clear()
        elif size <= _LARGEST_SEEN:
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen[block] = found
        return found

    def _fields(self, block: bytes) -> tuple[list[tuple[bytes, bytes]], int, bool]:
        """The fields, their size, and whether the block changed the table."""
        table, fields = self._dynamic, list[tuple[bytes, bytes]]()
        place, size, changed = 0, 0, False
        while place < len(block):
            first = block[place]
            if first & 0x80:  # a field of the table
                index, place = _number(block, place, 0x7F)
                field = table.get_by_index(index)
            elif first & 0xE0 == 0x20:  # a new size of the table
                limit, place = _number(block, place, 0x1F)
                if fields or limit > TABLE_BYTES:
                    raise Http2Error(COMPRESSION_ERROR, "a size of the table that is not allowed")
                table.maxsize, changed = limit, True
                continue
            else:
                index, place = _number(block, place, 0x3F if first & 0x40 else 0x0F)
                if index:
                    name = table.get_by_index(index)[0]
                else:
                    name, place = _text(block, place)
                value, place = _text(block, place)
                field = (name, value)
                if first & 0x40:
                    table.add(name, value)
                    changed = True
            fields.append(field)
            size += len(field[0]) + len(field[1]) + _EXTRA
            if size > MOST_LIST_BYTES:
                raise Http2Error(ENHANCE_YOUR_CALM, "a header list that is too large")
        return fields, size, changed


def _number(block: bytes, place: int, mask: int) -> tuple[int, int]:
    """A number that begins in the lower bits of a byte, and where it ends."""
    found = block[place] & mask
    place += 1
    if found < mask:
        return found, place
    shift = 0
    while True:
        byte = block[place]
        place += 1
        found += (byte & 0x7F) << shift
        if byte < 0x80:
            return found, place
        shift += 7
        if shift > _LONGEST_NUMBER:
            raise Http2Error(COMPRESSION_ERROR, "a number that is too long")


def _text(block: bytes, place: int) -> tuple[bytes, int]:
    coded = block[place] & 0x80
    size, place = _number(block, place, 0x7F)
    end = place + size
    if end > len(block):
        raise Http2Error(COMPRESSION_ERROR, "a header block that ends early")
    text = block[place:end]
    return (decode_huffman(text) if coded else text), end


def list_size(fields: Fields) -> int:
    """Bytes of a header list as SETTINGS_MAX_HEADER_LIST_SIZE counts them."""
    return sum(len(name) + len(value) + _EXTRA for name, value in fields)


def written(*fields: tuple[bytes, bytes]) -> bytes:
    """A block that needs no table and changes none, so that it may be sent on any connection.

    Example:
        >>> written((b":status", b"200"), (b"a", b"b"))
        b'\\x88\\x00\\x01a\\x01b'
    """
    parts = []
    for name, value in fields:
        if (name, value) == (b":status", b"200"):
            parts.append(b"\x88")
        else:
            parts += [b"\x00", _size(len(name)), name, _size(len(value)), value]
    return b"".join(parts)


def _size(size: int) -> bytes:
    if size < 0x7F:
        return bytes((size,))
    found, size = bytearray(b"\x7f"), size - 0x7F
    while size > 0x7F:
        found.append(size & 0x7F | 0x80)
        size >>= 7
    found.append(size)
    return bytes(found)
