"""Requests to answers: what `serve.http` hands every request to."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from modelwright.serve.access_log import Log, new_ids
from modelwright.serve.dispatch import INLINE_BYTES, Models
from modelwright.serve.doors import INFER, INVOCATIONS, LABELS, PREDICT, Door, door_of, is_plain
from modelwright.serve.exchange import Exchange
from modelwright.serve.http import Connections, Slot
from modelwright.serve.journal import OFF, Journal
from modelwright.serve.label_desk import CLOSED, Desk
from modelwright.serve.messages import Answered, Call, Overloaded, ProtocolError, Request, Response
from modelwright.serve.metrics import Counts
from modelwright.serve.pages import Pages
from modelwright.serve.settings import Settings
from modelwright.serve.tokens import Gate
from modelwright.serve.tracing import Tracer
from modelwright.serve.typed_rows import TypedRows

Route = tuple[str, str, str | None]
"""Door, model and version of a path that asks a model."""


class App:
    """Everything that a request can ask for, over the models of this process.

    Args:
        models: the dispatcher.
        pages: what predicts nothing.
        settings: of the server.
        counts: of this process.
        gate: lets requests in.
        log, tracer: are told of each.
        journal: is told of each answer.
        desk: takes labels.
    """

    def __init__(
        self,
        models: Models,
        pages: Pages,
        settings: Settings,
        counts: Counts,
        gate: Gate,
        log: Log,
        tracer: Tracer,
        journal: Journal = OFF,
        desk: Desk = CLOSED,
    ) -> None:
        self.counts, self.log, self.tracer, self.journal = counts, log, tracer, journal
        self.new_id, self._desk, self.refusals = new_ids(), desk, models.refusals
        self.shared = Connections(self, settings.max_body)
        self.models, self._pages, self.settings, self._gate = models, pages, settings, gate
        self._routes: dict[str, Route] = {}

    def refresh(self) -> None:
        """Learn the routes of the models and versions that are served now."""
        routes: dict[str, Route] = {}
        for name, served in self.models.served.items():
            versions = [None, *served.lanes]
            for version in versions:
                place = name if version is None else f"{name}/versions/{version}"
                routes[f"/models/{place}/predict"] = (PREDICT, name, version)
                routes[f"/v2/models/{place}/infer"] = (INFER, name, version)
                routes[f"/v2/models/{place}/labels"] = (LABELS, name, version)
        if self.models.served:
            first = next(iter(self.models.served))
            routes["/predict"] = (PREDICT, first, None)
            routes["/invocations"] = (INVOCATIONS, first, None)
        self._routes = routes

    def handle(self, request: Request, reply: Slot) -> None:
        """Answer a request; see `http.Handler`."""
        route = self._routes.get(request.path)
        exchange = Exchange(self, request, reply, route[0] if route else "other")
        try:
            exchange.token = self._gate.admit(
                request.method, request.path, request.headers, request.received
            )
            if route is not None and request.method == "POST":
                self._ask(exchange, route)
            else:
                found = self._pages.answer(request, exchange.token)
                if inspect.isawaitable(found):
                    self.models.spawn(self._later(exchange, found))
                else:
                    assert isinstance(found, Response)
                    exchange.page(found)
        except Exception as error:  # noqa: BLE001  refuse() logs what is our fault, and answers
            exchange.refuse(error)

    async def _later(self, exchange: Exchange, work: Awaitable[Response]) -> None:
        try:
            exchange.page(await work)
        except Exception as error:  # noqa: BLE001  refuse() logs what is our fault, and answers
            exchange.refuse(error)

    def _ask(self, exchange: Exchange, route: Route) -> None:
        name, model, version = route
        exchange.model = model
        queue, under_way = self.settings.queue, self.shared.in_flight
        if under_way > queue and under_way - len(self.models.refusals) > queue:
            raise Overloaded(f"{queue} requests are under way; try again.", 1.0, "queue_full")
        request = exchange.request
        if name == LABELS:
            target = self.models.live(model, version).schema.target
            seconds = self._seconds(request.headers)
            taken = self._desk.take(request, model, target, seconds)
            self.models.spawn(self._later(exchange, taken))
            return
        head = request.head
        plain = None if head is None else head.plain
        if plain is None:
            plain = is_plain(request)
            if head is not None:
                head.plain = plain
        if plain and version is None and name == PREDICT and self._typed_rows(exchange, model):
            return
        call = self.call(exchange, model, version)
        door = door_of(name, request, self.settings)
        if door.explained is not None or len(request.body) > INLINE_BYTES:
            self.models.spawn(self._at_length(exchange, call, door))
        else:
            self.models.ask(call, exchange.timed(door.read), self.then(exchange, door))

    def call(self, exchange: Exchange, model: str, version: str | None) -> Call:
        """Which model is asked, and under which conditions.

        Raises:
            ProtocolError: 400, a time-out that is no number.
        """
        headers = exchange.request.headers
        received = exchange.request.received
        return Call(
            model,
            version if version is not None else headers.get("x-modelwright-version"),
            headers.get("x-modelwright-key"),
            received + self._seconds(headers),
            exchange.id,
            headers.get("traceparent", ""),
            received,
            len(exchange.request.body),
        )

    def _seconds(self, headers: Mapping[str, str]) -> float:
        asked = headers.get("x-request-timeout-ms")
        return (
            self.settings.deadline
            if asked is None
            else min(self.settings.deadline, _milliseconds(asked))
        )

    def _typed_rows(self, exchange: Exchange, model: str) -> bool:
        """Take the shortest way there is; False where a request cannot."""
        lane = self.models.served[model].fast
        request = exchange.request
        headers = request.headers
        if lane is None or len(request.body) > INLINE_BYTES or "x-modelwright-version" in headers:
            return False
        began = time.perf_counter()
        rows = lane.live.reader.decode(request.body)
        if not rows or len(rows) > self.settings.max_rows:
            return False
        lane.counts.reading[0] += time.perf_counter() - began
        if exchange.trace.id:
            exchange.trace.mark("read")
        deadline = request.received + self._seconds(headers)
        lane.batcher.submit(TypedRows(self, exchange, lane, rows, deadline))
        return True

    def then(self, exchange: Exchange, door: Door) -> Callable[[Any], None]:
        """What is done with an answer, or with an error."""

        def then(outcome: Answered | BaseException) -> None:
            try:
                if not isinstance(outcome, Answered):
                    raise outcome
                began = time.perf_counter()
                response = door.write(outcome)
                counts = self.models.counts_of(outcome)
                counts.writing[0] += time.perf_counter() - began
                exchange.answered(counts, outcome, response)
            except Exception as error:  # noqa: BLE001  refuse() logs what is our fault, and answers
                exchange.refuse(error)

        return then

    async def _at_length(self, exchange: Exchange, call: Call, door: Door) -> None:
        """What takes long to write, explanations and thousands of rows: in a thread."""
        explained = door.explained
        try:
            found = await self.models.answer(call, door.read)
            if explained is None:
                written = self.models.in_thread(_timed(lambda: door.write(found)))
            else:
                until = math.inf if call.deadline is None else call.deadline
                work = _timed(lambda: explained(found, until))
                written = self.models.explaining.do(work, call.deadline)
            response, seconds = await written
            counts = self.models.counts_of(found)
            counts.writing[0] += seconds
            exchange.answered(counts, found, response)
        except Exception as error:  # noqa: BLE001  refuse() logs what is our fault, and answers
            exchange.refuse(error)


def _timed(work: Callable[[], Response]) -> Callable[[], tuple[Response, float]]:
    """The same, and the seconds that it took."""

    def timed() -> tuple[Response, float]:
        began = time.perf_counter()
        return work(), time.perf_counter() - began

    return timed


def _milliseconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 < found < 1e9:
        raise ProtocolError(400, "x-request-timeout-ms: wanted a number of milliseconds.")
    return found / 1e3
