"""The files of a job: what its process writes, and whoever looks at it reads.

.modelwright/jobs/20261126-221434-12307/
    .lock            held by the job's process for life; the kernel frees it
    job.json         what was asked for, by whom
    process.json     pid and start, for cancel only
    progress.json    where it stands
    log.jsonl        stages and lines
    cancel.json      who asked it to end, and how often
    output.txt       what libraries printed
    result.json      or error.json: how it ended
"""

from __future__ import annotations

import re
import secrets
import time
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from modelwright.core.errors import ArtefactError, UsageError
from modelwright.core.principal import Principal
from modelwright.core.store import from_json, timestamp, to_json, write_atomic

JOBS = Path(".modelwright") / "jobs"
LOCK, JOB, PROCESS, PROGRESS = ".lock", "job.json", "process.json", "progress.json"
LOG, CANCEL, OUTPUT = "log.jsonl", "cancel.json", "output.txt"
RESULT, ERROR, TRACE = "result.json", "error.json", "traceback.txt"
ID = re.compile(r"\d{8}-\d{6}-\d{3}[0-9a-f]{2}")
Record = TypeVar("Record")


class Job(msgspec.Struct, frozen=True):
    """What was asked for, by whom (the fields of `Principal`)."""

    id: str
    operation: str
    arguments: dict[str, Any]
    by: dict[str, str]
    began: str

    @property
    def principal(self) -> Principal:
        """Who acts."""
        return msgspec.convert(self.by, Principal)


class Process(msgspec.Struct, frozen=True):
    """The process that does the work; `started`: seconds since 1970, since pids are used again."""

    pid: int
    started: float


class Told(msgspec.Struct, frozen=True):
    """What the work told last."""

    stage: str = ""
    detail: str = ""
    done: float = 0.0
    total: float = 0.0
    note: str = ""
    board: tuple[dict[str, str], ...] = ()


class Line(msgspec.Struct, frozen=True):
    """One line of the log."""

    at: str
    kind: str
    text: str


class Cancelling(msgspec.Struct, frozen=True):
    """Who asked a job to end, first, and how often; `last`: seconds since 1970."""

    by: str
    at: str
    times: int
    last: float


class Ending(msgspec.Struct, frozen=True):
    """How a job ended: what is in result.json or error.json."""

    at: str
    content: dict[str, Any]


def new_folder(folder: Path) -> Path:
    """Make the folder of a new job; names sort by time.

    Raises:
        UsageError: there is no such project folder, or it cannot be written.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", hint="Name the folder of a project.")
    while True:
        now = time.time()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
        made = folder / JOBS / f"{stamp}-{int(now % 1 * 1000):03d}{secrets.token_hex(1)}"
        try:
            made.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UsageError(
                f"Cannot write {made}: {error.strerror}.",
                hint="Start jobs in a folder that you may write to.",
            ) from error
        return made


def read(path: Path, kind: type[Record]) -> Record | None:
    """A record of a job; None where there is none."""
    try:
        return from_json(path.read_bytes(), kind, where=path.name)
    except FileNotFoundError:
        return None


def read_loosely(path: Path, kind: type[Record]) -> Record | None:
    """The same for what nothing depends on: None where it cannot be read, too."""
    try:
        return read(path, kind)
    except (OSError, ArtefactError):
        return None


def end(folder: Path, name: str, content: dict[str, Any]) -> None:
    """Write how a job ended."""
    write_atomic(folder / name, to_json(Ending(timestamp(), content)))
