"""What `data.source` names, opened: a table of text or typed columns, whole or in batches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from modelwright.core.errors import DataError, UsageError
from modelwright.core.extend import resolve
from modelwright.core.records import Finding
from modelwright.core.spec_data import ReadSpec
from modelwright.data import formats
from modelwright.data.delimited import DelimitedFile
from modelwright.data.memory import free_memory
from modelwright.data.streams import (
    COMPRESSED,
    bare_name,
    fetched,
    is_remote,
    member_name,
    without_password,
)

TEXT = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data", ".psv")
FORMATS = {
    ".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow",
    ".ipc": "arrow", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".xlsx": "workbook", ".xlsm": "workbook", ".xlsb": "workbook", ".xls": "workbook",
    ".ods": "workbook",
}  # fmt: skip
_OBJECT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_GLOB = re.compile(r"[*?\[]")
_FEWEST_TO_COUNT = 5


@dataclass
class Source:
    """A table that was opened but not read yet.

    Attributes:
        name: for messages.
        size: bytes of its rows where that is cheap to know, else None.
        detected: how it is written, as `data.read` would pin it.
        read_batches: makes a new iterator over its rows.
        read_findings: what reading showed; complete after an iterator has ended.
    """

    name: str
    size: int | None
    detected: dict[str, object]
    read_batches: Callable[[], Iterator[pl.DataFrame]]
    read_findings: Callable[[], tuple[Finding, ...]]
    _named: dict[str, str] | None = None
    _notes: tuple[Finding, ...] = ()

    def batches(self) -> Iterator[pl.DataFrame]:
        """The rows in order, under the final names.

        Raises:
            DataError: broken in the middle, or without a row.
        """
        rows = 0
        for frame in self.read_batches():
            if self._named is None:
                self._name(frame)
            named = self._named or {}
            rows += frame.height
            yield frame.select(pl.col(old).alias(new) for old, new in named.items())
        if rows == 0 or not self._named:
            raise DataError(
                f"{self.name} has no rows.", hint="Wanted a header line and data below it."
            )

    def frame(self) -> pl.DataFrame:
        """All rows at once.

        Raises:
            DataError: they do not fit into memory.
        """
        parts, held = [], 0.0
        for part in self.batches():
            parts.append(part)
            held += part.estimated_size()
            if held > free_memory():
                raise DataError(
                    f"{self.name} does not fit into memory: {held / 1e9:.1f} GB were read so far.",
                    hint="Use a larger machine, fewer columns or a sample; "
                    "modelwright check reads files of any size.",
                )
        return pl.concat(parts, how="vertical_relaxed") if len(parts) > 1 else parts[0]

    def findings(self) -> tuple[Finding, ...]:
        """What had to be decided on the way in."""
        return (*self.read_findings(), *self._notes)

    def _name(self, frame: pl.DataFrame) -> None:
        """Final names; columns without a name are left out when they only count the rows."""
        named: dict[str, str] = {}
        notes = []
        for place, name in enumerate(frame.columns):
            if name.strip():
                named[name] = name
                continue
            held = frame[name]
            if held.null_count() == held.len() or _is_blank(held):
                continue
            if _counts(held):
                notes.append(_note("column without a name", self.name, "left out: it counts rows"))
                continue
            own = f"column_{place + 1}"
            while own in frame.columns or own in named.values():
                own += "_"
            named[name] = own
            notes.append(_note("column without a name", self.name, f"called {named[name]}"))
        self._named, self._notes = named, tuple(notes)


def open_source(
    source: str, folder: Path, read: ReadSpec | None = None, *, strict: bool = False
) -> Source:
    """Open what `data.source` names.

    Args:
        source: a path, folder, glob, URL, database URL, or `package.module:Name` with `read()`.
        folder: what relative paths start from.
        read: what is known about how it is written.
        strict: leave out no row of a text file; refuse it instead.

    Raises:
        DataError: it is absent, empty, damaged, or of no known format.
        MissingExtra: a package for it is not installed.
    """
    known = read or ReadSpec()
    if _OBJECT.fullmatch(source) and not (folder / source).exists():
        return _from_object(source)
    if formats.is_database(source):
        name = without_password(source)
        return Source(name, None, {}, lambda: formats.query_batches(source, known.query), tuple)
    if is_remote(source):
        return open_file(fetched(source), known, strict=strict)
    path = folder / source
    if path.is_dir() or (_GLOB.search(source) and not path.exists()):
        return _from_many(source, path, folder, known, strict=strict)
    return open_file(path, known, strict=strict)


def open_file(path: Path, read: ReadSpec | None = None, *, strict: bool = False) -> Source:
    """Open one table file by its ending.

    Raises:
        DataError: absent, empty, damaged, or of an unknown ending.
    """
    known = read or ReadSpec()
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*") if is_table(p.name))
        hint = f"Tables there: {', '.join(near[:8])}." if near else "Check the path."
        raise DataError(f"No file {path}.", hint=hint)
    bare = bare_name(path)
    if path.suffix.lower() == ".zip":
        bare = member_name(path, known.member).lower()
    kind = FORMATS.get(Path(bare).suffix)
    if kind is None:
        if not (Path(bare).suffix in TEXT or path.name.lower().endswith(COMPRESSED)):
            endings = ", ".join((*TEXT, *FORMATS))
            raise DataError(f"{path.name} has no ending that is known.", hint=f"Known: {endings}.")
        return _from_text(DelimitedFile(path, known, strict=strict), path.name)
    if path.name.lower() != bare:
        unpacked = formats.decompressed(path, known.member)
    else:
        unpacked = path
    if kind == "workbook":
        text = DelimitedFile(formats.workbook_text(unpacked, known.sheet), known, strict=strict)
        return replace(_from_text(text, path.name), detected={})
    lazy = formats.scanned(unpacked, kind)
    size = unpacked.stat().st_size * (4 if kind != "jsonl" else 1)
    return Source(path.name, size, {}, lambda: formats.lazy_batches(lazy, path.name), tuple)


def files_of(source: str, folder: Path) -> list[Path] | None:
    """The files that a source is read from now; None for what may change unseen: URLs, databases,
    objects.

    Args:
        source, folder: as for `open_source`.
    """
    is_object = _OBJECT.fullmatch(source) and not (folder / source).exists()
    if is_object or formats.is_database(source) or is_remote(source):
        return None
    path = folder / source
    if path.is_dir() or (_GLOB.search(source) and not path.exists()):
        return _listed(source, path, folder)
    return [path]


def is_table(name: str) -> bool:
    """Whether a file name ends like a table."""
    bare = bare_name(Path(name))
    return Path(bare).suffix in (*TEXT, *FORMATS)


def _from_text(file: DelimitedFile, name: str) -> Source:
    names = _unique(file.dialect.names)

    def batches() -> Iterator[pl.DataFrame]:
        for frame in file.batches():
            yield frame.rename(dict(zip(frame.columns, names, strict=True)))

    return Source(name, file.size, file.detected, batches, file.findings)


def _unique(names: Sequence[str]) -> list[str]:
    """Blank names as different runs of blanks, so that a frame can hold them until `_name`."""
    count, found = 0, []
    for name in names:
        count += not name
        found.append(name or " " * count)
    return found


def _from_object(source: str) -> Source:
    reader: Any = resolve(source, {}, kind="source")
    held = reader() if isinstance(reader, type) else reader
    if not hasattr(held, "read"):
        raise UsageError(f"data.source {source} has no read().", hint="It must return a table.")

    def batches() -> Iterator[pl.DataFrame]:
        frame = held.read()
        yield frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame)

    return Source(source, None, {}, batches, tuple)


def _from_many(source: str, path: Path, folder: Path, read: ReadSpec, *, strict: bool) -> Source:
    """The files of a folder or glob, one after the other by name; all must have equal columns."""
    files = _listed(source, path, folder)
    if not files:
        raise DataError(f"No table matches {source}.", hint="Check the folder or pattern.")
    parts = [open_file(file, read, strict=strict) for file in files]

    def batches() -> Iterator[pl.DataFrame]:
        wanted: list[str] | None = None
        for part in parts:
            for frame in part.batches():
                wanted = wanted or frame.columns
                if set(frame.columns) != set(wanted):
                    odd = sorted(set(frame.columns) ^ set(wanted))
                    raise DataError(
                        f"{part.name} has other columns than {parts[0].name}: "
                        f"{', '.join(odd[:5])}.",
                        hint="Files read together must have the same columns.",
                    )
                yield frame.select(wanted)

    def findings() -> tuple[Finding, ...]:
        notes = [note for part in parts for note in part.findings()]
        return (_note("files", source, f"{len(parts)} read as one table"), *notes)

    known = [part.size for part in parts]
    size = sum(s for s in known if s is not None)
    return Source(source, size, parts[0].detected, batches, findings)


def _listed(source: str, path: Path, folder: Path) -> list[Path]:
    """The tables of a folder or glob, by name."""
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if is_table(p.name) and p.is_file())
        return [p for p in files if not p.name.startswith((".", "~$"))]
    anchor = Path(source).anchor
    base = Path(anchor) if anchor else folder
    pattern = str(Path(source).relative_to(anchor)) if anchor else source
    return sorted(p for p in base.glob(pattern) if is_table(p.name) and p.is_file())


def _is_blank(series: pl.Series) -> bool:
    return series.dtype == pl.String and not series.str.contains(r"[^\s,;|]").any()


def _counts(series: pl.Series) -> bool:
    """Whether a column counts rows: 0, 1, 2, ... or 1, 2, 3, ..."""
    numbers = series.cast(pl.Int64, strict=False)
    if numbers.null_count() or numbers.len() < _FEWEST_TO_COUNT:
        return bool(numbers.null_count() == 0)
    return bool((numbers.diff().drop_nulls() == 1).all()) and numbers[0] >= 0


def _note(check: str, subject: str, measured: str) -> Finding:
    return Finding(check, subject, "pass", measured, why="detected in the file", severity="info")
