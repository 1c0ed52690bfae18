"""Arrow and Parquet bodies to columns. Loads pyarrow, so it is imported only for such a body.

Nothing is decoded before its decoded size is known: `ipc_bounds` and `parquet_bounds` read it from
the headers of every message and page, so that neither compression nor dictionaries nor counts that
lie can take more memory than the limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelwright.core.intake import Array
from modelwright.core.schema import Column, Schema
from modelwright.serve.bodies import ARROW_FILE, ARROW_STREAM, PARQUET
from modelwright.serve.ipc_bounds import MAGIC, check_ipc
from modelwright.serve.messages import ProtocolError
from modelwright.serve.parquet_bounds import check_parquet

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ModuleNotFoundError as missing:
    raise ProtocolError(
        415,
        "Arrow and Parquet bodies need pyarrow on the server: pip install 'modelwright[tables]'.",
    ) from missing

_UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError, KeyError, TypeError)


def read_columns(
    schema: Schema,
    wanted: Sequence[Column],
    kind: str,
    body: bytes,
    max_rows: int,
    most_decoded: int,
) -> tuple[list[str], dict[str, Sequence[Any] | Array]]:
    """Names in the table, and values of the wanted columns; unknown ones have none.

    Numbers without gaps are views of the body where Arrow has them as the graph wants them.

    Raises:
        ProtocolError: 400 no such table, 413 too many rows or too large, 422 a column's type.
    """
    columns = {column.name: column for column in wanted}
    try:
        if kind == PARQUET:
            table = _parquet(columns, body, max_rows, most_decoded)
        else:
            table = _ipc(kind, body, max_rows, most_decoded)
        return list(table.schema.names), _columns(schema, columns, table, most_decoded)
    except _UNREADABLE as error:
        raise ProtocolError(400, f"The body cannot be read as {kind}: {_first(error)}.") from error


def write_columns(kind: str, columns: dict[str, Any], about: dict[str, str]) -> bytes:
    """Columns as an Arrow stream or a Parquet file; `about` becomes the schema's metadata."""
    batch = pa.record_batch({name: pa.array(values) for name, values in columns.items()})
    batch = batch.replace_schema_metadata(about)
    out = pa.BufferOutputStream()
    if kind == PARQUET:
        pq.write_table(pa.Table.from_batches([batch]), out)
    elif kind == ARROW_FILE:
        with pa.ipc.new_file(out, batch.schema) as file:
            file.write_batch(batch)
    else:
        with pa.ipc.new_stream(out, batch.schema) as stream:
            stream.write_batch(batch)
    return bytes(out.getvalue().to_pybytes())


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200].rstrip(".")


def _ipc(kind: str, body: bytes, max_rows: int, most_decoded: int) -> Any:
    if body.startswith(MAGIC) != (kind == ARROW_FILE):
        form = "a file: it begins" if kind == ARROW_STREAM else "no file: it does not begin"
        raise ProtocolError(400, f"The body is {form} with ARROW1.")
    check_ipc(memoryview(body), max_rows, most_decoded)
    source = pa.py_buffer(body)
    if kind == ARROW_FILE:
        with pa.ipc.open_file(source) as file:
            schema = file.schema
            batches = [file.get_batch(number) for number in range(file.num_record_batches)]
    else:
        with pa.ipc.open_stream(source) as stream:
            schema = stream.schema
            batches = list(stream)
    for batch in batches:
        batch.validate(full=True)  # offsets of a stranger may point anywhere
    return pa.Table.from_batches(batches, schema)


def _parquet(wanted: Mapping[str, Column], body: bytes, max_rows: int, most_decoded: int) -> Any:
    footer = check_parquet(body, max_rows, most_decoded)
    # text stays coded: a dictionary of one long text and many rows would otherwise be multiplied
    file = pq.ParquetFile(
        pa.BufferReader(body),
        read_dictionary=footer.texts,
        pre_buffer=False,
        thrift_string_size_limit=2**24,
        thrift_container_size_limit=2**20,
    )
    for field in file.schema_arrow:
        if field.name in wanted:
            _check_type(wanted[field.name], field.type)
    names = [name for name in file.schema_arrow.names if name in wanted]
    if not names:
        raise ProtocolError(422, "The table has none of the model's columns.")
    # one group at a time: pyarrow cannot join the codes of nested columns
    groups = [
        file.read_row_group(number, columns=names, use_threads=False)
        for number in range(footer.groups)
    ]
    if not groups:
        raise ProtocolError(400, "The request has no rows.")
    table = pa.concat_tables(groups)
    table.validate(full=True)  # codes of a stranger may point anywhere
    for name in file.schema_arrow.names:
        if name not in wanted:
            table = table.append_column(name, pa.nulls(table.num_rows))
    return table


def _columns(
    schema: Schema, wanted: Mapping[str, Column], table: Any, most_decoded: int
) -> dict[str, Sequence[Any] | Array]:
    found: dict[str, Sequence[Any] | Array] = {}
    for number, name in enumerate(table.schema.names):
        if name in wanted:
            _check_type(wanted[name], table.schema.types[number])
            found[name] = _joined(
                [
                    _values(wanted[name], chunk, most_decoded)
                    for chunk in table.column(number).chunks
                ]
            )
        elif name not in schema.tolerated:
            found[name] = [None] * table.num_rows
    return found or {"": [None] * table.num_rows}


def _joined(chunks: list[Array | list[Any]]) -> Array | list[Any]:
    if len(chunks) == 1:
        return chunks[0]
    arrays = [chunk for chunk in chunks if isinstance(chunk, np.ndarray)]
    if arrays and len(arrays) == len(chunks):
        return np.concatenate(arrays)
    return [value for chunk in chunks for value in chunk]


def _check_type(column: Column, kind: Any) -> None:
    """Only types whose values have a known size are decoded."""
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    if column.kind == "list" and (pa.types.is_list(inner) or pa.types.is_large_list(inner)):
        inner = inner.value_type
        inner = inner.value_type if pa.types.is_dictionary(inner) else inner
    simple = (
        pa.types.is_primitive(inner)  # integers, floats, booleans, dates, times
        or pa.types.is_decimal(inner)
        or pa.types.is_null(inner)
        or _is_text(inner)
    )
    if not simple or pa.types.is_duration(inner) or pa.types.is_interval(inner):
        raise ProtocolError(
            422, f"column {column.name!r}: values of type {str(kind)[:60]} are not taken; wanted "
            "numbers, text, booleans, date-times, or lists of text."
        )  # fmt: skip


def _is_text(kind: Any) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _values(column: Column, chunk: Any, most_decoded: int) -> Array | list[Any]:
    """Values of one chunk as the intake takes them."""
    kind = chunk.type
    if pa.types.is_dictionary(kind):
        coded = _plain(_values(column, chunk.dictionary, most_decoded))
        coded.append(None)  # which the code -1 of a missing value means
        codes = chunk.indices.cast(pa.int64()).fill_null(-1).to_pylist()
        return [coded[code] for code in codes]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        items = _plain(_values(column, chunk.values, most_decoded))
        ends = chunk.offsets.to_pylist()
        known = chunk.is_valid().to_pylist()
        return [
            items[ends[row] : ends[row + 1]] if known[row] else None for row in range(len(chunk))
        ]
    if pa.types.is_string_view(kind):
        _check_views(chunk, most_decoded)
    if pa.types.is_decimal(kind):
        chunk = chunk.cast(pa.float64())
    kind = chunk.type
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if numeric or (pa.types.is_boolean(kind) and chunk.null_count == 0):
        return np.asarray(chunk.to_numpy(zero_copy_only=False))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        if column.kind == "datetime":
            return np.asarray(chunk.to_numpy(zero_copy_only=False))
        if pa.types.is_timestamp(kind):
            chunk = chunk.cast(pa.timestamp("us", kind.tz), safe=False)
    return list(chunk.to_pylist())


def _plain(values: Array | list[Any]) -> list[Any]:
    if not isinstance(values, np.ndarray):
        return list(values)
    if values.dtype == "datetime64[ns]":
        values = values.astype("datetime64[us]")  # which Python has an object for
    numbers = values.tolist()
    if values.dtype.kind == "f":
        return [None if number != number else number for number in numbers]
    return list(numbers)


def _check_views(chunk: Any, most_decoded: int) -> None:
    """Text views may all show the same long text, which Python would hold once for each."""
    views = np.frombuffer(chunk.buffers()[1], np.int32).reshape(-1, 4)
    lengths = views[chunk.offset : chunk.offset + len(chunk), 0]
    if int(lengths.sum(dtype=np.int64)) > most_decoded:
        raise ProtocolError(413, f"The table is larger than {most_decoded:,} bytes when decoded.")
