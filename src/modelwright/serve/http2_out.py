"""What leaves an HTTP/2 connection: one write for each turn of the loop, within the peer's windows.

RFC 9113 section 5.2. An answer that fits the windows goes out at once; what does not waits with its
stream and goes on, frame by frame in turn with other streams, when a window opens.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable

from modelwright.serve.http2_frames import (
    DATA,
    FIRST_WINDOW,
    FLOW_CONTROL_ERROR,
    HEAD,
    HEAD_BYTES,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    LARGEST_FRAME,
    LARGEST_WINDOW,
    MAX_FRAME_SIZE,
    PROTOCOL_ERROR,
    Http2Error,
    StreamError,
)
from modelwright.serve.patience import Patience

_NO_TABLE = b"\x20"
"""A dynamic table size update to 0: our header blocks use no table. RFC 7541 section 4.2."""
WRITE_BYTES = 256 * 1024
"""More is not put together before it is written."""


class Stream:
    """One request and its answer, as the connection sees them.

    Attributes:
        number: of the stream.
        ended: the caller sends no more.
        over: nothing more may be sent: it was answered in full, or reset.
        window: bytes that the caller may send; room: bytes that it takes.
        waiting: what did not fit; backlog: its bytes; patience: until when it may wait.
        tail: the frame that ends the stream, as soon as nothing waits.
    """

    __slots__ = (
        "backlog", "ended", "number", "over", "patience", "room", "tail", "waiting", "window",
    )  # fmt: skip

    def __init__(self, number: int, window: int, room: int) -> None:
        self.number, self.window, self.room = number, window, room
        self.ended = self.over = False
        self.waiting: deque[memoryview] | None = None
        self.backlog = 0
        self.patience = 0.0
        self.tail = b""

    def begin(self) -> None:
        """The head has come; raises StreamError where it is malformed."""

    def received(self, content: bytes) -> None:
        """A part of the body has come; the last one if `ended`."""

    def sent(self) -> None:
        """The answer has been handed to the system."""

    def closed(self) -> None:
        """It was reset, or its connection ended: nobody waits for the answer."""

    def sweep(self, now: float) -> None:
        """Once a second: end what dawdles."""


class Outbound:
    """The sending half of a connection.

    Args:
        loop: of this process.
        patience: for callers that do not read.

    Attributes:
        window: bytes that the peer takes on the whole connection.
        first_room: what a new stream begins with.
        stalled: the peer's socket is full.
        stalled_until: when that is no longer tolerated.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, patience: Patience) -> None:
        self._loop, self._patience = loop, patience
        self.transport: asyncio.Transport | None = None
        self.window = self.first_room = FIRST_WINDOW
        self.stalled = False
        self.stalled_until = 0.0
        self._largest = LARGEST_FRAME
        self._parts: list[bytes | memoryview] = []
        self._size = 0
        self._scheduled = False
        self._sizes_table = True
        self._blocked: dict[int, Stream] = {}

    @property
    def blocked(self) -> int:
        """Streams with answers that wait for a window."""
        return len(self._blocked)

    def put(self, data: bytes | memoryview) -> None:
        """Send whole frames at the end of this turn of the loop."""
        self._parts.append(data)
        self._size += len(data)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _put_block(self, frames: bytes) -> None:
        """Send frames that begin with HEADERS."""
        self.put(self._sized(frames) if self._sizes_table else frames)

    def _sized(self, frames: bytes) -> bytes:
        """The first header block after a change of the table's size says which is used."""
        self._sizes_table = False
        size = int.from_bytes(frames[:3], "big") + len(_NO_TABLE)
        return b"".join(
            (size.to_bytes(3, "big"), frames[3:HEAD_BYTES], _NO_TABLE, frames[HEAD_BYTES:])
        )

    def flush(self) -> None:
        """Hand over what was put."""
        if self._parts and self.transport is not None:
            self.transport.write(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
        self._parts.clear()
        self._size = 0

    def close(self) -> None:
        """Hand over what was put, and say nothing more."""
        self.flush()
        self.transport = None

    def _turn(self) -> None:
        self._scheduled = False
        self.flush()

    def send(self, stream: Stream, head: bytes, content: bytes, tail: bytes = b"") -> None:
        """Send a message as DATA.

        Args:
            head: frames that go before it, HEADERS first.
            tail: the frame that ends the stream after it; empty where more will come.
        """
        size = len(content)
        if not (stream.waiting or size > self._largest or size > stream.room or size > self.window):
            stream.room -= size
            self.window -= size
            number = stream.number
            if self._sizes_table:
                if head:
                    head = self._sized(head)
                elif tail:
                    tail = self._sized(tail)
            packed = HEAD.pack(size >> 8, size & 0xFF, DATA, 0, number)
            self.put(b"".join((head, packed, content, tail)))
            if tail:
                stream.sent()
            return
        if head:
            self._put_block(head)
        if stream.waiting is None:
            stream.waiting = deque()
        stream.waiting.append(memoryview(content))
        stream.backlog += size
        stream.tail = tail
        allowed = self._patience.write + stream.backlog / self._patience.slowest
        stream.patience = time.perf_counter() + allowed
        self._blocked[stream.number] = stream
        self.pump()

    def end(self, stream: Stream, tail: bytes) -> None:
        """End a stream after all that was sent on it, with frames of which HEADERS is first."""
        if stream.waiting:
            stream.tail = tail
        else:
            self._put_block(tail)
            stream.sent()

    def pump(self) -> None:
        """Send what waits, as far as the windows and the socket go; a frame a stream in turn."""
        moved = True
        while moved and self._blocked and self.window > 0 and not self.stalled:
            moved = False
            for stream in list(self._blocked.values()):
                part = min(self._largest, self.window, stream.room)
                if self.window <= 0:
                    break
                if part > 0:
                    self._piece(stream, part)
                    moved = True
            if self._size > WRITE_BYTES:
                self.flush()

    def _pump_one(self, stream: Stream) -> None:
        """Send what waits with a stream."""
        while stream.number in self._blocked and not self.stalled:
            part = min(self._largest, self.window, stream.room)
            if part <= 0:
                return
            self._piece(stream, part)
            if self._size > WRITE_BYTES:
                self.flush()

    def _piece(self, stream: Stream, most: int) -> None:
        """One frame of what waits."""
        waiting = stream.waiting
        assert waiting
        piece = waiting[0][:most]
        if len(piece) == len(waiting[0]):
            waiting.popleft()
        else:
            waiting[0] = waiting[0][most:]
        size = len(piece)
        self.window -= size
        stream.room -= size
        stream.backlog -= size
        self.put(HEAD.pack(size >> 8, size & 0xFF, DATA, 0, stream.number))
        self.put(piece)
        if not waiting:
            del self._blocked[stream.number]
            if stream.tail:
                self._put_block(stream.tail)
                stream.sent()

    def drop(self, stream: Stream) -> None:
        """Forget what waits with a stream."""
        self._blocked.pop(stream.number, None)
        stream.waiting, stream.backlog = None, 0

    # What the peer says of its windows.

    def more(self, stream: Stream | None, size: int) -> None:
        """A WINDOW_UPDATE, of a stream or of the connection.

        Raises:
            Http2Error, StreamError: nothing, or more than there may be.
        """
        total = (self.window if stream is None else stream.room) + size
        if not size or total > LARGEST_WINDOW:
            code = FLOW_CONTROL_ERROR if size else PROTOCOL_ERROR
            if stream is not None:
                raise StreamError(code)
            raise Http2Error(code, "a WINDOW_UPDATE that is not allowed")
        if stream is not None:
            stream.room = total
            self._pump_one(stream)
            return
        was_shut, self.window = self.window <= 0, total
        if was_shut:  # else what waits, waits for its stream's window
            self.pump()

    def settle(self, settings: Iterable[tuple[int, int]], streams: Iterable[Stream]) -> None:
        """Take the peer's SETTINGS; `pump` when they are acknowledged.

        Raises:
            Http2Error: a window would be larger than there may be.
        """
        found = dict(settings)  # of a setting that is given twice, the last value holds
        self._sizes_table |= HEADER_TABLE_SIZE in found
        self._largest = min(found.get(MAX_FRAME_SIZE, self._largest), WRITE_BYTES)
        change = found.get(INITIAL_WINDOW_SIZE, self.first_room) - self.first_room
        self.first_room += change
        for stream in streams if change else ():
            stream.room += change
            if stream.room > LARGEST_WINDOW:
                raise Http2Error(FLOW_CONTROL_ERROR, "a window that is too large")

    def stall(self) -> None:
        """The socket is full: wait for the peer to read, but not for ever."""
        size = self.transport.get_write_buffer_size() if self.transport is not None else 0
        patience = self._patience
        self.stalled = True
        self.stalled_until = time.perf_counter() + patience.write + size / patience.slowest

    def resume(self) -> None:
        """There is room again."""
        self.stalled = False
        self.pump()
