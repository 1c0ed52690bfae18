"""Every answer on record: off the path of requests, and never in its way.

The event loop copies what a run took and gave, and notes a line a request (`journal_chunk`); of
the careful way it queues feeds and answers. A thread makes columns of them twice a second, and
files once there are enough rows or time is up. When the queue is full entries are dropped and
counted. A file appears whole or not at all, so a kill loses the open one only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from modelwright.core.errors import MissingExtra
from modelwright.serve.journal_chunk import Chunk
from modelwright.serve.journal_out import Outlet
from modelwright.serve.journal_segment import Entry, Extra, Segment
from modelwright.serve.journal_store import Place, file_name, place_of
from modelwright.serve.live import LiveModel
from modelwright.serve.messages import Answered
from modelwright.serve.metrics import Counts
from modelwright.serve.runs import Ran
from modelwright.serve.settings import Journaling
from modelwright.serve.unanswered import Unanswered, encoded

ROOM = 4_000_000
"""Numbers that may wait, 32 MB; what comes after is dropped and counted."""
OVERHEAD = 128
"""What an entry takes up beside its features, in numbers."""
EVERY = 0.5
"""Seconds between two looks at the queue: seldom, as a batch of many costs less a row."""
BATCH = 2048
"""Entries that become columns before the event loop has its turn; a chunk holds as many."""
MOST_FAILED = 20_000
"""Requests without an answer that may wait."""
LARGEST = 64 * 2**20
"""Bytes of numbers that close a file of a wide table before its rows do."""
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


def journal_of(settings: Journaling, counts: Counts) -> Journal:
    """The journal of `serve.journal`, or none. Make it after the fork.

    Raises:
        MissingExtra: see `check`.
        UsageError: fsspec does not know that kind of URL.
    """
    if not settings.to:
        return OFF
    check(settings)
    return Recorder(settings, place_of(settings.to), counts)


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
        place: where the files go.
        counts: of the process.
        room: of the queue, in numbers.
    """

    is_on = True

    def __init__(
        self, settings: Journaling, place: Place, counts: Counts, *, room: int = ROOM
    ) -> None:
        import pyarrow
        import pyarrow.parquet

        self._arrow: Any = pyarrow
        self._parquet: Any = pyarrow.parquet
        self._settings, self._room = settings, room
        self._chunks: deque[Chunk] = deque()
        self._open: dict[LiveModel, Chunk] = {}
        self._entries: deque[Entry] = deque()
        self._failed: deque[Unanswered] = deque()
        self._failed_since = math.inf
        self._taken = self._done = 0  # each is written by one thread only, so nothing is locked
        self._widths: dict[int, int] = {}
        self._segments: dict[int, Segment] = {}
        self._full = counts.counter("modelwright_journal_dropped_total", "queue")
        self._lost = counts.counter("modelwright_journal_dropped_total", "write")
        written = counts.counter("modelwright_journal_rows_total")
        self._out = Outlet(settings, place, written, self._lost)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="journal", daemon=True)
        self._thread.start()

    def ran(
        self, live: LiveModel, id: str, received: float, seconds: float, run: Ran, start: int,
        count: int, rows: list[Any] | None,
    ) -> None:  # fmt: skip
        """See `Journal`."""
        chunk = self._open.get(live)
        weight = OVERHEAD + count * (chunk.width if chunk is not None else self._width(live))
        if self._taken - self._done + weight > self._room:
            self._full[0] += count
            return
        if chunk is None or (run is not chunk.run and not chunk.keep(run)):
            chunk = self._open[live] = Chunk(live, run, self._width(live))
            chunk.keep(run)
        self._taken += weight
        if rows is not None:
            chunk.given[len(chunk.records)] = rows
        chunk.records.append((id, received + seconds, seconds, chunk.base + start, count))
        if not chunk.listed:  # after it was noted: whoever unlists it looks once more
            chunk.listed = True
            self._chunks.append(chunk)

    def answered(self, id: str, received: float, seconds: float, found: Answered) -> None:
        """See `Journal`."""
        live = found.live
        assert isinstance(live, LiveModel)
        count = found.question.rows
        weight = OVERHEAD + count * self._width(live)
        if self._taken - self._done + weight > self._room:
            self._full[0] += count
            return
        self._taken += weight
        extra = Extra(found.answers, found.arm, found.fallback, found.cached)
        feeds = found.question.feeds
        self._entries.append((live, count, id, received + seconds, seconds, feeds, extra))

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

    def _width(self, live: LiveModel) -> int:
        width = self._widths.get(id(live))
        if width is None:
            width = self._widths[id(live)] = len(live.schema.features)
        return width

    @property
    def waits(self) -> bool:
        """Whether anything was told that the thread has not taken yet."""
        return self._taken != self._done

    # All that follows runs in the thread.

    def _go_on(self) -> None:
        while not self._ending.wait(EVERY):
            self._look(time.perf_counter())
        self._look(math.inf)

    def _look(self, now: float) -> None:
        self._take_chunks()
        self._take_entries()
        for key, segment in list(self._segments.items()):
            if now - segment.began >= self._settings.every:
                self._finish(key)
        self._finish_failed(now)
        self._out.write(now, last=now == math.inf)
        if now < math.inf:
            self._out.sweep(now)

    def _take_chunks(self) -> None:
        """What the fast way noted since the last look; a chunk without news is not kept open."""
        for live, chunk in list(self._open.items()):
            if not chunk.listed:  # who just got it from there lists it all the same
                self._open.pop(live, None)
        while self._chunks:
            chunk = self._chunks.popleft()
            chunk.listed = False
            taken = chunk.take()
            rows = sum([chunk.records[number][4] for number in taken.numbers])
            kept: Sequence[int] = taken.numbers
            if self._settings.sample < 1.0:
                kept = [number for number in kept if self._is_kept(chunk.records[number][0])]
            if kept:
                self._into(chunk.live, rows, Segment.take, taken, kept)
            self._done += OVERHEAD * len(taken.numbers) + rows * chunk.width
            del chunk, taken
            time.sleep(0)

    def _take_entries(self) -> None:
        """What the careful way queued."""
        while self._entries:
            entry = self._entries.popleft()
            live, rows = entry[0], entry[1]
            if self._is_kept(entry[2]):
                self._into(live, rows, Segment.add, entry)
            self._done += OVERHEAD + rows * self._width(live)
            if not len(self._entries) % BATCH:
                time.sleep(0)

    def _is_kept(self, id: str) -> bool:
        return is_sampled(id, self._settings.sample)

    def _into(self, live: LiveModel, rows: int, add: Callable[..., None], *what: Any) -> None:
        """Add to the open file of a version; a fault is counted and logged."""
        key = id(live)
        try:
            segment = self._segments.get(key)
            if segment is None:
                segment = self._segments[key] = Segment(live)
            add(segment, *what)
        except Exception:  # noqa: BLE001  counted and logged; the thread goes on
            self._lost[0] += rows
            _LOG.exception("the journal lost answers")
            return
        wide = segment.rows * self._width(live) * 8 >= LARGEST
        if segment.rows >= self._settings.rows or wide:
            self._finish(key)

    def _finish(self, key: int) -> None:
        """Close a file; it is written now, or tried again."""
        segment = self._segments.pop(key)
        try:
            offset = time.time() - time.perf_counter()
            table = segment.table(self._arrow, offset)
            sink = self._arrow.BufferOutputStream()
            words = [field.name for field in table.schema if "dictionary" in str(field.type)]
            self._parquet.write_table(
                table, sink, compression="zstd", use_dictionary=words, write_statistics=["time"]
            )
            live, (begin, end) = segment.live, segment.span(offset)
            out = self._out
            name = file_name(live.model, live.version, begin, end, out.token, out.number)
            data = sink.getvalue().to_pybytes()
        except Exception:  # noqa: BLE001  counted and logged; the thread goes on
            self._lost[0] += segment.rows
            _LOG.exception("the journal lost a file")
            return
        out.put(name, data, segment.rows)
        out.write(time.perf_counter())

    def _finish_failed(self, now: float) -> None:
        """Close the file of what nobody answered, once it is time."""
        if self._failed and self._failed_since == math.inf:
            self._failed_since = self._failed[0].ended
        if now - self._failed_since < self._settings.every and len(self._failed) < BATCH:
            return
        found = [self._failed.popleft() for _ in range(len(self._failed))]
        self._failed_since = math.inf
        found = [one for one in found if is_sampled(one.id, self._settings.sample)]
        offset = time.time() - time.perf_counter()
        for model in {one.live.model for one in found}:
            own = [one for one in found if one.live.model == model]
            try:
                name, data = encoded(own, offset, self._out.token, self._out.number)
            except Exception:  # noqa: BLE001  counted and logged; the thread goes on
                self._lost[0] += len(own)
                _LOG.exception("the journal lost requests that nobody answered")
                continue
            self._out.put(name, data, 0)
