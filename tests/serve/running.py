"""A real server process, and clients that count what is lost: raw sockets on an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from modelwright.serve.settings import Settings, Source

PATIENCE = 30.0


def until(true: Callable[[], Any], what: str = "", seconds: float = PATIENCE) -> Any:
    """Ask again and again until the answer is yes; the answer."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what or true}"
        time.sleep(0.01)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """A server process."""

    process: subprocess.Popen[str]
    port: int
    errors: Path
    first: str = ""
    secure: ssl.SSLContext | None = None

    def connected(self, seconds: float = 20) -> socket.socket:
        """A connection, with TLS where it speaks that; its certificate is not looked at."""
        found = socket.create_connection(("127.0.0.1", self.port), seconds)
        return self.secure.wrap_socket(found) if self.secure else found

    def ask(
        self, path: str, body: Any = None, method: str = "", seconds: float = 20, **headers: str
    ) -> Reply:
        """One request on a connection of its own; a body that is no bytes goes as JSON."""
        data = body or b"" if isinstance(body, bytes | None) else msgspec.json.encode(body)
        head = request(path, data, method or ("GET" if body is None else "POST"), close=True,
                       **headers)  # fmt: skip
        with self.connected(seconds) as place:
            place.settimeout(seconds)
            place.sendall(head)
            found = b""
            while part := place.recv(65536):
                found += part
        return parsed(found)

    def predict(self, row: dict[str, Any], **headers: str) -> Reply:
        return self.ask("/predict", row, **headers)

    def metric(self, start: str) -> float:
        """The sum of all series whose line begins so."""
        lines = self.ask("/metrics").body.decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))

    def workers(self) -> list[int]:
        """Process ids of all children."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in found.split()]

    def end(self, number: int = signal.SIGTERM, seconds: float = 20) -> int:
        """Tell it to end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


def request(
    path: str, body: bytes = b"", method: str = "POST", *, close: bool = False, **headers: str
) -> bytes:
    """A request as bytes; underscores in header names become hyphens."""
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += ["connection: close"] if close else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def parsed(data: bytes) -> Reply:
    """A whole answer."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert first, "no answer"
    return Reply(int(first.split(" ")[1]), headers, body)


@contextlib.contextmanager
def serving(place: Path, *models: Source, **settings: Any) -> Iterator[Running]:
    """`python -m modelwright.serve` with these settings, on a free port; killed at the end."""
    more = settings.pop("arguments", ())
    found = Settings(models=models, **{"port": 0, "quiet": True, **settings})
    config = place / f"settings-{time.monotonic_ns()}.json"
    config.write_bytes(msgspec.json.encode(found))
    with started(place, "-m", "modelwright.serve", "--config", str(config), *more) as running:
        yield running


@contextlib.contextmanager
def started(place: Path, *words: str, cut: bool = False, **more: Any) -> Iterator[Running]:
    """A server process by its command line; `cut` closes its output after the first line."""
    errors = place / f"errors-{time.monotonic_ns()}.txt"
    with errors.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, stderr=said, text=True,
            env=os.environ.copy(), **more,
        )  # fmt: skip
    running = Running(process, 0, errors)
    try:
        assert process.stdout
        running.first = process.stdout.readline()
        assert " on http" in running.first, errors.read_text()
        running.port = int(running.first.rsplit(":", 1)[1])
        if " on https" in running.first:
            running.secure = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            running.secure.check_hostname, running.secure.verify_mode = False, ssl.CERT_NONE
        if cut:
            process.stdout.close()
        until(lambda: _answers(running), "ready")
        yield running
    finally:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children = running.workers() if process.poll() is None else []
            process.kill()
            process.wait()
            for pid in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if process.stdout:
            process.stdout.close()


def _answers(running: Running) -> bool:
    try:
        return running.ask("/v2/health/ready").status == 200
    except (OSError, AssertionError):
        return False


@dataclass
class Counted:
    """What clients met.

    Attributes:
        outcomes: `ok`, `refused` (before a connection), `lost` (asked and not answered), an HTTP
            code other than 200, or what `check` says against an answer.
        retried: what became of lost requests, which are sent again on a new connection until they
            are answered: `ok`, `lost` once more, or a code; that stands in `outcomes` as well.
        versions: of each client, every version that answered, in order, each run of one once.
        times: (when sent, seconds) of each answer.
        took: outcome -> seconds of each answer that had it.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    versions: dict[int, list[str]] = field(default_factory=dict)
    times: list[tuple[float, float]] = field(default_factory=list)
    took: dict[str, list[float]] = field(default_factory=dict)
    lost_at: list[float] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)

    retried: Counter[str] = field(default_factory=Counter)

    @property
    def answered(self) -> int:
        return self.outcomes["ok"]

    def percentile(self, share: float, after: float = 0.0, before: float = 1e18) -> float:
        """Seconds that so large a share of the answers took at most."""
        found = sorted(took for at, took in self.times if after <= at < before)
        return found[min(len(found) - 1, int(share * len(found)))] if found else 0.0


Check = Callable[[int, str, bytes], str]
"""(which body, version in the header, body) to an empty text, or what is wrong."""


class Hammer:
    """Clients on an event loop of a thread of their own, until the block ends.

    Args:
        running: the server.
        bodies: sent in turn.
        keep_alive, connecting: clients that keep their connection, and that make one a request.
        check: looks at each answer.
        pause: seconds between two requests of a client.
        path, headers: of each request.
    """

    def __init__(
        self,
        running: Running,
        bodies: Sequence[bytes],
        *,
        keep_alive: int = 0,
        connecting: int = 0,
        check: Check | None = None,
        pause: float = 0.0,
        path: str = "/predict",
        **headers: str,
    ) -> None:
        self.counted = Counted()
        self._running, self._check, self._pause = running, check, pause
        self._keep_alive, self._connecting = keep_alive, connecting
        self._kept = [request(path, body, **headers) for body in bodies]
        self._closing = [request(path, body, close=True, **headers) for body in bodies]
        self._stopping = False
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Counted:
        self._thread.start()
        return self.counted

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        if self._fault:
            raise self._fault

    def _work(self) -> None:
        try:
            asyncio.run(self._all())
        except BaseException as error:  # noqa: BLE001  raised where the block ends
            self._fault = error

    async def _all(self) -> None:
        kinds = [True] * self._keep_alive + [False] * self._connecting
        await asyncio.gather(*(self._client(n, keep) for n, keep in enumerate(kinds)))

    async def _client(self, number: int, keep: bool) -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        outcomes = self.counted.outcomes
        turns, which, again = itertools.count(number), 0, False
        while again or not self._stopping:
            if not again:
                which = next(turns) % len(self._kept)
            sent = time.perf_counter()
            if streams is None:
                try:
                    streams = await asyncio.open_connection("127.0.0.1", self._running.port)
                except OSError:
                    outcomes["refused"] += 1
                    again = again and not self._gone()
                    await asyncio.sleep(0.01)
                    continue
            try:
                streams[1].write((self._kept if keep else self._closing)[which])
                reply = await asyncio.wait_for(_read(streams[0]), PATIENCE)
            except (OSError, EOFError, TimeoutError) as error:
                outcomes["lost"] += 1
                self.counted.retried["lost"] += again
                self.counted.lost_at.append(time.perf_counter())
                self.counted.said[type(error).__name__] += 1
                streams[1].close()
                streams, again = None, not self._gone()
                continue
            self._count(number, which, reply, sent, again=again)
            again = False
            if not keep or reply.headers.get("connection") == "close":
                streams[1].close()
                streams = None
            if self._pause:
                await asyncio.sleep(self._pause)
        if streams is not None:
            streams[1].close()

    def _gone(self) -> bool:
        """Whether the server has ended: then nothing that was lost is sent again."""
        return self._running.process.poll() is not None

    def _count(
        self, number: int, which: int, reply: Reply, sent: float, *, again: bool = False
    ) -> None:
        counted = self.counted
        took = time.perf_counter() - sent
        counted.times.append((sent, took))
        counted.took.setdefault("ok" if reply.status == 200 else str(reply.status), []).append(took)
        if again:
            counted.retried["ok" if reply.status == 200 else str(reply.status)] += 1
        if reply.status != 200:
            counted.outcomes[str(reply.status)] += 1
            counted.said[reply.body.decode()[:200]] += 1
            return
        version = reply.headers.get("x-modelwright-version", "")
        seen = counted.versions.setdefault(number, [])
        if not seen or seen[-1] != version:
            seen.append(version)
        wrong = self._check(which, version, reply.body) if self._check else ""
        counted.outcomes[wrong or "ok"] += 1


async def _read(stream: asyncio.StreamReader) -> Reply:
    """An answer; it has a length."""
    head = await stream.readuntil(b"\r\n\r\n")
    reply = parsed(head)
    reply.body = await stream.readexactly(int(reply.headers["content-length"]))
    return reply


def same_as(answers: dict[str, list[Any]], model: str = "shop") -> Check:
    """Each answer must be that of the version it names."""

    def check(which: int, version: str, body: bytes) -> str:
        found = msgspec.json.decode(body)
        wanted = answers.get(version)
        if wanted is None or found["version"] != version or found["model"] != model:
            return f"version {version} in the header, {found['version']} in the body"
        [given] = found["predictions"]
        same = given["prediction"] == wanted[which]["prediction"] and all(
            abs(given[name] - wanted[which][name]) <= 1e-12 for name in ("p_no", "p_yes")
        )  # the sigmoid of ONNX Runtime differs in the last bit by the size of a batch
        return "" if same else f"wrong answer of {version}"

    return check
