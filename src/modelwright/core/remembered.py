"""What was made of files, kept in this process for as long as the files stay as they were."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

SETTLED_NS = 100_000_000
"""A file that changed so shortly before it was looked at may change again under the same time."""
COARSE_NS = 2_100_000_000
"""The same where a filesystem counts in whole seconds."""
Made = TypeVar("Made")
_Stamp = tuple[int, int, int, int, int]
_Stamps = tuple[tuple[str, _Stamp | None], ...]


class Remembered(Generic[Made]):
    """Results with the files that they were made of; one is made again when a file has changed.

    A file has changed when its device, inode, size, time of content or time of status differ. The
    last is the kernel's and cannot be set, so a file that was put back to its old size and date
    shows. What is made of a file that changed a moment ago is not kept: a second change may fall
    into the same tick of the clock (git's "racy" entries). A write through a shared memory map that
    was open all the time is seen once the kernel has written it back.

    Args:
        most: results that are kept; those asked for longest ago go first.
        clock: the present, in ns since 1970.
    """

    def __init__(self, most: int, clock: Callable[[], int] = time.time_ns) -> None:
        self._most, self._clock = most, clock
        self._kept: OrderedDict[Hashable, tuple[_Stamps, Made]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, files: Iterable[Path], make: Callable[[], Made]) -> Made:
        """What `make` gives, or gave of the same files. Whoever gets it leaves it as it is.

        Args:
            key: what it is, with all that it depends on beside the files.
            files: all that it is made of; one may be absent.
            make: makes it; what it raises is not kept.
        """
        named = list(files)
        now, stamps = self._clock(), _stamps(named)
        with self._lock:
            found = self._kept.get(key)
            if found is not None and found[0] == stamps:
                self._kept.move_to_end(key)
                return found[1]
        made = make()
        if _stamps(named) == stamps and all(_has_settled(one, now) for _, one in stamps if one):
            with self._lock:
                self._kept[key] = (stamps, made)
                self._kept.move_to_end(key)
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
        return made


def _stamps(files: Iterable[Path]) -> _Stamps:
    return tuple((str(path), _stamp(path)) for path in files)


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _has_settled(stamp: _Stamp, now: int) -> bool:
    changed = stamp[-1]
    return now - changed > (COARSE_NS if changed % 1_000_000_000 == 0 else SETTLED_NS)
