"""What git knows of a folder or a file, where there is git."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit_of(folder: Path) -> str:
    """The git commit of a project, with '+changes' for a dirty tree; empty without git."""
    try:
        head = ask(folder, "rev-parse", "HEAD")
        dirty = ask(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return head + ("+changes" if dirty else "")


def state_of(file: Path) -> dict[str, str]:
    """The last commit that touched a file, and whether it was changed since; empty when git does
    not know the file."""
    try:
        if not ask(file.parent, "ls-files", "--", file.name):
            return {}
        commit = ask(file.parent, "log", "-1", "--format=%H", "--", file.name)
        dirty = ask(file.parent, "status", "--porcelain", "--", file.name)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"git": commit + ("+changes" if dirty else "")} if commit else {}


def ask(folder: Path, *words: str) -> str:
    """The output of a git command.

    Raises:
        OSError: there is no git.
        subprocess.SubprocessError: git refused.
    """
    done = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
