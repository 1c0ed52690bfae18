"""HTTP: a token, loopback unless a token is given, Host and Origin checked."""

from __future__ import annotations

import hmac
import secrets
import socket
from collections.abc import Callable

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from modelwright.core.errors import UsageError
from modelwright.ways_in.arguments import McpArguments
from modelwright.ways_in.mcp.server import make_server

MOST_BODY = 1_000_000
PATH = "/mcp"


def answer_http(given: McpArguments, token: str, say: Callable[[str], None]) -> None:
    """Answer HTTP until SIGTERM.

    Args:
        token: that callers have to bring; one is made and told where it is empty.
        say: tells the address.

    Raises:
        UsageError: the address cannot be had.
    """
    server, _ = make_server(given.persona, given.name)
    made = token or secrets.token_urlsafe(32)
    listening = _listen(given.host, given.port)
    port = listening.getsockname()[1]
    shown = f"[{given.host}]" if ":" in given.host else given.host
    names = {shown, "127.0.0.1", "localhost", "[::1]", socket.gethostname()}
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=MOST_BODY,
        transport_security=TransportSecuritySettings(
            allowed_hosts=[f"{name}:{port}" for name in names],
            allowed_origins=[f"http://{name}:{port}" for name in names],
        ),
    )
    config = uvicorn.Config(
        WithToken(app, made), log_level="warning", access_log=False, timeout_graceful_shutdown=3,
        server_header=False, h11_max_incomplete_event_size=65_536,
    )  # fmt: skip
    say(f"listening on http://{shown}:{port}{PATH}")
    if not token:
        say(f"token: {made}")
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except (SystemExit, KeyboardInterrupt):
        return  # uvicorn raises the signal again after its clean end


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(
            f"Cannot listen on {host}:{port}: {error.strerror}.", hint="Take another --port."
        ) from error


class WithToken:
    """Lets through who brings the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._wanted = app, f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, or what the app answers."""
        if scope["type"] == "http":
            said = Headers(scope=scope).get("authorization", "").encode()
            if not hmac.compare_digest(said, self._wanted):
                refused = PlainTextResponse(
                    "A token is wanted: Authorization: Bearer TOKEN", 401,
                    {"WWW-Authenticate": "Bearer"},
                )  # fmt: skip
                return await refused(scope, receive, send)
        return await self._app(scope, receive, send)
