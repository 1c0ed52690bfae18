"""What agents are offered: the table of operations, and tools of their own beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mcp_types import InputRequiredResult
from pydantic import BaseModel, ConfigDict, Field, create_model

from modelwright.core.agent_paths import SCRATCH
from modelwright.core.progress import Progress
from modelwright.ways_in.carry_out import carry_out
from modelwright.ways_in.operations import OPERATIONS, Effect, Operation

Persona = Literal["reader", "engineer", "release"]
Json = dict[str, Any]

MAY: dict[str, tuple[Effect, ...]] = {
    "reader": ("read",),
    "engineer": ("read", "propose"),
    "release": ("read", "propose", "act"),
}
"""What each persona sees and may call."""
LARGE_FILE = 16 * 2**20
"""Bytes of a file to predict from which on it is a job."""
_KEYS_FOR_THE_COMMAND_LINE = ("positional", "short", "flag", "title")
_PLACE = " A path relative to the project's folder."
_TEXT = {"type": "string"}
_EXTRA: Json = {
    "status": {"enum": ["done", "started", "pending", "refused"]},
    "next_actions": {"type": "array", "items": _TEXT},
    "untrusted": {"type": "array", "items": _TEXT},
    "truncated": {"type": "boolean"},
    "cursor": {"type": ["string", "integer"]},
    "job_id": _TEXT,
    "request": _TEXT,
    "approve_with": _TEXT,
}  # fmt: skip


@dataclass(frozen=True)
class Offer:
    """A tool.

    Attributes:
        act: takes the checked arguments and a Progress; called in a thread.
        direct: in its place, what is done in the event loop with the call's context.
        operation: the operation that it stands for.
    """

    name: str
    help: str
    effect: Effect
    arguments: type[BaseModel]
    result: type[BaseModel]
    act: Callable[[Any, Progress], BaseModel] | None = None
    direct: Callable[[Any, Any], Awaitable[BaseModel | Json | InputRequiredResult]] | None = None
    operation: Operation | None = None
    again: bool = False
    writes: bool = False

    @property
    def changes_nothing(self) -> bool:
        """Whether it is only looked."""
        return self.effect == "read" and not self.writes

    def input_schema(self) -> Json:
        """JSON Schema of the arguments."""
        found: Json = _plain(self.arguments.model_json_schema(), required=True)
        return found

    def output_schema(self) -> Json:
        """JSON Schema of the result, of a job that was started, a request that waits, a refusal."""
        found: Json = _plain(self.result.model_json_schema(), required=False)
        found["properties"] = {**found.get("properties", {}), **_EXTRA}
        return found | {"type": "object", "required": ["status", "next_actions"]}


def offers_of(persona: Persona, own: tuple[Offer, ...]) -> tuple[Offer, ...]:
    """The tools that a persona has.

    Args:
        own: tools that no operation stands behind.
    """
    found = [_offer(one) for one in OPERATIONS if one.offered]
    return tuple(one for one in (*found, *own) if one.effect in MAY[persona])


def with_cursor(name: str, arguments: type[BaseModel]) -> type[BaseModel]:
    """Arguments that can ask for the next page of a long result."""
    cursor = Field("", description="Of the page before.", max_length=100)
    return create_model(name, __base__=arguments, cursor=(str, cursor))


def is_long(operation: Operation, given: BaseModel) -> bool:
    """Whether it is started as a job."""
    if operation.name == "predict":
        path = Path(getattr(given, "data", ""))
        return path.is_dir() or (path.is_file() and path.stat().st_size > LARGE_FILE)
    return operation.long and not getattr(given, "dry_run", False)


def _offer(operation: Operation) -> Offer:
    def act(given: BaseModel, progress: Progress) -> BaseModel:
        return carry_out(operation, as_operation_takes(operation, given), progress, kept=True)

    return Offer(
        operation.name, _help(operation), operation.effect, _arguments(operation),
        operation.result, act, operation=operation, again=operation.again,
        writes=bool(operation.writes),
    )  # fmt: skip


def as_operation_takes(operation: Operation, given: BaseModel) -> BaseModel:
    """An agent's arguments as those of the operation, which has more of them."""
    values = {
        name: value
        for name, value in given.model_dump().items()
        if name in operation.arguments.model_fields
    }
    return operation.arguments.model_validate(values)


def _arguments(operation: Operation) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for name, field in operation.arguments.model_fields.items():
        if name in operation.hidden:
            continue
        text = field.description or ""
        if name in operation.reads or name in operation.writes:
            text = _local(text) + _PLACE
        if field.is_required():
            fields[name] = (field.annotation, Field(..., description=text))
            continue
        default = field.get_default(call_default_factory=True)
        if name in operation.writes and isinstance(default, str) and operation.name != "init":
            default = f"{SCRATCH}/{default}" if default != "." else SCRATCH
        fields[name] = (field.annotation, Field(default, description=text))
    name = f"{operation.name.title()}Arguments"
    base = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
    return with_cursor(name, base)


def _local(text: str) -> str:
    """The description of a path, for whom addresses and patterns are refused."""
    for said, meant in (
        ("Table to learn from: file, folder, glob, URL or database URL.",
         "Table to learn from: file or folder."),
        ("(file, folder, glob, URL)", "(file or folder)"),
        ("file, folder, glob or URL; streamed.", "file or folder; large ones as a job."),
    ):  # fmt: skip
        text = text.replace(said, meant)
    return text


def _help(operation: Operation) -> str:
    told = operation.help
    if operation.effect == "act" or operation.name == "release":
        told += " A person may have to approve it first: then status is pending."
    if operation.long:
        told += " Starts a job and returns job_id at once; wait with job_wait."
    if operation.writes and operation.name != "init":
        told += f" Writes below {SCRATCH}/."
    return told


def _plain(schema: Any, *, required: bool) -> Any:
    """A schema without what says nothing to an agent.

    Args:
        required: keep which fields are required, and how many items there are.
    """
    if isinstance(schema, list):
        return [_plain(one, required=required) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made: Json = {}
    for key, value in schema.items():
        if key == "properties":
            made[key] = {name: _plain(one, required=required) for name, one in value.items()}
        elif not _says_nothing(key, value, required):
            made[key] = _plain(value, required=required)
    return made


def _says_nothing(key: str, value: Any, required: bool) -> bool:
    if key in _KEYS_FOR_THE_COMMAND_LINE:
        return not isinstance(value, dict)
    return not required and key in ("required", "minItems", "maxItems", "default", "description")
