"""What the registry said is said again only while its store stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

import modelwright as mw
from modelwright.core.errors import NoSuchModel
from modelwright.release.seen import STORE
from projects import settled


def _asked(project: Path) -> list[str]:
    """Statements that a look at the registry sends to SQLite."""
    from sqlalchemy import Engine, event

    said: list[str] = []

    def note(*given: object) -> None:
        said.append(str(given[2]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        registry = mw.Registry(project)
        registry.models(), registry.versions("shop"), registry.aliased("shop", "champion")
        registry.aliased("shop", "none")
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return said


@pytest.fixture
def asked_before(project: Path) -> Path:
    settled(*filter(Path.exists, (project / ".modelwright" / name for name in STORE)))
    assert _asked(project)
    return project


def test_asked_once_while_nothing_changes(asked_before: Path) -> None:
    assert _asked(asked_before) == []


def test_a_change_is_heard_at_once(asked_before: Path) -> None:
    registry = mw.Registry(asked_before)
    found = registry.aliased("shop", "champion")
    assert found is not None
    other = mw.Registry(asked_before)
    other.set_alias("shop", "spare", found.number)
    spare = registry.aliased("shop", "spare")
    assert spare is not None and "spare" in spare.aliases
    other.remove_alias("shop", "champion")
    assert registry.aliased("shop", "champion") is None


def test_an_answer_is_the_askers_own(asked_before: Path) -> None:
    registry = mw.Registry(asked_before)
    registry.models().append("mine")
    assert registry.models() == ["shop"]


def test_what_is_not_there_is_asked_for_again(asked_before: Path) -> None:
    registry = mw.Registry(asked_before)
    for _ in range(2):
        with pytest.raises(NoSuchModel):
            registry.version("shop", "99")
