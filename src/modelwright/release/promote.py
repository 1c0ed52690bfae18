"""Changing production, with an audit line and a way back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from modelwright.core.errors import NoSuchModel, UsageError
from modelwright.core.records import AuditLine, ReleaseRecord
from modelwright.core.store import locked
from modelwright.pack.artefact import Artefact
from modelwright.release import trust
from modelwright.release.audit import AuditLog
from modelwright.release.registry import CHALLENGER, CHAMPION, Registry, Version
from modelwright.release.smoke import try_out
from modelwright.release.unfinished import (
    LOCK,
    Intent,
    begin,
    done,
    finish_locked,
    move,
    settle_release,
)


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
) -> Change:
    """Make a version the champion; default the challenger.

    Its files, and its signature where keys are trusted, are checked, and a child process answers
    with it, before anything changes. The audit line is on disk before the alias moves, so that no
    change goes unrecorded; a kill between the two leaves the next command to end it.

    Raises:
        RegistryError: there is no such version, it did not pass its gates, or it is the champion.
        ArtefactError: its files are not those that were released, no trusted key vouches for them,
            or they cannot answer.
    """
    with locked(folder / LOCK):
        finish_locked(registry, folder)
        champion = registry.aliased(model, CHAMPION)
        wanted = (
            registry.version(model, version) if version else registry.aliased(model, CHALLENGER)
        )
        if wanted is None:
            registry.resolve(model)
            raise NoSuchModel(
                f"{model} has no challenger to promote.",
                hint=f"Its versions: modelwright history {model}",
            )
        if champion and champion.number == wanted.number:
            raise NoSuchModel(f"Version {wanted.number} of {model} is the champion already.")
        if wanted.verdict != "pass":
            raise NoSuchModel(
                f"Version {wanted.number} of {model} did not pass its gates: {wanted.verdict!r}."
            )
        now = champion.number if champion else ""
        been = {e.version for e in AuditLog(folder).lines(model) if e.action == "promote"}
        fresh = wanted.number not in been
        if fresh and wanted.against not in (None, now) and not why.strip():
            raise NoSuchModel(
                f"Version {wanted.number} of {model} was compared with champion "
                f"{wanted.against or 'none'}; now it is {now or 'none'}.",
                hint="Run again to compare the two, or say with --why why it may replace it.",
            )
        return _move(registry, folder, "promote", wanted, champion, why)


def rollback(registry: Registry, folder: Path, model: str, *, why: str = "") -> Change:
    """Make the champion before the present one the champion again.

    Raises:
        RegistryError: there was none before.
        ArtefactError: as for `promote`.
    """
    with locked(folder / LOCK):
        finish_locked(registry, folder)
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


def register(
    registry: Registry, folder: Path, artefact: Artefact, release: ReleaseRecord, mlflow_run: str
) -> ReleaseRecord:
    """Make a version of a logged run: the first becomes champion, later ones challenger.

    Returns:
        The record with version and alias, which is on disk too.

    Raises:
        RegistryError: MLflow refused or cannot be reached; the next command ends what was begun.
        ArtefactError: the model cannot answer, or no trusted key vouches for it.
    """
    try_out(artefact.folder, artefact.digest)
    trust.verify(artefact.folder, artefact.digest, release.model)
    with locked(folder / LOCK):
        finish_locked(registry, folder)
        if any(v.run == release.run for v in registry.versions(release.model)):
            raise UsageError(f"Run {release.run} is released already.")
        intent = Intent("release", release.model, run=release.run, mlflow_run=mlflow_run)
        begin(folder, intent)
        version = registry.register(artefact, release, mlflow_run)
        alias = settle_release(registry, folder, intent, version)
        done(folder)
    return msgspec.structs.replace(release, version=version, alias=alias)


def _stack(lines: list[AuditLine]) -> list[str]:
    """Champions that a rollback can go back through: a rollback takes the last one off."""
    stack: list[str] = []
    for line in _in_force(lines):
        if line.action == "rollback":
            while stack and stack[-1] != line.version:
                stack.pop()
        elif line.action == "promote":
            stack.append(line.version)
    return stack


def _in_force(lines: list[AuditLine]) -> list[AuditLine]:
    """Changes without those that a later line says never came about."""
    kept: list[AuditLine] = []
    for line in lines:
        if line.action == "void":
            cut = next((e for e in reversed(kept) if e.version == line.version), None)
            kept = [e for e in kept if e is not cut]
        else:
            kept.append(line)
    return kept


def _before(champion: str, stack: list[str]) -> list[str]:
    """Champions before the present one; a promotion that a crash cut off lies above it."""
    while champion in stack and stack[-1] != champion:
        stack.pop()
    while stack and stack[-1] == champion:
        stack.pop()
    return stack


def _move(
    registry: Registry,
    folder: Path,
    action: Literal["promote", "rollback"],
    to: Version,
    before: Version | None,
    why: str,
) -> Change:
    try_out(registry.fetch(to), to.digest)
    replaced = before.number if before else ""
    intent = Intent(action, to.model, to.number, replaced, why)
    begin(folder, intent)
    line = AuditLog(folder).record(action, to.model, to.number, replaces=replaced, why=why)
    move(registry, intent)
    done(folder)
    return Change(to.model, to.number, replaced, line)
