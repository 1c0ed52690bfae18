"""The paths among the arguments of an operation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from modelwright.core.agent_paths import out_of_bounds, readable, writable
from modelwright.core.principal import acting
from modelwright.core.spec_file import DEFAULT_NAME
from modelwright.ways_in.operations import Operation


def check_paths(operation: Operation, arguments: BaseModel) -> None:
    """Refuse an agent's paths that lead out of the project; people name what they like.

    Raises:
        Refused: rule scratch_only.
    """
    if not acting().is_agent:
        return
    project = Path(getattr(arguments, "project", "."))
    for name in operation.reads:
        for text in _texts(arguments, name):
            base = project if operation.name == "check" and name == "spec" else Path()
            found = readable(text, project, base=base)
            if operation.name in ("run", "retrain") and found.parent != project.resolve():
                # its folder would be a project of its own: other rules, budget, registry and audit
                raise out_of_bounds(text, "lies in another folder than the project",
                               f"Name a spec beside {DEFAULT_NAME}.")  # fmt: skip
    for name in operation.writes:
        for text in _texts(arguments, name):
            if not (operation.name == "init" and text == DEFAULT_NAME):
                writable(text, project)


def _texts(arguments: BaseModel, name: str) -> list[str]:
    value: Any = getattr(arguments, name, None)
    if value is None or value == "":
        return []
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]
