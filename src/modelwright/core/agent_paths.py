"""Which paths agents may name: below the project to read, and in its scratch/ to write."""

from __future__ import annotations

import os
from pathlib import Path

from modelwright.core.errors import Refused

SCRATCH = "scratch"
MOST_LOOKED_AT = 10_000
"""Entries of a folder that is to be read, each of which could lead out of the project."""
_RULE = "scratch_only"
_GLOB = frozenset("*?[]{}")


def readable(text: str, project: Path, *, base: Path | None = None) -> Path:
    """A file or folder that an agent wants to read; it need not exist.

    Args:
        text: as it was given; a model's or run's name is a path that does not exist.
        project: the project's folder.
        base: the folder that the text is relative to; default the project's.

    Raises:
        Refused: it is not below the project, hidden, or no file and no folder.
    """
    _must_be_plain(text, "read")
    root = project.resolve()
    found = _resolved(text, (project if base is None else base) / text)
    if not found.is_relative_to(root):
        hint = "Name a file below the project's folder."
        raise out_of_bounds(text, "leads out of the project", hint)
    if any(part.startswith(".") for part in found.relative_to(root).parts):
        raise out_of_bounds(text, "is hidden", "Name a file that does not begin with a dot.")
    if found.exists() and not (found.is_file() or found.is_dir()):
        raise out_of_bounds(text, "is no file and no folder", "Name a table, a model or a run.")
    if found.is_dir():
        _must_hold_no_way_out(text, found, root)
    return found


def writable(text: str, project: Path) -> Path:
    """A file or folder that an agent wants to write; the folder above it is made.

    Raises:
        Refused: it is not in the project's scratch/.
    """
    _must_be_plain(text, "write")
    scratch = project.resolve() / SCRATCH
    found = _resolved(text, project / text)
    if scratch.resolve() != scratch or not found.is_relative_to(scratch):
        hint = f"Such as {SCRATCH}/{Path(text).name or 'out.csv'}."
        raise out_of_bounds(text, f"is not in {SCRATCH}/, where agents write", hint)
    if found.exists() and not (found.is_file() or found.is_dir()):
        raise out_of_bounds(text, "is no file and no folder", f"Name a file in {SCRATCH}/.")
    (found if found == scratch else found.parent).mkdir(parents=True, exist_ok=True)
    return found


def _resolved(text: str, path: Path) -> Path:
    """Where a path leads to, links followed."""
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle: RuntimeError until Python 3.12
        why = "leads nowhere: its links go in a circle"
        raise out_of_bounds(text, why, "Name a file, not a link.") from error


def _must_be_plain(text: str, verb: str) -> None:
    """No form that means more than one file, or another place than it seems."""
    wrong = ""
    if not text.isprintable():
        wrong = "holds characters that cannot be seen"
    elif "://" in text:
        wrong = "is an address"
    elif _GLOB & set(text):
        wrong = "is a pattern"
    elif text.startswith(("/", "~", "\\")) or text[1:2] == ":":
        wrong = "is absolute"
    elif ":" in text:
        wrong = "names code, not a file"  # module:Name as a source is imported and called
    elif ".." in text.replace("\\", "/").split("/"):
        wrong = "climbs with .."
    elif len(text) > 1024:
        wrong = "is too long"
    if wrong:
        hint = "Name it relative to the project, such as data/train.csv."
        if verb == "write":
            hint = f"Name a file in {SCRATCH}/, such as {SCRATCH}/out.csv."
        raise out_of_bounds(text, wrong, hint)


def _must_hold_no_way_out(text: str, folder: Path, root: Path) -> None:
    seen = 0
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            seen += 1
            one = Path(place, name)
            if one.is_symlink() and not _resolved(text, one).is_relative_to(root):
                raise out_of_bounds(text, f"holds {name!r}, which leads out of the project",
                               "Name the files that are meant.")  # fmt: skip
        if seen > MOST_LOOKED_AT:
            raise out_of_bounds(text, f"holds more than {MOST_LOOKED_AT:,} entries", "Name a file.")


def out_of_bounds(text: str, why: str, hint: str) -> Refused:
    """The refusal of a path."""
    return Refused(f"{text[:120]!r} {why}.", hint=hint, rule=_RULE, evidence={"path": text[:120]})
