"""How large a Parquet file is when decoded, read from its page headers before pyarrow sees it.

The footer's own figures may lie, so the header of each page is read too. Both are structures of
Thrift's compact protocol: FileMetaData and PageHeader of
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift. pyarrow's own
view of the footer is of no use here: a damaged one makes it end the process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelwright.serve.messages import ProtocolError

_MAGIC = b"PAR1"
_VALUE = 8
"""Bytes charged for a value: run lengths can stand for many values without bytes of their own."""
_BYTE_ARRAY = 6
MOST_PAGES = 65_536
MOST_FIELDS = 500_000
_DEEPEST = 16
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
# numbers of fields in parquet.thrift
_SCHEMA, _ROWS, _GROUPS = 2, 3, 4  # FileMetaData
_LENGTH = 2  # SchemaElement
_COLUMNS = 1  # RowGroup
_FILE, _ABOUT = 1, 3  # ColumnChunk
_TYPE, _PATH, _PACKED_SIZE, _DATA_AT, _CODES_AT = 1, 3, 7, 9, 11  # ColumnMetaData
_PLAIN, _PACKED, _DATA, _DATA_AGAIN = 2, 3, 5, 8  # PageHeader; DataPageHeader and its second form
_VALUES = 1  # DataPageHeader


@dataclass(frozen=True)
class Footer:
    """What is known before reading: row groups, and paths of the columns of text."""

    groups: int
    texts: list[str]


def check_parquet(body: bytes, max_rows: int, most_decoded: int) -> Footer:
    """Look at every page of a file.

    Raises:
        ProtocolError: 400 for pages that are not where the footer says, 413 over a limit.
    """
    footer = _footer(body)
    try:
        return _checked(body, footer, max_rows, most_decoded)
    except (IndexError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise _broken("a header is cut or has another form") from error


def _broken(why: str) -> ProtocolError:
    return ProtocolError(400, f"The body cannot be read as Parquet: {why}.")


def _footer(body: bytes) -> bytes:
    if len(body) < 12 or body[:4] != _MAGIC or body[-4:] != _MAGIC:
        raise _broken("it does not begin and end with PAR1")
    size = int.from_bytes(body[-8:-4], "little")
    if size > len(body) - 12:
        raise _broken("it is cut")
    return body[len(body) - 8 - size : len(body) - 8]


def _checked(body: bytes, footer: bytes, max_rows: int, most_decoded: int) -> Footer:
    about = _Compact(footer, 0, len(footer)).struct(0)
    rows = about[_ROWS]
    if rows > max_rows:
        raise ProtocolError(413, f"{rows:,} rows in one request, at most {max_rows:,} are taken.")
    # values of a fixed length are charged it: a code for one may stand in many rows
    widths = [element.get(_LENGTH, 0) for element in about[_SCHEMA]]
    width = max([_VALUE, *widths]) if len(widths) < MOST_PAGES else most_decoded
    texts: dict[str, None] = {}
    decoded = pages = 0
    for group in about[_GROUPS]:
        for chunk in group[_COLUMNS]:
            if _FILE in chunk:
                raise _broken("it names another file")
            column = chunk[_ABOUT]
            if column[_TYPE] == _BYTE_ARRAY:
                texts[".".join(part.decode() for part in column[_PATH])] = None
            at, end = _place(column, len(body))
            while at < end:
                at, plain, values = _page(body, at, end)
                decoded, pages = decoded + plain + width * values, pages + 1
                if decoded > most_decoded or pages > MOST_PAGES:
                    raise ProtocolError(
                        413, f"The table is larger than {most_decoded:,} bytes when decoded."
                    )
    return Footer(len(about[_GROUPS]), list(texts))


def _place(column: dict[int, Any], size: int) -> tuple[int, int]:
    """Where the pages of a column begin and end."""
    first, begins = column.get(_CODES_AT, 0), column[_DATA_AT]
    at = first if 0 < first < begins else begins
    end = at + column[_PACKED_SIZE]
    if at < 4 or end > size or end < at:
        raise _broken("its pages are not where its footer says")
    return at, end


def _page(body: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Where the next page begins; bytes and values of this one when decoded."""
    reader = _Compact(body, at, end)
    header = reader.struct(0)
    plain, packed = header[_PLAIN], header[_PACKED]
    if plain < 0 or packed < 0:
        raise _broken("a page has a size below 0")
    about = header.get(_DATA) or header.get(_DATA_AGAIN) or {}
    return reader.at + packed, plain, max(0, about.get(_VALUES, 0))


class _Compact:
    """Reads a Thrift structure: field number -> number, bytes, list or structure."""

    def __init__(self, body: bytes, at: int, end: int) -> None:
        self._body, self.at, self._end = body, at, end
        self._fields = 0

    def struct(self, depth: int) -> dict[int, Any]:
        """Raises IndexError where it is cut, too deep or too large."""
        if depth > _DEEPEST:
            raise IndexError
        found: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            step = head >> 4
            number = number + step if step else self._zigzag()
            kind = head & 15
            found[number] = kind == _TRUE if kind <= _FALSE else self._value(kind, depth)
        return found

    def _byte(self) -> int:
        if self.at >= self._end:
            raise IndexError
        self.at += 1
        return self._body[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise IndexError

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _value(self, kind: int, depth: int) -> Any:
        self._fields += 1
        if self._fields > MOST_FIELDS:
            raise IndexError
        if kind in (_TRUE, _FALSE, _BYTE):  # in a list a boolean is a byte
            return self._byte()
        if kind in (_I16, _I32, _I64):
            return self._zigzag()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._varint()
            return [self._value(head & 15, depth + 1) for _ in range(count)]
        length = 8 if kind == _DOUBLE else self._varint()
        if kind not in (_DOUBLE, _BINARY) or length > self._end - self.at:
            raise IndexError
        self.at += length
        return self._body[self.at - length : self.at]
