"""Loop-turn batching: every row that was parsed in one turn of the event loop goes into one run.

There is no timer, so a lone caller waits for nobody. A run that is expected to take longer than a
millisecond goes to a thread; what arrives in the meantime is the next batch, as large as the spec's
latency allows by the measured curve. Measured with 64 connections: 1.4 to 2.2 times the
rate of one run a request.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from modelwright.serve.admission import SURE_SECONDS, Admission
from modelwright.serve.breaker import OPEN, Breaker
from modelwright.serve.engine import Engine
from modelwright.serve.messages import ProtocolError
from modelwright.serve.rows import RowReader
from modelwright.serve.runs import (
    Failures,
    ModelFailed,
    Ran,
    Waiting,
    fault,
    gathered,
    run,
    tell,
)

INLINE_SECONDS = 0.001
"""Longer runs would hold up the event loop, and with it every other request."""
SURPRISE_SECONDS = 0.02
"""A run on the event loop that took so long is no noise: the next ones go to the thread, for
`WARY_SECONDS` and as long as the last ones say that another would."""
WARY_SECONDS = 2.0


class Batcher:
    """The queue before one graph.

    Args:
        engine: the graph.
        reader: of its typed rows.
        loop: of this process.
        breaker: of the version; told how every run went.
        budget: the spec's limit on p95 latency in seconds, or None.
        on_run: told the run and the seconds that its requests waited for it, added up.

    Attributes:
        failures: of the graph, to be told.
    """

    def __init__(
        self,
        engine: Engine,
        reader: RowReader,
        loop: asyncio.AbstractEventLoop,
        breaker: Breaker,
        *,
        budget: float | None = None,
        on_run: Callable[[Ran, float], None] | None = None,
    ) -> None:
        self._engine, self._reader = engine, reader
        self._loop, self._breaker = loop, breaker
        self._admission = Admission(engine.curve, budget)
        self._on_run = on_run
        self._thread: ThreadPoolExecutor | None = None
        self._running: list[Waiting] = []
        self._waiting: deque[Waiting] = deque()
        self._rows = 0
        self._busy_until = 0.0
        self._scheduled = False
        self._in_thread = False
        self._flight = -1  # the run in the thread, by the breaker's number
        self._closed = False
        self._wary_until = 0.0
        self.failures = Failures()
        self._sure = 0  # rows that may wait before the next run without being looked at

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for an answer."""
        return not self._waiting and not self._running

    def submit(self, item: Waiting) -> None:
        """Queue a request; its `done` is called from the event loop.

        Raises:
            ProtocolError: 503 where it would wait longer than its deadline or the limit allows.
        """
        waiting = self._waiting
        item.submitted = now = time.perf_counter()
        rows = self._rows + item.count
        if (waiting or self._in_thread) and (
            rows > self._sure or (item.deadline is not None and item.deadline < now + SURE_SECONDS)
        ):
            self._shed(item, now)
        waiting.append(item)
        self._rows = rows
        if not self._scheduled and not self._in_thread:  # `_soon`, in the hot path
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def tick(self, now: float) -> None:
        """Several times a second: end what is late, and all that waits for a run that sleeps."""
        late = [item for item in (*self._running, *self._waiting)
                if item.deadline is not None and item.deadline < now]  # fmt: skip
        if self._in_thread:
            self._look_at_sleep(now)
        for item in late:
            item.end(ProtocolError(504, "The time for this request is over."))
        if any(item.over for item in self._waiting):
            self._waiting = deque(item for item in self._waiting if not item.over)
            self._rows = sum(item.count for item in self._waiting)

    def close(self) -> None:
        """Free the thread as soon as nobody waits any more; what comes late is still answered."""
        self._closed = True
        if self._thread is not None and not self._in_thread:
            self._thread.shutdown(wait=False)
            self._thread = None

    def _look_at_sleep(self, now: float) -> None:
        """Let the breaker know that a run sleeps, and for how many; end them if it opens."""
        self._breaker.overdue(now, len(self._running) + len(self._waiting))
        if self._breaker.is_late(self._flight) and self._breaker.state == OPEN:
            for item in (*self._running, *self._waiting):
                item.end(ModelFailed(self._breaker.why))

    def _shed(self, item: Waiting, now: float) -> None:
        busy = max(self._busy_until - now, 0.0) if self._in_thread else 0.0
        left = item.deadline - now if item.deadline is not None else None
        self._admission.check(item.count, self._rows, len(self._waiting), busy, left)
        self._sure = 0 if self._in_thread else self._admission.sure_rows()

    def _turn(self) -> None:
        self._scheduled = False
        while self._waiting and not self._in_thread:
            items = self._take()
            try:
                self._next(items)
            except Exception as error:  # noqa: BLE001  fault() logs it, tells all of the batch
                fault(items, error)

    def _soon(self) -> None:
        if self._waiting and not self._in_thread and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _next(self, items: list[Waiting]) -> None:
        inputs, whole = gathered(items, self._reader, self._engine) if items else (None, False)
        if inputs is None:
            return
        rows = len(next(iter(inputs.values())))
        seconds = self._engine.curve.seconds(rows)
        now = time.perf_counter()
        slow = seconds * self._admission.slowness > SURPRISE_SECONDS
        if seconds <= INLINE_SECONDS and now >= self._wary_until and not slow:
            outcome = run(self._engine, inputs, whole)
            if isinstance(outcome, Ran) and outcome.seconds > SURPRISE_SECONDS:
                self._wary_until = time.perf_counter() + WARY_SECONDS
            self._deliver(items, outcome)
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "model")
        try:
            future = self._loop.run_in_executor(self._thread, run, self._engine, inputs, whole)
        except RuntimeError:  # no thread can be started: the next run tries with a new pool
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None
            raise
        self._in_thread, self._running = True, items
        self._busy_until = now + self._admission.expected(rows)
        self._flight = flight = self._breaker.started(now, rows)
        future.add_done_callback(lambda done: self._back(items, flight, done.result()))

    def _back(self, items: list[Waiting], flight: int, outcome: Ran | ModelFailed) -> None:
        self._in_thread, self._running = False, []
        if self._closed:
            self.close()
        ok, again = isinstance(outcome, Ran), len(items) > 1
        # a batch that failed says nothing yet: each of its requests is tried by itself
        self._breaker.ended(
            flight, ok or again, time.perf_counter(), len(items) if ok or not again else 0
        )
        try:
            self._deliver(items, outcome, counted=True)
        except Exception as error:  # noqa: BLE001  fault() logs it, tells all of the batch
            fault(items, error)
        if self._breaker.state == OPEN:  # those who wait need not wait for it to fail
            for item in self._waiting:
                item.end(ModelFailed(self._breaker.why))
        self._soon()

    def _take(self) -> list[Waiting]:
        """The next batch: what waits, up to what one run may hold, without those that are late."""
        now = time.perf_counter()
        most = (
            self._rows
            if self._rows <= self._sure
            else self._admission.most_rows(now - self._waiting[0].submitted)
        )
        self._sure = 0
        items: list[Waiting] = []
        rows = 0
        waiting = self._waiting
        while waiting and (not items or rows + waiting[0].count <= most):
            if items and waiting[0].alone:
                break
            item = waiting.popleft()
            self._rows -= item.count
            if item.over:
                continue
            if item.deadline is not None and item.deadline < now:
                item.end(ProtocolError(504, "The time for this request is over."))
                continue
            rows += item.count
            items.append(item)
            if item.alone:
                break
        return items

    def _deliver(
        self, items: list[Waiting], outcome: Ran | ModelFailed, *, counted: bool = False
    ) -> None:
        if isinstance(outcome, ModelFailed):
            self._alone(items, outcome, counted=counted)
            return
        ended = time.perf_counter()
        if not counted:
            self._breaker.record(True, outcome.seconds, ended, len(items), outcome.rows)
        self._admission.ran(outcome.rows, outcome.seconds)
        tell(items, outcome)
        if self._on_run is not None:
            came = sum([item.submitted for item in items])
            self._on_run(outcome, max(0.0, (ended - outcome.seconds) * len(items) - came))

    def _alone(self, items: list[Waiting], failed: ModelFailed, *, counted: bool) -> None:
        """A batch failed: ask for each by itself, so that one bad row harms nobody else."""
        if len(items) == 1:
            self.failures.note(failed)
            if not counted:
                self._breaker.record(False, 0.0, time.perf_counter())
            items[0].end(failed)
            return
        for item in reversed(items):
            item.alone = True
            self._waiting.appendleft(item)
            self._rows += item.count
        self._soon()
