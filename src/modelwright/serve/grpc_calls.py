"""gRPC calls on HTTP/2 streams: messages out of DATA, methods, and answers with their trailers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelwright.serve.grpc_messages import INLINE, MessageReader, Packed, prefixed
from modelwright.serve.grpc_status import (
    DEADLINE_EXCEEDED,
    INTERNAL,
    UNIMPLEMENTED,
    CallHead,
    Refusal,
    call_head,
    end_frame,
    http_frame,
    refusal_frame,
    start_frame,
    status_of,
)
from modelwright.serve.http2 import Http2Connection
from modelwright.serve.http2_frames import ENHANCE_YOUR_CALM, PROTOCOL_ERROR, StreamError
from modelwright.serve.http2_headers import Fields
from modelwright.serve.http2_in import STREAM_WINDOW
from modelwright.serve.http2_out import Stream
from modelwright.serve.incoming import Bodies
from modelwright.serve.messages import Answered, ProtocolError
from modelwright.serve.patience import Patience

MOST_BACKLOG = 2**20
"""Bytes of answers on one stream that a caller may leave unread before it asks for more."""
QUIET_SECONDS = 300.0
"""How long a caller may keep a call of many messages open without sending one."""
LATE_SECONDS = 1.0
"""What watches deadlines closer has this long to say so itself."""
MOST_OPEN = 4096
"""Bytes of a message to a method that everybody may call."""
_LOG = logging.getLogger("modelwright.serve")
Answer = Callable[["GrpcCall", bytes], bytes | None]


@dataclass(frozen=True, slots=True)
class Method:
    """What can be called.

    Attributes:
        answer: the bytes of the answer to a message; None where it will be given later, by
            `GrpcCall.reply`, `say` or `refuse`. Raises ProtocolError.
        is_open: it asks for no token, and takes messages of `MOST_OPEN` bytes.
        streams: each message of the caller's, of at most `INLINE` bytes, is answered, until it
            sends no more.
    """

    answer: Answer
    is_open: bool = False
    streams: bool = False


ABSENT = Method(lambda _call, _message: None, is_open=True)
"""Stands for a method that is not there."""


@dataclass
class GrpcService:
    """What the calls of a process share; see `http2.Service`.

    Args:
        methods: by full name.
        authorize: takes the `authorization` entry and the method's full name, and gives the name
            of the token, if there is one; raises ProtocolError.
        max_body: bytes of a message.
        queue: calls that may be under way at once.
        failed: told the HTTP code and the model of each call that ends with an error, and the
            closer reason where it has one.
        held: how many calls only wait to be told that it is too busy, and so take no place.
        told: told each call that has an answer, its HTTP code and the bytes of the answer; None
            where nobody keeps a log.
    """

    methods: Mapping[str, Method]
    authorize: Callable[[str, str], object]
    max_body: int
    queue: int
    loop: asyncio.AbstractEventLoop
    patience: Patience
    failed: Callable[[int, str, str], None] = lambda _status, _model, _reason: None
    held: Callable[[], int] = lambda: 0
    told: Callable[[GrpcCall, int, int], None] | None = None
    in_flight: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.bodies = Bodies(self.max_body)

    def head(self, fields: Fields) -> CallHead:
        """See `http2.Service`."""
        return call_head(fields)

    def open(self, connection: Http2Connection, number: int, head: CallHead) -> Stream:
        """See `http2.Service`."""
        return GrpcCall(self, connection, number, head)

    def check_queue(self) -> None:
        """See whether one more call may be under way.

        Raises:
            ProtocolError: 503, it may not.
        """
        if self.in_flight - self.held() >= self.queue:
            raise ProtocolError(
                503, f"{self.queue} requests are under way; try again.", retry_after=1,
                reason="queue_full",
            )  # fmt: skip

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside; the loop itself would only keep a weak reference."""
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class GrpcCall(Stream):
    """One call.

    Attributes:
        head: its method, metadata and deadline.
        received_at: `time.perf_counter()` of its beginning.
        token: name of the token that it came with.
        model: that it asks, as soon as that is known.
        found: the prediction that it is answered with.
        size: bytes of its message.
        reason: why it failed, where its code does not tell.
    """

    __slots__ = (
        "_asked", "_connection", "_held", "_inflates", "_is_told", "_message", "_method", "_out",
        "_reader", "_service", "_started", "_waits_since", "found", "head", "model", "reason",
        "received_at", "size", "token",
    )  # fmt: skip

    def __init__(
        self, service: GrpcService, connection: Http2Connection, number: int, head: CallHead
    ) -> None:
        super().__init__(number, STREAM_WINDOW, connection.out.first_room)
        self.head, self.token, self.model, self.reason = head, "", "", ""
        self.found: Answered | None = None
        self.size = 0
        self.received_at = self._waits_since = time.perf_counter()
        self._service, self._connection, self._out = service, connection, connection.out
        self._method = service.methods.get(head.path, ABSENT)
        most = min(MOST_OPEN, service.max_body) if self._method.is_open else service.max_body
        if self._method.streams:  # messages in their order: none waits for a thread
            most = min(most, INLINE)
        self._reader = MessageReader(head.encoding, most, service.bodies)
        self._message: bytes | None = None
        self._held = 0
        self._asked = self._started = self._inflates = self._is_told = False

    @property
    def connection(self) -> Http2Connection:
        """That it came on."""
        return self._connection

    # What comes.

    def begin(self) -> None:
        """Refuse what cannot be answered before its message is read."""
        head, method, service = self.head, self._method, self._service
        if head.is_malformed:
            raise StreamError(PROTOCOL_ERROR)
        if head.status != 200:
            service.failed(head.status, "", "")
            self._tell(head.status)
            self._out.end(self, http_frame(self.number, head.status))
            return
        if head.refusal is not None:  # not raised: it is kept with the head, call after call
            self.refuse(head.refusal)
            return
        try:
            if method is ABSENT:
                raise Refusal(UNIMPLEMENTED, f"No method {head.path[:80]!r}.", status=404)
            if not method.is_open:
                found = service.authorize(head.entries.get("authorization", ""), head.path)
                self.token = found if isinstance(found, str) else ""
            service.check_queue()
            if self.ended:
                self._collect(b"")
        except Exception as error:  # noqa: BLE001  refuse() logs what is our fault, and answers
            self.refuse(error)

    def received(self, content: bytes) -> None:
        """Take a part of the body; what comes in one piece, as most does, takes a shorter way."""
        try:
            size = len(content)
            self._service.bodies.take(size)
            self._held += size
            message = None
            if self.ended and self._message is None and not self._method.streams:
                message = self._reader.whole(content)
            if message is None:
                self._collect(content)
            else:
                self._ask(message)
        except Exception as error:  # noqa: BLE001  refuse() logs what is our fault, and answers
            self.refuse(error)

    def _collect(self, content: bytes) -> None:
        """Take messages out of what is here, and answer when the time has come."""
        streams = self._method.streams
        for message in self._reader.messages(content):
            self._waits_since = time.perf_counter()
            if self.over or self.tail:
                return
            if not streams and (self._message is not None or self._inflates):
                raise Refusal(UNIMPLEMENTED, "This method takes one message.", status=400)
            if isinstance(message, Packed):
                self._inflates = True
                self._service.spawn(self._inflated(message))
                continue
            self._grow(len(message))
            if streams:
                self._ask(message)
            else:
                self._message = message
        if not self.ended or self._inflates or self.over or self.tail:
            return
        if self._reader.is_within:
            raise Refusal(INTERNAL, "The call ends within a message.")
        if streams:
            self.finish()
        elif self._message is None:
            raise Refusal(INTERNAL, "The call has no message.")
        else:
            self._ask(self._message)

    def _grow(self, size: int) -> None:
        """Hold what a message has become, where it was compressed."""
        grown = size - self._held
        if grown > 0:
            self._service.bodies.take(grown)
            self._held += grown

    async def _inflated(self, packed: Packed) -> None:
        """Inflate a message in a thread, then go on."""
        service, room = self._service, packed.room
        try:
            service.bodies.take(room)
            try:
                found = await service.loop.run_in_executor(None, packed.inflated)
            finally:
                service.bodies.held -= room
            if self.over or self.tail:
                return
            self._grow(len(found))
            self._message, self._inflates = found, False
            self._collect(b"")
        except Exception as error:  # noqa: BLE001  refuse() logs what is our fault, and answers
            self.refuse(error)

    def _ask(self, message: bytes) -> None:
        method, self.size = self._method, len(message)
        if not method.streams:
            self._service.check_queue()
            self._asked = True
            self._service.in_flight += 1
        answer = method.answer(self, message)
        if answer is None:
            return
        if method.streams:
            self.say(answer)
        else:
            self.reply(answer)

    # What is answered.

    def reply(self, message: bytes) -> None:
        """Give the answer."""
        self._is_answered()
        self._is_told = True
        self._tell(200, len(message))
        if self.over or self.tail:
            return
        number = self.number
        start = b"" if self._started else start_frame(number)
        self._out.send(self, start, prefixed(message), end_frame(number))
        if self.backlog:
            self._free(self.backlog)

    def say(self, message: bytes) -> None:
        """Give one answer of several; `finish` or `refuse` ends them."""
        self._is_answered()
        if self.over or self.tail:
            return
        start = b"" if self._started else start_frame(self.number)
        self._started = True
        self._out.send(self, start, prefixed(message))
        self._free(self.backlog)
        if self.backlog > MOST_BACKLOG:
            self._connection.reset(self.number, ENHANCE_YOUR_CALM)

    def finish(self) -> None:
        """No more answers."""
        if not (self.over or self.tail):
            self._tell(200)
            start = b"" if self._started else start_frame(self.number)
            self._out.end(self, start + end_frame(self.number))

    def refuse(self, error: BaseException) -> None:
        """End with an error; what is no fault of the caller goes to the log in full."""
        self._is_answered()
        if not isinstance(error, (ProtocolError, Refusal)):  # also if nobody waits any more
            _LOG.error("fault in the gRPC call %s", self.head.path, exc_info=error)
        if not self._is_told:
            self._is_told = True
            self.reason = error.reason if isinstance(error, ProtocolError) else ""
            self._service.failed(getattr(error, "status", 500), self.model, self.reason)
            self._tell(getattr(error, "status", 500))
        if self.over or self.tail:
            return
        if isinstance(error, ProtocolError):
            error = status_of(error)
        elif not isinstance(error, Refusal):
            error = Refusal(INTERNAL, "The server met a fault of its own; see its log.")
        self._out.end(self, refusal_frame(self.number, error, started=self._started))

    def _tell(self, status: int, size: int = 0) -> None:
        if self._service.told is not None:
            self._service.told(self, status, size)

    def later(self, work: Coroutine[Any, Any, bytes | None]) -> None:
        """Answer with what a coroutine gives, unless that is None."""
        self._service.spawn(self._told(work))

    async def _told(self, work: Coroutine[Any, Any, bytes | None]) -> None:
        try:
            answer = await work
            if answer is not None:
                self.reply(answer)
        except Exception as error:  # noqa: BLE001  refuse() logs what is our fault, and answers
            self.refuse(error)

    def _is_answered(self) -> None:
        if self._asked:
            self._asked = False
            self._service.in_flight -= 1
            if self.over:
                self._connection.ghosts -= 1

    # What the connection and the time tell.

    def sent(self) -> None:
        """The answer is out."""
        self.over = True
        self._free()
        self._connection.done(self, answered=True)

    def closed(self) -> None:
        """Nobody waits any more; work that is under way still counts."""
        self._free()
        if self._asked:
            self._connection.ghosts += 1

    def sweep(self, now: float) -> None:
        """End a call whose time is over, and one whose message does not come."""
        if self.tail:
            return
        seconds, patience = self.head.seconds, self._service.patience
        if seconds is not None and now > self.received_at + seconds + LATE_SECONDS:
            self.refuse(Refusal(DEADLINE_EXCEEDED, "The time for this call is over."))
        elif not self.ended:
            allowed = patience.body + self._held / patience.slowest
            if self._method.streams:
                allowed = QUIET_SECONDS
            if now - self._waits_since > allowed:
                self.refuse(
                    Refusal(DEADLINE_EXCEEDED, f"No message came for {allowed:.0f} s.", status=408)
                )

    def _free(self, still: int = 0) -> None:
        """What was asked is read; `still` bytes of answers wait for the caller to take them."""
        self._service.bodies.held += still - self._held
        self._held = still
