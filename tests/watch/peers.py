"""The other side of an alert: an HTTP server that keeps what it gets and answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from modelwright.core.records import Finding
from modelwright.watch.alerts import Alert
from modelwright.watch.episodes import Episode, Event

FINDING = Finding(
    "drift", "age", "fail", measured="distance .31", wanted="at most .05", why="chance is out",
    advice="Look at <age> & co.", severity="error", columns=("age", "colour"),
)  # fmt: skip


def alert(what: str = "opened", cause: str = "drift", **changed: Any) -> Alert:
    """An alert about a model `shop`."""
    episode = Episode(f"shop/{cause}/2026-11-20T10:00:00+00:00", "2026-11-20T10:00:00+00:00", 2,
                      Finding(**{**{n: getattr(FINDING, n) for n in FINDING.__struct_fields__},
                                 **changed}))  # fmt: skip
    at = "2026-11-20T11:00:00+00:00" if what == "opened" else "2026-11-20T15:00:00+00:00"
    event = Event(what, cause, at, episode)  # type: ignore[arg-type]
    return Alert.of(event, "shop", "3", link="https://reports.example.com/shop?a=1&b=2")


@dataclass
class Request:
    """What came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Peer:
    """A server. `answers`: codes or (code, headers, body), one a request, then 200."""

    url: str = ""
    got: list[Request] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)


@contextmanager
def peer(*answers: Any, context: Any = None) -> Iterator[Peer]:
    """A real server on a free port; with an `ssl.SSLContext` it is HTTPS."""
    found = Peer(answers=list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found.got.append(Request(self.path, {k.lower(): v for k, v in self.headers.items()},
                                     body))  # fmt: skip
            answer = found.answers.pop(0) if found.answers else 200
            if answer == "hang up":
                self.close_connection = True
                return
            code, headers, text = answer if isinstance(answer, tuple) else (answer, {}, b"ok")
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    found.url = f"{'https' if context else 'http'}://localhost:{server.server_port}"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
