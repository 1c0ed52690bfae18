"""Arguments of every operation, checked the same way at every door."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


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


class AuditArguments(ProjectArguments):
    """Arguments of audit."""

    what: Literal["show", "verify"] = _argument(
        "show", "show: every line; verify: only whether each follows from the one before."
    )
    model: str | None = _option(None, "Only the lines of this model.")


class GcArguments(ProjectArguments):
    """Arguments of gc."""

    apply: bool = _option(False, "Remove what was found; without it nothing is changed.")
    keep: int = _option(3, "How many of the newest runs without a version stay.")


class KeysArguments(Arguments):
    """Arguments of keys."""

    what: Literal["new"] = _argument(..., "new: write a new pair.")
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
