"""How every door carries an operation out, so that the same holds at each."""

from __future__ import annotations

import importlib

from pydantic import BaseModel

from modelwright.core.progress import Progress
from modelwright.ways_in.operations import Operation
from modelwright.ways_in.paths import check_paths


def carry_out(operation: Operation, arguments: BaseModel, progress: Progress) -> BaseModel:
    """Do what was asked for, and give its result.

    Raises:
        ModelwrightError: whatever the operation met; `Refused` where an agent names a path that
            it may not use.
    """
    check_paths(operation, arguments)
    module, _, name = operation.action.partition(":")
    result: BaseModel = getattr(importlib.import_module(module), name)(arguments, progress)
    return result
