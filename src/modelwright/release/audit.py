"""Who changed production, when and why: append-only, each line chained to the one before.

Beside the changes stand the requests that led to them, what became of those, and the calls of
tools. Only changes count for what is in production.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from modelwright.core.principal import acting
from modelwright.core.records import AuditLine
from modelwright.core.redaction import redacted
from modelwright.core.store import append_line, locked, sha256, timestamp, write_atomic

FILE = Path(".modelwright") / "audit.jsonl"
CALL, MOVED = "call", "moved"
UNKNOWN = "unknown"
"""Who moved a champion outside modelwright: MLflow does not keep it."""
_AS_CALL = b'","action":"call","model":"'  # quotes within a text are escaped
CHANGES = frozenset(
    {"promote", "rollback", "override", "canary", "ab", "shadow", "stop", "void", MOVED}
)  # fmt: skip
"""Actions that say what is in production, and on whose word."""
MOVES = frozenset({"promote", "rollback", MOVED})
BLOCK = 65_536
LONGEST_ARGUMENTS = 4_000


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
        return self.lines_from(0, model)[0]

    def lines_from(self, start: int, model: str | None = None) -> tuple[list[AuditLine], int]:
        """Changes that were appended since.

        Args:
            start: bytes that were read before.
            model: only its lines.

        Returns:
            (the changes, bytes that are read now).
        """
        raw = self._whole_lines(start)
        lines = [line for line in self._parsed(raw, model, calls=False) if line.action in CHANGES]
        return lines, start + sum(len(line) + 1 for line in raw)

    def entries(self, model: str | None = None, *, calls: bool = False) -> list[AuditLine]:
        """As `lines`, with requests and what became of them; with `calls` all that is there."""
        return self._parsed(self._whole_lines(), model, calls=calls)

    def champion(self, model: str) -> str | None:
        """Who is champion in the registry in use by what stands here; empty for none, None where
        nothing tells: a server's may be older than this project."""
        place = registry_in_use()
        mine = [
            line.version
            for line in in_force(self.lines(model))
            if line.action in MOVES and line.detail.get("registry", "") == place
        ]
        return mine[-1] if mine else None if place else ""

    @staticmethod
    def _parsed(lines: Iterable[bytes], model: str | None, *, calls: bool) -> list[AuditLine]:
        found = []
        for raw in lines:
            if not calls and _AS_CALL in raw:
                continue
            try:
                line = msgspec.json.decode(raw, type=AuditLine)
            except msgspec.DecodeError:
                continue
            if (model is None or line.model == model) and (calls or line.action != CALL):
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
        detail: Mapping[str, str] | None = None,
    ) -> AuditLine:
        """Append a line; on disk when this returns.

        What is done under an approval names the request, what an agent does its program.
        """
        who = acting()
        known = {
            "request": who.approved, "client": who.client, "registry": registry_in_use(),
            **(detail or {}),
        }  # fmt: skip
        return self._append(
            AuditLine(
                timestamp(), who.name, action, model, version, replaces, why, "", subject,
                {name: text for name, text in known.items() if text},
            )
        )  # fmt: skip

    def found_moved(self, model: str, version: str, *, replaces: str, why: str) -> AuditLine:
        """Append that the champion was found moved; nobody knows by whom, only who found it."""
        known = {"found by": acting().name, "registry": registry_in_use()}
        return self._append(
            AuditLine(
                timestamp(), UNKNOWN, MOVED, model, version, replaces, why, "",
                detail={name: text for name, text in known.items() if text},
            )
        )  # fmt: skip

    def call(
        self,
        who: str,
        client: str,
        tool: str,
        arguments: Mapping[str, Any],
        verdict: str,
        result_digest: str,
        milliseconds: float,
    ) -> AuditLine:
        """Append a call of a tool, its arguments without secrets and rows of data.

        Args:
            who: calls.
            client: program and version of the caller.
            tool: its name.
            arguments: as they came.
            verdict: ok, or the code of the refusal.
            result_digest: sha256 of what was answered.
            milliseconds: that it took.
        """
        text = msgspec.json.encode(redacted(arguments), enc_hook=str).decode()
        if len(text) > LONGEST_ARGUMENTS:
            text = f"{text[:LONGEST_ARGUMENTS]}... ({len(text)} characters)"
        model = str(arguments.get("model") or "").split("/")[0].split("@")[0][:64]
        detail = {
            "client": client, "arguments": text, "verdict": verdict, "result": result_digest,
            "ms": f"{milliseconds:.0f}",
        }  # fmt: skip
        return self._append(AuditLine(timestamp(), who, CALL, model, "", "", "", "", tool, detail))

    def _append(self, line: AuditLine) -> AuditLine:
        with locked(self._path.with_suffix(".lock")):
            line = msgspec.structs.replace(line, previous=self._before(self._last_line()))
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

    def _whole_lines(self, start: int = 0) -> list[bytes]:
        """Lines that were written to their end, from a byte on."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read().split(b"\n")[:-1]

    def _before(self, last: bytes) -> str:
        """What the next line follows from: the last line, or what it was before it was edited.

        The head remembers it, so that an edit shows for ever, and not only until the next line.
        """
        digest = sha256(last) if last else ""
        if not self._head.exists():
            return digest
        head = self._head.read_text()
        try:  # a kill between line and head leaves the head one line behind
            behind = msgspec.json.decode(last, type=AuditLine).previous if last else ""
        except msgspec.DecodeError:
            behind = ""
        return digest if head in (digest, behind) else head

    def _last_line(self) -> bytes:
        """The last line that was written to its end; read from the end of the file backwards.

        A line that a crash cut short is taken away: it never took effect, since lines come before
        what they record.
        """
        if not self._path.exists():
            return b""
        with self._path.open("rb") as file:
            end = start = file.seek(0, os.SEEK_END)
            data = b""
            while start and data.count(b"\n") < 2:
                step = min(BLOCK, start)
                start -= step
                file.seek(start)
                data = file.read(step) + data
        whole = data.rfind(b"\n") + 1
        if start + whole != end:
            os.truncate(self._path, start + whole)
        return data[:whole].split(b"\n")[-2] if whole else b""


def registry_in_use() -> str:
    """Where the registry is, without a password; empty for the project's own."""
    return re.sub(r"//[^/@\s]*@", "//", os.environ.get("MLFLOW_TRACKING_URI", ""))


def previous(lines: Iterable[AuditLine], champion: str) -> str:
    """The champion before the present one, as far as rollbacks left it; empty when there is none.

    Args:
        lines: of one model, oldest first.
        champion: number of the present one.
    """
    stack = _stack(lines)
    while champion in stack and stack[-1] != champion:  # a promotion that a crash cut off
        stack.pop()
    while stack and stack[-1] == champion:
        stack.pop()
    return stack[-1] if stack else ""


def _stack(lines: Iterable[AuditLine]) -> list[str]:
    """Champions that a rollback can go back through: a rollback takes the last one off, and so
    does a move by other hands to one of them."""
    stack: list[str] = []
    for line in in_force(lines):
        if line.action == "rollback" or (line.action == MOVED and line.version in stack):
            while stack and stack[-1] != line.version:
                stack.pop()
        elif line.action == "promote" or (line.action == MOVED and line.version):
            stack.append(line.version)
    return stack


def in_force(lines: Iterable[AuditLine]) -> list[AuditLine]:
    """Changes without those that a later line says never came about."""
    kept: list[AuditLine] = []
    for line in lines:
        if line.action == "void":
            cut = next((e for e in reversed(kept) if e.version == line.version), None)
            kept = [e for e in kept if e is not cut]
        else:
            kept.append(line)
    return kept
