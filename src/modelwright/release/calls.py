"""Calls of agents: the audit tells of their end, and of the beginning of those that last."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from modelwright.core.store import sha256
from modelwright.release.audit import AuditLog


class Call(msgspec.Struct, frozen=True):
    """A call of an operation, by whoever has to answer for it.

    Attributes:
        folder: of the project whose audit it stands in.
        who, client: the agent, and its program.
        tool: the operation.
        arguments: as they were given; the audit leaves out secrets and rows.
        began: Unix time.
    """

    folder: str
    who: str
    client: str
    tool: str
    arguments: dict[str, Any]
    began: float

    def note(self, verdict: str, said: bytes = b"") -> None:
        """Append a line to the audit.

        Args:
            verdict: started, ok, ended, or the code of the refusal.
            said: what was answered; its digest is kept.
        """
        AuditLog(Path(self.folder)).call(
            self.who, self.client, self.tool, self.arguments, verdict, sha256(said),
            (time.time() - self.began) * 1000,
        )  # fmt: skip
