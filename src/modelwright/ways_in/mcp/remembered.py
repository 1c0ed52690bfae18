"""What was made of files, kept for as long as the files stay as they were."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

SETTLED_NS = 100_000_000
"""A file that changed so shortly before it was read may change again without a newer time."""
MOST = 64
Made = TypeVar("Made")
_Stamp = tuple[tuple[int, int, int] | None, ...]

_kept: dict[Hashable, tuple[_Stamp, Any]] = {}
_lock = threading.Lock()


def remembered(key: Hashable, files: Sequence[Path], make: Callable[[], Made]) -> Made:
    """What `make` gives, made again only when one of the files has changed.

    Args:
        key: what it is.
        files: all that it is made of; one may be absent.
    """
    now, stamp = time.time_ns(), _stamp(files)
    with _lock:
        found = _kept.get(key)
    if found is not None and found[0] == stamp:
        made: Made = found[1]
        return made
    made = make()
    if _stamp(files) == stamp and all(now - one[0] > SETTLED_NS for one in stamp if one):
        with _lock:
            _kept[key] = (stamp, made)
            while len(_kept) > MOST:
                _kept.pop(next(iter(_kept)))
    return made


def _stamp(files: Sequence[Path]) -> _Stamp:
    return tuple(_one(path) for path in files)


def _one(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
