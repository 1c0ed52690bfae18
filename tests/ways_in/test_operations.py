"""One table, every door: what it says is what is there."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest
from pydantic import ValidationError

from modelwright.core.progress import Progress
from modelwright.ways_in.arguments import InitArguments
from modelwright.ways_in.operations import OPERATIONS, Operation

NAMES = [
    "init",
    "check",
    "compare",
    "run",
    "retrain",
    "report",
    "release",
    "reproduce",
    "jobs",
    "serve",
    "dashboard",
    "predict",
    "client",
    "promote",
    "rollback",
    "traffic",
    "watch",
    "history",
    "audit",
    "requests",
    "approve",
    "reject",
    "gc",
    "keys",
    "agents",
    "spec",
    "doctor",
    "mcp",
]


def test_the_operations() -> None:
    assert [operation.name for operation in OPERATIONS] == NAMES


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_each_action_takes_and_gives_what_the_table_says(operation: Operation) -> None:
    module, _, name = operation.action.partition(":")
    action = getattr(importlib.import_module(module), name)
    signature = inspect.signature(action, eval_str=True)
    taken = [parameter.annotation for parameter in signature.parameters.values()]
    assert taken == [operation.arguments, Progress]
    assert signature.return_annotation is operation.result
    for field in operation.arguments.model_fields.values():
        assert field.description


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(ValidationError):
        InitArguments.model_validate({"data": "a.csv", "target": "y", "wait": 1})


def test_the_command_line_loads_no_library_before_it_must() -> None:
    code = (
        "import sys, modelwright.ways_in.cli\n"
        "bad = {'numpy','polars','mlflow','sklearn','onnxruntime','lightgbm'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_long_is_what_trains() -> None:
    assert [one.name for one in OPERATIONS if one.long] == ["run", "retrain", "reproduce"]
