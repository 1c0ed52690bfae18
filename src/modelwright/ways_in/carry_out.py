"""How every door carries an operation out, so that the same holds at each."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import msgspec
from pydantic import BaseModel

import modelwright as mw
from modelwright.core.budget import count_call
from modelwright.core.errors import ApprovalNeeded, ModelwrightError
from modelwright.core.policy import read_policy
from modelwright.core.principal import acting
from modelwright.core.progress import Progress
from modelwright.ways_in.operations import Operation
from modelwright.ways_in.paths import check_paths

_COUNTS_ITSELF = "mcp"
"""The server counts each call that comes to it."""
_CALL: ContextVar[mw.Call | None] = ContextVar("call", default=None)


def carry_out(
    operation: Operation, arguments: BaseModel, progress: Progress, *, kept: bool = False
) -> BaseModel:
    """Do what was asked for, and give its result.

    Args:
        operation, arguments: what.
        progress: told how far it is.
        kept: whether the door counts the call and keeps it in the audit by itself.

    Raises:
        ModelwrightError: whatever the operation met; `Refused` where an agent names a path that
            it may not use.
    """

    def act() -> BaseModel:
        check_paths(operation, arguments)
        module, _, name = operation.action.partition(":")
        result: BaseModel = getattr(importlib.import_module(module), name)(arguments, progress)
        return result

    return act() if kept else as_a_call(operation, arguments, act)


def as_a_call(
    operation: Operation, arguments: BaseModel, act: Callable[[], BaseModel]
) -> BaseModel:
    """Do something; where an agent asked for it, it counts as a call and stands in the audit. What
    lasts stands there as it begins, too: a kill leaves no other line.

    Raises:
        Refused: the agents' calls are used up.
        ModelwrightError: whatever `act` met.
    """
    folder = Path(getattr(arguments, "project", "."))
    if not acting().is_agent or not folder.is_dir():
        return act()
    call = call_of(operation, arguments.model_dump(mode="json", exclude_defaults=True), folder)
    with noted(call) as answer:
        if operation.name != _COUNTS_ITSELF:
            count_call(folder, read_policy(folder))
        if operation.is_lasting:
            call.note("started")
        result = act()
        answer.append(result)
    return result


@contextmanager
def noted(call: mw.Call) -> Iterator[list[BaseModel]]:
    """Keep in the audit how a call ends that is carried out inside.

    Yields:
        Where its result goes.
    """
    verdict, said, answer = "fault", b"", list[BaseModel]()
    token = _CALL.set(call)
    try:
        yield answer
        verdict, said = "ok", answer[-1].model_dump_json().encode()
    except ApprovalNeeded as error:
        verdict, said = "pending", _encoded(error)
        raise
    except ModelwrightError as error:
        verdict, said = error.rule or type(error).__name__, _encoded(error)
        raise
    except (KeyboardInterrupt, SystemExit) as error:
        verdict = "interrupted" if isinstance(error, KeyboardInterrupt) else "ended"
        raise
    finally:
        _CALL.reset(token)
        call.note(verdict, said)


def call_of(operation: Operation, arguments: dict[str, Any], folder: Path) -> mw.Call:
    """A call by whoever acts now, that begins now."""
    who = acting()
    return mw.Call(
        str(folder.resolve()), who.name, who.client, operation.name, arguments, time.time()
    )


def present_call() -> mw.Call | None:
    """The agent's call that is carried out now, for what ends without coming back here."""
    return _CALL.get()


def unfit(operation: Operation, given: Mapping[str, Any]) -> None:
    """Keep an agent's call whose arguments do not fit, so that nothing came of it."""
    folder = Path(str(given.get("project", ".")))
    if acting().is_agent and folder.is_dir():
        said = {name: value for name, value in given.items() if value is not None}
        call_of(operation, said, folder).note("usage")


def _encoded(error: ModelwrightError) -> bytes:
    return msgspec.json.encode(error.refusal(), enc_hook=str)
