"""A job as every door shows it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

State = Literal["running", "done", "failed", "cancelled", "lost"]


class JobState(BaseModel):
    """How a job stands.

    Attributes:
        state: done: it has a result; failed: it has an error; cancelled: somebody asked it to end,
            and it did, with or without a result; lost: its process was killed.
        stage, detail, done, total, note, board: what the work told last; `total` 0 for not known.
        note: for a job that is lost, the last line that its process wrote.
        began, ended: UTC, ISO 8601; `ended` is empty where nobody knows.
        by: who started it.
        error: the refusal (code, rule, message, fix, evidence, problems).
        resume_with: operation and arguments that go on with what was lost.
    """

    id: str
    operation: str
    state: State
    stage: str = ""
    detail: str = ""
    done: float = 0.0
    total: float = 0.0
    note: str = ""
    board: list[dict[str, str]] = []
    began: str
    ended: str = ""
    by: str
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    resume_with: dict[str, Any] | None = None

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state != "running"


class LogLine(BaseModel):
    """One line of a job's log; `kind`: stage (one began) or say (worth keeping)."""

    at: str
    kind: str
    text: str


class JobsResult(BaseModel):
    """Jobs, newest first, or the one that was asked for.

    Attributes:
        waited: whether the job's end was waited for; the exit code then says how it ended.
        lines: of its log, where that was asked for.
        cursor: give it to get the lines after these.
    """

    jobs: list[JobState]
    waited: bool = False
    lines: list[LogLine] = []
    cursor: int = 0
