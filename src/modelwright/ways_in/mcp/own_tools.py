"""Tools that no operation stands behind: how the project stands, its spec, jobs, some rows."""

from __future__ import annotations

import time
from typing import Any

import anyio
from mcp.server.mcpserver import Context
from mcp_types import InputRequiredResult
from pydantic import BaseModel, ConfigDict, Field

import modelwright as mw
from modelwright.core.agent_paths import readable
from modelwright.core.goalposts import remember
from modelwright.core.progress import Progress
from modelwright.core.spec_file import DEFAULT_NAME
from modelwright.core.store import write_atomic
from modelwright.ways_in import jobs
from modelwright.ways_in.job_state import JobState, LogLine
from modelwright.ways_in.mcp.calling import HERE, Json, about_memory, in_thread, pending
from modelwright.ways_in.mcp.next_actions import after_run, next_actions, what_now
from modelwright.ways_in.mcp.offers import Offer, with_cursor
from modelwright.ways_in.mcp.questions import can_ask
from modelwright.ways_in.mcp.spec_guard import checked_spec
from modelwright.ways_in.mcp.status import Status, status

LONGEST_WAIT = 50.0
MOST_ROWS = 100
LOG_BYTES = 5_000
_PAUSES = (0.05, 0.5)


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StatusArguments(_Given):
    """Arguments of project_status."""


class SpecWriteArguments(_Given):
    """Arguments of spec_write."""

    text: str = Field(description="The whole text of modelwright.yaml.", max_length=200_000)


class SpecWritten(BaseModel):
    """What spec_write wrote; `changed`: key: before -> now."""

    spec: str
    name: str
    changed: list[str]


class JobArguments(_Given):
    """Arguments of job_cancel."""

    job_id: str = Field(description="As returned when it was started.")


class JobWaitArguments(JobArguments):
    """Arguments of job_wait."""

    seconds: float = Field(30.0, ge=0, le=LONGEST_WAIT, description="How long to wait at most.")


class JobLogArguments(JobArguments):
    """Arguments of job_log."""

    cursor: int = Field(0, ge=0, description="0 for the beginning, else of the call before.")


class JobLog(BaseModel):
    """Lines of a job's log; `truncated`: there are more already."""

    lines: list[LogLine]
    cursor: int
    truncated: bool


class PredictRowsArguments(_Given):
    """Arguments of predict_rows."""

    model: str = Field(description="NAME, NAME@challenger or NAME/3.")
    rows: list[dict[str, Any]] = Field(
        description="Rows as column: value; not from the project's own table.",
        min_length=1, max_length=MOST_ROWS,
    )  # fmt: skip


class Answered(BaseModel):
    """What predict_rows answered, a record a row."""

    model: str
    answers: list[dict[str, Any]]


def own_tools() -> tuple[Offer, ...]:
    """Those tools."""
    waits, logs = with_cursor("JobWaitArguments", JobWaitArguments), JobLogArguments
    return (
        Offer("project_status", "Where the project stands, and what to do next. Call it first.",
              "read", with_cursor("StatusArguments", StatusArguments), Status, _status),
        Offer("spec_write", "Write modelwright.yaml whole; not while it has problems.",
              "propose", with_cursor("SpecWriteArguments", SpecWriteArguments), SpecWritten,
              _spec_write, again=True),
        Offer("job_wait", "Wait for a job, 50 seconds at most, with progress; then how it stands.",
              "read", waits, JobState, direct=_job_wait),
        Offer("job_log", "Lines of a job's log.", "read", logs, JobLog, _job_log),
        Offer("job_cancel", "Ask a job to end; once more ends it without a release.", "propose",
              with_cursor("JobCancelArguments", JobArguments), JobState, _job_cancel),
        Offer("predict_rows", "Answer up to 100 rows that are given in the call.", "read",
              with_cursor("PredictRowsArguments", PredictRowsArguments), Answered, _predict_rows),
    )  # fmt: skip


def _status(_given: StatusArguments, _progress: Progress) -> BaseModel:
    return status(HERE)


def _spec_write(given: SpecWriteArguments, _progress: Progress) -> BaseModel:
    made, changed = checked_spec(given.text, HERE)
    path = HERE / DEFAULT_NAME
    before = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
    write_atomic(path, given.text.encode())
    remember(HERE, given.text, before)
    return SpecWritten(spec=DEFAULT_NAME, name=made.spec.name, changed=changed)


def _job_log(given: JobLogArguments, _progress: Progress) -> BaseModel:
    lines, cursor, size = list[LogLine](), given.cursor, 0
    while size < LOG_BYTES:
        found, after = jobs.log(HERE, given.job_id, cursor, most=1)
        if not found:
            return JobLog(lines=lines, cursor=after, truncated=False)
        lines, cursor = lines + found, after
        size += sum(min(len(line.text), 600) + 60 for line in found)
    return JobLog(lines=lines, cursor=cursor, truncated=True)


def _job_cancel(given: JobArguments, _progress: Progress) -> BaseModel:
    return jobs.cancel(HERE, given.job_id)


def _predict_rows(given: PredictRowsArguments, _progress: Progress) -> BaseModel:
    readable(given.model, HERE)  # a model may be named by its folder
    return Answered(model=given.model, answers=mw.predict_rows(given.model, given.rows))


async def _job_wait(
    given: JobWaitArguments, context: Context[Any, Any]
) -> Json | InputRequiredResult:
    until, pause, told = time.monotonic() + given.seconds, _PAUSES[0], ""
    while True:
        state = await in_thread(jobs.look, HERE, given.job_id)
        saying = f"{state.stage} {state.done:.3g} {state.note}"
        if saying != told:
            told, pause = saying, _PAUSES[0]
            message = " ".join(filter(None, (state.stage, state.detail, state.note)))
            await context.report_progress(state.done, state.total or None, message[:200])
        left = until - time.monotonic()
        if state.over or left <= 0:
            return await _stands(state, context)
        await anyio.sleep(min(pause, left))
        pause = min(1.5 * pause, _PAUSES[1])


async def _stands(state: JobState, context: Context[Any, Any]) -> Json | InputRequiredResult:
    """A job as it stands, with what follows from it."""
    made: Json = {"status": "done"} | state.model_dump(mode="json")
    error = state.error or {}
    if error.get("code") == "ApprovalNeeded":
        return made | pending(error)
    if error.get("rule") == "memory_preflight" and can_ask(context):
        asked = await about_memory(context, error)
        if isinstance(asked, InputRequiredResult):
            return asked
        return made | {name: asked[name] for name in ("decision", "next_actions")}
    return made | {"next_actions": _after(state)}


def _after(state: JobState) -> list[str]:
    if state.state == "running":
        return [f"job_wait with job_id {state.id}; job_log shows what it said."]
    if state.error:
        return what_now(state.error)
    if state.state == "lost":
        return ["Its process was killed: begin what resume_with says."]
    result = state.result or {}
    if state.operation == "run":
        return after_run(result)
    if state.operation == "retrain":
        return after_run(result.get("run"))
    return next_actions(state.operation, result)
