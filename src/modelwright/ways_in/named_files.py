"""Files that arguments name to be written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from modelwright.core.errors import UsageError
from modelwright.core.store import write_atomic


@contextlib.contextmanager
def writes_to(option: str, path: str) -> Iterator[None]:
    """Say which argument was wrong where what it names cannot be written.

    Args:
        option: as at the command line, such as --out.
        path: what was given for it.

    Raises:
        UsageError: no such folder, no right to write, a folder where a file is wanted.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{option} {path}: {error.strerror or error}.", hint="Name one that can be written."
        ) from error


def write_named(option: str, path: str, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    if not Path(path).name:
        raise UsageError(f"{option} {path!r} names no file.", hint="Such as scratch/made.json.")
    with writes_to(option, path):
        write_atomic(Path(path), data)
