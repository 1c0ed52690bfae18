"""What a project keeps that nothing refers to any more, and its removal.

Everything a registered version refers to stays, so that champion, challenger and whatever
`rollback` could go back to are safe by construction.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelwright.core.errors import ArtefactError, RegistryError, UsageError
from modelwright.core.records import ReleaseRecord
from modelwright.core.runs import RELEASE, RUN_NAME
from modelwright.core.store import from_json, in_use, is_in_use, locked
from modelwright.release.approvals import gate
from modelwright.release.audit import AuditLog
from modelwright.release.cache import CACHE, CACHE_LOCK
from modelwright.release.registry import HOME, Registry, Version
from modelwright.release.unfinished import finish

KEEP = 3
FRESH = 3600
"""Seconds in which a folder without a lock, or a half-written file, may belong to somebody."""
KEEP_JOBS = 50
_LOCK, _PART, _REMOVED = ".lock", "*.part", ".removed."


@dataclass(frozen=True)
class Garbage:
    """Something that nothing refers to.

    Attributes:
        kind: `run`, `artefact` (a cached copy of no version), `job` (what an old one left) or
            `part` (left by a kill).
        bytes: that its removal frees.
    """

    path: Path
    kind: str
    why: str
    bytes: int


def gc(folder: str | Path = ".", *, apply: bool = False, keep: int = KEEP) -> list[Garbage]:
    """Find what a project keeps in vain, and with `apply` remove it.

    Args:
        folder: the project folder.
        apply: remove; without it nothing is changed.
        keep: so many of the newest runs without a version stay: one may be gone on with, or looked
            at to see why it was not released.

    Returns:
        What was found, or with `apply` what was removed.

    Raises:
        UsageError: `keep` is below 0.
        RegistryError: the registry cannot be asked, or it is gone: then nothing is removed.
        Refused: an agent needs a person's approval for it, or may not do it.
    """
    project = Path(folder)
    if keep < 0:
        raise UsageError(f"{keep} runs cannot be kept.", hint="Take 0 or more (--keep).")
    versions = _versions(project)
    found = [*_runs(project, versions, keep), *_cached(project, versions), *_jobs(project)]
    found += _parts(project)
    if not apply:
        return found
    return [one for one in _approved(project, found, keep) if _remove(project, one)]


def _approved(project: Path, found: list[Garbage], keep: int) -> list[Garbage]:
    """What may be removed: for an agent only what was there when a person was asked."""
    if not found:
        return found
    named = {str(one.path.relative_to(project)): one for one in found}
    request = gate(
        project, "gc", {"apply": True, "keep": keep}, model="", version="", why="", champion="",
        evidence={
            "bytes": sum(one.bytes for one in found),
            "remove": {name: f"{one.kind}, {one.why}" for name, one in named.items()},
        },
    )  # fmt: skip
    if request is None:
        return found
    AuditLog(project).record("gc", "", "", replaces="", why=f"{len(found)} things to remove")
    return [one for name, one in named.items() if name in request.evidence["remove"]]


def _versions(project: Path) -> list[Version]:
    """Every version of every model, or an error: not knowing is no reason to remove."""
    if not Registry.exists(project):
        if AuditLog(project).lines():
            raise RegistryError(
                f"{project / HOME} has an audit log but no registry: what is still needed cannot "
                "be known.",
                hint="Set MLFLOW_TRACKING_URI, or restore .modelwright/mlflow.db.",
            )
        return []
    registry = Registry(project)
    finish(registry, project)
    return [version for model in registry.models() for version in registry.versions(model)]


def _runs(project: Path, versions: list[Version], keep: int) -> Iterator[Garbage]:
    """Runs without a version, but for the newest and those that are going on."""
    referred = {version.run for version in versions}
    folders = sorted(_run_folders(project), reverse=True)
    for number, run in enumerate(f for f in folders if f.name not in referred):
        verdict = _verdict(run)
        if number >= keep and verdict is not None and not _is_used(run):
            yield Garbage(run, "run", verdict, _size(run))


def _run_folders(project: Path) -> list[Path]:
    """Folders that modelwright made; people keep other things there too, and links."""
    found = (project / "runs").glob("*/")
    return [path for path in found if RUN_NAME.fullmatch(path.name) and not path.is_symlink()]


def _verdict(run: Path) -> str | None:
    """Why a run has no version; None when it has one that another registry knows."""
    path = run / RELEASE
    if not path.exists():
        return "never came to an end"
    try:
        record = from_json(path.read_bytes(), ReleaseRecord)
    except ArtefactError:
        return "its release.json cannot be read"
    if record.version:
        return None
    return "was not registered" if record.verdict == "pass" else f"gates: {record.verdict}"


def _cached(project: Path, versions: list[Version]) -> Iterator[Garbage]:
    """Fetched copies of models that no version has."""
    known = {digest for version in versions for digest in (version.digest, version.baseline)}
    for copy in sorted((project / HOME / CACHE).glob("*/")):
        if copy.name not in known:
            yield Garbage(copy, "artefact", "no version has it", _size(copy))


def _jobs(project: Path) -> Iterator[Garbage]:
    """What jobs left that ended long ago, but for the newest; their runs are runs like others."""
    jobs = sorted((project / HOME / "jobs").glob("*/job.json"), reverse=True)
    for path in jobs[KEEP_JOBS:]:
        if not _is_used(path.parent):
            yield Garbage(
                path.parent, "job", f"the newest {KEEP_JOBS} are kept", _size(path.parent)
            )


def _parts(project: Path) -> Iterator[Garbage]:
    """Files and folders that a killed process was writing or removing."""
    left = [*(project / HOME).glob(_PART), *(project / "runs").glob(f"{_REMOVED}*")]
    for run in _run_folders(project):
        if not _is_used(run):
            left += run.rglob(_PART)
    for path in sorted(left):
        if path.name.startswith(_REMOVED) or not _is_fresh(path):
            yield Garbage(path, "part", "left by a process that was killed", _size(path))


def _is_used(run: Path) -> bool:
    """Whether a process writes to a run, or may be about to."""
    return is_in_use(run) if (run / _LOCK).exists() else _is_fresh(run)


def _is_fresh(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < FRESH
    except OSError:
        return True  # it is gone already


def _remove(project: Path, one: Garbage) -> bool:
    """Remove one thing whole; False when somebody has begun to use it, or was faster."""
    with contextlib.ExitStack() as held:
        if one.kind in ("run", "job"):
            try:
                held.enter_context(in_use(one.path))
            except (OSError, UsageError):
                return False
            if one.kind == "run" and _verdict(one.path) is None:
                return False  # it was registered since
        else:
            held.enter_context(locked(project / HOME / CACHE_LOCK))
        aside = one.path
        if one.kind != "part":  # a kill in between leaves no half of it under its name
            aside = project / "runs" / f"{_REMOVED}{one.path.name}"
            aside.parent.mkdir(exist_ok=True)
            one.path.rename(aside)
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside)
        else:
            aside.unlink(missing_ok=True)
    return True


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())
