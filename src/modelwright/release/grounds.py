"""What a decision about a version can rest on: shown with a request, before anybody approves it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from modelwright.core.errors import ArtefactError
from modelwright.core.records import Finding, ReleaseRecord
from modelwright.core.runs import RELEASE
from modelwright.core.store import from_json
from modelwright.release.registry import Version
from modelwright.release.verdict import headline


def grounds(folder: Path, version: Version) -> dict[str, Any]:
    """The verdict on a version, its gates and warnings, and where its report is.

    Args:
        folder: of the project.
        version: as the registry knows it.

    Returns:
        What can be said as JSON; of a version whose run is not on this machine only what the
        registry has.
    """
    found: dict[str, Any] = {
        "run": version.run,
        "verdict": version.verdict,
        "compared_with": version.against or "none",
    }
    place = folder / "runs" / version.run
    with contextlib.suppress(OSError, ArtefactError):  # the registry's words are enough
        path = place / RELEASE
        record = from_json(path.read_bytes(), ReleaseRecord, where=str(path))
        found["headline"] = headline(record)
        found["report"] = str(Path("runs") / version.run / record.report)
        found["gates"] = [in_words(f) for f in record.evidence if f.severity == "error"]
        found["warnings"] = [
            in_words(f) for f in record.evidence if f.severity == "warning" and f.verdict != "pass"
        ]
    return found


def in_words(finding: Finding) -> str:
    """A finding in a line.

    Example:
        >>> in_words(Finding("limit", "f1", "fail", "0.71", "at least 0.8"))
        'limit f1: fail, 0.71, wanted at least 0.8'
    """
    wanted = f"wanted {finding.wanted}" if finding.wanted else ""
    said = ", ".join(filter(None, (finding.verdict, finding.measured, wanted)))
    return f"{finding.check} {finding.subject}: {said}"
