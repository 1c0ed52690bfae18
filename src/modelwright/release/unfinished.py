"""Changes of production that a kill cut off, and how the next command ends them.

MLflow keeps version and alias in separate transactions, and the audit log is a file, so a change
is written down as a whole first: `.modelwright/pending.json`. It is taken away when the change is
done. Whoever finds it there, and holds the lock, takes the same steps again; each does nothing
when it was done already. Before the audit line is on disk nothing has happened in production, so
then the change is dropped.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

import msgspec

from modelwright.core.errors import ArtefactError, ModelwrightError, NoSuchModel
from modelwright.core.records import Alias, ReleaseRecord
from modelwright.core.runs import RELEASE
from modelwright.core.store import from_json, locked, to_json, write_atomic
from modelwright.core.traffic import Traffic, read_traffic, write_traffic
from modelwright.release.audit import AuditLog
from modelwright.release.moved import LOCK, PENDING, differs, note_locked
from modelwright.release.pages import write_pages
from modelwright.release.registry import CHALLENGER, CHAMPION, Registry
from modelwright.release.run_records import RunRecords

FIRST = "first release"


class Intent(msgspec.Struct, frozen=True):
    """A change that was begun.

    `lines`: how many the audit log had. A release has `run` and `mlflow_run`, and no version: the
    registry gives it one; `waits`: even a first one does not become champion by itself. A change of
    traffic has the rule that is to be in force.
    """

    action: Literal["promote", "rollback", "release", "canary", "ab", "shadow", "stop"]
    model: str
    version: str = ""
    replaces: str = ""
    why: str = ""
    run: str = ""
    mlflow_run: str = ""
    lines: int = 0
    traffic: Traffic | None = None
    waits: bool = False


def begin(folder: Path, intent: Intent) -> None:
    """Write a change down before its first step; the lock is held."""
    lines = len(AuditLog(folder).lines())
    write_atomic(folder / PENDING, to_json(msgspec.structs.replace(intent, lines=lines)))


def done(folder: Path) -> None:
    """The change begun is in force."""
    (folder / PENDING).unlink(missing_ok=True)


def finish(registry: Registry, folder: Path) -> None:
    """End what a kill cut off, if there is something; waits for a change that is going on.

    Raises:
        RegistryError: MLflow refused or cannot be reached; then it stays for the next command.
    """
    if (folder / PENDING).exists():
        with locked(folder / LOCK):
            finish_locked(registry, folder)


def finish_locked(registry: Registry, folder: Path) -> None:
    """As `finish`, for those who hold the lock."""
    path = folder / PENDING
    if not path.exists():
        return
    intent = from_json(path.read_bytes(), Intent, where=str(path))
    if intent.action == "release":
        made = [v for v in registry.versions(intent.model) if v.mlflow_run == intent.mlflow_run]
        if made:
            settle_release(registry, folder, intent, made[0].number)
            with contextlib.suppress(ModelwrightError):  # pages must not hold up the rest
                write_pages(RunRecords.read(folder / "runs" / intent.run))
    elif is_recorded(folder, intent):
        if intent.traffic is not None:
            write_traffic(folder, intent.traffic)
        else:
            _finish_move(registry, folder, intent)
    done(folder)


def settle(registry: Registry, folder: Path, model: str) -> None:
    """As `finish`, and record a champion that was moved outside modelwright; see `release.moved`.

    Raises:
        RegistryError: as for `finish`.
    """
    finish(registry, folder)
    if differs(folder, model, _champion(registry, model)):
        with contextlib.suppress(OSError), locked(folder / LOCK):  # one may only read here
            settle_locked(registry, folder, model)


def settle_locked(registry: Registry, folder: Path, model: str) -> None:
    """As `settle`, for those who hold the lock."""
    finish_locked(registry, folder)
    note_locked(folder, model, _champion(registry, model))


def move(registry: Registry, folder: Path, intent: Intent) -> None:
    """Point champion at the version; it is no challenger, canary or shadow any more."""
    registry.set_alias(intent.model, CHAMPION, intent.version)
    challenger = registry.aliased(intent.model, CHALLENGER)
    if challenger and challenger.number == intent.version:
        registry.remove_alias(intent.model, CHALLENGER)
    with contextlib.suppress(ArtefactError):  # a damaged rule must not hold up a way back
        rule = read_traffic(folder, intent.model)
        if rule is not None and (after := rule.after_promotion(intent.version)) != rule:
            write_traffic(folder, after)


def settle_release(registry: Registry, folder: Path, intent: Intent, version: str) -> Alias:
    """Give a registered version its alias, and the run's record its version.

    The first version becomes champion, later ones become challenger, and so does a first one that
    waits for a person.
    """
    champion = registry.aliased(intent.model, CHAMPION)
    alias: Alias = "challenger"
    first = champion is None and not intent.waits
    if first or (champion is not None and champion.number == version):
        alias = "champion"
        made = msgspec.structs.replace(intent, action="promote", version=version, why=FIRST)
        if not is_recorded(folder, made):
            AuditLog(folder).record("promote", intent.model, version, replaces="", why=FIRST)
    registry.set_alias(intent.model, alias, version)
    path = folder / "runs" / intent.run / RELEASE
    if path.exists():
        with contextlib.suppress(ArtefactError):  # an unreadable record must not hold up the rest
            record = from_json(path.read_bytes(), ReleaseRecord, where=str(path))
            record = msgspec.structs.replace(record, version=version, alias=alias)
            write_atomic(path, to_json(record))
    return alias


def is_recorded(folder: Path, intent: Intent) -> bool:
    """Whether the audit log got the line of a change that was begun."""
    wanted = (intent.action, intent.model, intent.version, intent.replaces)
    since = AuditLog(folder).lines()[intent.lines :]
    return any((e.action, e.model, e.version, e.replaces) == wanted for e in since)


def _finish_move(registry: Registry, folder: Path, intent: Intent) -> None:
    """The line is on disk, so the alias moves, unless it was moved elsewhere since."""
    now = _champion(registry, intent.model)
    if now in (intent.replaces, intent.version) and _is_there(registry, intent):
        move(registry, folder, intent)
        return
    why = f"{intent.action} was cut off, and the champion is now {now or 'none'}"
    AuditLog(folder).record("void", intent.model, intent.version, replaces=now, why=why)


def _champion(registry: Registry, model: str) -> str:
    found = registry.aliased(model, CHAMPION)
    return found.number if found else ""


def _is_there(registry: Registry, intent: Intent) -> bool:
    try:
        registry.version(intent.model, intent.version)
    except NoSuchModel:
        return False
    return True
