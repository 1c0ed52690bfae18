"""What comes in on an HTTP/2 connection: frames to streams, and every rule that a peer may break.

RFC 9113. A fault of one stream resets it, a fault of the connection ends it with GOAWAY; nothing a
peer sends raises anything else. Frames that cost work and ask for nothing (pings, settings, resets,
empty DATA) add to `strain`, which answers and time take off again: too much of it ends the
connection, so that floods and rapid resets are over before they cost much.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from modelwright.serve.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HAS_PRIORITY,
    HEAD,
    HEAD_BYTES,
    HEADERS,
    LARGEST_FRAME,
    LAST_STREAM,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    Http2Error,
    StreamError,
    fragment,
    frame,
    read_settings,
    unpadded,
    window_frame,
)
from modelwright.serve.http2_headers import BLOCK_BYTES, Fields, HeaderReader
from modelwright.serve.http2_out import Outbound, Stream

WINDOW = 16 * 2**20
"""Bytes that a peer may send on a connection before it hears of more: at once, as they are kept."""
STREAM_WINDOW = 2**20
MOST_PARTS = 64
"""CONTINUATION frames of one header block."""
MOST_STRAIN, RESET_STRAIN, EASE, EASE_A_SECOND = 16_000, 16, 16, 1600
"""A thousand resets without an answer at once, or a hundred a second for ever."""
SETTINGS_STRAIN = 16
"""They are looked up in every open stream."""
LIST_STRAIN = 512
"""Bytes of a header list that is refused for its size which strain as much as a ping."""
SMALL_UPDATE = 1024
"""Windows that open by less cost more than they carry."""
MOST_RESET = 2048
"""Streams remembered as reset by us: what was on its way to them is read over."""


class Connected(Protocol):
    """The connection, as its incoming half sees it."""

    streams: dict[int, Stream]
    out: Outbound

    def open(self, number: int, head: Any) -> Stream | None:
        """A new stream, or None where none is taken."""

    def reset(self, number: int, code: int) -> None:
        """Send RST_STREAM, and forget the stream."""

    def cancelled(self, stream: Stream) -> None:
        """The peer has reset a stream."""

    def ponged(self, content: bytes) -> None:
        """The peer has answered a PING."""

    def leaves(self) -> None:
        """The peer has said GOAWAY."""


class Inbound:
    """The receiving half of a connection.

    Args:
        connection: told of what comes.
        make: turns header fields into a request's head; see `HeaderReader`.

    Attributes:
        settled: preface and first SETTINGS have come.
        deaf: the connection ends, and nothing more is taken in.
        last: the highest stream that the peer has opened.
        waits_since: since when half a frame or half a header block is here; 0 where none is.
        strain: see the module.
    """

    def __init__(self, connection: Connected, make: Callable[[Fields], Any]) -> None:
        self._connection = connection
        self._streams, self._out = connection.streams, connection.out
        self._headers_reader = HeaderReader(make)
        self._greeted = self.settled = self.deaf = False
        self.last = 0
        self.waits_since = 0.0
        self.strain = 0
        self._window = WINDOW
        self._rest = b""
        self._block: bytearray | None = None
        self._parts = self._block_stream = self._block_flags = 0
        self._reset: dict[int, None] = {}

    def feed(self, data: bytes) -> None:
        """Take what came.

        Raises:
            Http2Error: the connection cannot go on.
        """
        if self._rest:
            data = self._rest + data
        place, size = 0, len(data)
        if not self._greeted:
            if data[: len(PREFACE)] != PREFACE[:size]:
                raise Http2Error(PROTOCOL_ERROR, "this is no HTTP/2: its preface is missing")
            if size < len(PREFACE):
                self._rest = data
                return
            self._greeted, place = True, len(PREFACE)
        unpack = HEAD.unpack_from
        began = place
        while size - place >= HEAD_BYTES and not self.deaf:
            high, low, kind, flags, number = unpack(data, place)
            end = place + HEAD_BYTES + (high << 8 | low)
            if end - place > LARGEST_FRAME + HEAD_BYTES:
                raise Http2Error(FRAME_SIZE_ERROR, f"a frame of over {LARGEST_FRAME} bytes")
            if end > size:
                break
            content = data[place + HEAD_BYTES : end]
            place = end
            try:
                self._take(kind, flags, number & LAST_STREAM, content)
            except StreamError as error:
                self.strain += RESET_STRAIN
                self._connection.reset(number & LAST_STREAM, error.code)
        self._rest = data[place:] if place < size else b""
        if self._block is None:
            if not self._rest:
                self.waits_since = 0.0
            elif place > began or not self.waits_since:
                self.waits_since = time.perf_counter()
        if self.strain > MOST_STRAIN:
            raise Http2Error(ENHANCE_YOUR_CALM, "too many frames that ask for nothing")

    def forget(self, number: int) -> None:
        """A stream was reset by us: read over what is still on its way to it."""
        self._reset[number] = None
        if len(self._reset) > MOST_RESET:
            del self._reset[next(iter(self._reset))]

    def _take(self, kind: int, flags: int, number: int, content: bytes) -> None:
        if self._block is not None and (kind != CONTINUATION or number != self._block_stream):
            raise Http2Error(PROTOCOL_ERROR, "another frame within a header block")
        if kind == DATA and self.settled:
            self._data(flags, number, content)
        elif kind == HEADERS and self.settled:
            self._headers(flags, number, content)
        elif kind == SETTINGS:
            self._settings(flags, number, content)
        elif not self.settled:
            raise Http2Error(PROTOCOL_ERROR, "the first frame must be SETTINGS")
        elif kind in _OTHERS:
            _OTHERS[kind](self, flags, number, content)
        elif kind == PUSH_PROMISE:
            raise Http2Error(PROTOCOL_ERROR, "PUSH_PROMISE from a client")
        else:
            self.strain += 1  # of an extension: to be ignored

    def _headers(self, flags: int, number: int, content: bytes) -> None:
        if not number & 1:
            raise Http2Error(PROTOCOL_ERROR, "HEADERS on a stream that is no client's")
        block = fragment(flags, content) if flags & (PADDED | HAS_PRIORITY) else content
        if flags & END_HEADERS:
            self._head(flags, number, block)
        else:
            self._block, self._parts = bytearray(block), 0
            self._block_stream, self._block_flags = number, flags
            self.waits_since = time.perf_counter()

    def _continuation(self, flags: int, _number: int, content: bytes) -> None:
        if self._block is None:
            raise Http2Error(PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        self._block += content
        self._parts += 1
        if self._parts > MOST_PARTS or len(self._block) > BLOCK_BYTES:
            raise Http2Error(ENHANCE_YOUR_CALM, "a header block that is too large")
        if flags & END_HEADERS:
            block, self._block, self.waits_since = bytes(self._block), None, 0.0
            self._head(self._block_flags, self._block_stream, block)

    def _head(self, flags: int, number: int, block: bytes) -> None:
        """A header block is whole: it opens a stream, or ends one as its trailers."""
        reader = self._headers_reader
        head = reader.read(block)
        if reader.excess:
            self.strain += reader.excess // LIST_STRAIN
            reader.excess = 0
        stream = self._streams.get(number)
        if stream is not None:
            if stream.ended or not flags & END_STREAM:
                raise StreamError(STREAM_CLOSED if stream.ended else PROTOCOL_ERROR)
            stream.ended = True
            stream.received(b"")
            return
        if number <= self.last:
            if number in self._reset:
                return
            raise Http2Error(STREAM_CLOSED, "HEADERS on a stream that has ended")
        self.last = number
        stream = self._connection.open(number, head)
        if stream is None:
            raise StreamError(REFUSED_STREAM)
        stream.ended = bool(flags & END_STREAM)
        stream.begin()

    def _data(self, flags: int, number: int, content: bytes) -> None:
        size = len(content)
        self._window -= size
        if self._window < 0:
            raise Http2Error(FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        if self._window < WINDOW // 2:
            self._out.put(window_frame(0, WINDOW - self._window))
            self._window = WINDOW
        stream = self._streams.get(number)
        if stream is None:
            self._absent(number, DATA)
            return
        if stream.ended:
            raise StreamError(STREAM_CLOSED)
        stream.window -= size
        if stream.window < 0:
            raise StreamError(FLOW_CONTROL_ERROR)
        if flags & PADDED:
            content = unpadded(flags, content)
        if flags & END_STREAM:
            stream.ended = True
        else:
            self.strain += not content
            if stream.window < STREAM_WINDOW // 2:
                self._out.put(window_frame(number, STREAM_WINDOW - stream.window))
                stream.window = STREAM_WINDOW
        stream.received(content)

    def _absent(self, number: int, kind: int) -> None:
        """A frame for a stream that is not open."""
        if not number & 1 or number > self.last:
            raise Http2Error(PROTOCOL_ERROR, "a frame on a stream that was never opened")
        self.strain += 1
        if kind == DATA and number not in self._reset:
            raise StreamError(STREAM_CLOSED)

    def _settings(self, flags: int, number: int, content: bytes) -> None:
        if number:
            raise Http2Error(PROTOCOL_ERROR, "SETTINGS on a stream")
        self.strain += SETTINGS_STRAIN
        if flags & ACK:
            if content or not self.settled:
                raise Http2Error(FRAME_SIZE_ERROR if content else PROTOCOL_ERROR, "SETTINGS as ACK")
            return
        self._out.settle(read_settings(content), self._streams.values())
        self.settled = True
        self._out.put(frame(SETTINGS, ACK, 0))  # what is sent by them must come behind it
        self._out.pump()

    def _ping(self, flags: int, number: int, content: bytes) -> None:
        if number or len(content) != 8:
            code = PROTOCOL_ERROR if number else FRAME_SIZE_ERROR
            raise Http2Error(code, "PING on a stream, or not of 8 bytes")
        self.strain += 1
        if flags & ACK:
            self._connection.ponged(content)
        else:
            self._out.put(frame(PING, ACK, 0, content))

    def _window_update(self, _flags: int, number: int, content: bytes) -> None:
        if len(content) != 4:
            raise Http2Error(FRAME_SIZE_ERROR, "WINDOW_UPDATE not of 4 bytes")
        size = int.from_bytes(content, "big") & LAST_STREAM
        self.strain += size < SMALL_UPDATE
        if not number and size < LARGEST_FRAME and self._out.window <= 0:
            self.strain += self._out.blocked >> 4  # each of them is looked at
        stream = self._streams.get(number)
        if number and stream is None:
            self._absent(number, WINDOW_UPDATE)
        else:
            self._out.more(stream, size)

    def _rst_stream(self, _flags: int, number: int, content: bytes) -> None:
        if len(content) != 4:
            raise Http2Error(FRAME_SIZE_ERROR, "RST_STREAM not of 4 bytes")
        stream = self._streams.get(number)
        if stream is None:
            self._absent(number, RST_STREAM)
            return
        self.strain += RESET_STRAIN
        self._connection.cancelled(stream)

    def _priority(self, _flags: int, number: int, content: bytes) -> None:
        """Priorities were taken out of HTTP/2; only their form is looked at."""
        if not number or len(content) != 5:
            code = FRAME_SIZE_ERROR if number else PROTOCOL_ERROR
            raise Http2Error(code, "PRIORITY without a stream, or not of 5 bytes")
        self.strain += 1

    def _goaway(self, _flags: int, number: int, content: bytes) -> None:
        if number or len(content) < 8:
            code = PROTOCOL_ERROR if number else FRAME_SIZE_ERROR
            raise Http2Error(code, "GOAWAY on a stream, or too short")
        self.strain += 1
        self._connection.leaves()


_Take = Callable[[Inbound, int, int, bytes], None]
_OTHERS: dict[int, _Take] = {
    PRIORITY: Inbound._priority,
    RST_STREAM: Inbound._rst_stream,
    PING: Inbound._ping,
    GOAWAY: Inbound._goaway,
    WINDOW_UPDATE: Inbound._window_update,
    CONTINUATION: Inbound._continuation,
}
