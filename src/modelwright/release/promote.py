"""Changing production, with an audit line and a way back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelwright.core.errors import NoSuchModel
from modelwright.core.records import AuditLine
from modelwright.core.store import locked
from modelwright.release.audit import AuditLog
from modelwright.release.registry import CHALLENGER, CHAMPION, HOME, Registry, Version


@dataclass(frozen=True)
class Change:
    """What a change of production did; `replaces` is empty for the first champion."""

    model: str
    version: str
    replaces: str
    audit: AuditLine


def promote(
    registry: Registry,
    folder: Path,
    model: str,
    version: str | None = None,
    *,
    why: str = "",
    only_first: bool = False,
) -> Change | None:
    """Make a version the champion; default the challenger.

    With `only_first` nothing is done, and None returned, when there is a champion already.

    The audit line is on disk before the alias moves, so that no change goes unrecorded.

    Raises:
        RegistryError: there is no such version, it did not pass its gates, or it is the champion.
        ArtefactError: its files are not those that were released.
    """
    with locked(folder / HOME / "promote.lock"):
        champion = registry.aliased(model, CHAMPION)
        if only_first and champion is not None:
            return None
        wanted = (
            registry.version(model, version) if version else registry.aliased(model, CHALLENGER)
        )
        if wanted is None:
            registry.resolve(model)
            raise NoSuchModel(
                f"{model} has no challenger to promote.",
                hint=f"Name a version: modelwright promote {model} 1",
            )
        if champion and champion.number == wanted.number:
            raise NoSuchModel(f"Version {wanted.number} of {model} is the champion already.")
        if wanted.verdict != "pass":
            raise NoSuchModel(
                f"Version {wanted.number} of {model} did not pass its gates: {wanted.verdict!r}."
            )
        return _move(registry, folder, "promote", wanted, champion, why)


def rollback(registry: Registry, folder: Path, model: str, *, why: str = "") -> Change:
    """Make the champion before the present one the champion again.

    Raises:
        RegistryError: there was none before.
        ArtefactError: its files are not those that were released.
    """
    with locked(folder / HOME / "promote.lock"):
        champion = registry.aliased(model, CHAMPION)
        if champion is None:
            registry.resolve(model)
            raise NoSuchModel(f"{model} has no champion to roll back from.")
        before = _before(champion.number, _stack(AuditLog(folder).lines(model)))
        if not before:
            raise NoSuchModel(
                f"{model} had no champion before version {champion.number}.",
                hint=f"Promote another version: modelwright history {model}",
            )
        earlier = registry.version(model, before[-1])
        return _move(registry, folder, "rollback", earlier, champion, why)


def _stack(lines: list[AuditLine]) -> list[str]:
    """Champions that a rollback can go back through: a rollback takes the last one off."""
    stack: list[str] = []
    for line in lines:
        if line.action == "rollback":
            while stack and stack[-1] != line.version:
                stack.pop()
        elif line.action == "promote":
            stack.append(line.version)
    return stack


def _before(champion: str, stack: list[str]) -> list[str]:
    """Champions before the present one; a promotion that a crash cut off lies above it."""
    while champion in stack and stack[-1] != champion:
        stack.pop()
    while stack and stack[-1] == champion:
        stack.pop()
    return stack


def _move(
    registry: Registry, folder: Path, action: str, to: Version, before: Version | None, why: str
) -> Change:
    registry.fetch(to)
    replaced = before.number if before else ""
    line = AuditLog(folder).record(action, to.model, to.number, replaces=replaced, why=why)
    registry.set_alias(to.model, CHAMPION, to.number)
    challenger = registry.aliased(to.model, CHALLENGER)
    if challenger and challenger.number == to.number:
        registry.remove_alias(to.model, CHALLENGER)
    return Change(to.model, to.number, replaced, line)
