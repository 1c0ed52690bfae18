"""Tables as bodies: the same feeds from every form, and nothing that is too large is decoded."""

from __future__ import annotations

import datetime as dt
import io
import random
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelwright.core.intake import feeds_from_rows
from modelwright.core.schema import Column, Schema, Target
from modelwright.serve.bodies import ARROW_FILE, ARROW_STREAM, CSV, PARQUET, read_table
from modelwright.serve.messages import ProtocolError, Question

SCHEMA = Schema(
    (
        Column("size, cm", "number", nullable=True),
        Column("colour", "category", nullable=True, levels=("red", "blue")),
        Column("big", "number", integer=True),
        Column("member", "boolean", nullable=True),
        Column("start", "datetime", nullable=True),
        Column("tags", "list", nullable=True, format="|"),
        Column("id", "id", unused="id-like"),
    ),
    Target("bought", "binary", "string", ("no", "yes")),
)
ROWS: list[dict[str, Any]] = [
    {"size, cm": 1.5, "colour": "red", "big": 2**25, "member": True,
     "start": dt.datetime(2020, 2, 29, 12), "tags": ["a", "b"], "id": 7},
    {"size, cm": None, "colour": None, "big": 5, "member": None, "start": None, "tags": None,
     "id": 8},
    {"size, cm": 2.0, "colour": "bl\u00fce", "big": 6, "member": False,
     "start": dt.datetime(1969, 12, 31), "tags": ["c"], "id": 9},
]  # fmt: skip
TABLE = pa.Table.from_pylist(ROWS)


def read(kind: str, body: bytes, schema: Schema = SCHEMA, **more: Any) -> Question:
    return read_table(schema, kind, body, 1000, **more)


def refusal(kind: str, body: bytes, **more: Any) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        read(kind, body, **more)
    return caught.value


def stream(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return out.getvalue()


def file(table: pa.Table) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def parquet(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def coded(table: pa.Table) -> pa.Table:
    at = table.schema.get_field_index("colour")
    return table.set_column(at, "colour", table["colour"].dictionary_encode())


def in_polars(write: Callable[[pl.DataFrame, io.BytesIO], object]) -> bytes:
    out = io.BytesIO()
    write(pl.DataFrame(ROWS), out)
    return out.getvalue()


def csv_cells(delimiter: str) -> bytes:
    lines = [
        ["size, cm", "colour", "big", "member", "start", "tags", "id"],
        ["1.5", "red", "33554432", "true", "2020-02-29T12:00:00", "a|b", "7"],
        ["", "", "5", "", "", "", "8"],
        ["2.0", "bl\u00fce", "6", "false", "1969-12-31", "c", "9"],
    ]
    quoted = [[f'"{c}"' if "," in c or delimiter in c else c for c in line] for line in lines]
    return "\r\n".join(delimiter.join(line) for line in quoted).encode()


BODIES = {
    "comma": (CSV, csv_cells(",")),
    "semicolon": ("text/csv; charset=utf-8; header=present", csv_cells(";")),
    "bar": ("text/csv", csv_cells("|")),
    "tab and a mark": ("TEXT/CSV", b"\xef\xbb\xbf" + csv_cells("\t")),
    "latin": ("text/csv; charset=ISO-8859-1", csv_cells(",").decode().encode("latin-1")),
    "stream": (ARROW_STREAM, stream(TABLE)),
    "codes": (ARROW_STREAM, stream(coded(TABLE))),
    "small batches": (ARROW_STREAM, stream(pa.concat_tables([TABLE[:1], TABLE[1:]]))),
    "zstd": (ARROW_STREAM, stream(TABLE, compression="zstd")),
    "lz4": (ARROW_STREAM, stream(coded(TABLE), compression="lz4")),
    "file": (ARROW_FILE, file(TABLE)),
    "file, codes": (ARROW_FILE, file(coded(TABLE))),
    "polars file": (ARROW_FILE, in_polars(lambda f, o: f.write_ipc(o))),
    "polars file, zstd": (ARROW_FILE, in_polars(lambda f, o: f.write_ipc(o, compression="zstd"))),
    "polars stream": (ARROW_STREAM, in_polars(lambda f, o: f.write_ipc_stream(o))),
    "parquet": (PARQUET, parquet(TABLE)),
    "parquet, zstd, v2": ("application/x-parquet", parquet(
        TABLE, compression="zstd", data_page_version="2.0", row_group_size=2)),
    "parquet, plain": (PARQUET, parquet(coded(TABLE), use_dictionary=False, compression="none")),
    "polars parquet": (PARQUET, in_polars(lambda f, o: f.write_parquet(o))),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_every_form_gives_the_feeds_of_json(name: str) -> None:
    wanted = feeds_from_rows(SCHEMA, ROWS)
    found = read(*BODIES[name])
    assert (found.rows, found.shape) == (3, "columns")
    for column, values in wanted.items():
        np.testing.assert_array_equal(found.feeds[column], values, column)
        assert found.feeds[column].dtype == values.dtype


def test_numbers_of_arrow_are_not_copied() -> None:
    body = stream(pa.table({"big": np.arange(10.0)}))
    values = read(ARROW_STREAM, body).feeds["big"]
    assert not values.flags.owndata and not values.flags.writeable


@pytest.mark.parametrize(
    "kind",
    [
        pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.decimal128(21, 2),
        pa.dictionary(pa.int8(), pa.int64()),
    ],
)  # fmt: skip
def test_every_type_of_number(kind: pa.DataType) -> None:
    values = pa.array([1, 2, None], pa.int64())
    array = values.dictionary_encode() if pa.types.is_dictionary(kind) else values.cast(kind)
    for body, form in ((stream, ARROW_STREAM), (parquet, PARQUET)):
        found = read(form, body(pa.table({"big": array}))).feeds["big"]
        np.testing.assert_array_equal(found, [1, 2, np.nan])


def test_dates_of_every_unit_and_zone() -> None:
    moment = dt.datetime(2020, 3, 1, 12, tzinfo=dt.UTC)
    for unit in ("s", "ms", "us", "ns"):
        zoned = pa.array([moment, None], pa.timestamp(unit, "Europe/Berlin"))
        table = pa.table({"big": [1, 2], "start": zoned})
        for kind, body in ((ARROW_STREAM, stream(table)), (PARQUET, parquet(table))):
            assert read(kind, body).feeds["start"].tolist() == [1583064000000000, -(2**63)]
    day = pa.table({"big": [1], "start": pa.array([dt.date(2020, 3, 1)])})
    assert read(ARROW_STREAM, stream(day)).feeds["start"].tolist() == [1583020800000000]


def test_numbers_of_a_csv_are_written_as_in_training() -> None:
    a, b = Column("a", "number", format="1.234,5"), Column("b", "category", nullable=True)
    found = read(CSV, b"a;b\n1.200,5;\nn/a;\n;\n-3;x", Schema((a, b), Target("y", "regression")))
    np.testing.assert_array_equal(found.feeds["a"], [1200.5, np.nan, np.nan, -3])


@pytest.mark.parametrize(
    ("kind", "body", "status", "said"),
    [
        (CSV, b"", 400, "no rows"),
        (CSV, b"big\n", 400, "no rows"),
        (CSV, b"big\n1\n\n1_000\n", 422, "line 4, column 'big': wanted a number, found '1_000'"),
        (CSV, b'big,colour\n1,"a\nb"\nx,red', 422, "line 4, column 'big': wanted a number"),
        (CSV, b"colour\nred\n", 422, "column 'big' is missing"),
        (CSV, b"big,colur\n1,red\n", 422, "did you mean 'colour'?"),
        (CSV, b"big,big\n1,2\n", 400, "more than once: 'big'"),
        (CSV, b"big,colour\n1\n2,red\n3,4,5", 400, "line 2: 1 cells, but the header has 2"),
        (CSV, b'big\n"1"x\n', 400, "is not CSV"),
        (CSV, b"big\n\xff\n", 400, "not text in utf-8"),
        (CSV, b"big\n" + b"1\n" * 1001, 413, "1,000 rows"),
        (CSV + "; charset=rot13", b"big\n1", 415, "rot13"),
        (CSV + "; header=absent", b"1", 400, "header row"),
        ("text/plain", b"", 415, "text/plain"),
        (ARROW_STREAM, b"", 400, ""),
        (ARROW_STREAM, b"not arrow at all", 400, "not an Arrow IPC stream"),
        (ARROW_STREAM, stream(TABLE)[:-60], 400, "cut"),
        (ARROW_FILE, stream(TABLE), 400, "ARROW1"),
        (ARROW_STREAM, file(TABLE), 400, "ARROW1"),
        (ARROW_FILE, file(TABLE)[:-30], 400, "footer"),
        (ARROW_FILE, b"ARROW1", 400, "no footer"),
        (ARROW_STREAM, stream(pa.table({"big": range(1001)})), 413, "1,001 rows"),
        (ARROW_STREAM, stream(TABLE[:0]), 400, "no rows"),
        (ARROW_STREAM, stream(pa.table({"big": ["x"]})), 422, "row 0, column 'big'"),
        (ARROW_STREAM, stream(pa.table({"big": [{"a": 1}]})), 422, "column 'big': values of type"),
        (ARROW_STREAM, stream(pa.table({"big": [b"x"]})), 422, "column 'big': values of type"),
        (ARROW_STREAM, stream(pa.table([[1], [2]], ["big", "big"])), 400, "more than once"),
        (PARQUET, b"PAR1" * 10, 400, "cannot be read"),
        (PARQUET, parquet(TABLE)[:-20], 400, "cannot be read"),
        (PARQUET, parquet(pa.table({"big": range(1001)})), 413, "1,001 rows"),
        (PARQUET, parquet(pa.table({"x": [1]})), 422, "none of the model's columns"),
        (PARQUET, parquet(pa.table({"big": [1], "x": [1]})), 422, "unknown column 'x'"),
    ],
)  # fmt: skip
def test_what_is_refused(kind: str, body: bytes, status: int, said: str) -> None:
    error = refusal(kind, body)
    assert error.status == status, error.message
    assert said in " ".join([error.message, *error.problems])


def test_unknown_columns_may_be_counted() -> None:
    for kind, body in (
        (CSV, b"big,odd\n1,2\n"),
        (ARROW_STREAM, stream(pa.table({"big": [1], "odd": [1]}))),
        (PARQUET, parquet(pa.table({"big": [1], "odd": [1]}))),
    ):
        seen: dict[str, int] = {}
        assert read(kind, body, unknown=seen).rows == 1 and seen == {"odd": 1}


def bombs() -> dict[str, tuple[str, bytes]]:
    """Small bodies that would take a gigabyte or more."""
    zeros = pa.table({"big": np.zeros(2**25)})
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), ["x" * 2**21])
    text = pa.table({"big": np.ones(1000), "colour": long})
    nothing = pa.table({"big": pa.nulls(2**28)})
    inner = pa.ListArray.from_arrays([0, 2**30], pa.nulls(2**30))
    view = np.array([2**21, 0x78787878, 0, 0] * 1000, np.int32)
    views = pa.Array.from_buffers(
        pa.string_view(), 1000, [None, pa.py_buffer(view), pa.py_buffer(b"x" * 2**21)]
    )
    return {
        "zstd": (ARROW_STREAM, stream(zeros, compression="zstd")),
        "nulls": (ARROW_STREAM, stream(nothing)),
        "nulls in a list": (ARROW_STREAM, stream(pa.table({"big": [1], "tags": inner}))),
        "views": (ARROW_STREAM, stream(pa.table({"big": np.ones(1000), "colour": views}))),
        "many rows": (PARQUET, parquet(zeros)),
        "one row of many": (PARQUET, parquet(pa.table({"big": [1], "tags": pa.ListArray.from_arrays(
            [0, 2**24], pa.array(np.zeros(2**24, np.int8)))}))),
        "dictionary": (PARQUET, parquet(text)),
        "coded stream": (ARROW_STREAM, stream(text)),
    }  # fmt: skip


def run_bombs() -> None:
    """In a process of its own: what each takes, beside what it is."""
    made = bombs()
    for name, (kind, body) in made.items():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            said = str(read(kind, body, most_decoded=2**26).rows)
        except ProtocolError as error:
            said = str(error.status)
        more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(name, said, more // 1024, sep=",")


def test_small_bodies_that_are_large_inside_take_no_memory() -> None:
    code = "from serve.test_bodies import run_bombs; run_bombs()"
    tests = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tests
    )
    assert done.returncode == 0, done.stderr
    found = [line.split(",") for line in done.stdout.splitlines()]
    assert {name: said for name, said, _ in found} == {
        "zstd": "413", "nulls": "413", "nulls in a list": "413", "views": "413",
        "many rows": "413", "one row of many": "413", "dictionary": "1000", "coded stream": "1000",
    }  # fmt: skip
    assert all(int(more) < 100 for _, _, more in found), found


@pytest.mark.parametrize("name", ["stream", "zstd", "file, codes", "parquet", "parquet, zstd, v2"])
def test_damaged_bodies_are_read_or_refused(name: str) -> None:
    kind, body = BODIES[name]
    chance = random.Random(name)
    for _ in range(300):
        damaged = bytearray(body)
        for _ in range(chance.choice((1, 1, 4, 40))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        if chance.random() < 0.2:
            del damaged[chance.randrange(len(damaged)) :]
        try:
            read(kind, bytes(damaged))
        except ProtocolError as error:
            assert error.status in (400, 413, 422)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_coded_moments_are_those_of_plain_ones(unit: str) -> None:
    plain = TABLE.set_column(4, "start", TABLE.column("start").cast(pa.timestamp(unit)))
    coded = plain.set_column(4, "start", plain.column("start").combine_chunks().dictionary_encode())
    found = read(ARROW_STREAM, stream(coded)).feeds["start"].tolist()
    assert found == read(ARROW_STREAM, stream(plain)).feeds["start"].tolist()


def test_a_moment_that_is_too_far_away_is_no_other_day() -> None:
    far = pa.array([0, None, 2**62], pa.timestamp("s"))
    error = refusal(ARROW_STREAM, stream(TABLE.set_column(4, "start", far)))
    assert error.status == 422
    assert [p.split(":")[0] for p in error.problems] == ["row 2, column 'start'"]
