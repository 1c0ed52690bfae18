"""Typed tables: Parquet, Arrow, JSON Lines, workbooks, and the rows of a database."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import polars as pl
import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from modelwright.core.errors import DataError, MissingExtra
from modelwright.data.streams import blocks, filled, temporary, without_password

try:
    import fastexcel
except ImportError:
    fastexcel = None

ROWS = 50_000
_DATABASES = re.compile(
    r"^(postgres|postgresql|mysql|mariadb|sqlite|oracle|mssql|duckdb|snowflake|bigquery|redshift|"
    r"clickhouse|trino|databricks)(\+\w+)?://"
)


def is_database(source: str) -> bool:
    """Whether a source is a database URL of SQLAlchemy.

    Example:
        >>> is_database("postgresql+psycopg://db/shop"), is_database("https://db/shop.csv")
        (True, False)
    """
    return bool(_DATABASES.match(source))


def scanned(path: Path, kind: str) -> pl.LazyFrame:
    """A lazy view of a Parquet, Arrow or JSON Lines file.

    Raises:
        DataError: it is not of that format.
    """
    scans: dict[str, Callable[[Path], pl.LazyFrame]] = {
        "parquet": pl.scan_parquet, "arrow": pl.scan_ipc, "jsonl": _json_lines,
    }  # fmt: skip
    try:
        lazy = scans[kind](path)
        names = lazy.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        name = {"parquet": "Parquet", "arrow": "Arrow", "jsonl": "JSON Lines"}[kind]
        where = _bad_line(path) if kind == "jsonl" else ""
        raise DataError(
            f"{path.name} is not a readable {name} file: {where or first_line(error)}.",
            hint="Was it cut short, or is it another format under this ending?",
        ) from error
    if not names:
        raise DataError(f"{path.name} has no columns.")
    return lazy


def _json_lines(path: Path) -> pl.LazyFrame:
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    if start.startswith(b"["):
        return pl.read_json(path, infer_schema_length=None).lazy()
    return pl.scan_ndjson(path, infer_schema_length=None)


def _bad_line(path: Path) -> str:
    """The first line that is no JSON object, or an empty string."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                if line.strip():
                    msgspec.json.decode(line, type=dict)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                return f"line {number}: {error}"
    return ""


def lazy_batches(lazy: pl.LazyFrame, name: str) -> Iterator[pl.DataFrame]:
    """A lazy frame's rows in file order, some ten thousands at a time."""
    try:
        for frame in lazy.collect_batches(chunk_size=ROWS, maintain_order=True):
            if frame.height:
                yield frame
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{name} cannot be read to its end: {first_line(error)}.", hint="Is it damaged?"
        ) from error


def decompressed(path: Path, member: str | None) -> Path:
    """A compressed file's content as a temporary file of its own.

    Raises:
        DataError: it is damaged.
    """
    unpacked = temporary()
    with unpacked.open("wb") as file:
        for block in blocks(path, member):
            file.write(block)
    return unpacked


def workbook_text(path: Path, sheet: str | None) -> Path:
    """A sheet as a temporary CSV file of its cells' texts, for the reader of text tables.

    Raises:
        MissingExtra: fastexcel is not installed.
        DataError: no workbook, or no such sheet.
    """
    if fastexcel is None:
        raise MissingExtra("fastexcel", "excel")
    try:
        book = fastexcel.read_excel(path)
        names = book.sheet_names
        if sheet is not None and sheet not in names:
            raise DataError(f"{path.name} has no sheet {sheet!r}.", hint=f"Sheets: {names}.")
        loaded = book.load_sheet(sheet or names[0], header_row=None, dtypes="string")
        frame: pl.DataFrame = loaded.to_polars()
    except (fastexcel.FastExcelError, OSError) as error:
        raise DataError(f"{path.name} is not a readable workbook: {first_line(error)}.") from error
    if frame.width == 0 or frame.height == 0:
        raise DataError(f"{path.name}, sheet {sheet or names[0]!r}, is empty.")
    text = temporary(".csv")
    frame.write_csv(text, include_header=False)
    return text


def query_batches(url: str, query: str | None) -> Iterator[pl.DataFrame]:
    """The rows of a query, streamed; `${NAME}` in the URL is an environment variable.

    Raises:
        DataError: no query, a variable that is not set, or what the database answers.
        MissingExtra: the driver that the URL names is not installed.
    """
    if not query:
        raise DataError(
            f"{without_password(url)} needs a query.", hint="Set data.read.query to a SELECT."
        )
    shown = without_password(url)
    try:
        engine = sqlalchemy.create_engine(filled(url))
        with engine.connect() as connection:
            options = connection.execution_options(stream_results=True, yield_per=ROWS)
            result = options.execute(sqlalchemy.text(query))
            names = list(result.keys())
            for rows in result.partitions(ROWS):
                yield pl.DataFrame(
                    [tuple(row) for row in rows], schema=names, orient="row",
                    infer_schema_length=None,
                )  # fmt: skip
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "sql") from error
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise DataError(
            f"{shown} refused: {first_line(cause)}.", hint="Mend data.read.query or the address."
        ) from error
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise DataError(f"{shown}: the rows are no table: {first_line(error)}.") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's text, short enough to read."""
    lines = str(error).strip().splitlines()
    return (lines[0][:200] if lines else type(error).__name__).rstrip(".")
