"""Progress of a job, into files that others look at."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import msgspec

from modelwright.core.errors import ModelwrightError
from modelwright.core.progress import BoardLine
from modelwright.core.store import append_line, timestamp, to_json, write_atomic
from modelwright.ways_in.job_files import LOG, PROGRESS, Line, Told

EVERY = 0.25
"""Seconds between two writes of progress.json: people see no difference, and disks do."""


class JobProgress:
    """Writes progress.json, at most four times a second, and log.jsonl.

    A thread writes, so that the work never waits for a disk, and that the last word of many in a
    row is written too.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told = Told()
        self._lines: list[Line] = []
        self._gate = threading.Lock()
        self._news = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="job progress", daemon=True)

    def __enter__(self) -> JobProgress:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._news.set()
        self._thread.join()

    def stage(self, name: str, detail: str = "") -> None:
        """A stage begins: what was told of the one before is over."""
        with self._gate:
            self._told = Told(stage=name, detail=detail)
        self._add("stage", f"{name}: {detail}" if detail else name)

    def step(self, done: float, total: float, note: str = "") -> None:
        """How far it is; a total that has no end is none."""
        known = math.isfinite(done) and math.isfinite(total) and total > 0
        with self._gate:
            self._told = msgspec.structs.replace(
                self._told, note=note, done=float(done) if known else 0.0,
                total=float(total) if known else 0.0,
            )  # fmt: skip
        self._news.set()

    def board(self, lines: Sequence[BoardLine]) -> None:
        """The leaderboard as it stands."""
        with self._gate:
            rows = tuple(line._asdict() for line in lines)
            self._told = msgspec.structs.replace(self._told, board=rows)
        self._news.set()

    def say(self, line: str) -> None:
        """One line for the log."""
        self._add("say", line)

    def _add(self, kind: str, text: str) -> None:
        with self._gate:
            self._lines.append(Line(timestamp(), kind, text))
        self._news.set()

    def _keep(self) -> None:
        """Write whenever there is news, and the rest at the end."""
        while not self._ended.is_set():
            self._news.wait()
            self._write()
            self._ended.wait(EVERY)
        self._write()

    def _write(self) -> None:
        self._news.clear()
        with self._gate:
            told, lines, self._lines = self._told, self._lines, []
        # a full disk must not end the work: it is told of where results are written
        with contextlib.suppress(OSError, ModelwrightError):
            for line in lines:
                append_line(self._folder / LOG, line)
            write_atomic(self._folder / PROGRESS, to_json(told))
