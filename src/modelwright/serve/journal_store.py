"""Where the files of a journal are: a folder, or a URL that fsspec writes; and how they grow old.

A file is whole or not there: it is written under a name that nobody reads, then renamed. Object
stores show an object only when it is whole, so there it is written at once.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from modelwright.core.errors import MissingExtra, UsageError
from modelwright.core.redaction import redacted_text
from modelwright.core.store import sync_folder

PART = ".part"
PROBE = ".probe-"
"""Before the name of what is written only to see whether one can."""
STALE_SECONDS = 3600.0
"""A half-written file this old has nobody who writes it."""
_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "memory"})
"""Kinds of storage in which an object appears only when it is whole."""
_NAME = re.compile(r"(?:^|/)(\d{13})-(\d{13})-[0-9a-f]{12}-\d+\.parquet$")
_PART_NAME = re.compile(
    r"(?:^|/)\.(\d{13}-\d{13}-[0-9a-f]{12}-\d+(\.labels|\.unanswered)?\.parquet\.part"
    r"|probe-[0-9a-f]{12})$"
)


@dataclass(frozen=True)
class File:
    """A whole file of a journal.

    Attributes:
        name: below the journal, with slashes: `<model>/<version>/<day>/<begin>-<end>-....parquet`.
        begin, end: of its answers, Unix time in seconds.
        size: bytes.
    """

    name: str
    begin: float
    end: float
    size: int


class Place(Protocol):
    """Where files are kept; every method raises OSError where it cannot."""

    def probe(self, token: str) -> None:
        """Write something and remove it, to see that files can be kept here.

        Args:
            token: hex digits that no other process has.
        """

    def put(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""

    def get(self, name: str) -> bytes:
        """A file's bytes."""

    def files(self, under: str = "") -> Iterator[File]:
        """Every whole file of answers, those of one folder where it is named."""

    def names(self, under: str) -> Iterator[tuple[str, int]]:
        """(name, bytes) of everything in a folder and below; nothing where there is no folder."""

    def remove(self, name: str) -> None:
        """Remove a file; it may be gone already."""

    def tidy(self, now: float) -> None:
        """Remove what a killed process left half-written."""


def place_of(to: str) -> Place:
    """The folder or URL of `serve.journal.to`.

    Raises:
        MissingExtra: fsspec, or what it needs for that URL, is not installed.
        UsageError: there is no such kind of URL.
    """
    scheme, slashes, rest = to.partition("://")
    if not slashes:
        return Folder(Path(to))
    if scheme == "file":
        return Folder(Path(rest))
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtra("fsspec", "remote") from error
    try:
        system, root = fsspec.core.url_to_fs(to)
    except ImportError as error:
        raise MissingExtra(f"What fsspec needs for {scheme}://", "remote") from error
    except ValueError as error:
        raise UsageError(
            f"The journal cannot be kept at {redacted_text(to)}: fsspec knows no {scheme}://.",
            hint="Name a folder, or a URL of one of fsspec's kinds, such as s3://bucket/journal, "
            "with --journal or serve.journal.to.",
        ) from error
    return Remote(system, str(root), whole=scheme in _WHOLE)


def folder_name(text: str) -> str:
    """A model's name or version as the name of a folder.

    Example:
        >>> folder_name("shop"), folder_name("../x")
        ('shop', '%2E.%2Fx')
    """
    found = quote(text, safe="")
    return f"%2E{found[1:]}" if found.startswith(".") else found or "%"


def file_name(model: str, version: str, begin: float, end: float, token: str, number: int) -> str:
    """The name of a new file; `token` (12 hex digits) is of its process, `number` counts."""
    day = time.strftime("%Y-%m-%d", time.gmtime(begin))
    name = f"{int(begin * 1e3):013d}-{math.ceil(end * 1e3):013d}-{token}-{number}.parquet"
    return f"{folder_name(model)}/{folder_name(version)}/{day}/{name}"


def file_of(name: str, size: int) -> File | None:
    """What a name tells; None for what is no whole file of a journal.

    Example:
        >>> file_of("shop/3/2026-11-26/1795000000000-1795000060000-0123456789ab-0.parquet", 9).end
        1795000060.0
        >>> file_of("shop/3/2026-11-26/notes.parquet", 9)
    """
    found = _NAME.search(name)
    if found is None:
        return None
    return File(name, int(found[1]) / 1e3, int(found[2]) / 1e3, size)


class Folder:
    """A folder on this machine, `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def probe(self, token: str) -> None:
        """See `Place`."""
        self.root.mkdir(parents=True, exist_ok=True)
        part = self.root / f"{PROBE}{token}"
        try:
            part.write_bytes(b"modelwright")
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def put(self, name: str, data: bytes) -> None:
        """Write and sync it under a temporary name, then rename; it survives a power cut too."""
        path = self.root / name
        part = path.with_name(f".{path.name}{PART}")
        new = [one for one in (path.parent, *path.parent.parents) if not one.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            for folder in (path.parent, *(one.parent for one in new)):
                sync_folder(folder)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise

    def get(self, name: str) -> bytes:
        """See `Place`."""
        return (self.root / name).read_bytes()

    def files(self, under: str = "") -> Iterator[File]:
        """See `Place`."""
        for name, size in self.names(under):
            found = file_of(name, size)
            if found is not None:
                yield found

    def names(self, under: str) -> Iterator[tuple[str, int]]:
        """See `Place`."""
        for path, name in self._all(under):
            with contextlib.suppress(FileNotFoundError):
                yield name, path.stat().st_size

    def remove(self, name: str) -> None:
        """See `Place`."""
        path = self.root / name
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty, or somebody writes there now
            path.parent.rmdir()

    def tidy(self, now: float) -> None:
        """See `Place`."""
        for path, name in self._all(""):
            with contextlib.suppress(OSError):
                if _PART_NAME.search(name) and path.stat().st_mtime < now - STALE_SECONDS:
                    path.unlink()

    def _all(self, under: str) -> Iterator[tuple[Path, str]]:
        for folder, _, names in os.walk(self.root / under):
            for name in sorted(names):
                path = Path(folder, name)
                yield path, path.relative_to(self.root).as_posix()


class Remote:
    """What fsspec writes."""

    def __init__(self, system: Any, root: str, *, whole: bool) -> None:
        self._system, self._root, self._whole = system, root.rstrip("/"), whole

    def probe(self, token: str) -> None:
        """See `Place`."""
        name = f"{PROBE}{token}"
        with _as_os_error():
            if not self._whole:
                self._system.makedirs(self._root, exist_ok=True)
            self._system.pipe_file(f"{self._root}/{name}", b"modelwright")
        with contextlib.suppress(OSError):  # who may only add can keep a journal
            self.remove(name)

    def put(self, name: str, data: bytes) -> None:
        """At once into an object store, else under a temporary name that is moved."""
        path = f"{self._root}/{name}"
        folder, _, last = path.rpartition("/")
        with _as_os_error():
            if self._whole:
                self._system.pipe_file(path, data)
                return
            part = f"{folder}/.{last}{PART}"
            self._system.makedirs(folder, exist_ok=True)
            self._system.pipe_file(part, data)
            self._system.mv(part, path)

    def get(self, name: str) -> bytes:
        """See `Place`."""
        with _as_os_error():
            return bytes(self._system.cat_file(f"{self._root}/{name}"))

    def files(self, under: str = "") -> Iterator[File]:
        """See `Place`."""
        for name, size in self.names(under):
            found = file_of(name, size)
            if found is not None:
                yield found

    def names(self, under: str) -> Iterator[tuple[str, int]]:
        """See `Place`."""
        where = f"{self._root}/{under}".rstrip("/")
        with _as_os_error():
            try:
                self._system.invalidate_cache()
                listed = self._system.find(where, detail=True)
            except FileNotFoundError:
                return
        for path, about in sorted(listed.items()):
            name = str(path).lstrip("/").removeprefix(self._root.lstrip("/")).lstrip("/")
            yield name, int(about.get("size") or 0)

    def remove(self, name: str) -> None:
        """See `Place`."""
        with _as_os_error(), contextlib.suppress(FileNotFoundError):
            self._system.rm_file(f"{self._root}/{name}")

    def tidy(self, now: float) -> None:
        """Object stores forget half-written objects by themselves; others are left alone."""


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    """Every storage has errors of its own; who writes only wants to know that it failed."""
    try:
        yield
    except OSError:
        raise
    # Nothing is silenced: it goes on as an OSError, which every caller retries, counts or tells. No
    # narrower class exists: botocore's, gcsfs's and paramiko's errors have no common one.
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}"[:300]) from error


def sweep(place: Place, now: float, keep: float, most: int) -> int:
    """Remove files that are too old, then the oldest while all together are too large.

    Several processes may do so at once. Only files whose names are a journal's are touched.

    Args:
        now: Unix time.
        keep: seconds.
        most: bytes.

    Returns:
        How many files went.
    """
    files = sorted(place.files(), key=lambda file: file.end)
    size = sum(file.size for file in files)
    gone = 0
    for file in files:
        if file.end >= now - keep and size <= most:
            break
        place.remove(file.name)
        size -= file.size
        gone += 1
    place.tidy(now)
    return gone
