"""`modelwright agents install`: write, look at, or remove what AI coding agents need.

Files are whole or absent; the guards come before what lets an agent in, and go after it. What is
ours is told by its form and by its marks; only what a user had that held nothing is remembered
elsewhere, so that it stays when ours goes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modelwright.core.errors import Refused, UsageError
from modelwright.core.principal import acting
from modelwright.core.progress import Progress
from modelwright.core.store import write_atomic
from modelwright.ways_in.agents.clients import ALL, interpreter, parts, persona_in
from modelwright.ways_in.agents.hollow import remember, remembered
from modelwright.ways_in.agents.jsonc import get
from modelwright.ways_in.agents.parts import Change, JsonPart, Part, TomlPart
from modelwright.ways_in.agents.shapes import (
    AgentFile,
    AgentsArguments,
    AgentsResult,
    Client,
    Persona,
    State,
)

BOM = "\ufeff"
ELSEWHERE = (
    "This Python lies outside the project, so the files name its absolute path, which other "
    "machines may not have. With an environment in the project, such as .venv, they fit any clone."
)
_CHECKED: dict[State, State] = {"made": "missing", "updated": "outdated"}


def agents(given: AgentsArguments, progress: Progress) -> AgentsResult:
    """Set agents up, look whether they are, or take it back."""
    folder = Path(given.project)
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", hint="Give the project's with --project.")
    did = "check" if given.check else "uninstall" if given.uninstall else "install"
    if did != "check" and acting().is_agent:
        raise Refused(
            "An agent does not change its own set-up.",
            hint="Ask a person to run it: in a shell of their own.",
            rule="scratch_only",
        )
    progress.stage("agents", did)
    persona = given.persona or _persona_before(folder) or "engineer"
    known = parts(folder, persona)
    clients = _clients(given, folder, known)
    result = AgentsResult(did=did, project=str(folder), clients=clients, persona=persona, files=[])
    if did == "install" and Path(interpreter(folder)).is_absolute():
        result.note = ELSEWHERE
    chosen = [part for part in known if set(part.clients) & set(clients)]
    if did == "uninstall":
        kept = _set_up(folder, known) - set(clients)
        chosen = [part for part in reversed(chosen) if not set(part.clients) & kept]
    for part, path, blocked in _places(folder, chosen):
        found = _said(part, blocked, did) if blocked else _one(folder, part, path, did)
        if found is not None:
            result.files.append(found)
    result.files.sort(key=lambda file: file.path)
    return result


def _one(folder: Path, part: Part, path: Path, did: str) -> AgentFile | None:
    """One file; None where there is nothing to say."""
    try:
        before = _read(path)
    except (OSError, UnicodeDecodeError) as error:
        return _said(part, Change(None, "left", f"cannot be read: {error}"), did)
    try:
        if did == "uninstall":
            return _uninstalled(folder, part, path, before)
        change = part.install(before)
        if did == "install" and change.text is not None and change.text != before:
            if before is None or part.withdraw(before).state != "removed":
                remember(folder, part.path, {} if before is None else part.hollow(before))
            _write(path, change.text)
    except OSError as error:
        paste = "" if did == "uninstall" else part.install(None).text or ""
        why = f"cannot be written: {error.strerror}"
        return _said(part, Change(before, "left", why, paste), did)
    return _said(part, change, did)


def _uninstalled(folder: Path, part: Part, path: Path, before: str | None) -> AgentFile | None:
    if before is None:
        return None
    change = part.withdraw(before, remembered(folder, part.path))
    if change.state == "removed":
        _write(path, change.text)
        _tidy(folder, part)
        remember(folder, part.path, {})
    return None if change.state == "same" else _said(part, change, "uninstall")


def _said(part: Part, change: Change, did: str) -> AgentFile:
    state, why = change.state, change.why
    if did == "check":
        is_wanting = state == "left" and (change.paste or change.text is None)
        state = "missing" if is_wanting else _CHECKED.get(state, state)
        why = "" if state in ("missing", "outdated") and not is_wanting else why
    return AgentFile(path=part.path, state=state, why=why, paste=change.paste)


def _places(folder: Path, chosen: Sequence[Part]) -> Iterator[tuple[Part, Path, Change | None]]:
    """Where each part is written, links followed; or why it is not."""
    root = folder.resolve()
    taken: dict[Path, str] = {}
    for part in chosen:
        path = (folder / part.path).resolve()
        blocked = None
        if not path.is_relative_to(root):
            blocked = Change(None, "left", "leads out of the project through a link")
        elif path in taken:
            blocked = Change("", "left", f"the same file as {taken[path]}")
        elif path.is_dir():
            blocked = Change(None, "left", "is a folder")
        taken.setdefault(path, part.path)
        yield part, path, blocked


def _clients(given: AgentsArguments, folder: Path, known: Sequence[Part]) -> list[Client]:
    if given.client is not None and given.client != "all":
        return [given.client]
    if given.client is None and given.check:
        there = _set_up(folder, known)
        return [client for client in ALL if client in there] or list(ALL)
    return list(ALL)


def _set_up(folder: Path, known: Sequence[Part]) -> set[Client]:
    """Clients that have something of ours which no other client reads."""
    found: set[Client] = set()
    for part in known:
        if len(part.clients) == 1:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                text = _read(folder / part.path)
                if text is not None and part.withdraw(text).state == "removed":
                    found |= set(part.clients)
    return found


def _persona_before(folder: Path) -> Persona | None:
    """Of the servers that were set up before."""
    for part in parts(folder, "engineer"):
        with contextlib.suppress(OSError, ValueError):  # what cannot be read tells nothing
            found = persona_in(_server_in(part, _read(folder / part.path) or ""))
            if found is not None:
                return found
    return None


def _server_in(part: Part, text: str) -> Any:
    if isinstance(part, TomlPart):
        tables = tomllib.loads(text).get(part.place[0])
        return tables.get(part.place[1]) if isinstance(tables, dict) else None
    if isinstance(part, JsonPart):
        return get(text, part.members[0].place)
    return None


def _read(path: Path) -> str | None:
    """A file's text without its mark of byte order; None where there is no file."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return data.decode().removeprefix(BOM)


def _write(path: Path, text: str | None) -> None:
    """Write a file with the rights it had, or remove it.

    Raises:
        OSError: it may not be written; a file that its owner made read-only is not.
    """
    # the mode as well: root, as whom containers run, may write everything
    if path.exists() and not (os.access(path, os.W_OK) and path.stat().st_mode & stat.S_IWUSR):
        raise PermissionError(errno.EACCES, "it is read-only")
    if text is None:
        path.unlink()
        return
    if not path.exists():
        write_atomic(path, text.encode())
        return
    mark = BOM.encode() if path.read_bytes().startswith(BOM.encode()) else b""
    write_atomic(path, mark + text.encode(), mode=path.stat().st_mode & 0o777)


def _tidy(folder: Path, part: Part) -> None:
    """Remove folders that hold nothing any more."""
    for above in list(Path(part.path).parents)[:-1]:
        try:
            (folder / above).rmdir()
        except OSError:
            return
