"""Tables as request bodies: CSV, Arrow and Parquet to a Question.

Pure functions over bytes: what does not fit is a ProtocolError. Every cell goes through
`core.intake`, so that a value means the same in each form.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from modelwright.core.errors import RowsError
from modelwright.core.intake import SHOWN_PROBLEMS, feeds_from_columns
from modelwright.core.schema import Column, Schema
from modelwright.core.texts import cell_values
from modelwright.serve.keys import is_read, key_of
from modelwright.serve.messages import ProtocolError, Question

CSV = "text/csv"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
PARQUET = "application/vnd.apache.parquet"
_ALIASES = {"application/csv": CSV, "application/x-parquet": PARQUET}
TABLES = (CSV, ARROW_STREAM, ARROW_FILE, PARQUET)
CHARSETS = {
    "utf-8": "utf-8-sig", "utf8": "utf-8-sig", "us-ascii": "ascii", "ascii": "ascii",
    "iso-8859-1": "latin-1", "latin-1": "latin-1", "latin1": "latin-1",
    "windows-1252": "cp1252", "cp1252": "cp1252", "utf-16": "utf-16",
}  # fmt: skip
DELIMITERS = ",;\t|"
MOST_DECODED = 2**28
"""Bytes that a body may decode to: a small Parquet file can hold a large table."""


def media_type(content_type: str) -> tuple[str, dict[str, str]]:
    """A content type's kind, its other names replaced, and its parameters.

    Example:
        >>> media_type('Application/X-Parquet; charset="UTF-8"')
        ('application/vnd.apache.parquet', {'charset': 'utf-8'})
    """
    kind, *given = content_type.split(";")
    kind = kind.strip().lower()
    pairs = (one.partition("=") for one in given)
    found = {name.strip().lower(): value.strip().strip('"').lower() for name, _, value in pairs}
    return _ALIASES.get(kind, kind), found


def read_table(
    schema: Schema,
    content_type: str,
    body: bytes,
    max_rows: int,
    *,
    unknown: dict[str, int] | None = None,
    key: str | None = None,
    most_decoded: int = MOST_DECODED,
) -> Question:
    """Read a table body of any kind in `TABLES`.

    Args:
        schema: of the version that answers.
        content_type: the header, with its parameters.
        body: as it came, without content encoding.
        max_rows: most rows.
        unknown: see `core.intake.feeds_from_rows`.
        key: column whose first value becomes the question's key.
        most_decoded: bytes that Arrow and Parquet may decode to.

    Returns:
        A question in the shape `columns`.

    Raises:
        ProtocolError: 400 not such a table, 413 too many rows or too large when decoded, 415
            another content type, or pyarrow is not installed; 422 values.
    """
    kind, parameters = media_type(content_type)
    columns: dict[str, Any]
    lines: list[int] | None = None
    wanted = _wanted(schema, key)
    if kind == CSV:
        names, columns, lines = read_csv(schema, wanted, body, parameters, max_rows)
    elif kind in TABLES:
        # pyarrow takes 40 MB and 0.1 s: it is loaded by the first body that needs it
        from modelwright.serve.tables import read_columns

        names, columns = read_columns(schema, wanted, kind, body, max_rows, most_decoded)
    else:
        raise ProtocolError(
            415, f"Content type {kind[:60]!r} is not taken; known: application/json, "
            f"{', '.join(TABLES)}."
        )  # fmt: skip
    _check_names(names)
    rows = len(next(iter(columns.values()), ()))
    if rows == 0:
        raise ProtocolError(400, "The request has no rows.")
    caller = None
    if key is not None and key in columns:
        caller = key_of(schema, key, columns[key][0] if len(columns[key]) else None)
        if key in schema.tolerated:
            del columns[key]
    try:
        feeds = feeds_from_columns(schema, columns, unknown=unknown)
    except RowsError as error:
        error.lines = lines
        raise ProtocolError(422, error.message, error.by_line) from error
    return Question(feeds, rows, "columns", key=caller, lines=lines)


def _wanted(schema: Schema, key: str | None) -> list[Column]:
    """The model's columns, and that of the key, whose text is enough."""
    more = key is not None and not is_read(schema, key)
    return [*schema.features, *([Column(str(key), "category")] if more else ())]


def _check_names(names: Sequence[str]) -> None:
    if len(set(names)) == len(names):
        return
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    shown = ", ".join(repr(name[:60]) for name in twice[:5])
    raise ProtocolError(400, f"The table has columns more than once: {shown}.")


def read_csv(
    schema: Schema,
    wanted: Sequence[Column],
    body: bytes,
    parameters: Mapping[str, str],
    max_rows: int,
) -> tuple[list[str], dict[str, Sequence[Any]], list[int]]:
    """Header, values by column (wanted ones, and unknown ones), and each row's line.

    The delimiter is the one of comma, semicolon, tab and bar that finds most of the model's
    columns in the header.

    Raises:
        ProtocolError: 400 for what is no CSV with a header, 413 for too many rows.
    """
    if parameters.get("header", "present") != "present":
        raise ProtocolError(400, "The CSV must begin with a header row that names its columns.")
    text = text_of(body, parameters.get("charset", "utf-8"))
    columns = {column.name: column for column in wanted}
    try:
        delimiter = _delimiter(text, set(columns))
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        names = [name.strip() for name in next(reader, [])]
        rows, lines = _rows(reader, len(names), delimiter, max_rows)
    except csv.Error as error:
        raise ProtocolError(400, f"The body is not CSV: {error}.") from error
    skipped = schema.tolerated
    found: dict[str, Sequence[Any]] = {}
    cells = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    for name, texts in zip(names, cells, strict=True):
        if name in columns:
            found[name] = cell_values(columns[name], texts)
        elif name not in skipped:
            found[name] = texts
    return names, found or {"": [None] * len(rows)}, lines


def text_of(body: bytes, charset: str) -> str:
    """A body as text.

    Raises:
        ProtocolError: 415 a charset that is not taken, 400 a body that is not in it.
    """
    codec = CHARSETS.get(charset)
    if codec is None:
        raise ProtocolError(
            415, f"The charset {charset[:40]!r} is not taken; known: {', '.join(CHARSETS)}."
        )
    try:
        return body.decode(codec)
    except UnicodeDecodeError as error:
        raise ProtocolError(
            400, f"The body is not text in {charset}: {error.reason} at byte {error.start}; "
            "name another charset in the content type."
        ) from error  # fmt: skip


def _delimiter(text: str, known: set[str]) -> str:
    """Ties go to the comma: a table of one column has none at all."""

    def score(delimiter: str) -> int:
        # a header may have line breaks in quotes, so the reader finds its end; its size is bounded
        head = io.StringIO(text[:65536], newline="")
        try:
            names = next(csv.reader(head, delimiter=delimiter), [])
        except csv.Error:
            return -1
        return len(known & {name.strip() for name in names})

    return max(DELIMITERS, key=score)


def _rows(
    reader: Any, width: int, delimiter: str, max_rows: int
) -> tuple[list[list[str]], list[int]]:
    """Rows that are not empty, and the line on which each begins."""
    rows: list[list[str]] = []
    lines: list[int] = []
    ragged: list[str] = []
    odd = 0
    begin = reader.line_num + 1
    for row in reader:
        if len(row) == width:
            rows.append(row)
            lines.append(begin)
            if len(rows) > max_rows:
                raise ProtocolError(
                    413, f"More than {max_rows:,} rows in one request, at most {max_rows:,} are "
                    "taken."
                )  # fmt: skip
        elif row:
            odd += 1
            if odd <= SHOWN_PROBLEMS:
                ragged.append(f"line {begin}: {len(row)} cells, but the header has {width}")
        begin = reader.line_num + 1
    if odd:
        if odd > len(ragged):
            ragged.append(f"... and {odd - len(ragged)} more")
        raise ProtocolError(
            400, f"The CSV's rows are not as long as its header, with {delimiter!r} between cells.",
            tuple(ragged),
        )  # fmt: skip
    return rows, lines
