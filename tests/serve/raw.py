"""HTTP by hand: a caller that sends bytes as they are, and a server that says what it was asked."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import uvloop

from modelwright.serve.http import Connections, HttpConnection, Slot
from modelwright.serve.messages import Request, Response
from modelwright.serve.patience import Patience

Found = TypeVar("Found")


class Reply(NamedTuple):
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Caller:
    """A client without manners."""

    def __init__(self, port: int, *, seconds: float = 10.0, window: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(seconds)
        if window:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Caller:
        self.socket.sendall(data)
        return self

    def half_close(self) -> Caller:
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def reply(self, *, head_only: bool = False) -> Reply:
        """The next answer; EOFError where the connection ends first."""
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.partition(": ") for line in lines]
        headers = {name: value for name, _, value in pairs}
        assert len(headers) == len(lines), head
        status = int(first.split(" ")[1])
        size = 0 if head_only or status == 100 else int(headers["content-length"])
        while len(self.buffer) < size:
            self._more()
        body, self.buffer = self.buffer[:size], self.buffer[size:]
        return Reply(status, headers, body)

    def replies(self) -> list[Reply]:
        """Every answer until the connection ends."""
        found = []
        while True:
            try:
                found.append(self.reply())
            except EOFError:
                assert not self.buffer, self.buffer[:200]
                return found

    def is_closed(self) -> bool:
        """Whether the other side ends the connection, without a further byte."""
        try:
            return not self.socket.recv(1)
        except ConnectionResetError:
            return True

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data


def ask(port: int, data: bytes) -> list[Reply]:
    """All answers to some bytes, after which the caller sends no more."""
    with Caller(port) as caller:
        return caller.send(data).half_close().replies()


def request(
    method: str = "GET", path: str = "/", body: bytes = b"", headers: str = "", **more: str
) -> bytes:
    """A request with Host and, where there is a body, its length."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n" + headers + "\r\n").encode("latin-1") + body


def chunked(path: str, body: bytes, size: int, headers: str = "") -> bytes:
    """A request whose body comes in chunks."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    text = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n{headers}\r\n"
    return head.encode() + text + b"0\r\n\r\n"


class Echo:
    """Says what it was asked: at once, later, when it is told to, or never."""

    def __init__(self) -> None:
        self.later: list[Slot] = []
        self.asked = 0

    def handle(self, request: Request, reply: Slot) -> None:
        self.asked += 1
        body = Response(200, self._said(request))
        if request.path == "/slow":
            asyncio.get_running_loop().call_later(0.02, reply, body)
        elif request.path == "/held":
            self.later.append(reply)
        elif request.path == "/big":
            reply(Response(200, b"x" * int(request.query)))
        elif request.path == "/fault":
            raise KeyError(request.path)
        else:
            reply(body)

    def _said(self, request: Request) -> bytes:
        about = {
            "method": request.method, "path": request.path, "query": request.query,
            "body": request.body.decode("latin-1"), "headers": dict(request.headers),
        }  # fmt: skip
        return json.dumps(about).encode()


class Running:
    """The protocol class under a loop of its own."""

    def __init__(self, patience: Patience, max_body: int, most: int) -> None:
        self.echo = Echo()
        self.shared = Connections(self.echo, max_body, most=most, patience=patience)
        self.loop = uvloop.new_event_loop()
        self.faults: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, about: self.faults.append(about))
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(10)

    def on_loop(self, work: Callable[[], Found]) -> Found:
        """Do something where the connections live."""

        async def worked() -> Found:
            return work()

        return asyncio.run_coroutine_threadsafe(worked(), self.loop).result(10)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self.faults, self.faults

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._served())
        self.loop.close()

    async def _served(self) -> None:
        self._stop = asyncio.Event()
        server = await self.loop.create_server(
            lambda: HttpConnection(self.shared), "127.0.0.1", 0, backlog=2048
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        while not self._stop.is_set():
            self.shared.sweep()
            await asyncio.sleep(0.02)
        server.close()
        for connection in list(self.shared.open):
            connection.abort()
        await asyncio.sleep(0)


@contextmanager
def running(
    patience: Patience | None = None, *, max_body: int = 100_000, most: int = 100_000
) -> Iterator[Running]:
    """A server that echoes; it must be left as it was found."""
    found = Running(patience or Patience(), max_body, most)
    try:
        yield found
        until(lambda: found.on_loop(lambda: not found.shared.in_flight - len(found.echo.later)))
        assert found.on_loop(lambda: len(found.echo.later) or found.shared.bodies.held == 0)
    finally:
        found.close()


def until(true: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait for something that must come true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def resident(pid: int | str = "self") -> int:
    """Bytes of memory that a process has now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()
