"""A worker's end of the pipe to the process that writes its journal."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence

import msgspec

from modelwright.serve.journal_wire import Begin, Message, Tally, send
from modelwright.serve.metrics import Counts
from modelwright.serve.settings import Journaling

COMMAND = (sys.executable, "-m", "modelwright.serve.journal_process")
AGAIN_SECONDS = 1.0
"""A process that ended is started again, but not more often than this."""
_LOG = logging.getLogger("modelwright.serve")


class Pipe:
    """Starts the process, tells it messages, and counts what became of them.

    Only the journal's thread uses it.

    Args:
        settings: what the process begins with.
        counts: of the worker; rows that were written and lost, and processes that ended.
        server: whose journal it is, in words that `ps` shows.

    Attributes:
        begun: how many processes were started; each knows only what itself was told.
    """

    def __init__(self, settings: Journaling, counts: Counts, server: Sequence[str] = ()) -> None:
        self.begun = 0
        self._settings, self._command = settings, (*COMMAND, *server)
        self._written = counts.counter("modelwright_journal_rows_total")
        self._lost = counts.counter("modelwright_journal_dropped_total", "write")
        self._restarts = counts.counter("modelwright_journal_restarts_total")
        self._unwritable = counts.gauge("modelwright_journal_unwritable")
        self._gone = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._sent = 0
        self._tally, self._back = Tally(), b""
        self._next = 0.0
        self._failing = False

    def begin(self) -> bool:
        """See that there is a process; False where there is none, and none can be started now."""
        if self._process is not None:
            return True
        now = time.perf_counter()
        if now < self._next:
            return False
        self._next = now + AGAIN_SECONDS
        try:
            process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            if not self._failing:
                _LOG.error("the journal cannot start its process: %s", error)
            self._failing = True
            return False
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._process, self.begun = process, self.begun + 1
        self._sent, self._tally, self._back = 0, Tally(), b""
        self._unwritable[0] = 0.0
        self._say_lost("the journal's new process has begun")
        return self.send(Begin(self._settings), 0)

    def send(self, message: Message, rows: int) -> bool:
        """Tell the process; False where it is gone, and the rows are lost with it."""
        if self._process is None:
            self._lose(rows)
            return False
        assert self._process.stdin is not None
        try:
            send(message, self._process.stdin)
        except OSError:
            self._sent += rows
            self._ended()
            return False
        self._sent += rows  # not where it could not be encoded: whoever asked counts those
        return True

    def listen(self) -> None:
        """Hear what was written and lost, and whether the process still is there."""
        if self._process is not None:
            self._hear()
            if self._process.poll() is not None:
                self._ended()

    def end(self, seconds: float) -> None:
        """Let the process write what it has; it goes on without us if that takes longer."""
        process = self._process
        if process is not None:
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, seconds))
            self._hear()
            if process.poll() not in (None, 0):
                self._ended()
        self._say_lost("the journal ends")

    def _hear(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._process.stdout.fileno(), 65536):
                self._back += data
        *lines, self._back = self._back.split(b"\n")
        if not lines:
            return
        try:
            tally = msgspec.json.decode(lines[-1], type=Tally)
        except msgspec.DecodeError:  # printed by a library that keeps the files; the next one tells
            return
        self._written[0] += tally.written - self._tally.written
        self._lost[0] += tally.lost - self._tally.lost
        self._unwritable[0] = float(tally.failing)
        self._tally, self._failing = tally, False

    def _ended(self) -> None:
        """What it had and had not written is lost."""
        process = self._process
        assert process is not None
        self._hear()
        self._process = None
        self._restarts[0] += 1
        self._lose(self._sent - self._tally.written - self._tally.lost)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # what could not be told goes with it
                pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        # one that ends as soon as it begins is told once
        if not self._failing or time.perf_counter() > self._next:
            _LOG.error(
                "the journal's process ended (exit code %s) with what it had not written; "
                "it is started again", process.returncode,
            )  # fmt: skip
        self._failing = True

    def _say_lost(self, when: str) -> None:
        """How many answers went, once it is known."""
        if self._gone:
            _LOG.error("%s; %d answers were lost", when, self._gone)
        self._gone = 0

    def _lose(self, rows: int) -> None:
        self._lost[0] += rows
        self._gone += rows
