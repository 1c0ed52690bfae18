"""What users had in the files of their clients that held nothing, such as `"mcpServers": {}`.

It is told from ours by nothing once ours is out, so it is kept beside: `.modelwright/agents.json`.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from modelwright.core.errors import ArtefactError
from modelwright.core.store import from_json, to_json, write_atomic

KEPT = Path(".modelwright") / "agents.json"
Hollow = dict[str, str]


def remembered(folder: Path, path: str) -> Hollow:
    """Of a file, as `Part.hollow` found it; empty where nothing is known."""
    return _all(folder).get(path, {})


def remember(folder: Path, path: str, found: Hollow) -> None:
    """Keep it, or forget what was known.

    Raises:
        OSError: it cannot be written.
    """
    before = _all(folder)
    after = {name: known for name, known in before.items() if name != path}
    if found:
        after[path] = found
    if after == before:
        return
    if after:
        write_atomic(folder / KEPT, to_json(after))
        return
    (folder / KEPT).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it holds something else
        (folder / KEPT).parent.rmdir()


def _all(folder: Path) -> dict[str, Hollow]:
    try:
        return from_json((folder / KEPT).read_bytes(), dict[str, Hollow], where=str(KEPT))
    except (OSError, ArtefactError):
        return {}
