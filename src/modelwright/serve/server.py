"""The server process: load, check, bind, answer, drain."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvicorn

from modelwright.core.errors import UsageError
from modelwright.pack.artefact import Artefact
from modelwright.release import trust
from modelwright.serve.app import App, Settings

DRAIN_SECONDS = 10
LONGEST_EXAMPLE = 1000


@dataclass(frozen=True)
class Bind:
    """Where to listen; port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8000


def serve(
    artefact: Path,
    settings: Settings,
    bind: Bind,
    *,
    digest: str | None = None,
    quiet: bool = False,
) -> None:
    """Answer until SIGTERM or Ctrl-C, then let open requests finish.

    Args:
        artefact: the model folder.
        settings: names, limits and token.
        bind: where to listen.
        digest: the sha256 that its manifest must have.
        quiet: print nothing but the address.

    Raises:
        UsageError: the port is taken, or an open address without a token.
        ArtefactError: the folder was changed, is foreign, or is not signed by a trusted key.
    """
    if settings.token is None and not is_loopback(bind.host):
        raise UsageError(
            f"Refused to serve on {bind.host} without a token: anybody could use the model.",
            hint="Set MODELWRIGHT_TOKEN (serve.token_env), or serve on 127.0.0.1.",
        )
    model = Artefact.load(artefact, digest=digest)
    trust.verify(artefact, model.digest, settings.name)
    warmed = App(model, settings)
    _warm_up(model)
    listener = _listen(bind)
    port = listener.getsockname()[1]
    name = f"{settings.name} version {settings.version}"
    shown = f"[{bind.host}]" if ":" in bind.host else bind.host
    config = uvicorn.Config(
        warmed,
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=DRAIN_SECONDS,
        server_header=False,
    )
    server = uvicorn.Server(config)
    # uvicorn raises the signal again after draining; its own handler, set here, then ends with 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    print(f"Serving {name} on http://{shown}:{port}", flush=True)
    if not quiet:
        print(_invitation(model, f"http://{shown}:{port}"), flush=True)
    server.run(sockets=[listener])


def _invitation(model: Artefact, address: str) -> str:
    """A request to paste, made of a typical row; wide tables have theirs in the OpenAPI page."""
    body = msgspec.json.encode(model.manifest.example).decode().replace("'", "'\\''")
    if len(body) > LONGEST_EXAMPLE:
        return f"  an example: curl {address}/openapi.json    stop: Ctrl-C"
    header = "-H 'content-type: application/json'"
    return f"  try: curl {address}/predict {header} -d '{body}'\n  stop: Ctrl-C"


def token_from(variable: str) -> str | None:
    """The token in an environment variable; None when it is unset or empty."""
    return os.environ.get(variable) or None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
        (True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _warm_up(model: Artefact) -> None:
    """The first run allocates; a typical row takes it out of the first request."""
    model.predict([model.manifest.example])


def _listen(bind: Bind) -> socket.socket:
    family = socket.AF_INET6 if ":" in bind.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((bind.host, bind.port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"Cannot listen on {bind.host}:{bind.port}: {error.strerror or error}.",
            hint="Choose another with --port, or 0 for a free one.",
        ) from error
    listener.listen(2048)
    listener.setblocking(False)
    return listener
