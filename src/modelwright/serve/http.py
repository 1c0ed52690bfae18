"""HTTP/1.1 as a protocol class on httptools: every limit before work, every error as JSON.

A framework costs 17 to 30 us a request where this costs 3 to 8. What it keeps: the order of
pipelined answers, bounded heads, bodies, queues and connections, time-outs for slow callers both
ways, back-pressure, `Expect: 100-continue`, bounded gzip, and a drain that loses no request.
RFC 9110, RFC 9112. What a request may be is in `serve.incoming`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol, cast

from modelwright.serve.heads import Heads
from modelwright.serve.http_message import encoded
from modelwright.serve.incoming import Bodies, Incoming
from modelwright.serve.messages import ProtocolError, Request, Response
from modelwright.serve.patience import Patience
from modelwright.serve.protocol import error_response

MOST_PIPELINED = 64
SLICE = 4 * 1024
"""Bytes that are parsed at once: so few requests can be in them that their answers, of which
nobody reads any, fit into memory."""
EVICTED = 16
"""One of so many connections is ended, those that idle longest, when there are too many."""
SPARE = 32
"""Connections over the limit that are told so in peace; further ones may see a reset."""
_LOG = logging.getLogger("modelwright.serve")


class Handler(Protocol):
    """What answers requests."""

    def handle(self, request: Request, reply: Slot) -> None:
        """Call `reply` once with a Response, now or later, on the event loop."""


@dataclass
class Connections:
    """What the connections of a process share.

    Attributes:
        max_body: bytes of a body.
        most: connections; those that idle longest make room, and then the next is told 503.
        draining: answers end their connection, and no new request is waited for.
        in_flight: requests without an answer.
    """

    handler: Handler
    max_body: int
    most: int = 100_000
    patience: Patience = field(default_factory=Patience)
    open: set[HttpConnection] = field(default_factory=set)
    draining: bool = False
    in_flight: int = 0

    def __post_init__(self) -> None:
        self.bodies, self.heads = Bodies(self.max_body), Heads()

    def sweep(self) -> None:
        """End what idles or dawdles; once a second, so that no request pays for a timer."""
        now = time.perf_counter()
        for connection in list(self.open):
            connection.sweep(now)

    def close_idle(self) -> None:
        """End connections on which nothing is under way."""
        for connection in list(self.open):
            connection.close_if_idle()

    def has_room(self) -> bool:
        """Whether one more is within `most`, after those that idle longest have gone."""
        if len(self.open) < self.most:
            return True
        idle = sorted((c for c in self.open if c.is_idle), key=lambda c: c.last)
        for connection in idle[: 1 + len(idle) // EVICTED]:
            connection.abort()
            self.open.discard(connection)
        return len(self.open) < self.most


class Slot:
    """The place of one answer in the order of its connection; called with the Response."""

    __slots__ = ("connection", "head_only", "held", "keep_alive", "old", "response")

    def __init__(self, connection: HttpConnection, *, keep_alive: bool, head_only: bool) -> None:
        self.connection = connection
        self.keep_alive = keep_alive
        self.head_only = head_only
        self.old = False  # HTTP/1.0 closes unless it is told not to
        self.held = 0  # bytes of its body
        self.response: Response | None = None

    def __call__(self, response: Response) -> None:
        """Write the answer, or keep it until those before it are written."""
        if self.response is not None:
            return
        self.response = response
        shared = self.connection.shared
        shared.in_flight -= 1
        shared.bodies.held -= self.held
        self.connection.flush()


class HttpConnection(asyncio.Protocol):
    """One connection; see the module.

    Attributes:
        last: `time.perf_counter()` of the last answer, or of its beginning.
    """

    def __init__(self, shared: Connections) -> None:
        self.shared = shared
        self.last = time.perf_counter()
        self._incoming = Incoming(self, shared.bodies, shared.heads)
        self._transport: asyncio.Transport | None = None
        self._slots: deque[Slot] = deque()
        self._waiting: deque[tuple[Slot, Request]] = deque()  # read, and not yet asked
        self._rest: bytes | memoryview = b""  # not yet parsed
        self._peer = ""
        self._paused = self._stalled = self._going = False
        self._half = self._lingers = self._ended = False
        self._ends_at = self._lingers_until = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the connection."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        peer = transport.get_extra_info("peername")
        self._peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""
        has_room = self.shared.has_room()
        self.shared.open.add(self)
        if not has_room:
            busy = ProtocolError(503, "Too many connections; try again.", retry_after=1)
            self.refuse(busy, linger=len(self.shared.open) <= self.shared.most + SPARE)

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget it; answers that come later go nowhere."""
        self.shared.open.discard(self)
        self._drop()
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Parse; requests that are whole are handed on at once."""
        incoming = self._incoming
        if incoming.deaf:
            if self._lingers:
                quiet = time.perf_counter() + self.shared.patience.linger
                self._ends_at = max(self._ends_at, quiet)
        elif self._paused:
            self._parse_slices(data)
        elif not self._arrived_known(data):
            if len(data) > SLICE:
                self._parse_slices(data)
            else:
                incoming.feed(data)

    def eof_received(self) -> bool:
        """The caller sends no more; what it asked is still answered."""
        self._half = True
        transport = self._transport
        if self._rest and not self._ended:
            return True
        self._incoming.end()
        return bool(self._slots) and transport is not None and transport.can_write_eof()

    def pause_writing(self) -> None:
        """The caller does not read its answers: read no more of its requests."""
        self._stalled = True
        self._ends_at = time.perf_counter() + self._time_to_write()
        self._pause()

    def resume_writing(self) -> None:
        """It reads again."""
        self._stalled = False
        if self._ended:
            self._read_again()
        else:
            self._ends_at = 0.0
            self._go_on()

    # What the request on its way in tells.

    def arrived(self) -> None:
        """A request is whole: ask it, or keep it while there is no room for its answer."""
        incoming, shared = self._incoming, self.shared
        slot = Slot(self, keep_alive=incoming.keep_alive, head_only=incoming.method == "HEAD")
        slot.old = incoming.old
        if not incoming.keep_alive:
            incoming.deaf = True
        self._slots.append(slot)
        shared.in_flight += 1
        try:
            request, slot.held = incoming.request(self._peer)
        except ProtocolError as error:
            slot(error_response(error))
            return
        self._ask_in_turn(slot, request)

    def go_ahead(self) -> None:
        """Let a caller send its body; one with answers outstanding waits as long as it likes."""
        if self._transport is not None and not self._slots:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def refuse(self, error: ProtocolError, *, linger: bool = True) -> None:
        """Answer what cannot be read on, after all that was asked before it, and end."""
        incoming = self._incoming
        if incoming.deaf:
            return
        slot = Slot(self, keep_alive=False, head_only=incoming.method == "HEAD")
        incoming.end()
        self._lingers, self._rest = linger, b""
        self._lingers_until = time.perf_counter() + self.shared.patience.linger_most
        self._slots.append(slot)
        self.shared.in_flight += 1
        slot(error_response(error))

    # What answers and time do.

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return not (self._slots or self._incoming.reading or self._rest or self._ended)

    def flush(self) -> None:
        """Write every answer whose turn has come."""
        slots, transport = self._slots, self._transport
        self.last = time.perf_counter()
        if transport is None or self._ended:
            slots.clear()
            return
        while slots:
            response = slots[0].response
            if response is None:
                break
            slot = slots.popleft()
            keep_alive = slot.keep_alive
            if self.shared.draining and self.is_idle:
                keep_alive = False
            word = b"close" if not keep_alive else b"keep-alive" if slot.old else b""
            transport.write(encoded(response, connection=word, head_only=slot.head_only))
            if not keep_alive:
                self._end()
                return
        if self._paused:
            self._go_on()
        elif self._half and not slots:
            self._end()

    def sweep(self, now: float) -> None:
        """End the connection when its time is over."""
        patience, incoming = self.shared.patience, self._incoming
        if self._ends_at:
            if now > (min(self._ends_at, self._lingers_until) if self._lingers else self._ends_at):
                self.abort()
        elif self._paused:
            incoming.started = now  # it is we who do not read
        elif incoming.reading:
            late = now - incoming.started
            if not incoming.headed and late > patience.head:
                self.refuse(ProtocolError(408, f"The head took longer than {patience.head:g} s."))
            elif late > patience.body + incoming.size / patience.slowest:
                self.refuse(ProtocolError(408, f"The body took longer than {patience.body:g} s."))
        elif not self._slots and now - self.last > patience.idle:
            self._close()

    def close_if_idle(self) -> None:
        """End the connection unless a request is under way."""
        if self.is_idle:
            self._close()

    def abort(self) -> None:
        """End the connection, whatever is under way."""
        self._drop()
        if self._transport is not None:
            self._transport.abort()

    def _arrived_known(self, data: bytes) -> bool:
        """Take one whole request whose head was parsed before; False where there is another."""
        try:
            request = self._incoming.known(data, self._peer)
        except ProtocolError as error:
            self.refuse(error)
            return True
        if request is None:
            return False
        slot = Slot(self, keep_alive=True, head_only=False)
        slot.held = len(request.body)
        self._slots.append(slot)
        self.shared.in_flight += 1
        if len(self._slots) == 1 and not self._stalled:
            self._ask(slot, request)
        else:
            self._ask_in_turn(slot, request)
        return True

    def _parse_slices(self, data: bytes) -> None:
        self._rest = memoryview(b"".join([self._rest, data]) if self._rest else data)
        self._go_on()

    def _ask_in_turn(self, slot: Slot, request: Request) -> None:
        if self._stalled or self._waiting or len(self._slots) > MOST_PIPELINED:
            self._waiting.append((slot, request))
            self._pause()
        else:
            self._ask(slot, request)

    def _ask(self, slot: Slot, request: Request) -> None:
        try:
            self.shared.handler.handle(request, slot)
        except Exception:  # noqa: BLE001  the last boundary: without it a caller waits for ever
            _LOG.exception("%s %s of %s was not answered", request.method, request.path, self._peer)
            slot(error_response(ProtocolError(500, "The server met a fault of its own.")))

    def _go_on(self) -> None:
        """Take up what waits, as far as there is room for answers."""
        if self._going:
            return
        self._going = True
        incoming, slots, waiting = self._incoming, self._slots, self._waiting
        while not (self._stalled or self._ended):
            if waiting and len(slots) - len(waiting) < MOST_PIPELINED:
                self._ask(*waiting.popleft())
            elif self._rest and not waiting and not incoming.deaf:
                size = max(SLICE, incoming.missing)
                part, self._rest = self._rest[:size], self._rest[size:]
                incoming.feed(part)
            else:
                break
        self._going = False
        if self._half and not self._rest:
            incoming.end()
            if not slots:
                self._end()
        if not (self._stalled or waiting or self._ended):
            self._read_again()

    def _pause(self) -> None:
        transport = self._transport
        if transport is not None and not (self._paused or self._half or transport.is_closing()):
            self._paused = True
            transport.pause_reading()

    def _read_again(self) -> None:
        transport = self._transport
        if self._paused and not self._half:
            self._paused = False
            if transport is not None and not transport.is_closing():
                transport.resume_reading()

    def _end(self) -> None:
        """No more answers: half-close and wait a little for what the caller is still sending."""
        transport = self._transport
        if self._ended or transport is None:
            return
        self._drop()
        if self._lingers and not self._half and transport.can_write_eof():
            self._ends_at = time.perf_counter() + self.shared.patience.linger
            if transport.get_write_buffer_size():
                self._ends_at += self._time_to_write()
            transport.write_eof()
            if not self._stalled:
                self._read_again()
        else:
            self._close()

    def _close(self) -> None:
        """Let what is written go out, for a while."""
        self._drop()
        if self._transport is not None:
            self._ends_at = time.perf_counter() + self._time_to_write()
            self._lingers = False
            self._transport.close()

    def _drop(self) -> None:
        """Forget what was not asked yet; what was asked is answered to nobody."""
        self._ended, self._rest = True, b""
        self._incoming.end()
        for slot, _ in self._waiting:
            self.shared.in_flight -= 1
            self.shared.bodies.held -= slot.held
        self._waiting.clear()
        self._slots.clear()

    def _time_to_write(self) -> float:
        transport, patience = self._transport, self.shared.patience
        size = transport.get_write_buffer_size() if transport is not None else 0
        return patience.write + size / patience.slowest
