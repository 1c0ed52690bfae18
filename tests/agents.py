"""Clients of the MCP server, for tests."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp_types import CallToolResult, ElicitResult

from modelwright.ways_in.mcp.server import make_server

MODES = ("auto", "legacy")
BAD = [
    "/etc/passwd", "../other/t.csv", "a/../../t.csv", "~/t.csv", "a\x00b", "t\u202e.csv",
    "https://evil.example/t.csv", "postgresql://u:p@db/x", "file:///etc/passwd", "*.csv",
    "data/[ab].csv", "/dev/zero", "/proc/self/environ", "C:\\t.csv", "..\\t.csv", "x" * 2000,
    "os:getcwd", "shop.table:Rows", "a:b.csv",
    ".env", ".modelwright/audit.jsonl", "data/.hidden.csv",
]  # fmt: skip
"""Paths that agents may not use."""


class Person:
    """Who answers what a client shows."""

    def __init__(self, action: str = "accept", **content: Any) -> None:
        self.asked: list[str] = []
        self._answer = ElicitResult(action=action, content=content or None)

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        self.asked.append(params.message)
        return self._answer


def talk(
    what: Callable[[Client], Awaitable[Any]],
    server: Any = None,
    *,
    persona: Any = "release",
    mode: str = "auto",
    person: Person | None = None,
) -> Any:
    """Connect the official client, and do something with it."""

    async def main() -> Any:
        target = make_server(persona, "ada")[0] if server is None else server
        async with Client(target, mode=mode, elicitation_callback=person) as client:
            return await what(client)

    return anyio.run(main)


def call(name: str, arguments: dict[str, Any] | None = None, **how: Any) -> dict[str, Any]:
    """One call of a tool; its structured result, after what holds for each was looked at."""

    async def once(client: Client) -> CallToolResult:
        return await client.call_tool(name, arguments or {})

    return structured(talk(once, **how))


def structured(result: CallToolResult) -> dict[str, Any]:
    """What holds for every result."""
    found = result.structured_content
    assert found is not None
    assert found["next_actions"], found
    assert isinstance(found["untrusted"], list)
    assert len(json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()) <= 8_500
    [told] = result.content
    assert len(told.text.encode()) <= 8_500
    assert result.is_error == (found["status"] == "refused")
    if result.is_error:
        assert found["message"][:200] in told.text and found["fix"] in told.text
    else:
        assert json.loads(told.text) == found, "whoever reads text alone reads the same"
    return found


def audited(folder: Path) -> list[dict[str, Any]]:
    """Lines of the audit."""
    path = folder / ".modelwright" / "audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]
