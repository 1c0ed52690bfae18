"""A champion that was moved by other hands than modelwright's, as in MLflow's own pages.

Whoever moves an alias there leaves no trace of who it was, since MLflow keeps none. So the champion
of now is held against the audit log, under the lock that every change takes: while it is held, no
change of ours is halfway. One line then says what was found, and the next look finds nothing.

Imports no MLflow, since a process that serves looks as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from modelwright.core.errors import UsageError
from modelwright.core.records import AuditLine
from modelwright.core.store import locked_now
from modelwright.release.audit import AuditLog, registry_in_use

HOME = Path(".modelwright")
LOCK, PENDING = HOME / "promote.lock", HOME / "pending.json"


def differs(folder: Path, model: str, champion: str) -> bool:
    """Whether the champion of now is another than the audit log says."""
    return AuditLog(folder).champion(model) not in (None, champion)


def note_locked(folder: Path, model: str, champion: str) -> AuditLine | None:
    """Record that the champion was moved, if it was.

    For those who hold the lock, when no change of ours is pending.

    Args:
        champion: its number as the registry says now; empty for none.
    """
    before = AuditLog(folder).champion(model)
    if before is None or before == champion:
        return None
    shared = ", or by another project that uses the same registry" if registry_in_use() else ""
    why = (
        f"champion of {model} found moved from {_named(before)} to {_named(champion)} outside "
        f"modelwright{shared}"
    )
    return AuditLog(folder).found_moved(model, champion, replaces=before, why=why)


def note_unless_busy(folder: Path, model: str, ask: Callable[[], str]) -> bool:
    """As `note_locked` for a process that serves: it waits for nobody.

    Args:
        ask: the champion's number as the registry says now, asked under the lock.

    Returns:
        Whether to look again: somebody was changing production just then.
    """
    with contextlib.suppress(OSError):  # a project that this process may not write in
        try:
            with locked_now(folder / LOCK, "busy", "try again"):
                if not (folder / PENDING).exists():  # else whoever ends that change looks
                    note_locked(folder, model, ask())
        except UsageError:
            return True
    return False


def _named(version: str) -> str:
    return f"v{version}" if version else "none"
