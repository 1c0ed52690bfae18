"""The process of a job: `python -m modelwright.ways_in.job_process FOLDER LOCK`.

It does what job.json asks for as whoever asked, and writes how it ended. LOCK is the open, locked
file that it inherits and keeps: whoever looks can tell that it lives.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel

from modelwright.core.errors import ModelwrightError, UsageError
from modelwright.core.principal import acting_as
from modelwright.core.store import from_json, to_json, write_atomic
from modelwright.ways_in import approvals
from modelwright.ways_in.carry_out import call_of, carry_out, noted
from modelwright.ways_in.job_files import (
    CANCEL,
    ERROR,
    JOB,
    PROCESS,
    RESULT,
    TRACE,
    Job,
    Process,
    end,
)
from modelwright.ways_in.job_progress import JobProgress
from modelwright.ways_in.operations import OPERATIONS, Operation

TERMINATED = 143
INTERRUPTED, ENDED = "interrupted", "terminated"
_BY_SIGTERM = "Ended by SIGTERM: nothing was released."
_told_to_end: list[int] = []


def main(folder: Path, lock: int) -> None:
    """Do a job."""
    os.set_inheritable(lock, False)  # a server that is measured must not hold it on
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        me = Process(os.getpid(), psutil.Process().create_time())
        write_atomic(folder / PROCESS, to_json(me))
        if (folder / CANCEL).exists():  # whoever asked came before there was a pid
            raise KeyboardInterrupt
        job = from_json((folder / JOB).read_bytes(), Job, where=JOB)
        with JobProgress(folder) as progress:
            result = _perform(job, progress)
    except KeyboardInterrupt:
        end(folder, ERROR, _words(INTERRUPTED, "Interrupted: nothing was released."))
    except SystemExit:
        end(folder, ERROR, _words(ENDED, _BY_SIGTERM))
    except ModelwrightError as error:
        end(folder, ERROR, _words(ENDED, _BY_SIGTERM) if _told_to_end else error.refusal())
    # The process boundary, as in cli.py: the traceback goes to a file that the error names.
    except Exception as error:  # noqa: BLE001
        if _told_to_end:  # a library that was being loaded made another error of it
            return end(folder, ERROR, _words(ENDED, _BY_SIGTERM))
        write_atomic(folder / TRACE, traceback.format_exc().encode())
        end(folder, ERROR, _fault(error, folder / TRACE))
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done: it is only written down
        end(folder, RESULT, result.model_dump(mode="json"))


def _perform(job: Job, progress: JobProgress) -> BaseModel:
    """Do it as whoever asked; the end of what an agent began stands in the audit, as its beginning
    does."""
    [operation] = [one for one in OPERATIONS if one.name == job.operation]
    with acting_as(job.principal) as who:
        if not who.is_agent:
            return _result(job, operation, progress)
        with noted(call_of(operation, job.arguments | {"job": job.id}, Path())) as answer:
            answer.append(_result(job, operation, progress))
        return answer[-1]


def _result(job: Job, operation: Operation, progress: JobProgress) -> BaseModel:
    if job.principal.approved:  # by the answer to a question; its arguments are the request's
        return operation.result.model_validate(_carried_out(job.principal.approved, progress))
    arguments = operation.arguments.model_validate(job.arguments)
    return carry_out(operation, arguments, progress, kept=True)  # counted when it was started


def _carried_out(request: str, progress: JobProgress) -> dict[str, Any]:
    done = approvals.carry_out(request, Path(), progress)
    if not done.result:
        raise UsageError(
            f"{request} was carried out already: {done.request.outcome}.", hint=done.request.next
        )
    return done.result


def _terminated(number: int, _frame: object) -> None:
    """As at the command line: unlike Ctrl-C, nothing is released."""
    _told_to_end.append(number)
    raise SystemExit(TERMINATED)


def _words(code: str, message: str) -> dict[str, object]:
    """An error in the form of `ModelwrightError.refusal`."""
    fix = "Start it again; run and retrain go on with what was kept: --resume."
    return {**ModelwrightError(message, hint=fix).refusal(), "code": code}


def _fault(error: Exception, trace: Path) -> dict[str, object]:
    message = f"modelwright met a fault of its own: {type(error).__name__}: {error}."
    told = ModelwrightError(
        message, hint=f"Please report it with {trace}.", evidence={"traceback": str(trace)}
    )
    return {**told.refusal(), "code": "fault"}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
