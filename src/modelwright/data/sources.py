"""Reading tables: CSV (also compressed) and Parquet, or your own object with a `read`."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from modelwright.core.errors import DataError, UsageError
from modelwright.core.extend import resolve
from modelwright.core.records import Finding

DELIMITERS = ",;\t|"
CSV_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
PARQUET_ENDINGS = (".parquet", ".pq")


@dataclass(frozen=True)
class Read:
    """A table as it came from the file.

    Attributes:
        frame: the rows in file order, under the caller's column names.
        findings: what had to be decided on the way in (delimiter, encoding).
    """

    frame: pl.DataFrame
    findings: tuple[Finding, ...] = ()


_OBJECT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def read_source(source: str, folder: Path, *, text_columns: Sequence[str] = ()) -> Read:
    """Read what `data.source` names: a file, or `package.module:Name` with a `read()`.

    Raises:
        DataError: the file is absent, empty, or not of a known format.
    """
    if _OBJECT.fullmatch(source) and not (folder / source).exists():
        reader: Any = resolve(source, {}, kind="source")
        source_object = reader() if isinstance(reader, type) else reader
        if not hasattr(source_object, "read"):
            raise UsageError(f"data.source {source} has no read().", hint="It must return a table.")
        frame = source_object.read()
        return Read(frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame))
    return read_file(folder / source, text_columns=text_columns)


def read_file(path: Path, *, as_text: bool = False, text_columns: Sequence[str] = ()) -> Read:
    """Read a table file by its ending.

    Args:
        path: a CSV (also .gz) or Parquet file.
        as_text: leave every CSV column as text, for rows that a Schema will check.
        text_columns: CSV columns to leave as text: 01234 stays 01234.

    Raises:
        DataError: the file is absent, empty, broken, or of an unknown ending.
    """
    name = path.name.lower()
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*") if _is_table(p.name.lower()))
        hint = f"Tables there: {', '.join(near[:8])}." if near else "Check the path."
        raise DataError(f"No file {path}.", hint=hint)
    if name.endswith(PARQUET_ENDINGS):
        read = Read(_parquet(path))
    elif name.endswith(CSV_ENDINGS):
        read = _csv(path, as_text, text_columns)
    else:
        known = ", ".join((*CSV_ENDINGS, *PARQUET_ENDINGS))
        raise DataError(f"{path.name} has no ending that is known.", hint=f"Known: {known}.")
    if read.frame.height == 0 or read.frame.width == 0:
        raise DataError(f"{path.name} has no rows.", hint="Wanted a header line and data below it.")
    return _named(read, path)


def _named(read: Read, path: Path) -> Read:
    """Leave out a column without a name (pandas writes its index so); refuse a name given twice."""
    frame = read.frame
    for name in frame.columns:
        first = re.sub(r"_duplicated_\d+$", "", name)
        if first != name and first in frame.columns:
            raise DataError(
                f"{path.name} has two columns named {first!r}.", hint="Give each its own name."
            )
    blank = [name for name in frame.columns if not name.strip()]
    if not blank:
        return read
    note = _note("column without a name", path.name, "left out")
    return Read(frame.drop(blank), (*read.findings, note))


def write_file(frame: pl.DataFrame, path: Path) -> None:
    """Write a table by its ending, whole or not at all.

    Raises:
        UsageError: an ending other than .csv and .parquet, or a folder that cannot be written.
    """
    name = path.name.lower()
    writers: dict[str, Callable[[Path], object]] = {
        ".csv": frame.write_csv,
        ".parquet": frame.write_parquet,
    }
    if path.suffix.lower() not in writers:
        raise UsageError(f"Cannot write {name}:", hint="the ending must be .csv or .parquet.")
    part = path.with_name(f".{path.name}.part")
    try:
        writers[path.suffix.lower()](part)
        part.replace(path)
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)


def _is_table(name: str) -> bool:
    return name.endswith((*CSV_ENDINGS, *PARQUET_ENDINGS))


def _parquet(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{path.name} is not a readable Parquet file: {_first_line(error)}.",
            hint="Was it cut short, or is it another format under this ending?",
        ) from error


def _csv(path: Path, as_text: bool, text_columns: Sequence[str]) -> Read:
    data, findings = _decoded(path)
    if not data.strip():
        raise DataError(f"{path.name} is empty.", hint="Wanted a header line and data below it.")
    delimiter = _delimiter(data[: 1 << 16].decode("utf-8", "replace"))
    if delimiter != ",":
        findings.append(_note("delimiter", path.name, repr(delimiter)))
    try:
        frame = pl.read_csv(
            io.BytesIO(data),
            separator=delimiter,
            infer_schema=not as_text,
            schema_overrides=dict.fromkeys(text_columns, pl.String),
            infer_schema_length=None,
            try_parse_dates=False,
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{path.name} is not a readable CSV file: {_first_line(error)}.",
            hint="Look for a line with too many fields or an open quote.",
        ) from error
    return Read(frame, tuple(findings))


def _decoded(path: Path) -> tuple[bytes, list[Finding]]:
    """The file's text as UTF-8 bytes without a byte-order mark."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path.name} is not a whole gzip file: {error}.") from error
    if data[:4] == b"PAR1":
        raise DataError(f"{path.name} is Parquet, not CSV.", hint="Rename it to .parquet.")
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\x00" in data[:4096]:
        raise DataError(
            f"{path.name} is not text: it holds zero bytes.", hint="Save it as CSV in UTF-8."
        )
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        text = data.decode("cp1252", "replace")
        note = _note("encoding", path.name, f"cp1252 (line {line} is not UTF-8)")
        return text.encode("utf-8"), [note]
    return data, []


def _delimiter(sample: str) -> str:
    """The separator that cuts the first lines into the most fields of equal number."""
    lines = sample.splitlines()[:50]
    lines = lines[:-1] if len(lines) > 2 else lines  # the last one may be cut off
    best, most = ",", 1
    for delimiter in DELIMITERS:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        width = widths[0] if widths else 1
        if width > most and sum(w == width for w in widths) >= 0.9 * len(widths):
            best, most = delimiter, width
    return best


def _note(check: str, subject: str, measured: str) -> Finding:
    return Finding(check, subject, "pass", measured, why="detected in the file", severity="info")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
