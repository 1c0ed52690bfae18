"""The metrics of all workers on a port of their own, by a process that does nothing else."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path

import uvloop

from modelwright.serve.http import Connections, HttpConnection, Slot
from modelwright.serve.listening import Signs
from modelwright.serve.messages import ProtocolError, Request, Response
from modelwright.serve.metrics_door import page
from modelwright.serve.protocol import error_response
from modelwright.serve.signals import let_signals_in

MOST_BODY = 1024


class MetricsHandler:
    """Answers `GET /metrics` and nothing else.

    Args:
        folder: where the numbers of all workers are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def handle(self, request: Request, reply: Slot) -> None:
        """See `http.Handler`."""
        if request.path not in ("/", "/metrics"):
            reply(error_response(ProtocolError(404, "Here is only /metrics.")))
        elif request.method not in ("GET", "HEAD"):
            reply(error_response(ProtocolError(405, "/metrics takes GET.", allow="GET, HEAD")))
        else:
            kind, body = page(self._folder, request.headers.get("accept", ""))
            reply(Response(200, body, kind))


def serve_metrics(listener: socket.socket, folder: Path, signs: Signs) -> int:
    """Answer until SIGTERM, or until the supervisor is gone; the exit code."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(listener, folder, signs))
    return 0


async def _run(listener: socket.socket, folder: Path, signs: Signs) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    let_signals_in()
    shared = Connections(MetricsHandler(folder), MOST_BODY)
    server = await loop.create_server(lambda: HttpConnection(shared), sock=listener)
    while not stop.is_set() and not signs.is_orphan():
        await asyncio.sleep(0.2)
        shared.sweep()
    server.close()
    shared.close_idle()
