"""The numbers of all workers: each writes its own file, whoever shows the page joins them.

A file in memory (`/dev/shm`) four times a second was chosen over shared counters: counting stays a
list element of the process (25 ns against 60 ns for a shared memoryview), nothing is locked on the
hot path, and what a killed worker counted is still there. A kill loses at most the last 0.25 s,
which no page had shown.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

from modelwright.core.store import locked
from modelwright.serve.metric_names import FAMILIES
from modelwright.serve.metrics import Book, Cell, Counts, Labels, Timing
from modelwright.serve.processes import is_alive, started_at

EVERY = 0.25
"""Seconds between two writes of a worker whose numbers changed."""
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  the folder below it is private and its name random
_ENDED = "ended"


class Page(msgspec.Struct):
    """A worker's file. `started` tells its process from a later one with the same number."""

    worker: int
    pid: int
    started: int
    book: Book


def new_folder() -> Path:
    """A private folder for the workers' files; the supervisor makes it before it forks.

    Memory is preferred: it is writable where the root of a container is not, and never blocks.
    Folders that killed supervisors of the same user left behind are removed.
    """
    shared = os.access(_SHARED_MEMORY, os.W_OK)
    place = _SHARED_MEMORY if shared else Path(tempfile.gettempdir())
    begin = f"modelwright-{_namespace()}-"
    for old in place.glob(f"{begin}*-*-*"):
        pid, started, _ = old.name.removeprefix(begin).split("-", 2)
        with contextlib.suppress(OSError, ValueError):
            if old.stat().st_uid == os.getuid() and not is_alive(int(pid), int(started)):
                remove_folder(old)
    own = os.getpid()
    return Path(tempfile.mkdtemp(prefix=f"{begin}{own}-{started_at(own)}-", dir=place))


def _namespace() -> str:
    """Of process numbers: containers that share memory do not see each other's processes."""
    try:
        return "".join(filter(str.isdigit, str(Path("/proc/self/ns/pid").readlink())))
    except OSError:
        return "0"


def remove_folder(folder: Path) -> None:
    """Remove it with its files, at the end of the supervisor."""
    shutil.rmtree(folder, ignore_errors=True)


class Keeper:
    """Writes the numbers of one worker.

    Args:
        folder: that `new_folder` made.
        counts: the worker's own.
        worker: its place, 0 to workers - 1; a worker that is started in the place of another has
            the same.

    Example:
        keeper = Keeper(folder, counts, worker=0)    # in the worker, after the fork
        loop.call_later(EVERY, ...keeper.save)       # and before its own /metrics is answered
    """

    def __init__(self, folder: Path, counts: Counts, worker: int = 0) -> None:
        self._folder = folder
        self._pid = os.getpid()
        self._path = folder / f"{self._pid}.counts"
        self._page = Page(worker, self._pid, started_at(self._pid), counts.book)
        self._written = b""
        with locked(folder / ".lock"):
            counts.counter("modelwright_worker_restarts_total")[0] = _gather(folder)
        self.save()

    def save(self) -> bool:
        """Write what changed; whether there was anything. A full disk loses the write only."""
        data = _ENCODER.encode(self._page)
        if data == self._written:
            return False
        part = self._path.with_suffix(".part")
        try:
            part.write_bytes(data)
            part.replace(self._path)
        except OSError:
            return False
        self._written = data
        return True


def read_all(folder: Path) -> tuple[Book, dict[int, int]]:
    """The joined numbers of every worker there was, and worker -> pid of those alive.

    Counters and histograms of all are added up; gauges are those of workers that are alive.
    """
    with locked(folder / ".lock"):
        pages = _pages(folder)
    alive = {page.pid: page for page in pages if _is_live(page)}
    for page in pages:
        if page.pid not in alive:
            page.book.gauges = {}
    return join(page.book for page in pages), {page.worker: pid for pid, page in alive.items()}


def join(books: Iterable[Book]) -> Book:
    """Add books up; a gauge by its family's rule.

    Example:
        >>> one, two = Book({"x": {(): [1]}}), Book({"x": {(): [2]}})
        >>> join([one, two]).counters
        {'x': {(): [3]}}
    """
    found = Book()
    for book in books:
        for name, series in book.counters.items():
            _add(found.counters.setdefault(name, {}), series)
        for name, series in book.gauges.items():
            family = FAMILIES.get(name)
            largest = family is not None and family.join == "max"
            _add(found.gauges.setdefault(name, {}), series, largest=largest)
        for name, timings in book.histograms.items():
            _add_timings(found.histograms.setdefault(name, {}), timings)
    return found


def _add(into: dict[Labels, Cell], series: dict[Labels, Cell], *, largest: bool = False) -> None:
    for labels, [value] in series.items():
        if labels not in into:
            into[labels] = [value]
        elif largest:
            into[labels][0] = max(into[labels][0], value)
        else:
            into[labels][0] += value


def _add_timings(into: dict[Labels, Timing], timings: dict[Labels, Timing]) -> None:
    for labels, timing in timings.items():
        known = into.get(labels)
        if known is None:
            counts, exemplars = list(timing.counts), dict(timing.exemplars)
            into[labels] = Timing(timing.edges, counts, timing.total, exemplars)
            continue
        if known.edges != timing.edges:  # a limit changed under the same version number
            known.edges, known.counts = _on_common_edges(known, timing)
        else:
            known.counts = [a + b for a, b in zip(known.counts, timing.counts, strict=True)]
        known.total += timing.total
        known.exemplars |= timing.exemplars if known.edges == timing.edges else {}


def _on_common_edges(one: Timing, two: Timing) -> tuple[tuple[float, ...], list[int]]:
    """Only edges that both have can be told for the sum."""
    edges = tuple(sorted(set(one.edges) & set(two.edges)))
    counts = [0] * (len(edges) + 1)
    for timing in (one, two):
        place = 0
        for index, count in enumerate(timing.counts):
            below = timing.edges[index - 1] if index else float("-inf")
            while place < len(edges) and below >= edges[place]:
                place += 1
            counts[place] += count
    return edges, counts


def _gather(folder: Path) -> int:
    """Join the files of workers that ended into one, so that crashes do not fill the folder.

    Returns:
        How many had ended: each was, or is about to be, started again.
    """
    pages = _pages(folder)
    own = os.getpid()  # a file of this number is that of a process that had it before
    over = [page for page in pages if page.pid == own or not _is_live(page)]
    if not over:
        return 0
    for page in over:
        page.book.gauges = {}
    data = _ENCODER.encode(Page(-1, 0, 0, join(page.book for page in over)))
    part = folder / f"{_ENDED}.part"
    part.write_bytes(data)
    part.replace(folder / f"{_ENDED}.counts")
    for page in over:
        if page.pid:
            (folder / f"{page.pid}.counts").unlink(missing_ok=True)
    return sum(page.pid > 0 for page in over)


def _pages(folder: Path) -> list[Page]:
    found = []
    for path in sorted(folder.glob("*.counts")):
        with contextlib.suppress(FileNotFoundError):
            found.append(_DECODER.decode(path.read_bytes()))
    return found


def _is_live(page: Page) -> bool:
    return page.pid > 0 and is_alive(page.pid, page.started)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Page)
