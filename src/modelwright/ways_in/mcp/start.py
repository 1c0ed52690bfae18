"""The operation `mcp`: check who starts it, then answer until the other side is done."""

from __future__ import annotations

import os
from pathlib import Path

from modelwright.core.errors import MissingExtra, Refused, UsageError
from modelwright.core.progress import Progress
from modelwright.ways_in import arguments, results
from modelwright.ways_in.jobs import APPROVER_KEY

VARIABLE = "MODELWRIGHT_MCP_TOKEN"
"""Where the token of HTTP is given."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def mcp(given: arguments.McpArguments, progress: Progress) -> results.ServeResult:
    """Serve agents; ends with the process."""
    token = os.environ.pop(VARIABLE, "")  # jobs do not inherit it
    check_start(given, token)
    try:  # HTTP's server takes a while to load, which stdio does without
        if given.http:
            from modelwright.ways_in.mcp.over_http import answer_http
        else:
            from modelwright.ways_in.mcp.over_stdio import answer_stdio
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("mcp", "mcp_types", "uvicorn"):
            raise MissingExtra(str(error.name), "mcp") from error
        raise
    os.chdir(given.project)
    if given.http:
        answer_http(given, token, progress.say)
    else:
        answer_stdio(given)
    raise SystemExit(0)


def check_start(given: arguments.McpArguments, token: str) -> None:
    """Refuse to start where an agent could approve its own requests, or strangers could call.

    Raises:
        Refused: an approver's key is in the environment.
        UsageError: no such project, or an open address without a token.
    """
    if os.environ.get(APPROVER_KEY):
        raise Refused(
            f"{APPROVER_KEY} is set: an agent's server must not hold an approver's key.",
            hint=f"Unset it here, and approve in a terminal of your own: unset {APPROVER_KEY}",
            rule="human_approval",
        )
    if not Path(given.project).is_dir():
        raise UsageError(f"No folder {given.project}.", hint="Name the project's (--project).")
    if given.http and given.host not in LOOPBACK and not token:
        raise UsageError(
            f"--host {given.host} is open to others and needs a token.",
            hint=f"Set {VARIABLE} to a long random text, or take 127.0.0.1.",
        )
    if token and len(token) < 16:
        raise UsageError(f"{VARIABLE} is too short.", hint="Take at least 16 characters.")
