"""Every answer on record: off the path of requests, and never in its way.

The event loop copies what a run took and gave, and notes 24 bytes a request (`journal_chunk`); of
the careful way it queues values and answers. Twice a second a thread tells all that to a process
(`journal_process`), which makes columns and files of it. When the queue is full entries are dropped
and counted. A file appears whole or not at all, so a kill of the process loses the open one only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from modelwright.core.errors import MissingExtra
from modelwright.serve.journal_chunk import Chunk, Recorded
from modelwright.serve.journal_entries import Entry, are_alike, together
from modelwright.serve.journal_pipe import Pipe
from modelwright.serve.journal_store import place_of
from modelwright.serve.journal_wire import RECORD, Asked, Failures, Runs, record
from modelwright.serve.live import LiveModel
from modelwright.serve.messages import Answered
from modelwright.serve.metrics import Counts
from modelwright.serve.runs import Ran
from modelwright.serve.settings import Journaling
from modelwright.serve.unanswered import Unanswered, failure

ROOM = 4_000_000
"""Numbers that may wait, 32 MB; what comes after is dropped and counted."""
OVERHEAD = 128
"""What an entry of the careful way takes up beside its features, in numbers."""
NOTE = 8
"""What a row of the fast way takes up beside its features."""
FULL: Any = object()
"""Where a run is kept for which there is no room."""
EVERY = 0.5
"""Seconds between two looks at the queue: seldom, as a batch of many costs less a row."""
TOGETHER = 256
"""Requests of the careful way in one message."""
MOST_FAILED = 20_000
"""Requests without an answer that may wait."""
END_SECONDS = 5.0
_LOG = logging.getLogger("modelwright.serve")


class Journal(Protocol):
    """What is told of every answer; when it is off nobody needs to tell."""

    is_on: bool

    def ran(
        self, live: LiveModel, id: str, received: float, seconds: float, run: Ran, start: int,
        count: int, rows: list[Any] | None,
    ) -> None:  # fmt: skip
        """Take the answer to typed rows, a part of a run; it returns at once.

        Args:
            rows: None where the run's arrays tell all; who keeps rows keeps thousands of objects,
                and that costs each request more than all else of a journal (measured: 6 us).
        """

    def answered(self, id: str, received: float, seconds: float, found: Answered) -> None:
        """Take any other answer; it returns at once."""

    def unanswered(self, found: Unanswered) -> None:
        """Take a request that nobody answered; it returns at once."""

    def close(self) -> None:
        """Write what waits."""


class Off:
    """No journal."""

    is_on = False

    def ran(
        self, live: LiveModel, id: str, received: float, seconds: float, run: Ran, start: int,
        count: int, rows: list[Any] | None,
    ) -> None:  # fmt: skip
        """Nothing."""

    def answered(self, id: str, received: float, seconds: float, found: Answered) -> None:
        """Nothing."""

    def unanswered(self, found: Unanswered) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


OFF = Off()


def journal_of(settings: Journaling, counts: Counts, server: Sequence[str] = ()) -> Journal:
    """The journal of `serve.journal`, or none. Make it after the fork.

    Args:
        server: see `Pipe`.

    Raises:
        MissingExtra: see `check`.
        UsageError: fsspec does not know that kind of URL.
    """
    if not settings.to:
        return OFF
    check(settings)
    return Recorder(settings, counts, server=server)


def check(settings: Journaling) -> None:
    """See whether a journal can be kept, before anything is forked.

    Raises:
        MissingExtra: pyarrow, or what the URL needs, is not installed.
        UsageError: fsspec does not know that kind of URL.
    """
    if settings.to:
        if importlib.util.find_spec("pyarrow") is None:
            raise MissingExtra("pyarrow, which writes the journal,", "journal")
        place_of(settings.to)


def is_sampled(id: str, share: float) -> bool:
    """Whether a request is recorded: the same for every try of it, in every process.

    Example:
        >>> is_sampled("a-7", 1.0), is_sampled("a-7", 0.5) == is_sampled("a-7", 0.5)
        (True, True)
        >>> 80 < sum(is_sampled(f"{n}", 0.1) for n in range(1000)) < 120
        True
    """
    if share >= 1.0:
        return True
    digest = hashlib.blake2b(
        id.encode("utf-8", "replace"), digest_size=8, key=b"modelwright journal"
    ).digest()
    return int.from_bytes(digest, "little") < share * 2**64


class Recorder:
    """A journal that is on.

    Args:
        settings: see `core.spec_serve.JournalSpec`.
        counts: of the process.
        room: of the queue, in numbers.
        server: see `Pipe`.
    """

    is_on = True

    def __init__(
        self, settings: Journaling, counts: Counts, *, room: int = ROOM, server: Sequence[str] = ()
    ) -> None:
        self._settings, self._room = settings, room
        self._versions: WeakKeyDictionary[LiveModel, Recorded] = WeakKeyDictionary()
        self._numbers = itertools.count(1)
        self._open: dict[int, Chunk] = {}  # by the id of the version
        self._chunks: deque[Chunk] = deque()  # those that the thread has not seen
        self._seen: list[Chunk] = []
        self._entries: deque[Entry] = deque()
        self._failed: deque[Unanswered] = deque()
        self._taken = self._done = 0  # each is written by one thread only, so nothing is locked
        self._begun = 0
        self._told: set[int] = set()
        self._full = counts.counter("modelwright_journal_dropped_total", "queue")
        self._lost = counts.counter("modelwright_journal_dropped_total", "write")
        self._pipe = Pipe(settings, counts, server)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="journal", daemon=True)
        self._thread.start()

    def ran(
        self, live: LiveModel, id: str, received: float, seconds: float, run: Ran, start: int,
        count: int, rows: list[Any] | None,
    ) -> None:  # fmt: skip
        """See `Journal`."""
        chunk = run.kept
        if chunk is None:
            chunk = self._keep(live, run)
        if chunk is FULL:
            self._full[0] += count
            return
        if rows is not None:
            chunk.given[len(chunk.records) // RECORD.itemsize] = rows
        # As text kept, each id would be memory never touched before. Both are made before either is
        # kept: an id without a record would become that of the next request.
        ended = received + seconds
        name, noted = f"{id}\n".encode(), record(ended, seconds, run.base + start, count)
        chunk.ids += name
        chunk.records += noted

    def _keep(self, live: LiveModel, run: Ran) -> Any:
        """Keep a run, once; where, or `FULL`."""
        chunk = self._open.get(id(live))
        version = chunk.version if chunk is not None else self._version(live)
        weight = run.rows * (version.width + NOTE)
        if self._taken - self._done + weight > self._room:
            run.kept = FULL
            return FULL
        if chunk is None or chunk.live() is not live or not chunk.keep(run):
            if chunk is not None:
                chunk.closed = True
            chunk = self._open[id(live)] = Chunk(live, self._version(live), run)
            chunk.keep(run)
            self._chunks.append(chunk)
        self._taken += weight
        chunk.weight += weight
        return chunk

    def answered(self, id: str, received: float, seconds: float, found: Answered) -> None:
        """See `Journal`."""
        live = found.live
        assert isinstance(live, LiveModel)
        count, version = found.question.rows, self._version(live)
        weight = OVERHEAD + count * version.width
        if self._taken - self._done + weight > self._room:
            self._full[0] += count
            return
        self._taken += weight
        flags = found.arm, found.fallback, found.cached
        self._entries.append(
            (version, weight, count, id, received + seconds, seconds, flags, found.question.feeds,
             found.answers, found.caller)
        )  # fmt: skip

    def unanswered(self, found: Unanswered) -> None:
        """See `Journal`."""
        if len(self._failed) >= MOST_FAILED:
            self._full[0] += 1
            return
        self._failed.append(found)

    def close(self) -> None:
        """Write what waits."""
        self._ending.set()
        self._thread.join(END_SECONDS)

    def _version(self, live: LiveModel) -> Recorded:
        found = self._versions.get(live)
        if found is None:
            found = self._versions[live] = Recorded.of(live, next(self._numbers))
        return found

    @property
    def waits(self) -> bool:
        """Whether anything was told that the thread has not taken yet."""
        return self._taken != self._done or any(chunk.waits for chunk in self._seen.copy())

    # All that follows runs in the thread.

    def _go_on(self) -> None:
        ending, wait = False, 0.0
        while not ending:
            ending, wait = self._ending.wait(wait), EVERY  # the first look begins the process
            ends = time.perf_counter() + END_SECONDS
            try:
                self._look()
            # A thread that ends is worse than any fault: every answer after it would be dropped.
            # What a fault may cost is counted where it happens (`_ship`); a chunk that could not be
            # taken is taken by the next look.
            except Exception:  # noqa: BLE001  logged; the next look goes on
                _LOG.exception("the journal met a fault; answers of half a second may be missing")
        self._pipe.end(ends - time.perf_counter())

    def _look(self) -> None:
        self._pipe.listen()
        self._pipe.begin()
        if self._pipe.begun != self._begun:  # that process knows no version yet
            self._begun = self._pipe.begun
            self._told.clear()
        self._take_chunks()
        self._take_entries()
        self._take_failed()

    def _take_chunks(self) -> None:
        """What the fast way noted since the last look; a chunk is let go when no further run comes
        and a look finds nothing new in it."""
        while self._chunks:
            self._seen.append(self._chunks.popleft())
        for chunk in self._seen.copy():
            is_over, weight = chunk.is_over, chunk.weight
            taken = chunk.take()
            if taken.ids:
                kept = self._sampled(taken.ids)
                if kept:
                    self._ship(chunk.version, taken.rows(kept), taken.message, kept, unix_offset())
            elif is_over:
                self._seen.remove(chunk)
                for key in [key for key, one in [*self._open.items()] if one is chunk]:
                    self._open.pop(key, None)  # a newer one that gets lost here is still seen
            self._done += weight - chunk.released
            chunk.released = weight

    def _take_entries(self) -> None:
        """What the careful way queued, neighbours that are alike in one message."""
        while self._entries:
            alike = [self._entries.popleft()]
            while self._entries and len(alike) < TOGETHER and are_alike(self._entries[0], alike[0]):
                alike.append(self._entries.popleft())
            kept = [alike[place] for place in self._sampled([entry[3] for entry in alike])]
            if kept:
                rows = sum(entry[2] for entry in kept)
                self._ship(kept[0][0], rows, together, kept, unix_offset())
            self._done += sum(entry[1] for entry in alike)

    def _take_failed(self) -> None:
        found = [self._failed.popleft() for _ in range(len(self._failed))]
        offset = unix_offset()
        sampled = self._sampled([one.id for one in found])
        kept = [failure(found[place], offset) for place in sampled]
        if kept:
            self._pipe.send(Failures(kept), 0)

    def _sampled(self, ids: Sequence[str]) -> Sequence[int]:
        """Places of those that are recorded."""
        if self._settings.sample >= 1.0:
            return range(len(ids))
        return [n for n, id in enumerate(ids) if is_sampled(id, self._settings.sample)]

    def _ship(
        self, version: Recorded, rows: int, make: Callable[..., Runs | Asked], *what: Any
    ) -> None:
        """Tell the process of answers, and before that of their version; a fault is counted and
        logged."""
        try:
            if version.number not in self._told:
                self._pipe.send(version.told, 0)
                self._told.add(version.number)  # not before: without it no answer can be read
            self._pipe.send(make(*what), rows)
        # One message may be wrong (values that are no table, say) and those after it right.
        except Exception:  # noqa: BLE001  counted and logged; the thread goes on
            self._lost[0] += rows
            _LOG.exception(
                "the journal lost %d answers of %s version %s", rows, version.told.model,
                version.told.version,
            )  # fmt: skip


def unix_offset() -> float:
    """Unix time less `time.perf_counter()`."""
    return time.time() - time.perf_counter()
