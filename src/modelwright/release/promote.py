"""Changing production, with an audit line and a way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from modelwright.core.errors import NoSuchModel, UsageError
from modelwright.core.records import AuditLine, ReleaseRecord
from modelwright.core.store import locked
from modelwright.core.writer import must_still_hold
from modelwright.pack.artefact import Artefact
from modelwright.release import trust
from modelwright.release.approvals import gate, waits_for_a_person
from modelwright.release.audit import AuditLog, previous
from modelwright.release.grounds import grounds
from modelwright.release.moved import LOCK
from modelwright.release.ready import must_be_ready
from modelwright.release.registry import CHALLENGER, CHAMPION, Registry, Version
from modelwright.release.requests import STANDS
from modelwright.release.smoke import try_out
from modelwright.release.unfinished import (
    Intent,
    begin,
    done,
    move,
    settle_locked,
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
    detail: Mapping[str, str] | None = None,
) -> Change:
    """Make a version the champion; default the challenger.

    Its files, and its signature where keys are trusted, are checked, and a child process answers
    with it, before anything changes. The audit line is on disk before the alias moves, so that no
    change goes unrecorded; a kill between the two leaves the next command to end it. `detail` is
    what else its line says, such as the figures that led here.

    Raises:
        RegistryError: there is no such version, it did not pass its gates, or it is the champion.
        Refused: an agent needs a person's approval for it, or may not do it.
        ArtefactError: its files are not those that were released, no trusted key vouches for them,
            or they cannot answer.
    """
    with locked(folder / LOCK):
        settle_locked(registry, folder, model)
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
                f"Version {wanted.number} of {model} did not pass its gates: {wanted.verdict!r}.",
                hint=f"Look at modelwright report {model}/{wanted.number}; then run again.",
                rule="gates_all_pass",
                evidence={"version": wanted.number, "verdict": wanted.verdict},
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
        must_be_ready(folder, registry.fetch(wanted), wanted, has_champion=champion is not None)
        _must_be_approved(folder, "promote", wanted, champion, why)
        return _move(registry, folder, "promote", wanted, champion, why, detail)


def rollback(registry: Registry, folder: Path, model: str, *, why: str = "") -> Change:
    """Make the champion before the present one the champion again.

    Raises:
        RegistryError: there was none before.
        Refused, ArtefactError: as for `promote`.
    """
    with locked(folder / LOCK):
        settle_locked(registry, folder, model)
        champion = registry.aliased(model, CHAMPION)
        now = champion.number if champion else ""
        before = previous(AuditLog(folder).lines(model), now)  # of none: the one taken away
        if not before:
            registry.resolve(model)  # says it where there is no such model, or no champion
            raise NoSuchModel(
                f"{model} had no champion before version {now}.",
                hint=f"Promote another version: modelwright history {model}",
            )
        earlier = registry.version(model, before)
        _must_be_approved(folder, "rollback", earlier, champion, why)
        return _move(registry, folder, "rollback", earlier, champion, why)


def register(
    registry: Registry,
    folder: Path,
    artefact: Artefact,
    release: ReleaseRecord,
    mlflow_run: str,
    *,
    intent: str = "",
) -> ReleaseRecord:
    """Make a version of a logged run: the first becomes champion, later ones challenger.

    The first one of an agent that may not promote by itself is a challenger too. `intent`: what the
    model is for, which MLflow shows beside its name.

    Returns:
        The record with version and alias, which is on disk too.

    Raises:
        RegistryError: MLflow refused or cannot be reached; the next command ends what was begun.
        ArtefactError: the model cannot answer, or no trusted key vouches for it.
    """
    must_still_hold(folder)
    trust.verify(artefact.folder, artefact.digest, release.model)
    try_out(artefact.folder, artefact.digest)
    with locked(folder / LOCK):
        settle_locked(registry, folder, release.model)
        if any(v.run == release.run for v in registry.versions(release.model)):
            raise UsageError(f"Run {release.run} is released already.")
        must_still_hold(folder)
        begun = Intent(
            "release", release.model, run=release.run, mlflow_run=mlflow_run,
            waits=waits_for_a_person(folder, "promote"),
        )  # fmt: skip
        begin(folder, begun)
        version = registry.register(artefact, release, mlflow_run, intent=intent)
        alias = settle_release(registry, folder, begun, version)
        done(folder)
    return msgspec.structs.replace(release, version=version, alias=alias)


def _must_be_approved(
    folder: Path,
    action: Literal["promote", "rollback"],
    to: Version,
    before: Version | None,
    why: str,
) -> None:
    """Nothing where a person acts; else see `gate`."""
    arguments = {"model": to.model}
    if action == "promote":
        arguments["version"] = to.number
    gate(
        folder, action, arguments, model=to.model, version=to.number, why=why,
        champion=before.number if before else "",
        evidence={**grounds(folder, to), STANDS: {"digest": to.digest}},
    )  # fmt: skip


def _move(
    registry: Registry,
    folder: Path,
    action: Literal["promote", "rollback"],
    to: Version,
    before: Version | None,
    why: str,
    detail: Mapping[str, str] | None = None,
) -> Change:
    try_out(registry.fetch(to), to.digest)
    replaced = before.number if before else ""
    intent = Intent(action, to.model, to.number, replaced, why)
    begin(folder, intent)
    line = AuditLog(folder).record(
        action, to.model, to.number, replaces=replaced, why=why, detail=detail
    )
    move(registry, folder, intent)
    done(folder)
    return Change(to.model, to.number, replaced, line)
