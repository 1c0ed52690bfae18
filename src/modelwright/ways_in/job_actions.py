"""The operation `jobs`, and what `--background` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

import modelwright as mw
from modelwright.core.errors import UsageError
from modelwright.core.limits import parse_quantity
from modelwright.core.progress import BoardLine, Progress
from modelwright.ways_in import arguments
from modelwright.ways_in import jobs as work
from modelwright.ways_in.job_state import JobsResult, JobState, LogLine

TRAININGS: tuple[Literal["run", "retrain"], ...] = ("run", "retrain")


def jobs(given: arguments.JobsArguments, progress: Progress) -> JobsResult:
    """Look at jobs, wait for one, end one, or show its log."""
    folder = Path(given.project)
    if not given.id:
        if given.wait is not None or given.cancel or given.log or given.cursor:
            raise UsageError(
                "--wait, --cancel and --log are for one job.",
                hint="Such as: modelwright jobs ID --log",
            )
        return JobsResult(jobs=work.all_jobs(folder))
    if given.cancel:
        work.cancel(folder, given.id)
    if given.wait is not None:
        state = work.wait(folder, given.id, _seconds(given.wait), _Shown(progress).show)
    else:
        state = work.look(folder, given.id)
    lines: list[LogLine] = []
    cursor = given.cursor
    if given.log:
        lines, cursor = work.log(folder, given.id, cursor)
    return JobsResult(jobs=[state], waited=given.wait is not None, lines=lines, cursor=cursor)


def begin(operation: str, given: BaseModel) -> JobsResult:
    """Start an operation of the command line as a job of its project.

    The job works in the project's folder, so paths that were meant from here are written in full.
    """
    said: dict[str, Any] = given.model_dump(exclude_unset=True)
    every = given.model_dump()
    if "spec" in every:
        spec = Path(every["spec"])
        folder, said["spec"] = spec.parent, spec.name
        if not spec.exists():
            raise UsageError(
                f"There is no spec file {spec}.",
                hint="Write one with: modelwright init data.csv --target COLUMN",
            )
        ask_first(operation, given)
    else:
        folder, said["project"] = Path(every["project"]), "."
    run = Path(str(said.get("run", "")))
    if len(run.parts) > 1 and run.exists():
        said["run"] = str(run.resolve())
    return JobsResult(jobs=[work.start(folder, operation, said)])


def ask_first(operation: str, given: BaseModel) -> None:
    """Refuse, or ask a person for, what a job of it would be refused for as it begins.

    Raises:
        ApprovalNeeded: a person has to approve it.
        ModelwrightError: the spec is wrong, or a rule is broken.
    """
    if operation in TRAININGS and not getattr(given, "dry_run", False):
        said = given.model_dump()
        mw.may_begin(
            said["spec"], operation, overrides=said["overrides"], why=said.get("why", ""),
            resume=said["resume"],
        )  # fmt: skip


class _Shown:
    """States of a job, told as its own process tells its work."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stage = ("", "")

    def show(self, state: JobState) -> None:
        """One more state."""
        if state.stage and (state.stage, state.detail) != self._stage:
            self._stage = (state.stage, state.detail)
            self._progress.stage(*self._stage)
        if state.total:
            self._progress.step(state.done, state.total, state.note)
        if state.board:
            self._progress.board([BoardLine(**line) for line in state.board])


def _seconds(text: str) -> float:
    try:
        seconds, _ = parse_quantity(text, "seconds")
    except ValueError as error:
        raise UsageError(f"--wait: {error}.", hint="Such as 30s or 2 h.") from error
    if not 0 <= seconds < float("inf"):
        raise UsageError(f"--wait: {text!r} is no length of time.", hint="Such as 30s or 2 h.")
    return seconds
