"""Long work as jobs: processes of their own, which outlive whoever started them.

Whether a job lives is asked of the kernel, which frees the lock of a process that is gone, so no
pid and no clock decides that.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import psutil
from pydantic import ValidationError

from modelwright.core.errors import UsageError, did_you_mean
from modelwright.core.principal import acting
from modelwright.core.store import (
    held_file,
    is_held,
    locked,
    timestamp,
    to_json,
    write_atomic,
)
from modelwright.ways_in import job_files as files
from modelwright.ways_in.arguments import misfits
from modelwright.ways_in.job_state import JobState, LogLine
from modelwright.ways_in.operations import OPERATIONS, Operation

APPROVER_KEY = "MODELWRIGHT_APPROVER_KEY"
NO_JOBS = {
    "serve": "It does not end; start it where services are kept running.",
    "jobs": "It answers at once.",
}
RESUMABLE = ("run", "retrain")
GRACE = 5.0
"""Seconds that a job has to end after SIGTERM, before it may be killed."""
MOST_LINES = 200
PAUSES = (0.02, 0.25)
"""Shortest and longest sleep, in seconds, between two looks of `wait`."""
SAME_START = 1.0


def start(folder: Path, operation: str, arguments: Mapping[str, Any]) -> JobState:
    """Begin an operation in a process of its own, as whoever acts now.

    Args:
        folder: of the project, where the process works: relative paths are relative to it.
        operation: by name.
        arguments: as the operation takes them; checked before anything is begun.

    Raises:
        UsageError: no such operation, arguments that do not fit, or a folder that cannot be
            written to.
    """
    found = _operation(operation)
    checked = _checked(found, arguments)
    home = files.new_folder(folder)
    job = files.Job(home.name, operation, checked, asdict(acting()), timestamp())
    with held_file(home / files.LOCK) as lock:  # before there is a job: it is never taken for lost
        write_atomic(home / files.JOB, to_json(job))
        try:
            process = _spawn(folder, home.resolve(), lock.fileno())
        except OSError as error:
            shutil.rmtree(home)
            raise UsageError(f"No process can be started: {error.strerror}.") from error
    # whoever stays alive longer than the job takes its exit code, so that no zombie is left
    threading.Thread(target=process.wait, name=f"job {job.id}", daemon=True).start()
    return look(folder, job.id)


def look(folder: Path, id: str) -> JobState:
    """How a job stands.

    Raises:
        UsageError: there is no such job.
    """
    home = _home(folder, id)
    job = files.read(home / files.JOB, files.Job)
    if job is None:
        raise _no_job(folder, id)
    ending = _ending(home)
    if ending is None and not is_held(home / files.LOCK):
        ending = _ending(home)  # it may have ended between the two questions
        if ending is None:
            ending = ("", files.Ending("", {}))
    told = files.read_loosely(home / files.PROGRESS, files.Told) or files.Told()
    state = JobState(
        id=job.id, operation=job.operation, state="running", began=job.began, by=job.by["name"],
        **msgspec.to_builtins(told),
    )  # fmt: skip
    return state if ending is None else _ended(state, job, home, *ending)


def wait(
    folder: Path, id: str, seconds: float, tell: Callable[[JobState], None] | None = None
) -> JobState:
    """Wait for a job's end, so long at most.

    Args:
        seconds: any number; at the end of them the job goes on.
        tell: called with each state that differs from the one before.
    """
    until = time.monotonic() + seconds
    pause, before = PAUSES[0], None
    while True:
        now = look(folder, id)
        if now != before:
            pause, before = PAUSES[0], now
            if tell is not None:
                tell(now)
        left = until - time.monotonic()
        if now.over or left <= 0:
            return now
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, PAUSES[1])


def cancel(folder: Path, id: str) -> JobState:
    """Ask a job to end: first as Ctrl-C does, which keeps what was found and may still release it;
    asked again as SIGTERM does, which releases nothing; then, after some seconds, with SIGKILL.

    Returns:
        How it stands now: it ends in a moment. One that has ended is left as it is.
    """
    home = _home(folder, id)
    with locked(home / ".cancel.lock"):
        state = look(folder, id)
        if state.over:
            return state
        now = time.time()
        first = files.Cancelling(acting().name, timestamp(), 0, now)
        asked = files.read(home / files.CANCEL, files.Cancelling) or first
        times = min(asked.times + 1, 3)
        if times == 3 and asked.times == 2 and now - asked.last < GRACE:
            return state
        asked = msgspec.structs.replace(asked, times=times, last=now)
        # before the pid is looked for: a process that has written none yet finds this instead
        write_atomic(home / files.CANCEL, to_json(asked))
        _signal(home, (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)[times - 1])
    return look(folder, id)


def log(
    folder: Path, id: str, cursor: int = 0, most: int = MOST_LINES
) -> tuple[list[LogLine], int]:
    """Lines of a job's log.

    Args:
        cursor: 0 for the beginning, else what the last call returned.
        most: so many at most.

    Returns:
        The lines, and the cursor of what comes after them.
    """
    home = _home(folder, id)
    found: list[LogLine] = []
    try:
        with (home / files.LOG).open("rb") as file:
            file.seek(max(0, cursor))
            for line in file:
                if not line.endswith(b"\n") or len(found) == most:
                    break
                cursor += len(line)
                with contextlib.suppress(ValidationError):  # a line that a kill cut short
                    found.append(LogLine.model_validate_json(line))
    except FileNotFoundError:
        look(folder, id)
    return found, cursor


def all_jobs(folder: Path) -> list[JobState]:
    """Jobs of a project, newest first; without results and leaderboards, which `look` has."""
    found = []
    for id in _ids(folder):
        with contextlib.suppress(UsageError):  # gc may take an old one away meanwhile
            found.append(look(folder, id).model_copy(update={"result": None, "board": []}))
    return found


def _operation(name: str) -> Operation:
    known = {one.name: one for one in OPERATIONS if one.name not in NO_JOBS}
    if name not in known:
        hint = NO_JOBS.get(name) or did_you_mean(name, known) or f"There are: {', '.join(known)}."
        raise UsageError(f"{name!r} cannot be a job.", hint=hint)
    return known[name]


def _checked(operation: Operation, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as they are written down: those that were given, in the form they have as JSON."""
    try:
        checked = operation.arguments.model_validate(dict(arguments))
    except ValidationError as error:
        raise UsageError(
            f"Arguments of {operation.name} that do not fit: {'; '.join(misfits(error))}.",
            hint=f"It takes: {', '.join(operation.arguments.model_fields)}.",
        ) from error
    return checked.model_dump(mode="json", exclude_unset=True)


def _spawn(folder: Path, home: Path, lock: int) -> subprocess.Popen[bytes]:
    """A process with nothing of ours but the lock; -P: no module of the project folder is taken for
    one of Python's own."""
    command = [sys.executable, "-P", "-m", "modelwright.ways_in.job_process", str(home), str(lock)]
    environment = {name: text for name, text in os.environ.items() if name != APPROVER_KEY}
    with (home / files.OUTPUT).open("ab") as output:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True, pass_fds=(lock,),
        )  # fmt: skip


def _ending(home: Path) -> tuple[str, files.Ending] | None:
    for name in (files.RESULT, files.ERROR):
        found = files.read(home / name, files.Ending)
        if found is not None:
            return name, found
    return None


def _ended(
    state: JobState, job: files.Job, home: Path, name: str, ending: files.Ending
) -> JobState:
    """The last state: by what was written at the end, and whether somebody had asked for one."""
    cancelled = (home / files.CANCEL).exists()
    changes: dict[str, Any] = {"ended": ending.at}
    if name == files.RESULT:
        changes |= {"state": "cancelled" if cancelled else "done", "result": ending.content}
        return state.model_copy(update=changes)
    cut_off = not name or ending.content.get("code") in ("interrupted", "terminated")
    if name:
        changes["error"] = ending.content
    else:
        changes["note"] = _last_line(home / files.OUTPUT) or state.note
    changes["state"] = "failed" if not cut_off else "cancelled" if cancelled else "lost"
    if cut_off and job.operation in RESUMABLE:
        by_itself = bool(job.by.get("approved"))  # the approval goes on with the run that it began
        again = job.arguments if by_itself else {**job.arguments, "resume": True}
        changes["resume_with"] = {"operation": job.operation, "arguments": again}
    return state.model_copy(update=changes)


def _last_line(path: Path) -> str:
    """The last line that a process wrote, which may say why it ended."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 2000))
            text = file.read().decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return ""
    return text.splitlines()[-1][:500] if text else ""


def _signal(home: Path, number: signal.Signals) -> None:
    """Signal a job's process, and no other that has its pid by now: the lock says that it lives,
    its start that it is the one. What it began is killed with it."""
    process = files.read(home / files.PROCESS, files.Process)
    if process is None or not is_held(home / files.LOCK):
        return
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        found = psutil.Process(process.pid)
        if abs(found.create_time() - process.started) > SAME_START:
            return
        if number == signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            found.send_signal(number)


def _home(folder: Path, id: str) -> Path:
    """The folder of a job; an id is a name and never a path."""
    if not files.ID.fullmatch(id):
        raise _no_job(folder, id)
    return folder / files.JOBS / id


def _no_job(folder: Path, id: str) -> UsageError:
    ids = _ids(folder)
    newest = f"The newest is {ids[0]}." if ids else "There is none in this project."
    return UsageError(f"There is no job {json.dumps(id)}.", hint=did_you_mean(id, ids) or newest)


def _ids(folder: Path) -> list[str]:
    """Newest first."""
    found = (path.parent.name for path in (folder / files.JOBS).glob(f"*/{files.JOB}"))
    return sorted(filter(files.ID.fullmatch, found), reverse=True)
