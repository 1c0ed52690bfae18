"""Jobs, as people read them at a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from modelwright.ways_in.job_state import JobsResult, JobState
from modelwright.ways_in.operations import OPERATIONS

COLOURS = {"running": "cyan", "done": "green", "failed": "red", "cancelled": "yellow",
           "lost": "red"}  # fmt: skip


def show_jobs(
    result: JobsResult, console: Console, show: Callable[[BaseModel, Console], None]
) -> None:
    """A table of jobs; of a single one its result, or what stands in the way and what to do next.

    Args:
        show: prints any operation's result.
    """
    if not result.jobs:
        console.print("No jobs. Start one with: [bold]modelwright run --background[/]")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("job", "what", "state", "where it stands", "began", "by"):
        table.add_column(name, overflow="fold", no_wrap=name in ("job", "what", "state"))
    for job in result.jobs:
        state = f"[{COLOURS[job.state]}]{job.state}[/]"
        cells = (job.id, job.operation, state, _where(job), job.began, escape(job.by))
        table.add_row(*cells)
    console.print(table)
    for line in result.lines:
        console.print(f"{line.at}  {line.kind:<6} {line.text}", markup=False, highlight=False)
    if len(result.jobs) == 1:
        [job] = result.jobs
        _next(job, console)
        if job.result is not None:
            [operation] = [one for one in OPERATIONS if one.name == job.operation]
            console.print()
            show(operation.result.model_validate(job.result), console)


def _where(job: JobState) -> str:
    share = f"{job.done / job.total:.0%}" if job.total and job.state == "running" else ""
    error = str(job.error.get("message", "")) if job.error else ""
    text = error or ", ".join(filter(None, (job.stage, share, job.note or job.detail)))
    return escape(text)


def _next(job: JobState, console: Console) -> None:
    """What can be done about one job."""
    if job.error and job.error.get("fix"):
        console.print(f"\n{escape(str(job.error['fix']))}")
    if job.state == "running":
        console.print(f"\nWait: [bold]modelwright jobs {job.id} --wait 10m[/]")
        console.print(f"End it: [bold]modelwright jobs {job.id} --cancel[/]")
    elif job.resume_with:
        console.print(f"\nGo on with it: [bold]{escape(_command(job.resume_with))}[/]")


def _command(resume_with: dict[str, Any]) -> str:
    """What goes on with a lost job, as it is typed.

    Example:
        >>> _command({"operation": "run", "arguments": {"spec": "a.yaml", "overrides": ["a=1"]}})
        'modelwright run a.yaml --set a=1'
    """
    words = ["modelwright", str(resume_with["operation"])]
    for name, value in resume_with["arguments"].items():
        if name == "spec":
            words.insert(2, str(value))
        elif name == "overrides":
            words += [word for text in value for word in ("--set", text)]
        elif value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif value:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)
