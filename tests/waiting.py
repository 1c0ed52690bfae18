"""Jobs that wait until a test lets them go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil

from modelwright.core.store import from_json
from modelwright.ways_in import job_files as files
from modelwright.ways_in import jobs
from modelwright.ways_in.job_state import JobState

LONG = 100.0
PIPE = "pipe.yaml"
"""A spec file that is a pipe: whoever reads it goes on when somebody writes."""


def begin(folder: Path) -> JobState:
    """A job that waits; it has come to its work."""
    state = jobs.start(folder, "spec", {"file": PIPE})
    until(folder, state.id, lambda home: (home / files.PROCESS).exists())
    process = psutil.Process(pid_of(folder, state.id))
    until(folder, state.id, lambda _: process.num_threads() > 1)  # it keeps its progress by now
    return state


def until(folder: Path, id: str, true: Callable[[Path], bool]) -> None:
    """Wait until something is true of a job's folder."""
    home = folder / files.JOBS / id
    for _ in range(10_000):
        if true(home):
            return
        jobs.wait(folder, id, 0.02)
    raise AssertionError(jobs.look(folder, id))


def let_go(folder: Path) -> None:
    """Write what the job waits to read."""
    (folder / PIPE).write_bytes((folder / "modelwright.yaml").read_bytes())


def pid_of(folder: Path, id: str) -> int:
    path = folder / files.JOBS / id / files.PROCESS
    return from_json(path.read_bytes(), files.Process).pid
