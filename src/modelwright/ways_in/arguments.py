"""Arguments of every operation, checked the same way at every door."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelwright.core.limits import MOST_WORKERS


def _argument(default: Any, text: str, **extra: Any) -> Any:
    """A positional argument at the command line."""
    return Field(default, description=text, json_schema_extra={"positional": True, **extra})


def _option(default: Any, text: str, **extra: Any) -> Any:
    return Field(default, description=text, json_schema_extra=extra or None)


def _port(default: int | None, text: str) -> Any:
    return Field(default, description=text, ge=0, le=65535)


def misfits(error: ValidationError, *, found: bool = False) -> list[str]:
    """What does not fit, a line each: the argument, what was wanted, if asked what was found."""
    return [
        f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}"
        + (f", found {one['input']!r}" if found else "")
        for one in error.errors(include_url=False)
    ]


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


class CompareArguments(ProjectArguments):
    """Arguments of compare."""

    one: str = _argument(
        ..., "The older table (file, folder, glob, URL), or a judged model: a run, NAME, NAME/3."
    )
    two: str = _argument(..., "The newer table, or the other model.")
    open: bool = _option(False, "Show the page of two models in a browser.")


class ReportArguments(ProjectArguments):
    """Arguments of report."""

    reference: str = _argument(
        "", "A run, NAME, NAME@challenger or NAME/3; default the newest run."
    )
    open: bool = _option(False, "Show it in a browser.")


class ReleaseArguments(ProjectArguments):
    """Arguments of release."""

    run: str = _argument(..., "The run that gates left undecided: its name, or its folder.")
    allow: list[str] = _option([], "Gate to let through, such as champion; repeatable.")
    why: str = _option("", "Reason, for the audit.")


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


class RetrainArguments(SpecFileArguments):
    """Arguments of retrain."""

    why: str = _option("", "Reason, for the report and the list of retrainings.")
    dry_run: bool = _option(False, "Only say what it would be trained on and judged by.")
    resume: bool = _option(False, "Go on with the newest retraining that was cut short.")


class ReproduceArguments(ProjectArguments):
    """Arguments of reproduce."""

    run: str = _argument(..., "The run: its name under runs/, or its folder.")


class JobsArguments(ProjectArguments):
    """Arguments of jobs."""

    id: str = _argument("", "One job; default all, newest first.")
    wait: str | None = _option(None, "Wait for its end, so long at most, such as 30s or 2 h.")
    cancel: bool = _option(
        False,
        "Ask it to end as Ctrl-C does, which keeps what was found; asked again as SIGTERM does; "
        "then kill it.",
    )
    log: bool = _option(False, "Show its log.")
    cursor: int = _option(0, "log: where to begin, as the last answer said.")


class ServeArguments(ProjectArguments):
    """Arguments of serve."""

    models: list[str] = _argument(
        ..., "NAME (follows its champion), NAME@challenger, NAME/3, or a model folder; several."
    )
    host: str | None = _option(None, "Address; anything but loopback needs a token.")
    port: int | None = _port(None, "Port; 0 takes a free one.")
    grpc_port: int | None = _port(None, "Port for gRPC; 0 takes a free one.")
    metrics_port: int | None = _port(None, "Port for Prometheus, beside /metrics.")
    workers: int | None = Field(None, description="Processes that answer.", ge=1, le=MOST_WORKERS)
    journal: str | None = _option(None, "Folder or URL for the journal; also switches it on.")
    access_log: bool | None = _option(None, "A line of JSON a request, on standard error.")


class DashboardArguments(ProjectArguments):
    """Arguments of dashboard."""

    model: str = _argument(..., "NAME, NAME@challenger, NAME/3, or a model folder.")
    out: str = _option("grafana.json", "File to write, for Grafana's import.", short="-o")
    rules: str | None = _option(None, "Also write alerting rules for Prometheus to this file.")


class PredictArguments(ProjectArguments):
    """Arguments of predict."""

    model: str = _argument(..., "NAME, NAME@challenger, NAME/3, or a model folder.")
    data: str = _argument(..., "Rows to answer: file, folder, glob or URL; streamed.")
    out: str = _option("predictions.csv", "CSV or Parquet file to write.", short="-o")


class ClientArguments(ProjectArguments):
    """Arguments of client."""

    model: str = _argument(..., "NAME, NAME@challenger, NAME/3, or a model folder.")
    language: Literal["python", "typescript"] = _option("python", "Language of the client.")
    out: str = _option(".", "Folder to write it to.", short="-o")


class PromoteArguments(ProjectArguments):
    """Arguments of promote."""

    model: str = _argument(..., "NAME of the model.")
    version: str | None = _argument(None, "Version; default the challenger.")
    why: str = _option("", "Reason, for the audit.")


class RollbackArguments(ProjectArguments):
    """Arguments of rollback."""

    model: str = _argument(..., "NAME of the model.")
    why: str = _option("", "Reason, for the audit.")


class TrafficArguments(ProjectArguments):
    """Arguments of traffic."""

    model: str = _argument(..., "NAME of the model.")
    what: Literal["show", "canary", "ab", "shadow", "stop"] = _argument(
        "show",
        "show: what is in force; canary: a share for one version; ab: all requests shared; shadow: "
        "a copy, answered unseen; stop: end them.",
    )
    of: list[str] = _argument(
        [],
        "canary, shadow: a version or alias; ab: VERSION=SHARE of each arm, such as 3=50% 4=50%; "
        "stop: which to end, default all.",
    )
    weight: str | None = _option(None, "canary: its share, such as 5%; default 5%.")
    steps: str | None = _option(None, "canary: shares by the clock, such as '5%:10m,25%:1h'.")
    seed: int | None = _option(None, "canary, ab: of the hash that decides who is where.")
    why: str = _option("", "Reason, for the audit.")


class WatchArguments(Arguments):
    """Arguments of watch."""

    what: Literal["live", "labels", "report"] = _argument(
        "live",
        "live: look, tell and act until Ctrl-C; labels: take truths from a file; report: write a "
        "page of how things stand.",
    )
    file: str | None = _argument(None, "labels: CSV, Parquet or JSON lines with request_id, label.")
    spec: str = _option("modelwright.yaml", "The spec file.")
    once: bool = _option(False, "live: look once and end, for cron.")
    out: str = _option("watch.html", "report: the page.")
    since: str = _option("7 d", "report: how far back.")


class HistoryArguments(ProjectArguments):
    """Arguments of history."""

    model: str = _argument(..., "NAME of the model.")


class AuditArguments(ProjectArguments):
    """Arguments of audit."""

    what: Literal["show", "verify"] = _argument(
        "show", "show: every line; verify: only whether each follows from the one before."
    )
    model: str | None = _option(None, "Only the lines of this model.")
    calls: bool = _option(False, "Also the calls of tools by agents.")


class GcArguments(ProjectArguments):
    """Arguments of gc."""

    apply: bool = _option(False, "Remove what was found; without it nothing is changed.")
    keep: int = _option(3, "How many of the newest runs without a version stay.")


class RequestsArguments(ProjectArguments):
    """Arguments of requests."""

    id: str | None = _argument(None, "Such as PR-7: that one, with its evidence; default a list.")
    all: bool = _option(False, "Also those that are decided or expired.")


class ApproveArguments(ProjectArguments):
    """Arguments of approve."""

    id: str = _argument(..., "The request, such as PR-7; what it asks for is carried out at once.")
    key: str | None = _option(
        None, "File of an approver's private key; default what MODELWRIGHT_APPROVER_KEY names."
    )
    why: str = _option("", "Reason, for the audit.")


class RejectArguments(ProjectArguments):
    """Arguments of reject."""

    id: str = _argument(..., "The request, such as PR-7.")
    why: str = _option(..., "Reason, for the audit and for whoever asked.")


class KeysArguments(ProjectArguments):
    """Arguments of keys."""

    what: Literal["new", "approver"] = _argument(
        ...,
        "new: a pair to sign releases with; approver: one to approve requests with, and its public "
        "half goes into the project's policy file.",
    )
    name: str = _option("", "approver: their name, such as ada.")
    no_passphrase: bool = _option(
        False, "approver: whoever can read the file can approve; by default a passphrase is asked."
    )
    folder: str = _argument(..., "Folder to write it to; not into the project's repository.")


class SpecArguments(Arguments):
    """Arguments of spec."""

    what: Literal["show", "schema"] = _argument(
        "show", "show: the spec with its defaults; schema: JSON Schema for editors."
    )
    file: str = _option("modelwright.yaml", "Spec file.")
    overrides: list[str] = _option([], "key=value; repeatable.", flag="--set")


class DoctorArguments(ProjectArguments):
    """Arguments of doctor."""


class McpArguments(ProjectArguments):
    """Arguments of mcp."""

    persona: Literal["reader", "engineer", "release"] = _option(
        "release",
        "reader: looks; engineer: also trains and writes the spec; release: also asks for changes "
        "of production.",
    )
    http: bool = _option(False, "Answer HTTP; without it, standard input and output.")
    host: str = _option("127.0.0.1", "Address; anything but loopback needs a token.")
    port: int = _port(0, "Port; 0 takes a free one.")
    name: str | None = _option(
        None, "The agent's name in the audit; default MODELWRIGHT_AGENT, else the program's."
    )
