"""Reading a journal: which files there are for a model and a time, and what is in them.

pyarrow is needed here (extra `journal`). Half-written files have other names and are never seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelwright.core.errors import MissingExtra
from modelwright.serve.journal_store import File, Place, folder_name, place_of


@dataclass(frozen=True)
class Segment:
    """One file, read.

    Attributes:
        file: its name, span and size.
        digest: sha256 of the manifest of the model that answered.
        table: a `pyarrow.Table`, an answered row each.
    """

    file: File
    model: str
    version: str
    digest: str
    table: Any


def files(
    to: str | Path,
    model: str = "",
    version: str = "",
    begin: float = float("-inf"),
    end: float = float("inf"),
) -> list[File]:
    """Files that may hold answers of a time, the earliest first; none of them is opened.

    Args:
        to: the journal's folder or URL.
        model, version: empty for all.
        begin, end: Unix times, the end not included.

    Raises:
        OSError: the place cannot be read. A folder that is not there yet has no files.

    Example:
        >>> files("/nowhere")
        []
    """
    under = folder_name(model) if model else ""
    if model and version:
        under += f"/{folder_name(version)}"
    found = [
        file for file in place_of(str(to)).files(under) if file.end >= begin and file.begin < end
    ]
    return sorted(found, key=lambda file: (file.begin, file.name))


def segments(
    to: str | Path,
    model: str = "",
    version: str = "",
    begin: float = float("-inf"),
    end: float = float("inf"),
    columns: list[str] | None = None,
) -> Iterator[Segment]:
    """Read files one by one, so that memory is that of one; see `files`.

    A file that retention removes meanwhile is passed over.

    Args:
        columns: names of those to read; None for all.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    place = place_of(str(to))
    for file in files(to, model, version, begin, end):
        try:
            found = segment(place, file, columns)
        except FileNotFoundError:
            continue
        if not model or found.model == model:
            yield found


def segment(place: Place, file: File, columns: list[str] | None = None) -> Segment:
    """Read one file, with all of its rows.

    Raises:
        MissingExtra: pyarrow is not installed.
        OSError: it is gone, or cannot be read.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("pyarrow, which reads the journal,", "journal") from error
    read = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(place.get(file.name)))
    known = set(read.schema_arrow.names)
    wanted = None if columns is None else [name for name in columns if name in known]
    about = json.loads((read.schema_arrow.metadata or {})[b"modelwright"])
    table = read.read(columns=wanted)
    return Segment(file, about["model"], about["version"], about["digest"], table)


def rows(
    to: str | Path,
    model: str = "",
    version: str = "",
    begin: float = float("-inf"),
    end: float = float("inf"),
    columns: list[str] | None = None,
) -> Any:
    """Answers of a time as one `pyarrow.Table`; `polars.from_arrow` makes a frame of it.

    Columns that only some versions have are null for the others.

    Args:
        to, model, version, begin, end, columns: as in `segments`.

    Returns:
        A table in the order of files; None where there is nothing.
    """
    try:
        import pyarrow
        import pyarrow.compute
    except ImportError as error:
        raise MissingExtra("pyarrow, which reads the journal,", "journal") from error
    wanted = None if columns is None else list(dict.fromkeys([*columns, "time"]))
    tables = [one.table for one in segments(to, model, version, begin, end, wanted)]
    if not tables:
        return None
    alike = [plain(pyarrow, table) for table in tables]
    found = pyarrow.concat_tables(alike, promote_options="default")
    times = found["time"].cast("int64")
    if begin > float("-inf"):
        found = found.filter(pyarrow.compute.greater_equal(times, int(begin * 1e6)))
        times = found["time"].cast("int64")
    if end < float("inf"):
        found = found.filter(pyarrow.compute.less(times, int(end * 1e6)))
    return found if columns is None else found.select(
        [name for name in columns if name in found.column_names]
    )  # fmt: skip


def plain(pyarrow: Any, table: Any) -> Any:
    """Texts without their dictionaries, which differ from file to file."""
    for place, field in enumerate(table.schema):
        if pyarrow.types.is_dictionary(field.type):
            values = table.column(place).cast(field.type.value_type)
            table = table.set_column(place, field.name, values)
    return table.replace_schema_metadata(None)
