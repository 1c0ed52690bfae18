"""A spec that an agent wrote, checked before it is written."""

from __future__ import annotations

from pathlib import Path

from modelwright.core.goalposts import flat, must_leave_to_people
from modelwright.core.spec_file import DEFAULT_NAME, SpecFile, parse_spec

MOST_CHANGES = 40


def checked_spec(text: str, folder: Path) -> tuple[SpecFile, list[str]]:
    """The spec of a text that an agent wrote, and what it changes.

    Raises:
        SpecError: it is no spec; every problem is told.
        Refused: it changes what is for people, or reads a table outside the project.
    """
    path = folder / DEFAULT_NAME
    made = parse_spec(text, path)
    stands = must_leave_to_people(path, made.spec)
    before, now = {} if stands is None else flat(stands), flat(made.spec)
    changed = [
        f"{key}: {before.get(key)!r} -> {now.get(key)!r}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    return made, changed[:MOST_CHANGES]
