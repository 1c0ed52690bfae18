"""What production says of a request: who is champion, and what a cut-off change came to.

Imported only where that is asked, since it needs the registry.
"""

from __future__ import annotations

from pathlib import Path

from modelwright.core.records import ReleaseRecord
from modelwright.core.runs import RELEASE
from modelwright.core.store import from_json
from modelwright.release.audit import AuditLog
from modelwright.release.moved import PENDING
from modelwright.release.registry import CHAMPION, Registry
from modelwright.release.requests import Request
from modelwright.release.unfinished import finish


def champion_of(folder: Path, model: str) -> str:
    """The champion's number; empty for none.

    Raises:
        RegistryError: MLflow cannot be reached.
    """
    if not model or not Registry.exists(folder):
        return ""
    found = Registry(folder).aliased(model, CHAMPION)
    return found.number if found else ""


def finish_changes(folder: Path) -> None:
    """End changes that a kill cut off.

    Raises:
        RegistryError: MLflow cannot be reached.
    """
    if (folder / PENDING).exists():
        finish(Registry(folder), folder)


def released_under(folder: Path, request: Request) -> str:
    """The version that a run became under a request to let its gates through; empty for none."""
    entries = AuditLog(folder).entries(request.model)
    said = [e for e in entries if e.action == "override" and e.detail.get("request") == request.id]
    path = folder / "runs" / str(request.arguments.get("run", "")) / RELEASE
    if request.action != "release" or not said or not path.is_file():
        return ""
    return from_json(path.read_bytes(), ReleaseRecord, where=str(path)).version
