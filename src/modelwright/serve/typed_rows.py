"""The shortest way of a request: typed rows straight into the champion's next run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from modelwright.serve.doors import PREDICT, Door, door_of
from modelwright.serve.exchange import Exchange
from modelwright.serve.lanes import Lane
from modelwright.serve.messages import Question
from modelwright.serve.runs import ModelFailed, Ran, Waiting

if TYPE_CHECKING:
    from modelwright.serve.app import App


class TypedRows(Waiting):
    """A request for rows in JSON that are typed as training was, on its way to a run.

    What turns out to need more, odd values or a model that fails, goes on the careful way from
    here.
    """

    __slots__ = ("_app", "_exchange", "_given", "_lane")

    def __init__(
        self, app: App, exchange: Exchange, lane: Lane, rows: list[Any], deadline: float
    ) -> None:
        super().__init__(len(rows), rows, None, deadline)
        self._app, self._exchange, self._lane, self._given = app, exchange, lane, rows

    def careful(self) -> Question:
        """See `Waiting`."""
        question = self._door().read(self._lane.live)
        self._lane.judge(question)
        return question

    def done(self, outcome: Ran | BaseException, start: int, stop: int) -> None:
        """Write the answer, or what else became of it."""
        exchange, live, count = self._exchange, self._lane.live, self.count
        if not isinstance(outcome, Ran):
            self._otherwise(outcome)
            return
        if exchange.trace.id:
            exchange.ran(outcome)
        began = time.perf_counter()
        writer = live.writer
        found = outcome.objects(writer.objects)[start:stop]
        body = writer.body(live.model, live.version, found)
        received, now = exchange.request.received, time.perf_counter()
        seconds = now - received
        self._lane.counts.writing[0] += now - began
        self._lane.counts.answered(PREDICT, seconds, count, trace=exchange.trace.id)
        journal = self._app.journal
        if journal.is_on:
            rows = None if outcome.whole else self._given
            journal.ran(live, exchange.id, received, seconds, outcome, start, count, rows)
        exchange.predicted(body, live, count)

    def _otherwise(self, outcome: BaseException) -> None:
        door = self._door()
        then = self._app.then(self._exchange, door)
        if isinstance(outcome, ModelFailed):
            call = self._app.call(self._exchange, self._exchange.model, None)
            self._app.models.start(call, door.read, then, (self._lane, outcome))
        else:
            then(outcome)

    def _door(self) -> Door:
        return door_of(PREDICT, self._exchange.request, self._app.settings)
