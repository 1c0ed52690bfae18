"""How every door carries an operation out, so that the same holds at each."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from pydantic import BaseModel

import modelwright as mw
from modelwright.core.budget import count_call
from modelwright.core.errors import ApprovalNeeded, ModelwrightError
from modelwright.core.policy import read_policy
from modelwright.core.principal import acting
from modelwright.core.progress import Progress
from modelwright.core.store import sha256
from modelwright.ways_in.operations import Operation
from modelwright.ways_in.paths import check_paths

_COUNTS_ITSELF = "mcp"
"""The server keeps each call that comes to it."""


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
    """Do something; where an agent asked for it, it counts as a call and stands in the audit.

    Raises:
        Refused: the agents' calls are used up.
        ModelwrightError: whatever `act` met.
    """
    who, folder = acting(), Path(getattr(arguments, "project", "."))
    if not who.is_agent or operation.name == _COUNTS_ITSELF or not folder.is_dir():
        return act()
    verdict, said, began = "fault", b"", time.perf_counter()
    try:
        count_call(folder, read_policy(folder))
        result = act()
        verdict, said = "ok", result.model_dump_json().encode()
        return result
    except ApprovalNeeded as error:
        verdict, said = "pending", _encoded(error)
        raise
    except ModelwrightError as error:
        verdict, said = error.rule or type(error).__name__, _encoded(error)
        raise
    finally:
        mw.AuditLog(folder).call(
            who.name, who.client, operation.name,
            arguments.model_dump(mode="json", exclude_defaults=True), verdict, sha256(said),
            (time.perf_counter() - began) * 1000,
        )  # fmt: skip


def _encoded(error: ModelwrightError) -> bytes:
    return msgspec.json.encode(error.refusal(), enc_hook=str)
