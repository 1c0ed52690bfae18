"""Every operation, once: its name, arguments, result and effect.

The CLI is derived from this table, and so will be the MCP server and the dashboard: same names,
same arguments, same refusals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Effect = Literal["read", "propose", "act"]


def _argument(default: Any, text: str, **extra: Any) -> Any:
    """A positional argument at the command line."""
    return Field(default, description=text, json_schema_extra={"positional": True, **extra})


def _option(default: Any, text: str, **extra: Any) -> Any:
    return Field(default, description=text, json_schema_extra=extra or None)


class Arguments(BaseModel):
    """Base of all arguments: nothing unknown gets through."""

    model_config = ConfigDict(extra="forbid")


class ProjectArguments(Arguments):
    """What works on a project: the folder that holds its spec, runs and registry."""

    project: str = _option(".", "Folder of the project.")


class InitArguments(Arguments):
    """Arguments of init."""

    data: str = _argument(..., "Table to learn from: file, folder, glob, URL or database URL.")
    target: str = _option(..., "Column to predict.")
    query: str | None = _option(None, "SQL, when the data is a database URL.")
    name: str | None = _option(None, "Name of the model; default the target's.")
    out: str = _option("modelwright.yaml", "Spec file to write.")
    force: bool = _option(False, "Overwrite the spec file.")


class CheckArguments(ProjectArguments):
    """Arguments of check."""

    spec: str = _argument("modelwright.yaml", "Spec file; with --against, the data to judge.")
    against: str | None = _option(
        None, "NAME of a released model: judge the data against its schema and distributions."
    )
    overrides: list[str] = _option([], "key=value, such as data.seed=1; repeatable.", flag="--set")


class CompareArguments(Arguments):
    """Arguments of compare."""

    one: str = _argument(..., "The older table: file, folder, glob or URL.")
    two: str = _argument(..., "The newer table.")


class SpecFileArguments(Arguments):
    """Arguments of what works on a spec file."""

    spec: str = _argument("modelwright.yaml", "Spec file.")
    overrides: list[str] = _option(
        [], "key=value, such as fit.budget=30s; repeatable.", flag="--set"
    )


class RunArguments(SpecFileArguments):
    """Arguments of run."""

    resume: bool = _option(
        False, "Go on with the newest run of this spec and data that was cut short."
    )


class ReproduceArguments(ProjectArguments):
    """Arguments of reproduce."""

    run: str = _argument(..., "The run: its name under runs/, or its folder.")


class ServeArguments(ProjectArguments):
    """Arguments of serve."""

    model: str = _argument(..., "NAME, NAME@challenger, NAME/3, or a model folder.")
    host: str | None = _option(None, "Address; anything but loopback needs a token.")
    port: int | None = _option(None, "Port; 0 takes a free one.")


class PredictArguments(ProjectArguments):
    """Arguments of predict."""

    model: str = _argument(..., "NAME, NAME@challenger, NAME/3, or a model folder.")
    data: str = _argument(..., "Rows to answer: file, folder, glob or URL; streamed.")
    out: str = _option("predictions.csv", "CSV or Parquet file to write.", short="-o")


class PromoteArguments(ProjectArguments):
    """Arguments of promote."""

    model: str = _argument(..., "NAME of the model.")
    version: str | None = _argument(None, "Version; default the challenger.")
    why: str = _option("", "Reason, for the audit.")


class RollbackArguments(ProjectArguments):
    """Arguments of rollback."""

    model: str = _argument(..., "NAME of the model.")
    why: str = _option("", "Reason, for the audit.")


class HistoryArguments(ProjectArguments):
    """Arguments of history."""

    model: str = _argument(..., "NAME of the model.")


class SpecArguments(Arguments):
    """Arguments of spec."""

    what: Literal["show", "schema"] = _argument(
        "show", "show: the spec with its defaults; schema: JSON Schema for editors."
    )
    file: str = _option("modelwright.yaml", "Spec file.")
    overrides: list[str] = _option([], "key=value; repeatable.", flag="--set")


class DoctorArguments(ProjectArguments):
    """Arguments of doctor."""


class FindingLine(BaseModel):
    """A finding, as every door shows it."""

    check: str
    subject: str
    verdict: Literal["pass", "fail", "undecided"]
    severity: Literal["info", "warning", "error"]
    measured: str = ""
    wanted: str = ""
    why: str = ""
    advice: str = ""
    columns: list[str] = []
    rows: list[int] = []


class InitResult(BaseModel):
    """What init wrote."""

    spec: str
    name: str
    task: str
    rows: int
    features: int
    findings: list[FindingLine]


class ColumnLine(BaseModel):
    """A column, as check shows it; `relation`: what it tells about the target alone, 0 to 1."""

    name: str
    kind: str
    missing: float | None
    values: str
    unused: str
    relation: float | None = None
    fingerprint: str = ""


class CheckResult(BaseModel):
    """What check found; with --against, `model` is set and there is no split."""

    source: str
    rows: int
    model: str = ""
    train_rows: int = 0
    holdout_rows: int = 0
    split: str = ""
    fingerprint: str = ""
    target: str = ""
    task: str = ""
    read: dict[str, Any] = {}
    origin: dict[str, str] = {}
    sampled: int = 0
    columns: list[ColumnLine] = []
    findings: list[FindingLine]


class ChangedColumn(BaseModel):
    """A column in two versions of a table; `distance`: 0 equal to 1 disjoint."""

    name: str
    kinds: tuple[str, str]
    missing: tuple[float | None, float | None]
    distance: float | None
    equal: bool
    why: str


class CompareResult(BaseModel):
    """What changed between two tables; counts of rows are -1 when the tables were sampled."""

    sources: tuple[str, str]
    rows: tuple[int, int]
    fingerprints: tuple[str, str]
    only: tuple[int, int]
    both: int
    sampled: int
    columns: list[ChangedColumn]


class CandidateLine(BaseModel):
    """A line of the leaderboard. Seconds, bytes, rows a second; None where it was not measured.
    `score` and `error`: cross-validated; `latency_p95`, `throughput` and `memory`: of the real
    server; `in_process`: one row, measured or estimated; `feasible`: keeps the limits on cost."""

    number: int
    candidate: str
    origin: str
    score: float | None
    error: float | None
    in_process: float | None
    latency_p95: float | None
    throughput: float | None
    memory: float | None
    size: float | None
    fit_seconds: float
    folds: int
    measured: bool
    outcome: str
    feasible: bool
    pareto: bool
    chosen: bool


class RunResult(BaseModel):
    """What a run came to."""

    model: str
    version: str
    alias: str
    verdict: Literal["pass", "fail", "undecided"]
    headline: str
    family: str
    trials: int
    report: str
    project: str
    run: str
    artefact: str
    replaces: str
    goal: str
    first_feasible: float | None
    leaderboard: list[CandidateLine]
    findings: list[FindingLine]


class ReproduceResult(BaseModel):
    """A run's model made once more; digests are those of model.onnx."""

    run: str
    same: bool
    then: str
    now: str
    differences: list[str]


class ServeResult(BaseModel):
    """Serve does not return while it serves."""


class PredictResult(BaseModel):
    """What predict wrote."""

    rows: int
    out: str


class ChangeResult(BaseModel):
    """What changed in production."""

    action: Literal["promote", "rollback"]
    model: str
    champion: str
    replaces: str
    by: str
    at: str
    why: str


class VersionLine(BaseModel):
    """A registered version."""

    version: str
    aliases: list[str]
    verdict: str
    run: str
    created: str


class HistoryResult(BaseModel):
    """Versions newest first, changes of the champion oldest first."""

    model: str
    versions: list[VersionLine]
    changes: list[ChangeResult]


class SpecResult(BaseModel):
    """A document: the resolved spec or the JSON Schema."""

    document: dict[str, Any]


class DoctorResult(BaseModel):
    """What doctor looked at."""

    findings: list[FindingLine]


@dataclass(frozen=True)
class Operation:
    """One thing that people and machines can ask for.

    Attributes:
        effect: read changes nothing; propose makes runs and challengers; act changes production.
        action: `module:function` that takes the arguments (and a Progress) and gives the result.
    """

    name: str
    help: str
    effect: Effect
    arguments: type[BaseModel]
    result: type[BaseModel]
    action: str


_ACTIONS = "modelwright.ways_in.actions"

OPERATIONS: tuple[Operation, ...] = (
    Operation("init", "Look at a table and write modelwright.yaml.", "propose",
              InitArguments, InitResult, f"{_ACTIONS}:init"),
    Operation("check", "Check spec and data without training, or data against a model.", "read",
              CheckArguments, CheckResult, f"{_ACTIONS}:check"),
    Operation("compare", "What changed between two versions of a table.", "read",
              CompareArguments, CompareResult, f"{_ACTIONS}:compare"),
    Operation("run", "From the table to a gated, registered release.", "propose",
              RunArguments, RunResult, f"{_ACTIONS}:run"),
    Operation("reproduce", "Make a run's model once more and compare the two.", "read",
              ReproduceArguments, ReproduceResult, f"{_ACTIONS}:reproduce"),
    Operation("serve", "Answer HTTP with a released model.", "act",
              ServeArguments, ServeResult, f"{_ACTIONS}:serve"),
    Operation("predict", "Answer the rows of a file.", "read",
              PredictArguments, PredictResult, f"{_ACTIONS}:predict"),
    Operation("promote", "Make a version the champion.", "act",
              PromoteArguments, ChangeResult, f"{_ACTIONS}:promote"),
    Operation("rollback", "Go back to the champion before.", "act",
              RollbackArguments, ChangeResult, f"{_ACTIONS}:rollback"),
    Operation("history", "Versions, and who was champion when and why.", "read",
              HistoryArguments, HistoryResult, f"{_ACTIONS}:history"),
    Operation("spec", "Show the resolved spec, or its JSON Schema.", "read",
              SpecArguments, SpecResult, f"{_ACTIONS}:spec"),
    Operation("doctor", "Look for what is broken here, and say how to mend it.", "read",
              DoctorArguments, DoctorResult, f"{_ACTIONS}:doctor"),
)  # fmt: skip
