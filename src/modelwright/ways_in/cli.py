"""The command line, derived from the table of operations."""

from __future__ import annotations

import importlib
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
from modelwright.ways_in.operations import OPERATIONS, Operation
from modelwright.ways_in.results import (
    AuditResult,
    CheckResult,
    DoctorResult,
    ReproduceResult,
    RunResult,
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
        as_json = given.pop("json")
        raise SystemExit(perform(operation, given, as_json=as_json))

    parameters = [_parameter(n, f) for n, f in operation.arguments.model_fields.items()]
    flag = typer.Option("--json", help="Print the result as JSON.")
    parameters.append(
        inspect.Parameter(
            "json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, flag]
        )
    )
    # typer reads a signature that functions may carry (PEP 362) and that their type does not list
    vars(call)["__signature__"] = inspect.Signature(parameters)
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    call.__name__ = operation.name
    call.__doc__ = operation.help
    return call


def perform(operation: Operation, given: dict[str, Any], *, as_json: bool) -> int:
    """Run an operation and print its result or its error; returns the exit code."""
    try:
        arguments = operation.arguments.model_validate(given)
        result = _act(operation, arguments, as_json=as_json)
    except ValidationError as error:
        return _fail([e["msg"] for e in error.errors()], "usage", 2, as_json)
    except ModelwrightError as error:
        name = type(error).__name__
        return _fail([str(error)], name, error.exit_code, as_json, error.problems)
    except KeyboardInterrupt:
        return _fail(["Interrupted: nothing was released."], "interrupted", INTERRUPTED, as_json)
    # The process boundary (DESIGN: the only place that may): nothing is lost, since the traceback
    # goes to a file that the message names, and the exit code is 3.
    except Exception as error:  # noqa: BLE001
        return _crash(operation, error, as_json)
    _print(result, as_json)
    return GATE_FAILED if _has_failed(result) else 0


def _has_failed(result: BaseModel) -> bool:
    if isinstance(result, RunResult):
        return result.verdict != "pass"
    if isinstance(result, AuditResult):
        return not result.whole
    if isinstance(result, ReproduceResult):
        return not result.same
    if isinstance(result, (DoctorResult, CheckResult)):
        return any(f.verdict == "fail" and f.severity == "error" for f in result.findings)
    return False


def _act(operation: Operation, arguments: BaseModel, *, as_json: bool) -> BaseModel:
    module, _, name = operation.action.partition(":")
    action = getattr(importlib.import_module(module), name)
    if as_json:
        found: BaseModel = action(arguments, Silent())
        return found
    from rich.console import Console

    from modelwright.ways_in.screen import Screen

    with Screen(Console(stderr=True)) as screen:
        shown: BaseModel = action(arguments, screen)
        return shown


def _print(result: BaseModel, as_json: bool) -> None:
    if as_json:
        print(result.model_dump_json(indent=2))
        return
    from rich.console import Console

    from modelwright.ways_in.render import show

    show(result, Console())


def _fail(
    lines: list[str], kind: str, code: int, as_json: bool, problems: tuple[str, ...] = ()
) -> int:
    if as_json:
        import json

        message = {"kind": kind, "message": "\n".join(lines), "problems": list(problems)}
        print(json.dumps({"error": message}, indent=2))
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
