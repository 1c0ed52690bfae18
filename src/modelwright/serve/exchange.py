"""One request on its way: its id, token and trace, and how its end is told, counted and logged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from modelwright.core.errors import MissingExtra
from modelwright.serve.access_log import Line, Log, id_of
from modelwright.serve.http import Slot
from modelwright.serve.journal import Journal
from modelwright.serve.live import LiveModel
from modelwright.serve.messages import (
    Answered,
    Live,
    Overloaded,
    ProtocolError,
    Question,
    Reader,
    Request,
    Response,
)
from modelwright.serve.metric_names import REASONS
from modelwright.serve.metrics import Counts
from modelwright.serve.metrics import Served as VersionCounts
from modelwright.serve.protocol import error_response
from modelwright.serve.refusals import Refusals
from modelwright.serve.runs import ModelFailed, Ran
from modelwright.serve.tracing import NO_TRACE, Tracer

_LOG = logging.getLogger("modelwright.serve")


class Counted(Protocol):
    """What all requests of a process share."""

    counts: Counts
    log: Log
    journal: Journal
    tracer: Tracer
    refusals: Refusals
    new_id: Callable[[], str]


class Exchange:
    """A request and the place of its answer.

    Attributes:
        door: by which it came, out of a fixed set.
        id: the caller's own where it is sane, else a new one.
        token: name of the token it came with.
        reason: why it was refused, where the code does not tell.
    """

    __slots__ = ("app", "door", "id", "model", "reason", "reply", "request", "token", "trace")

    def __init__(self, app: Counted, request: Request, reply: Slot, door: str) -> None:
        self.app, self.request, self.reply, self.door = app, request, reply, door
        self.id = id_of(request.headers, app.new_id)
        tracer = app.tracer
        self.trace = (
            tracer.begin(door, request.headers, request.received) if tracer.is_on else NO_TRACE
        )
        self.model = self.token = self.reason = ""

    def timed(self, read: Reader) -> Reader:
        """A reader that marks its step in the trace, where there is one."""
        if not self.trace.id:
            return read

        def timed(live: Live) -> Question:
            found = read(live)
            self.trace.mark("read")
            return found

        return timed

    def ran(self, run: Ran) -> None:
        """Mark the steps of a run that has just ended."""
        now = time.perf_counter()
        self.trace.mark("queue", now - run.seconds)
        self.trace.mark("run", now)

    def page(self, response: Response) -> None:
        """Answer with what no version predicted."""
        counts = self.app.counts
        if response.status < 400:
            counts.request(self.door, response.status)
        else:
            counts.failed(self.door, response.status, self.reason, self.model)
        self.send(response)

    def refuse(self, error: BaseException) -> None:
        """Answer with an error; what is no fault of the caller goes to the log in full."""
        self.reason = error.reason if isinstance(error, ProtocolError) else ""
        if isinstance(error, Overloaded):
            told, hurried = error_response(error), "x-request-timeout-ms" in self.request.headers
            self.app.refusals.tell(
                lambda: self.page(told), self.request.received if hurried else None
            )
            return
        if isinstance(error, ModelFailed):
            error = ProtocolError(503, f"The model failed: {error}.", retry_after=1)
            self.reason = "model_failed"
        elif isinstance(error, MissingExtra):
            error = ProtocolError(501, str(error))
        elif not isinstance(error, ProtocolError):
            _LOG.error(
                "fault in %s %s (%s)", self.request.method, self.door, self.id, exc_info=error
            )
            error = ProtocolError(500, "The server met a fault of its own; see its log.")
        self.page(error_response(error))

    def answered(self, counts: VersionCounts, found: Answered, response: Response) -> None:
        """Answer with a prediction, marked where it is not the champion's."""
        seconds = time.perf_counter() - self.request.received
        counts.answered(
            self.door, seconds, found.question.rows, arm=found.arm, fallback=found.fallback,
            trace=self.trace.id,
        )  # fmt: skip
        if self.app.journal.is_on:
            name = found.question.id or self.id  # OIP has an id of its own
            self.app.journal.answered(name, self.request.received, seconds, found)
        marks = []
        if found.arm not in ("champion", "pinned"):
            marks.append((b"x-modelwright-arm", found.arm.encode()))
        if found.fallback:
            marks.append((b"x-modelwright-fallback", found.fallback.encode()))
        if found.cached:
            marks.append((b"x-modelwright-cache", b"hit"))
        if marks:
            response.headers += tuple(marks)
        version = found.live.version
        known = b"x-modelwright-version: %b\r\n" % version.encode("ascii", "replace")
        response.lines = self._under_id(known)
        self.reply(response)
        if self.trace.id or self.app.log.is_on:
            self._tell(response, found, version, found.question.rows)

    def send(self, response: Response) -> None:
        """Answer under its id, trace and log it."""
        lines = self._under_id(response.lines)  # a page may be kept: it is not changed
        self.reply(Response(response.status, response.body, response.kind, response.headers, lines))
        if self.trace.id or self.app.log.is_on:
            self._tell(response, None, "", 0)

    def predicted(self, body: bytes, live: LiveModel, rows: int) -> None:
        """Answer with the JSON of a champion's prediction that is counted already."""
        response = Response(200, body, lines=self._under_id(live.lines))
        self.reply(response)
        if self.trace.id or self.app.log.is_on:
            self._tell(response, None, live.version, rows)

    def _under_id(self, lines: bytes) -> bytes:
        return b"%bx-request-id: %b\r\n" % (lines, self.id.encode("latin-1"))

    def _tell(self, response: Response, found: Answered | None, version: str, rows: int) -> None:
        if self.trace.id:
            self.trace.mark("write")
            about: dict[str, str | bool | int | float] = {
                "model": self.model,
                "version": version,
                "rows": rows,
                "id": self.id,
            }
            self.trace.end(response.status, about)
        if self.app.log.is_on:
            self.app.log.write(self._line(response, found, version, rows))

    def _line(self, response: Response, found: Answered | None, version: str, rows: int) -> Line:
        request = self.request
        line = Line(
            time=time.time(), id=self.id, method=request.method, path=request.path,
            status=response.status, ms=(time.perf_counter() - request.received) * 1e3,
            model=self.model, version=version, rows=rows, bytes_in=len(request.body),
            bytes_out=len(response.body), peer=request.peer, token=self.token, trace=self.trace.id,
        )  # fmt: skip
        if version:  # what the shortest way answers is the champion's
            line.arm = "champion"
        if response.status >= 400:
            line.reason = self.reason or REASONS.get(response.status, "other")
        if found is not None:
            line.arm, line.fallback, line.cached = found.arm, found.fallback, found.cached
        return line
