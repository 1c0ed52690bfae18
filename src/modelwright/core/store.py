"""Records to JSON and back, and files that are whole or absent, whatever is killed when."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from modelwright.core.errors import ArtefactError, UsageError

Record = TypeVar("Record")


def to_json(record: object) -> bytes:
    """Encode a record as indented JSON, keys in field order.

    Example:
        >>> to_json({"a": 1})
        b'{\\n  "a": 1\\n}'
    """
    return msgspec.json.format(msgspec.json.encode(record), indent=2)


def from_json(data: bytes, kind: type[Record], *, where: str = "JSON") -> Record:
    """Decode and check a record.

    Raises:
        ArtefactError: not JSON, or not a record of that type.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtefactError(
            f"{where} is not a valid {kind.__name__} record: {error}.",
            hint="It was edited, cut short, or written by another version of modelwright.",
        ) from error


def write_atomic(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Write a file so that a reader, or a restart after kill -9, sees the old or the new one.

    Args:
        mode: rights of the new file; by default those of any new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            part.chmod(mode)
        part.replace(path)
        sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_changed(path: Path, data: bytes) -> None:
    """Write a file that does not have these bytes yet: whoever only looks waits for no disk."""
    if not path.exists() or path.read_bytes() != data:
        write_atomic(path, data)


def write_once(folder: Path) -> None:
    """Take the right to write away from a folder's files, which have their final content.

    The folder itself stays as it is, so that its owner can delete it.
    """
    for path in folder.iterdir():
        path.chmod(0o444)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def append_line(path: Path, record: object) -> None:
    """Append one record as a JSON line, on disk when this returns.

    A last line that a kill cut short is ended first, so that it spoils only itself.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(msgspec.json.encode(record) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def sha256(data: bytes) -> str:
    """Hex digest of bytes.

    Example:
        >>> sha256(b"")[:8]
        'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()


def new_run(root: Path) -> Path:
    """Create and return ``runs/<id>/``; ids sort by time and never collide.

    Raises:
        UsageError: the folder cannot be written.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    folder = root / "runs" / f"{stamp}-{secrets.token_hex(2)}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UsageError(
            f"Cannot write {folder}: {error.strerror}.",
            hint="Run in a folder that you may write to.",
        ) from error
    return folder


def timestamp() -> str:
    """The present moment in UTC, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel frees it when the process dies."""
    import fcntl  # not there on Windows, where only this call fails

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def locked_now(path: Path, told: str, hint: str) -> Iterator[None]:
    """Hold an exclusive lock on a file, or say at once that somebody else does.

    Args:
        told, hint: of the error.

    Raises:
        UsageError: another process holds it.
    """
    import fcntl  # not there on Windows, where only this call fails

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(told, hint=hint) from error
        yield


def held_file(path: Path) -> BinaryIO:
    """Open a file that nobody else has, with an exclusive lock on it.

    The lock belongs to the open file: a child process that inherits it holds it on after this
    process has closed its own, so there is no moment at which it is free.
    """
    import fcntl  # not there on Windows, where only this call fails

    file = path.open("ab")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of a file; any number may ask at the same time."""
    import fcntl  # not there on Windows, where only this call fails

    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextlib.contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Mark a run's folder as being written to, and clear it of half-written files, which then
    belong to nobody; see `locked_now`.

    Raises:
        UsageError: another process writes to it.
    """
    told = f"Run {folder.name} is still going on in another process."
    hint = "Wait for it, or stop it; without --resume a new run is begun."
    with locked_now(folder / ".lock", told, hint):
        for cut_short in folder.rglob(".*.part"):
            cut_short.unlink(missing_ok=True)
        yield


def is_in_use(folder: Path) -> bool:
    """Whether a process writes to a run's folder."""
    return is_held(folder / ".lock")
