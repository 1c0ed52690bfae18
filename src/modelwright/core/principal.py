"""Who acts: a person, or an AI agent. Rules, approvals and the audit look here.

A way in says who acts with `acting_as`; else the environment does. An agent's shell is marked by
MODELWRIGHT_AGENT, so that what it types is held to the same rules as what it asks for over MCP.
"""

from __future__ import annotations

import contextlib
import contextvars
import getpass
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

AGENT = "MODELWRIGHT_AGENT"
"""Names the agent whose shell this is."""
USER = "MODELWRIGHT_USER"


@dataclass(frozen=True)
class Principal:
    """Who acts.

    Attributes:
        name: as it stands in the audit.
        client: program and version through which an agent acts; empty for a person.
        approved: the request (such as PR-7) that a person approved, while it is carried out.
    """

    name: str
    kind: Literal["person", "agent"] = "person"
    client: str = ""
    approved: str = ""

    @property
    def is_agent(self) -> bool:
        """Whether rules for agents bind."""
        return self.kind == "agent"


_ACTING: contextvars.ContextVar[Principal | None] = contextvars.ContextVar("acting", default=None)


def acting() -> Principal:
    """Who acts now: whom a way in named, else MODELWRIGHT_AGENT, else the person at the keyboard.

    Example:
        >>> with acting_as(Principal("agent ada", "agent")):
        ...     acting().name
        'agent ada'
    """
    named = _ACTING.get()
    if named is not None:
        return named
    agent = os.environ.get(AGENT)
    return Principal(f"agent {agent}", "agent") if agent else Principal(_person())


@contextlib.contextmanager
def acting_as(principal: Principal) -> Iterator[Principal]:
    """What happens inside is done by `principal`."""
    token = _ACTING.set(principal)
    try:
        yield principal
    finally:
        _ACTING.reset(token)


def _person() -> str:
    """MODELWRIGHT_USER, else the login name."""
    named = os.environ.get(USER)
    if named:
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
