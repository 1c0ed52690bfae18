"""The command line, derived from the table of operations."""

from __future__ import annotations

import inspect
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from modelwright.core.errors import ModelwrightError
from modelwright.core.progress import Silent
from modelwright.ways_in.agents.shapes import AgentsResult
from modelwright.ways_in.arguments import misfits
from modelwright.ways_in.carry_out import as_a_call, carry_out, unfit
from modelwright.ways_in.job_state import JobsResult, JobState
from modelwright.ways_in.operations import OPERATIONS, Operation
from modelwright.ways_in.results import (
    AuditResult,
    CheckResult,
    DoctorResult,
    ReproduceResult,
    RetrainResult,
    RunResult,
    WatchResult,
)

INTERRUPTED = 130
TERMINATED = 143
GATE_FAILED = 1

app = typer.Typer(
    name="modelwright",
    help="An ML engineer as software: one spec file from a table to a served, gated release.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The entry point: exit code 0 done, 1 a gate failed, 2 usage, spec or data, 3 the rest."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminated)
    app()


def _terminated(_number: int, _frame: object) -> None:
    """A supervisor wants the process to end: unlike Ctrl-C, nothing is released."""
    raise SystemExit(TERMINATED)


def command(operation: Operation) -> Callable[..., None]:
    """A function with the operation's arguments as its signature, for typer to read."""

    def call(**given: Any) -> None:
        as_json, background = given.pop("json"), given.pop("background", False)
        raise SystemExit(perform(operation, given, as_json=as_json, background=background))

    parameters = [_parameter(n, f) for n, f in operation.arguments.model_fields.items()]
    if operation.long:
        parameters.append(_flag("background", "Start it as a job that goes on by itself."))
    parameters.append(_flag("json", "Print the result as JSON."))
    # typer reads a signature that functions may carry (PEP 362) and that their type does not list
    vars(call)["__signature__"] = inspect.Signature(parameters)
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    call.__name__ = operation.name
    call.__doc__ = operation.help
    return call


def perform(
    operation: Operation, given: dict[str, Any], *, as_json: bool, background: bool = False
) -> int:
    """Run an operation and print its result or its error; returns the exit code.

    Args:
        background: start it as a job, which is the result.
    """
    try:
        arguments = operation.arguments.model_validate(given)
        if background:
            result = _begin(operation, arguments)
        else:
            result = _act(operation, arguments, as_json=as_json)
    except ValidationError as error:
        unfit(operation, given)
        return _fail(misfits(error, found=True), "usage", 2, as_json)
    except ModelwrightError as error:
        return _fail([str(error)], type(error).__name__, error.exit_code, as_json, error)
    except KeyboardInterrupt:
        return _fail(["Interrupted: nothing was released."], "interrupted", INTERRUPTED, as_json)
    # The process boundary (DESIGN: the only place that may): nothing is lost, since the traceback
    # goes to a file that the message names, and the exit code is 3.
    except Exception as error:  # noqa: BLE001
        return _crash(operation, error, as_json)
    _print(result, as_json)
    return GATE_FAILED if _has_failed(result) else 0


def _has_failed(result: BaseModel) -> bool:
    if isinstance(result, JobsResult):
        return result.waited and not all(map(_went_well, result.jobs))
    if isinstance(result, RetrainResult):
        return result.run is not None and _has_failed(result.run)
    if isinstance(result, RunResult):
        return result.verdict != "pass"
    if isinstance(result, WatchResult):
        return result.labels is not None and result.labels.refused > 0
    if isinstance(result, AuditResult):
        return not result.whole
    if isinstance(result, ReproduceResult):
        return not result.same
    if isinstance(result, AgentsResult):
        return not result.is_whole
    if isinstance(result, (DoctorResult, CheckResult)):
        return any(f.verdict == "fail" and f.severity == "error" for f in result.findings)
    return False


def _went_well(job: JobState) -> bool:
    """Whether a job that was waited for is done, and its result is one that exits with 0."""
    if job.state != "done" or job.result is None:
        return False
    [operation] = [one for one in OPERATIONS if one.name == job.operation]
    return not _has_failed(operation.result.model_validate(job.result))


def _begin(operation: Operation, arguments: BaseModel) -> BaseModel:
    from modelwright.ways_in.job_actions import begin

    return as_a_call(operation, arguments, lambda: begin(operation.name, arguments))


def _act(operation: Operation, arguments: BaseModel, *, as_json: bool) -> BaseModel:
    if as_json:
        return carry_out(operation, arguments, Silent())
    from rich.console import Console

    from modelwright.ways_in.screen import Screen

    with Screen(Console(stderr=True)) as screen:
        return carry_out(operation, arguments, screen)


def _print(result: BaseModel, as_json: bool) -> None:
    if as_json:
        print(result.model_dump_json(indent=2))
        return
    from rich.console import Console

    from modelwright.ways_in.render import show

    show(result, Console())


def _fail(
    lines: list[str], kind: str, code: int, as_json: bool, error: ModelwrightError | None = None
) -> int:
    if as_json:
        import json

        said = {"kind": kind, "message": "\n".join(lines), "problems": []}
        if error is not None:
            refusal = error.refusal()
            said |= {name: refusal[name] for name in refusal if name != "message"}
        print(json.dumps({"error": said}, indent=2, default=str))
    else:
        print(f"modelwright: {chr(10).join(lines)}", file=sys.stderr)
    return code


def _crash(operation: Operation, error: Exception, as_json: bool) -> int:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile(
        "w", prefix="modelwright-", suffix=".log", delete=False, encoding="utf-8"
    ) as log:
        traceback.print_exc(file=log)
    return _fail(
        [
            f"{operation.name} met a fault of its own: {type(error).__name__}: {error}.",
            f"Please report it with {log.name}.",
        ],
        "fault",
        3,
        as_json,
    )


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    text = field.description or ""
    default = inspect.Parameter.empty if field.is_required() else field.get_default()
    declared: Any
    if extra.get("positional"):
        declared = typer.Argument(help=text)
    else:
        names = [str(extra["short"])] if "short" in extra else []
        flag = str(extra.get("flag", f"--{name.replace('_', '-')}"))
        declared = typer.Option(*names, flag, help=text)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[field.annotation, declared],
    )


def _flag(name: str, text: str) -> inspect.Parameter:
    """A flag that is the command line's own, and no argument of the operation."""
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option(f"--{name}", help=text)],
    )


def _version(wanted: bool) -> None:
    if wanted:
        from modelwright import __version__

        print(f"modelwright {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


for _operation in OPERATIONS:
    app.command(_operation.name, help=_operation.help)(command(_operation))
