"""Who changed production, when and why: append-only, each line chained to the one before."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import msgspec

from modelwright.core.records import AuditLine
from modelwright.core.store import append_line, locked, sha256, timestamp, write_atomic

FILE = Path(".modelwright") / "audit.jsonl"


class AuditLog:
    """The audit file of a project.

    Example:
        log = AuditLog(Path("."))
        log.record("promote", "income", "2", replaces="1", why="better on new data")
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._head = self._path.with_suffix(".head")

    def lines(self, model: str | None = None) -> list[AuditLine]:
        """Every change, oldest first; a last line cut short by a crash is left out."""
        found = []
        for raw in self._whole_lines():
            try:
                line = msgspec.json.decode(raw, type=AuditLine)
            except msgspec.DecodeError:
                continue
            if model is None or line.model == model:
                found.append(line)
        return found

    def record(
        self,
        action: str,
        model: str,
        version: str,
        *,
        replaces: str,
        why: str,
        subject: str = "",
    ) -> AuditLine:
        """Append a change; on disk when this returns."""
        with locked(self._path.with_suffix(".lock")):
            self._drop_cut_line()
            before = self._whole_lines()
            previous = sha256(before[-1]) if before else ""
            line = AuditLine(
                timestamp(), who(), action, model, version, replaces, why, previous, subject
            )
            append_line(self._path, line)
            write_atomic(self._head, sha256(msgspec.json.encode(line)).encode())
        return line

    def broken_at(self) -> int | None:
        """Number of the first line that does not follow from the one before; None when whole.

        A last line that a crash cut short is not counted: it never took effect. A last line that
        was edited or taken away does not fit the head, which is kept beside.
        """
        before = previous = ""
        last = 0
        for number, raw in enumerate(self._whole_lines(), start=1):
            try:
                line = msgspec.json.decode(raw, type=AuditLine)
            except msgspec.DecodeError:
                return number
            if line.previous != previous:
                return number
            before, previous = previous, sha256(raw)
            last = number
        if self._head.exists() and self._head.read_text() not in (previous, before):
            return max(1, last)  # a kill between line and head leaves the head one line behind
        return None

    def _whole_lines(self) -> list[bytes]:
        """Lines that were written to their end."""
        if not self._path.exists():
            return []
        return self._path.read_bytes().split(b"\n")[:-1]

    def _drop_cut_line(self) -> None:
        """A line that a crash cut short never took effect: lines come before what they record."""
        if not self._path.exists():
            return
        data = self._path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            os.truncate(self._path, whole)


def who() -> str:
    """The person or job that acts: MODELWRIGHT_USER, else the login name."""
    named = os.environ.get("MODELWRIGHT_USER")
    if named:
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
