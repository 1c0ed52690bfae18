"""Answers of a project's own MLflow store, kept in this process while its files stay as they were.

MLflow takes 5 to 15 ms for each, of which SQLite takes next to nothing.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from modelwright.core.remembered import Remembered

STORE = ("mlflow.db", "mlflow.db-wal", "mlflow.db-journal")
_ANSWERS = Remembered[Any](512)
Given = ParamSpec("Given")
Answer = TypeVar("Answer")


class _Asked(Protocol):
    """A registry; `is_local`: in files of `home`."""

    is_local: bool
    home: Path
    uri: str


Registry = TypeVar("Registry", bound=_Asked)


def seen(
    ask: Callable[Concatenate[Registry, Given], Answer],
) -> Callable[Concatenate[Registry, Given], Answer]:
    """A question to a registry that is asked again only once the store has changed."""

    @functools.wraps(ask)
    def asked(registry: Registry, /, *args: Given.args, **named: Given.kwargs) -> Answer:
        if not registry.is_local:
            return ask(registry, *args, **named)
        key = registry.uri, ask.__name__, args, tuple(named.items())
        files = [registry.home / name for name in STORE]
        found: Answer = _ANSWERS.get(key, files, lambda: ask(registry, *args, **named))
        return copy.copy(found)

    return asked
