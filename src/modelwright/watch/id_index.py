"""In which files a request id is: what a look at labels has read once, it does not read again.

Files of a journal and of labels never change, so what was in one stays true. An index is sorted
hashes beside the number of a file, in a few parts that are opened as memory maps: to find an id
touches some pages, however many answers there are. It is a cache: whatever is missing or damaged is
read anew from the files, and a hash that two ids share costs the reading of one file more.

Source: O'Neil, Cheng, Gawlick, O'Neil (1996), "The log-structured merge-tree".
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from modelwright.core.intake import Array
from modelwright.core.store import write_atomic

LARGEST = 8_000_000
"""Ids of a part that is not merged any more, 96 MB."""
RATIO = 4
"""A part is merged with the one before unless that has so many times its ids."""
_KIND = f"polars {pl.__version__}"
"""Hashes are the same in every process, but not in every version."""


class Entry(msgspec.Struct, frozen=True):
    """A file that was read: `senders` of a file of labels: process -> number of its last batch."""

    name: str
    senders: dict[str, int] = {}


class _About(msgspec.Struct, frozen=True):
    """`<part>.json`, which is written last: without it there is no part."""

    kind: str
    rows: int
    files: tuple[Entry, ...]


@dataclass(frozen=True)
class Read:
    """What a file has: its ids, and who wrote its labels."""

    ids: Any
    senders: dict[str, int]


@dataclass
class _Part:
    token: str
    about: _About
    hashes: Array
    files: Array


class IdIndex:
    """One for the files of a journal, or for those of its labels.

    Args:
        folder: where it is kept; only one process at a time may write there.

    Example:
        index = IdIndex(Path(".modelwright/ids/shop/answers"))
        index.add({"shop/3/2026-11-26/....parquet": Read(ids, {})})
        index.holding(["r-1"])
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = [part for path in sorted(folder.glob("*.json")) if (part := _opened(path))]
        self._parts.sort(key=lambda part: -part.about.rows)

    @property
    def entries(self) -> dict[str, Entry]:
        """Every file that was read, by its name."""
        return {entry.name: entry for part in self._parts for entry in part.about.files}

    def add(self, read: Sequence[tuple[str, Read]]) -> None:
        """Take files that were read; a file that is known already may come once more."""
        if not read:
            return
        hashes = [hashed(one.ids) for _, one in read]
        files = np.repeat(np.arange(len(read), dtype=np.uint32), [len(one) for one in hashes])
        entries = tuple(Entry(name, one.senders) for name, one in read)
        self._keep(np.concatenate(hashes), files, entries, ())
        self._merge()

    def holding(self, ids: Any) -> set[str]:
        """Names of files that have one of these ids; a few others may be among them."""
        wanted, found = np.unique(hashed(ids)), set[str]()
        for part in self._parts:
            begin = np.searchsorted(part.hashes, wanted, side="left")
            end = np.searchsorted(part.hashes, wanted, side="right")
            places = [np.arange(a, b) for a, b in zip(begin, end, strict=True) if a < b]
            if places:
                used = np.unique(part.files[np.concatenate(places)]).tolist()
                found |= {part.about.files[number].name for number in used}
        return found

    def forget(self, names: Iterable[str]) -> None:
        """These files are gone: parts of which they are the larger half are written anew."""
        gone = set(names)
        for part in list(self._parts) if gone else ():
            dead = np.array([entry.name in gone for entry in part.about.files], bool)
            if dead.all():
                self._remove(part)
            elif 2 * dead.sum() > len(dead):
                alive = ~dead[part.files]
                number = (np.cumsum(~dead) - 1).astype(np.uint32)
                entries = tuple(e for e in part.about.files if e.name not in gone)
                self._keep(part.hashes[alive], number[part.files[alive]], entries, (part,))

    def _merge(self) -> None:
        while len(self._parts) > 1:
            last, other = self._parts[-1], self._parts[-2]
            rows = last.about.rows + other.about.rows
            if other.about.rows >= RATIO * max(last.about.rows, 1) or rows > LARGEST:
                return
            files = np.concatenate([other.files, last.files + np.uint32(len(other.about.files))])
            self._keep(
                np.concatenate([other.hashes, last.hashes]), files,
                (*other.about.files, *last.about.files), (last, other),
            )  # fmt: skip

    def _keep(
        self, hashes: Array, files: Array, entries: tuple[Entry, ...], instead_of: tuple[_Part, ...]
    ) -> None:
        order = np.argsort(hashes, kind="stable")
        token = secrets.token_hex(6)
        about = _About(_KIND, len(hashes), entries)
        write_atomic(self._folder / f"{token}.hashes.npy", _encoded(hashes[order]))
        write_atomic(self._folder / f"{token}.files.npy", _encoded(files[order]))
        write_atomic(self._folder / f"{token}.json", msgspec.json.encode(about))
        for part in instead_of:
            self._remove(part)
        made = _opened(self._folder / f"{token}.json")
        assert made is not None
        self._parts.append(made)
        self._parts.sort(key=lambda one: -one.about.rows)

    def _remove(self, part: _Part) -> None:
        self._parts.remove(part)
        _unlink(self._folder / f"{part.token}.json")


def hashed(ids: Any) -> Array:
    """64 bits of each id; `ids` is a list of texts or an Arrow column."""
    column = pa.array(ids, pa.string()) if isinstance(ids, list | tuple) else ids
    series = pl.Series("id", pl.from_arrow(column), dtype=pl.String)
    return np.asarray(series.hash(seed=7).to_numpy(), np.uint64)


def _encoded(values: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def _opened(path: Path) -> _Part | None:
    """A part; None, and it goes, where it is damaged or of another version."""
    try:
        about = msgspec.json.decode(path.read_bytes(), type=_About)
        hashes, files = (
            np.load(path.with_suffix(f".{what}.npy"), mmap_mode="r" if about.rows else None)
            for what in ("hashes", "files")
        )
    except (OSError, EOFError, ValueError, msgspec.MsgspecError):
        about, hashes, files = _About("", 0, ()), np.zeros(0), np.zeros(0)
    if about.kind != _KIND or not about.rows == len(hashes) == len(files):
        _unlink(path)
        return None
    return _Part(path.stem, about, hashes, files)


def _unlink(path: Path) -> None:
    for one in (path, path.with_suffix(".hashes.npy"), path.with_suffix(".files.npy")):
        one.unlink(missing_ok=True)
