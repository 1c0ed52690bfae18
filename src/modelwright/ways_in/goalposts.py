"""Limits and the split of a spec: agents do not move them until a model passes."""

from __future__ import annotations

from pathlib import Path

from modelwright.core.errors import Refused
from modelwright.core.limits import Limit
from modelwright.core.runs import RELEASE
from modelwright.core.spec import Spec
from modelwright.core.store import sha256, write_atomic

WRITTEN = Path(".modelwright") / "spec-of-agents"
"""sha256 of the last spec that an agent wrote: what differs from it is a person's."""


def remember(folder: Path, text: str, before: str | None = None) -> None:
    """A spec that an agent wrote, unless it is a person's with changes.

    Args:
        before: text of the spec that it replaces; None for none.
    """
    if before is None or _is_agents(folder, before):
        write_atomic(folder / WRITTEN, sha256(text.encode()).encode())


def must_not_move(folder: Path, before: Spec, text: str, now: Spec) -> None:
    """Refuse a spec that asks for less, or judges by other rows, than the one before.

    An agent may rewrite its own spec as it likes until a run was judged by it.

    Args:
        folder: of the project.
        before, text: the spec that stands there, and its text.
        now: the one that is to replace it.

    Raises:
        Refused: a limit is looser or gone, or the split is another.
    """
    if _is_agents(folder, text) and not any((folder / "runs").glob(f"*/{RELEASE}")):
        return
    kept = {_what(limit): limit for limit in now.parsed_limits()}
    for limit in before.parsed_limits():
        new = kept.get(_what(limit))
        if new is None or not (limit.relative or limit.met_by(new.bound)):
            raise _refused("limits", f"{limit} would be {new or 'gone'}")
        if limit.relative and new.bound > limit.bound:
            raise _refused("limits", f"{limit} would be {new}")
    for key in ("split", "seed"):
        old, new_value = getattr(before.data, key), getattr(now.data, key)
        if old != new_value:
            raise _refused(f"data.{key}", f"other rows would be sealed: data.{key} is another")


def _is_agents(folder: Path, text: str) -> bool:
    try:
        return (folder / WRITTEN).read_text() == sha256(text.encode())
    except FileNotFoundError:
        return False


def _what(limit: Limit) -> tuple[str, str, str | None, bool]:
    return limit.metric, limit.direction, limit.slice_column, limit.relative


def _refused(key: str, found: str) -> Refused:
    return Refused(
        f"Agents do not move the goalposts: {found}.",
        hint="Keep it, or ask a person to change modelwright.yaml; tightening a limit is free.",
        rule="human_approval",
        evidence={"key": key},
    )
