"""An HTTP/2 connection of the gRPC door without a socket: what is sent to it, and what it says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import h2.config
import h2.connection
import h2.events
import uvloop

from modelwright.serve.grpc_calls import GrpcCall, GrpcService, Method
from modelwright.serve.http2 import Http2Connection, Http2Connections
from modelwright.serve.http2_frames import (
    GOAWAY,
    HEAD,
    HEAD_BYTES,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    frame,
)
from modelwright.serve.http2_headers import HeaderReader, written
from modelwright.serve.messages import ProtocolError
from modelwright.serve.patience import Patience

PATH = "/test.Test/Echo"
FIELDS = (
    (b":method", b"POST"), (b":scheme", b"http"), (b":path", PATH.encode()),
    (b":authority", b"localhost"), (b"te", b"trailers"),
    (b"content-type", b"application/grpc+proto"),
)  # fmt: skip
GREETING = PREFACE + frame(SETTINGS, 0, 0)


class Frame(NamedTuple):
    """One frame that the server sent."""

    kind: int
    flags: int
    stream: int
    content: bytes

    @property
    def code(self) -> int:
        """Of RST_STREAM and GOAWAY."""
        place = 4 if self.kind == GOAWAY else 0
        return int.from_bytes(self.content[place : place + 4], "big")


def frames(data: bytes) -> Iterator[Frame]:
    """Whole frames."""
    place = 0
    while place < len(data):
        high, low, kind, flags, number = HEAD.unpack_from(data, place)
        end = place + HEAD_BYTES + (high << 8 | low)
        assert end <= len(data)
        yield Frame(kind, flags, number, data[place + HEAD_BYTES : end])
        place = end


def fields(**changed: str | None) -> list[tuple[bytes, bytes]]:
    """The header fields of a call; `_` in a name stands for `-`, a leading `p_` for a colon."""
    found = dict(FIELDS)
    for name, value in changed.items():
        key = f":{name[2:]}" if name.startswith("p_") else name.replace("_", "-")
        if value is None:
            del found[key.encode()]
        else:
            found[key.encode()] = value.encode()
    return list(found.items())


def head(stream: int, flags: int = 0x4, **changed: str | None) -> bytes:
    """A HEADERS frame that opens a call."""
    return frame(HEADERS, flags, stream, written(*fields(**changed)))


def message(content: bytes, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(content).to_bytes(4, "big") + content


class Pipe(asyncio.Transport):
    """A socket that keeps what is written; as full as it is told to be."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self.closed = self.half = self.paused = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self._parts.append(bytes(data))

    def taken(self) -> bytes:
        """What was written since the last time."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Wire:
    """One connection and its service.

    Methods: Echo answers a message with itself; Size with as many bytes as it says; Wait when
    `waiting` is called; Each echoes a stream; Fail raises; Secret wants a
    token; Open is an Echo without a scope.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, **limits: Any) -> None:
        self.loop = loop
        self.waiting: list[Callable[[], None]] = []
        self.asked: list[bytes] = []
        methods = {
            "Echo": Method(self._echo), "Size": Method(self._size),
            "Wait": Method(self._wait), "Each": Method(self._echo, streams=True),
            "Fail": Method(self._fail), "Secret": Method(self._echo),
            "Open": Method(self._echo, is_open=True),
        }  # fmt: skip
        patience = Patience(idle=100.0)
        given = {"max_body": 10**6, "queue": 100, **limits}
        most = given.pop("most", 10)
        self.service = GrpcService(
            {f"/test.Test/{name}": method for name, method in methods.items()}, _authorize,
            loop=loop, patience=patience, **given,
        )  # fmt: skip
        self.shared = Http2Connections(self.service, most, patience)
        self.connect()

    def connect(self) -> None:
        """A further connection, which takes the place of the one before."""
        self.pipe = Pipe()
        self.connection = Http2Connection(self.shared, self.loop)
        self.connection.connection_made(self.pipe)

    def _echo(self, _call: GrpcCall, body: bytes) -> bytes:
        self.asked.append(body)
        return body

    def _size(self, _call: GrpcCall, body: bytes) -> bytes:
        return bytes(int(body))

    def _wait(self, call: GrpcCall, body: bytes) -> None:
        self.waiting.append(lambda: call.reply(body))

    def _fail(self, _call: GrpcCall, body: bytes) -> bytes:
        raise KeyError(body)

    def turn(self) -> None:
        """Let the loop turn until nothing is left to do."""
        for _ in range(3):
            self.loop.run_until_complete(asyncio.sleep(0))

    def until(self, true: Callable[[], object]) -> None:
        """Let the loop turn until something is so, such as a thread's work done."""
        end = time.monotonic() + 20
        while not true():
            assert time.monotonic() < end
            self.loop.run_until_complete(asyncio.sleep(0.001))

    def send(self, *data: bytes) -> list[Frame]:
        """What the connection says to some bytes."""
        for part in data:
            self.connection.data_received(part)
        self.turn()
        return self.said()

    def said(self) -> list[Frame]:
        """What has been said since the last time."""
        return list(frames(self.pipe.taken()))

    def goaway(self, *data: bytes) -> int | None:
        """The code of the GOAWAY that some bytes bring about, after which nothing is said."""
        found = self.send(*data)
        last = [frame for frame in found if frame.kind == GOAWAY]
        assert not last or found[-1] is last[-1]
        return last[-1].code if last else None

    def reset(self, *data: bytes) -> dict[int, int]:
        """Stream -> the code with which it was reset."""
        return {f.stream: f.code for f in self.send(*data) if f.kind == RST_STREAM}

    def later(self, seconds: float) -> list[Frame]:
        """What the passing of time brings about."""
        self.connection.sweep(time.perf_counter() + seconds)
        self.turn()
        return self.said()


def _authorize(token: str, method: str) -> None:
    if method.endswith("/Secret") and token != "Bearer admin":
        raise ProtocolError(401, "Wanted a token.")


@contextmanager
def wired(*, greeted: bool = True, **limits: Any) -> Iterator[Wire]:
    """A connection; faults that only the loop would hear of are raised at the end."""
    loop = uvloop.new_event_loop()
    faults: list[Any] = []
    loop.set_exception_handler(lambda _loop, context: faults.append(context))
    wire = Wire(loop, **limits)
    try:
        if greeted:
            wire.send(GREETING)
        yield wire
        wire.connection.connection_lost(None)
        wire.turn()
        assert not faults, faults
    finally:
        loop.close()


def statuses(said: list[Frame]) -> dict[int, dict[bytes, bytes]]:
    """Stream -> all header fields that were sent on it."""
    reader: HeaderReader[list[tuple[bytes, bytes]]] = HeaderReader(list)
    found: dict[int, dict[bytes, bytes]] = {}
    for one in said:
        if one.kind == HEADERS:
            found.setdefault(one.stream, {}).update(reader.read(one.content))
    return found


class Peer:
    """A client of the h2 library, which raises where the server breaks the protocol."""

    def __init__(self, wire: Wire) -> None:
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.wire = wire
        self.bodies: dict[int, bytearray] = {}
        self.trailers: dict[int, dict[bytes, bytes]] = {}
        self.resets: dict[int, int] = {}
        self.goaways: list[int] = []

    def call(self, content: bytes, path: str = PATH, **changed: str | None) -> int:
        """Open a call and send as much of its message as the windows let through at once."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, fields(p_path=path, **changed))
        data = message(content)
        room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
        while len(data) > room:
            self.h2.send_data(stream, data[:room])
            data = data[room:]
            self.exchange()
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
        self.h2.send_data(stream, data, end_stream=True)
        return stream

    def exchange(self) -> None:
        """Bring what was said from one side to the other until both are silent."""
        while True:
            given = self.h2.data_to_send()
            if given:
                self.wire.connection.data_received(given)
            self.wire.turn()
            data = self.wire.pipe.taken()
            if not data:
                return
            for one in frames(data):  # h2 heeds an ACK of its frame size only from the next data on
                for event in self.h2.receive_data(frame(*one)):
                    self._take(event)

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            self.bodies.setdefault(event.stream_id, bytearray()).extend(event.data)
        elif isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            self.trailers.setdefault(event.stream_id, {}).update(dict(event.headers))
        elif isinstance(event, h2.events.StreamReset):
            self.resets[event.stream_id] = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append(int(event.error_code))
