"""Files of a journal on their way to where they stay: tried again where they cannot be written, and
removed when they are old."""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelwright.core.redaction import redacted_text
from modelwright.serve import unanswered
from modelwright.serve.journal_store import Place, sweep
from modelwright.serve.settings import Journaling

if TYPE_CHECKING:
    from modelwright.serve.metrics import Cell

SWEEP_SECONDS = 60.0
RETRY_SECONDS = 5.0
MOST_UNWRITTEN = 16
"""Files that wait for a disk that is full or a network that is away; then the oldest is lost."""
_LOG = logging.getLogger("modelwright.serve")


@dataclass(slots=True)
class Unwritten:
    """A file that could not be written yet."""

    name: str
    data: bytes
    rows: int


class Outlet:
    """Where files go; only the journal's process uses it.

    Args:
        settings: how long they stay.
        place: where.
        written, lost: counters of rows.

    Attributes:
        token: of this process, in names of files; `number` is that of the next one.
        failing: whether files cannot be written.
    """

    def __init__(self, settings: Journaling, place: Place, written: Cell, lost: Cell) -> None:
        self.token, self.number = secrets.token_hex(6), 0
        self._settings, self._place = settings, place
        self._written, self._lost = written, lost
        self._unwritten: deque[Unwritten] = deque()
        self.failing = False
        self._gone = 0
        self._next_try = self._next_sweep = 0.0

    @property
    def waits(self) -> bool:
        """Whether a file could not be written yet."""
        return bool(self._unwritten)

    def probe(self) -> None:
        """See whether files can be written, so that it is said at the start and not with the first
        of them."""
        try:
            self._place.probe(self.token)
        except OSError as error:
            self._say(error)

    def put(self, name: str, data: bytes, rows: int) -> None:
        """Take a file; it is written with the next call of `write`."""
        self.number += 1
        self._unwritten.append(Unwritten(name, data, rows))

    def write(self, now: float, *, last: bool = False) -> None:
        """Write what waits, unless it failed a moment ago.

        Args:
            now: of `time.perf_counter()`; infinity tries at once.
            last: count as lost what cannot be written.
        """
        while len(self._unwritten) > MOST_UNWRITTEN:
            self._lose(self._unwritten.popleft())
        if now < self._next_try:
            return
        while self._unwritten:
            file = self._unwritten[0]
            try:
                self._place.put(file.name, file.data)
            except OSError as error:
                self._refused(error, last=last)
                return
            self._unwritten.popleft()
            self._written[0] += file.rows
            self._works()

    def sweep(self, now: float) -> None:
        """Remove old files, once in a while."""
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_SECONDS
        try:
            sweep(self._place, time.time(), self._settings.keep, self._settings.most)
            unanswered.sweep(self._place, time.time(), self._settings.keep)
        except OSError as error:
            if not self.failing:
                _LOG.error("old files of the journal cannot be removed: %s", error)

    def _refused(self, error: OSError, *, last: bool) -> None:
        """Try again later; at the end what is left is lost."""
        self._say(error)
        self._next_try = time.perf_counter() + RETRY_SECONDS
        if last:
            while self._unwritten:
                self._lose(self._unwritten.popleft())
            _LOG.error("the journal lost %d answers that it could not write", self._gone)

    def _say(self, error: OSError) -> None:
        """Say it once, until it works again."""
        if not self.failing:
            _LOG.error(
                "the journal cannot be written to %s: %s; answers go on, and files are tried again "
                "every %d s",
                redacted_text(self._settings.to), redacted_text(str(error)), RETRY_SECONDS,
            )  # fmt: skip
        self.failing = True

    def _works(self) -> None:
        if self.failing:
            _LOG.warning("the journal is written again; it lost %d answers", self._gone)
        self.failing, self._gone = False, 0

    def _lose(self, file: Unwritten) -> None:
        self._lost[0] += file.rows
        self._gone += file.rows
