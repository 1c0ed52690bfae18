"""The process that writes the journal of a worker: `python -m modelwright.serve.journal_process`.

It reads messages (`journal_wire`) from standard input, makes columns and files of them, and ends
when the other side closes: also when the worker was killed, so what reached it is not lost. A
thread would share the worker's interpreter, and cost it four times as much (docs/journal.md).
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable

import msgspec

from modelwright.serve.journal_out import Outlet
from modelwright.serve.journal_segment import Segment
from modelwright.serve.journal_store import Place, file_name, place_of
from modelwright.serve.journal_wire import (
    Asked,
    Begin,
    Failure,
    Failures,
    Message,
    Runs,
    Tally,
    Version,
    received,
)
from modelwright.serve.labels import arrow
from modelwright.serve.log_lines import log_lines, sign_lines
from modelwright.serve.settings import Journaling
from modelwright.serve.unanswered import encoded

EVERY = 0.5
"""Seconds after which it looks whether a file is due when nothing comes."""
NICE = 5
"""It gives way to whoever answers."""
LARGEST = 64 * 2**20
"""Bytes of numbers that close a file of a wide table before its rows do."""
MOST_FAILURES = 2048
"""Requests without an answer that close their file before its time."""
_LOG = logging.getLogger("modelwright.serve")


class Writer:
    """Messages to files.

    Args:
        settings: see `core.spec_serve.JournalSpec`.
        place: where the files go.
        tell: is called when more rows are written or lost.
    """

    def __init__(self, settings: Journaling, place: Place, tell: Callable[[Tally], None]) -> None:
        self._arrow, self._parquet = arrow()
        self._settings, self._tell = settings, tell
        self._tally = Tally()
        self._versions: dict[int, Version] = {}
        self._segments: dict[int, Segment] = {}
        self._failures: list[Failure] = []
        self._failures_since = math.inf
        self._written, self._lost = [0.0], [0.0]
        self._out = Outlet(settings, place, self._written, self._lost)

    @property
    def waits(self) -> bool:
        """Whether a file could not be written yet."""
        return self._out.waits

    def probe(self) -> None:
        """Say it if nothing can be written where the files go."""
        self._out.probe()

    def take(self, message: Message) -> None:
        """Take one; a fault is counted and logged, and harms no other."""
        if isinstance(message, Version):
            self._versions[message.number] = message
        elif isinstance(message, Failures):
            if not self._failures:
                self._failures_since = time.perf_counter()
            self._failures += message.found
        elif isinstance(message, Runs | Asked):
            self._into(message)

    def look(self, now: float) -> None:
        """Write what is due, and tell how it went.

        Args:
            now: of `time.perf_counter()`; infinity for the end.
        """
        for number, segment in list(self._segments.items()):
            if now - segment.began >= self._settings.every:
                self._finish(number)
        if self._failures and (
            now - self._failures_since >= self._settings.every
            or len(self._failures) >= MOST_FAILURES
        ):
            self._finish_failures()
        self._out.write(now, last=now == math.inf)
        if now < math.inf:
            self._out.sweep(now)
        tally = Tally(int(self._written[0]), int(self._lost[0]), self._out.failing)
        if tally != self._tally:
            self._tally = tally
            self._tell(tally)

    def _into(self, message: Runs | Asked) -> None:
        number = message.version
        try:
            segment = self._segments.get(number)
            if segment is None:
                segment = self._segments[number] = Segment(self._versions[number])
            if isinstance(message, Runs):
                segment.take(message)
            else:
                segment.add(message)
        # One message may be wrong; the open files of this and of other versions are not.
        except Exception:  # noqa: BLE001  counted and logged; the process goes on
            rows = int(message.about.table()["rows"].sum())
            self._lost[0] += rows
            told = self._versions.get(number)
            whose = f"{told.model} version {told.version}" if told else "a version never told of"
            _LOG.exception("the journal lost %d answers of %s", rows, whose)
            return
        wide = segment.rows * len(segment.version.features) * 8 >= LARGEST
        if segment.rows >= self._settings.rows or wide:
            self._finish(number)

    def _finish(self, number: int) -> None:
        """Close a file; it is written now, or tried again."""
        segment = self._segments.pop(number)
        if not segment.rows:
            return
        try:
            table = segment.table(self._arrow)
            sink = self._arrow.BufferOutputStream()
            words = [field.name for field in table.schema if "dictionary" in str(field.type)]
            self._parquet.write_table(
                table, sink, compression="zstd", use_dictionary=words, write_statistics=["time"]
            )
            version, (begin, end), out = segment.version, segment.span(), self._out
            name = file_name(version.model, version.version, begin, end, out.token, out.number)
            data = sink.getvalue().to_pybytes()
        # pyarrow has errors of its own; a table that it refuses is refused again: no second try.
        except Exception:  # noqa: BLE001  counted and logged; the process goes on
            self._lost[0] += segment.rows
            _LOG.exception(
                "the journal lost a file of %d answers of %s version %s", segment.rows,
                segment.version.model, segment.version.version,
            )  # fmt: skip
            return
        self._out.put(name, data, segment.rows)
        self._out.write(time.perf_counter())

    def _finish_failures(self) -> None:
        """Close the files of what nobody answered, one a model."""
        found, self._failures = self._failures, []
        for model in {one.model for one in found}:
            own = [one for one in found if one.model == model]
            try:
                name, data = encoded(own, self._out.token, self._out.number)
            # as above: other models' files are not to go with this one's
            except Exception:  # noqa: BLE001  counted and logged; the process goes on
                self._lost[0] += len(own)
                _LOG.exception("the journal lost %d unanswered requests of %s", len(own), model)
                continue
            self._out.put(name, data, 0)


def tell_worker(tally: Tally) -> None:
    """Say it on standard output; where the worker does not listen it hears the next one."""
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), msgspec.json.encode(tally) + b"\n")


def main() -> int:
    """Write until the other side closes; the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the worker still has answers to tell
    log_lines()
    sign_lines(sys.argv)
    with contextlib.suppress(OSError):
        os.nice(NICE)
    os.set_blocking(sys.stdout.fileno(), False)
    messages = received(sys.stdin.fileno(), EVERY)
    first = next((one for one in messages if one is not None), None)
    if not isinstance(first, Begin):
        return 0 if first is None else 2
    writer = Writer(first.settings, place_of(first.settings.to), tell_worker)
    writer.probe()
    for message in messages:
        if message is not None:
            writer.take(message)
        writer.look(time.perf_counter())
    writer.look(math.inf)
    return 0


if __name__ == "__main__":
    sys.exit(main())
