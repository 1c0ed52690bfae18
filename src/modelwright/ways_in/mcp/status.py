"""Where a project stands, in one look."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

import modelwright as mw
from modelwright.core.errors import ModelwrightError, SpecError
from modelwright.core.policy import FILE as POLICY
from modelwright.core.policy import read_policy
from modelwright.core.records import ReleaseRecord
from modelwright.core.remembered import Remembered
from modelwright.core.runs import RELEASE, past_runs
from modelwright.core.spec_file import DEFAULT_NAME, read_spec
from modelwright.core.store import from_json, is_in_use
from modelwright.ways_in import jobs
from modelwright.ways_in.lines import lines
from modelwright.ways_in.results import FindingLine

MOST = 10
_NAMES = Remembered[tuple[str, list[str]]](8)
_DATABASE = Path(".modelwright") / "mlflow.db"


class RunLine(BaseModel):
    """The newest run."""

    run: str
    state: Literal["going on", "cut off", "judged"]
    verdict: str = ""
    model: str = ""
    version: str = ""


class RequestLine(BaseModel):
    """A request that waits for a person."""

    request: str
    action: str
    model: str
    version: str
    state: str
    by: str
    expires: str


class JobLine(BaseModel):
    """A job that goes on, or one of the last that ended."""

    job_id: str
    operation: str
    state: str
    stage: str
    began: str


class Status(BaseModel):
    """Where a project stands.

    Attributes:
        stage: how far it has come.
        problems: of the spec and the policy file.
        findings: of the newest run's gates, those that did not pass.
    """

    stage: Literal["no spec", "spec", "trained", "released"]
    model: str = ""
    champion: str = ""
    challenger: str = ""
    newest_run: RunLine | None = None
    requests: list[RequestLine] = []
    jobs: list[JobLine] = []
    findings: list[FindingLine] = []
    problems: list[str] = []
    agents_may: dict[str, str] = {}
    next_actions: list[str] = []


def status(folder: Path) -> Status:
    """Look at a project.

    Raises:
        RegistryError: the registry is away.
    """
    problems: list[str] = []
    spec = folder / DEFAULT_NAME
    name, wrong = _NAMES.get(folder.resolve(), [spec], lambda: _name(spec))
    problems += wrong
    run, record = _newest(folder)
    champion, challenger = _versions(folder, name)
    made = Status(
        stage="released" if champion else "trained" if record else "spec" if name else "no spec",
        model=name,
        champion=champion,
        challenger=challenger,
        newest_run=run,
        requests=_requests(folder),
        jobs=_jobs(folder),
        findings=lines(f for f in record.evidence if f.verdict != "pass") if record else [],
        problems=problems,
        agents_may=_may(folder, problems),
    )
    return made.model_copy(update={"next_actions": _next(made)})


def _name(spec: Path) -> tuple[str, list[str]]:
    """The model's name, and what is wrong with the spec."""
    if not spec.exists():
        return "", []
    try:
        return read_spec(spec).spec.name, []
    except SpecError as error:
        return "", [f"{DEFAULT_NAME}: {line}" for line in error.problems or (str(error),)]


def _may(folder: Path, problems: list[str]) -> dict[str, str]:
    try:
        found: dict[str, str] = read_policy(folder).agents.model_dump()
        return found
    except SpecError as error:
        problems += [f"{POLICY}: {line}" for line in error.problems or (str(error),)]
        return {}


def _newest(folder: Path) -> tuple[RunLine | None, ReleaseRecord | None]:
    for place in sorted((folder / "runs").glob("[!.]*/"), reverse=True):
        try:
            record = from_json((place / RELEASE).read_bytes(), ReleaseRecord, where=RELEASE)
        except OSError:
            if is_in_use(place):
                return RunLine(run=place.name, state="going on"), None
            return RunLine(run=place.name, state="cut off"), None
        except ModelwrightError:
            continue
        line = RunLine(
            run=place.name, state="judged", verdict=record.verdict, model=record.model,
            version=record.version,
        )  # fmt: skip
        return line, record
    return None, None


def _versions(folder: Path, name: str) -> tuple[str, str]:
    if not name or not has_registry(folder):
        return "", ""
    registry = mw.Registry(folder)
    found: list[Any] = [registry.aliased(name, alias) for alias in ("champion", "challenger")]
    champion, challenger = (one.number if one else "" for one in found)
    return champion, challenger


def has_registry(folder: Path) -> bool:
    """Whether there is one, without loading MLflow, which takes seconds."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI")) or (folder / _DATABASE).exists()


def _requests(folder: Path) -> list[RequestLine]:
    return [
        RequestLine(
            request=one.id, action=one.action, model=one.model, version=one.version,
            state=one.state, by=one.by, expires=one.expires,
        )
        for one in mw.Requests(folder).all()
        if one.is_open
    ][:MOST]  # fmt: skip


def _jobs(folder: Path) -> list[JobLine]:
    return [
        JobLine(job_id=one.id, operation=one.operation, state=one.state, stage=one.stage,
                began=one.began)
        for one in jobs.all_jobs(folder)[:MOST]
    ]  # fmt: skip


def _next(found: Status) -> list[str]:
    if found.problems:
        return ["Mend what problems says: spec_write for the spec; a person for the policy file."]
    if found.stage == "no spec":
        return ["init with the table and the column to predict; the prompt assess_prototype helps."]
    going = [job.job_id for job in found.jobs if job.state == "running"]
    if going:
        return [f"job_wait with job_id {going[0]}."]
    if found.requests:
        return [f"Tell the person that {found.requests[0].request} waits for an approval."]
    if found.newest_run and found.newest_run.state == "cut off":
        return ["run with resume goes on with the newest run."]
    if found.stage == "spec":
        return ["check, then run."]
    if found.newest_run and found.newest_run.verdict not in ("", "pass"):
        return ["report shows which gates failed or are undecided, and what each needs."]
    if found.challenger:
        return [f"compare {found.model} with {found.model}@challenger, then promote."]
    return ["history and the resource modelwright://live/{name}/report show how it lives."]


def runs_of(folder: Path) -> list[dict[str, Any]]:
    """Every run that got as far as a split table, newest first, in a line."""
    made = []
    for one in past_runs(folder):
        line: dict[str, Any] = {"run": one.folder.name, "ended": one.ended}
        try:
            record = from_json((one.folder / RELEASE).read_bytes(), ReleaseRecord, where=RELEASE)
            line |= {"model": record.model, "verdict": record.verdict, "version": record.version}
        except (OSError, ModelwrightError):
            line |= {"model": "", "verdict": "", "version": ""}
        made.append(line)
    return made
