"""An HTTP/2 server connection as a protocol class: its life from the greeting to GOAWAY. RFC 9113.

A general library costs 100 us and more a call where this costs a few. It knows nothing of gRPC:
what a stream does with its bytes is up to the `Stream` that the service opens. Frames that come in
are in `http2_in`, what goes out in `http2_out`, the bytes themselves in `http2_frames`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from modelwright.serve.http import EVICTED
from modelwright.serve.http2_frames import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    FIRST_WINDOW,
    INITIAL_WINDOW_SIZE,
    LARGEST_FRAME,
    LAST_STREAM,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    NO_ERROR,
    PING,
    PROTOCOL_ERROR,
    Http2Error,
    frame,
    goaway_frame,
    reset_frame,
    settings_frame,
    window_frame,
)
from modelwright.serve.http2_headers import LIST_BYTES, Fields
from modelwright.serve.http2_in import EASE, EASE_A_SECOND, STREAM_WINDOW, WINDOW, Inbound
from modelwright.serve.http2_out import Outbound, Stream
from modelwright.serve.patience import Patience

MOST_STREAMS = 1024
_LAST_CALLS = b"goodbye?"
"""In the PING behind the first GOAWAY: once it is back, the peer opens no more streams."""
GOODBYE_SECONDS = 1.0
_GREETING = settings_frame(
    (MAX_CONCURRENT_STREAMS, MOST_STREAMS),
    (INITIAL_WINDOW_SIZE, STREAM_WINDOW),
    (MAX_FRAME_SIZE, LARGEST_FRAME),
    (MAX_HEADER_LIST_SIZE, LIST_BYTES),
) + window_frame(0, WINDOW - FIRST_WINDOW)


class Service(Protocol):
    """What answers requests."""

    def head(self, fields: Fields) -> Any:
        """What is made of a request's header fields, by them alone; it may be given again."""

    def open(self, connection: Http2Connection, number: int, head: Any) -> Stream:
        """A new stream."""


@dataclass
class Http2Connections:
    """What the connections of a process share.

    Attributes:
        most: connections; those that idle longest make room, and then the next is told to calm.
        draining: no new stream is taken.
    """

    service: Service
    most: int = 100_000
    patience: Patience = field(default_factory=Patience)
    open: set[Http2Connection] = field(default_factory=set)
    draining: bool = False

    def sweep(self) -> None:
        """End what idles or dawdles; to be called once a second."""
        now = time.perf_counter()
        for connection in list(self.open):
            connection.sweep(now)

    def drain(self) -> None:
        """Say goodbye on every connection; each ends with its last answer."""
        self.draining = True
        for connection in list(self.open):
            connection.drain()

    def abort(self) -> None:
        """End every connection, whatever is under way."""
        for connection in list(self.open):
            connection.abort()

    def has_room(self) -> bool:
        """Whether one more is within `most`, after those that idle longest have gone."""
        if len(self.open) < self.most:
            return True
        idle = sorted((c for c in self.open if not c.streams), key=lambda c: c.last)
        for connection in idle[: 1 + len(idle) // EVICTED]:
            connection.abort()
            self.open.discard(connection)
        return len(self.open) < self.most


class Http2Connection(asyncio.Protocol):
    """One connection; see the module.

    Attributes:
        streams: those that are open, by number.
        ghosts: streams that were reset while their work was under way; they count as open.
        last: `time.perf_counter()` of the last answer, or of its beginning.
    """

    def __init__(self, shared: Http2Connections, loop: asyncio.AbstractEventLoop) -> None:
        self.shared = shared
        self.streams: dict[int, Stream] = {}
        self.out = Outbound(loop, shared.patience)
        self.ghosts = 0
        self.last = time.perf_counter()
        self._in = Inbound(self, shared.service.head)
        self._transport: asyncio.Transport | None = None
        self.peer = ""
        self._goodbye_at = self._ends_at = 0.0
        self._leaving = self._ended = self._heard_all = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = self.out.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""
        has_room = self.shared.has_room()
        self.shared.open.add(self)
        self.out.put(_GREETING)
        if not has_room:
            self._fail(Http2Error(ENHANCE_YOUR_CALM, "too many connections"))
        elif self.shared.draining:
            self.drain()

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget it; answers that come later go nowhere."""
        self.shared.open.discard(self)
        self._transport = self.out.transport = None
        self._drop()

    def data_received(self, data: bytes) -> None:
        """Take what came; while the connection ends, read over it."""
        if self._ended:
            return
        try:
            self._in.feed(data)
        except Http2Error as error:
            self._fail(error)

    def eof_received(self) -> bool:
        """The caller sends no more; what it asked in full is still answered."""
        self._heard_all = True
        for stream in list(self.streams.values()):
            if not stream.ended:
                self.cancelled(stream)
        self._leaving = True
        if self.streams and self._transport is not None and self._transport.can_write_eof():
            return True
        self._close()
        return False

    def pause_writing(self) -> None:
        """The caller does not read: take no more of its frames."""
        self.out.stall()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self.out.resume()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # What frames tell; see `http2_in.Connected`.

    def open(self, number: int, head: Any) -> Stream | None:
        """A new stream, unless the connection is full or ending."""
        if self._leaving or len(self.streams) + self.ghosts >= MOST_STREAMS:
            return None
        stream = self.shared.service.open(self, number, head)
        self.streams[number] = stream
        return stream

    def reset(self, number: int, code: int) -> None:
        """Send RST_STREAM, and forget the stream."""
        self.out.put(reset_frame(number, code))
        self._in.forget(number)
        stream = self.streams.get(number)
        if stream is not None:
            self.cancelled(stream)

    def cancelled(self, stream: Stream) -> None:
        """Forget a stream that nobody waits for any more."""
        stream.over = True
        self.out.drop(stream)
        stream.closed()
        self.done(stream)

    def done(self, stream: Stream, *, answered: bool = False) -> None:
        """A stream has ended; the connection ends with the last one, if it is to end."""
        self.streams.pop(stream.number, None)
        self.last = time.perf_counter()
        if answered:
            if not stream.ended:  # what it still sends is of no use
                self.out.put(reset_frame(stream.number, NO_ERROR))
                self._in.forget(stream.number)
            self._in.strain = max(0, self._in.strain - EASE)
        if self._leaving and not self.streams:
            self._close()

    def ponged(self, content: bytes) -> None:
        """The peer has read the first GOAWAY."""
        if content == _LAST_CALLS and self._goodbye_at:
            self._last_goodbye()

    def leaves(self) -> None:
        """The peer opens no more streams."""
        self._leaving = True
        if not self.streams:
            self._close()

    # What time and the server do.

    def drain(self) -> None:
        """Announce the end; streams that are on their way are still taken."""
        if not (self._goodbye_at or self._leaving or self._ended):
            self._goodbye_at = time.perf_counter()
            self.out.put(goaway_frame(LAST_STREAM, NO_ERROR))
            self.out.put(frame(PING, 0, 0, _LAST_CALLS))

    def sweep(self, now: float) -> None:
        """End the connection, or a stream, when its time is over."""
        patience, incoming = self.shared.patience, self._in
        incoming.strain = max(0, incoming.strain - EASE_A_SECOND)
        if self._ends_at or self.out.stalled:
            if now > (self._ends_at or self.out.stalled_until):
                self.abort()
            return
        if not incoming.settled and now - self.last > patience.head:
            self._fail(Http2Error(PROTOCOL_ERROR, f"no SETTINGS within {patience.head:g} s"))
        elif incoming.waits_since and now - incoming.waits_since > patience.head:
            self._fail(Http2Error(ENHANCE_YOUR_CALM, f"half a frame for {patience.head:g} s"))
        elif self._goodbye_at and not self._leaving and now - self._goodbye_at > GOODBYE_SECONDS:
            self._last_goodbye()
        elif not self.streams and now - self.last > patience.idle:
            self.drain()
        for stream in list(self.streams.values()):
            if stream.backlog and now > stream.patience:
                self.reset(stream.number, CANCEL)
            else:
                stream.sweep(now)

    def abort(self) -> None:
        """End the connection, whatever is under way."""
        self._drop()
        self.out.transport = None
        if self._transport is not None:
            self._transport.abort()

    def _last_goodbye(self) -> None:
        self.out.put(goaway_frame(self._in.last, NO_ERROR))
        self.leaves()

    def _fail(self, error: Http2Error) -> None:
        """End for a fault of the peer's, so that it can read why."""
        self.out.put(goaway_frame(self._in.last, error.code, error.said))
        self._drop()
        self.out.close()
        self._ends_at = time.perf_counter() + self.shared.patience.linger
        self._say_no_more()

    def _close(self) -> None:
        """Let what is written go out, for a while."""
        if self._ended:
            return
        self._drop()
        self.out.close()
        if self._transport is not None:
            patience = self.shared.patience
            size = self._transport.get_write_buffer_size()
            self._ends_at = time.perf_counter() + patience.write + size / patience.slowest
            self._say_no_more()

    def _say_no_more(self) -> None:
        """Close this side; to close with bytes unread would take back what was said last."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.can_write_eof() and not self._heard_all:
            transport.write_eof()
        else:
            transport.close()

    def _drop(self) -> None:
        """Nobody waits for an answer any more."""
        self._ended = self._leaving = self._in.deaf = True
        streams = list(self.streams.values())
        self.streams.clear()
        for stream in streams:
            stream.over = True
            self.out.drop(stream)
            stream.closed()
