"""Requests on disk: `.modelwright/requests/PR-7.json`, numbered and changed under one lock."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from modelwright.core.errors import ArtefactError, Refused, UsageError
from modelwright.core.store import from_json, locked, locked_now, to_json, write_atomic
from modelwright.release.audit import AuditLog

FOLDER = Path(".modelwright") / "requests"
RULE = "human_approval"
STANDS = "stands"
"""Key of a request's evidence: what must still be so when it is carried out."""
State = Literal["pending", "approved", "rejected", "applied", "failed", "expired"]
_ID = re.compile(r"(?:PR-)?([1-9][0-9]{0,8})", re.IGNORECASE)


class Request(msgspec.Struct, frozen=True):
    """What somebody asks for, and what became of it.

    Attributes:
        id: such as PR-7.
        action: name of the operation; `arguments`: its arguments, without project and why.
        model, version, champion: whose production, to which version, and who was champion then.
        by, kind, client: who asks, and through which program.
        why: the reason of whoever asks; `reason`: of whoever decided.
        expires: after that it can be neither approved nor carried out.
        evidence: what the decision can rest on, and under `stands` what must not have changed.
        decided_by: name of the approver; `signature`: of their key, empty for a client's answer.
        outcome: what came of carrying it out.
    """

    id: str
    action: str
    arguments: dict[str, Any]
    model: str
    version: str
    by: str
    client: str
    why: str
    at: str
    expires: str
    champion: str
    evidence: dict[str, Any]
    kind: Literal["person", "agent"] = "agent"
    state: State = "pending"
    decided_by: str = ""
    decided_at: str = ""
    reason: str = ""
    signature: str = ""
    outcome: str = ""

    def words(self) -> bytes:
        """What an approver signs: everything that is asked for, and their own words."""
        named = (
            "id", "action", "arguments", "model", "version", "by", "kind", "client", "why", "at",
            "expires", "champion", "evidence", "decided_by", "decided_at", "reason",
        )  # fmt: skip
        said: dict[str, Any] = {name: getattr(self, name) for name in named}
        said["decision"] = "approved"
        text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return b"modelwright approval 1\n" + text.encode()

    @property
    def asks(self) -> tuple[object, ...]:
        """Two requests that are equal in this are one."""
        return (self.action, self.arguments, self.model, self.version, self.champion, self.by,
                self.kind, self.evidence.get(STANDS))  # fmt: skip

    @property
    def in_words(self) -> str:
        """Such as promote shop 2."""
        return " ".join(filter(None, (self.action, self.model, self.version)))

    @property
    def basis(self) -> dict[str, Any]:
        """The evidence for people: without what must not have changed meanwhile."""
        return {name: value for name, value in self.evidence.items() if name != STANDS}

    @property
    def next_step(self) -> str:
        """What can be done about it."""
        return {
            "pending": f"A person approves it: modelwright approve {self.id} --key FILE",
            "approved": f"A person carries it out: modelwright approve {self.id}",
        }.get(self.state, "Ask again if it is still wanted.")

    def decided(self, state: State, by: str, reason: str) -> Request:
        """The same with somebody's yes or no."""
        return msgspec.structs.replace(
            self, state=state, decided_by=by, decided_at=as_text(now()), reason=reason
        )

    def refused(self, message: str, fix: str) -> Refused:
        """An error about it."""
        evidence = {"request": self.id, "state": self.state}
        return Refused(message, hint=fix, rule=RULE, evidence=evidence)

    @property
    def is_open(self) -> bool:
        """Whether it can still come to something."""
        return self.state in ("pending", "approved")


class RequestFiles:
    """Where the requests of a project lie."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._place = folder / FOLDER

    def find(self, id: str) -> Request:
        """One request; pending and approved ones turn expired by themselves.

        Raises:
            UsageError: there is no such request.
            ArtefactError: its file is damaged.
        """
        match = _ID.fullmatch(id.strip())
        path = self._place / f"PR-{match[1]}.json" if match else None
        if path is None or not path.exists():
            raise UsageError(
                f"There is no request {id[:40]!r} in {self.folder.resolve()}.",
                hint="Those that there are: modelwright requests",
            )
        found = from_json(path.read_bytes(), Request, where=str(path))
        if found.id != path.stem:
            raise ArtefactError(f"{path} holds {found.id[:20]!r}: it was copied there by hand.")
        if found.is_open and as_text(now()) > found.expires:
            return msgspec.structs.replace(found, state="expired")
        return found

    def all(self) -> list[Request]:
        """Every request, oldest first."""
        return [self.find(f"PR-{number}") for number in self._numbers()]

    def write(self, request: Request) -> None:
        """Put a request in the place of what stands under its id; the lock is held."""
        write_atomic(self._place / f"{request.id}.json", to_json(request))

    def next_id(self) -> str:
        """An id that no request had, those included whose files are gone; the lock is held."""
        said = [e.detail.get("request", "") for e in AuditLog(self.folder).entries()]
        known = [int(match[1]) for one in said if (match := _ID.fullmatch(one))]
        return f"PR-{max([0, *known, *self._numbers()]) + 1}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes a request meanwhile."""
        with locked(self._place / ".lock"):
            yield

    @contextmanager
    def carrying_out(self, id: str) -> Iterator[None]:
        """Nobody else carries a request out meanwhile.

        Raises:
            UsageError: somebody does.
        """
        path = self._place / f".{self.find(id).id}.lock"
        with locked_now(path, f"{id} is being carried out.", f"Look: modelwright requests {id}"):
            yield

    def _numbers(self) -> list[int]:
        found = (_ID.fullmatch(path.stem) for path in self._place.glob("PR-*.json"))
        return sorted(int(match[1]) for match in found if match)


def now() -> dt.datetime:
    """The present moment, UTC, to the second."""
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def as_text(moment: dt.datetime) -> str:
    """As it stands in records: 2030-01-31T12:00:00Z; texts sort as moments do."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
