"""Which version answers a request, and who stands in when it cannot.

The usual request takes the fast way: typed rows straight into the champion's next run, without a
coroutine. Canaries, tests, shadows, caches, odd rows and open breakers take the careful one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from modelwright.pack.artefact import Answers
from modelwright.serve.access_log import new_ids
from modelwright.serve.aside import Aside
from modelwright.serve.catalogue import Catalogue
from modelwright.serve.journal import OFF, Journal
from modelwright.serve.journal_segment import SHADOW
from modelwright.serve.keys import key_in, recorded
from modelwright.serve.lanes import Lane, Served
from modelwright.serve.messages import (
    Answered,
    Call,
    Overloaded,
    ProtocolError,
    Question,
    Reader,
    Then,
)
from modelwright.serve.metrics import Counts
from modelwright.serve.refusals import Refusals
from modelwright.serve.runs import Item, ModelFailed, Ran
from modelwright.serve.settings import Settings
from modelwright.serve.unanswered import Unanswered

INLINE_BYTES = 256 * 1024
"""Larger bodies take milliseconds to read."""
SHADOW_DEPTH = 32
"""Requests that may wait for a shadow; more are not mirrored."""
Found = TypeVar("Found")


class Models(Catalogue):
    """Every model of this process; the one `messages.Dispatcher`.

    Args:
        settings: of the server.
        counts: of this process.
        loop: of this process.

    Attributes:
        journal: is told of requests that nobody answered, and of what shadows said.
        refusals: tells callers over HTTP that it is too busy.
        explaining: where explanations are made, one after the other.
    """

    def __init__(self, settings: Settings, counts: Counts, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(counts)
        self._settings, self._loop = settings, loop
        self.journal: Journal = OFF
        self.refusals = Refusals(loop)
        self.explaining = Aside(loop, "explain", "requests with explain")
        self._tasks: set[asyncio.Task[None]] = set()
        self._shadows = 0

    async def answer(
        self, call: Call, read: Reader, failed: tuple[Lane, ModelFailed] | None = None
    ) -> Answered:
        """Choose a version, read the request with its schema, and answer it.

        Args:
            failed: a version that was asked already, and is not asked again.
        """
        served = self.find(call.model)
        if call.version is not None:
            lane, arm = self.lane(served, call.version), "pinned"
        else:
            lane, arm = self.arm(served, call.key)
        question = await self._read(lane, read, call.size)
        key = self._key(question) if call.key is None else call.key
        if call.key is None and key is not None and served.traffic is not None and not call.version:
            chosen, arm = self.arm(served, key)
            if chosen is not lane:
                lane, question = chosen, await self._read(chosen, read, call.size)
        error = failed[1] if failed is not None and failed[0] is lane else None
        try:
            found = await self._ask(served, lane, question, call, read, error)
        except ProtocolError as refused:
            self._unanswered(served, lane, arm, question, call, key, refused)
            raise
        found.arm = arm
        if served.traffic is not None and self.journal.is_on:
            found.caller = recorded(found.live.schema, self._settings.key, key)
        if served.traffic is not None and served.traffic.shadow:
            self._mirror(served, served.traffic.shadow, read, found, call)
        return found

    def _unanswered(
        self,
        served: Served,
        lane: Lane,
        arm: str,
        question: Question,
        call: Call,
        key: str | None,
        error: ProtocolError,
    ) -> None:
        """While there is a canary its verdict wants to know whom each version left alone."""
        has_canary = served.traffic is not None and served.traffic.canary is not None
        if has_canary and arm != "pinned" and error.status >= 500 and self.journal.is_on:
            now, id = time.perf_counter(), question.id or call.id
            caller = recorded(lane.live.schema, self._settings.key, key)
            one = Unanswered(lane.live, arm, id, now, error.status, question.feeds, caller)
            self.journal.unanswered(one)

    def ask(self, call: Call, read: Reader, then: Then) -> None:
        """The same for who cannot wait: `then` gets the answer, or the error."""
        served = self.served.get(call.model)
        lane = served.fast if served is not None and call.version is None else None
        if lane is None or call.size > INLINE_BYTES:
            self.start(call, read, then)
            return
        try:
            began = time.perf_counter()
            try:
                question = read(lane.live)
                lane.judge(question)
            finally:
                lane.counts.reading[0] += time.perf_counter() - began
            self._submit(lane, question, call, read, then)
        except ProtocolError as error:
            then(lane.with_policy(error))

    def start(
        self,
        call: Call,
        read: Reader,
        then: Then,
        failed: tuple[Lane, ModelFailed] | None = None,
    ) -> None:
        """Take the careful way in a task."""
        self.spawn(self._told(call, read, then, failed))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside; the loop itself would only keep a weak reference."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def in_thread(self, work: Callable[[], Found]) -> Found:
        """Run what takes long where it holds nobody up."""
        return await self._loop.run_in_executor(None, work)

    async def _told(
        self, call: Call, read: Reader, then: Then, failed: tuple[Lane, ModelFailed] | None
    ) -> None:
        try:
            then(await self.answer(call, read, failed))
        except Exception as error:  # noqa: BLE001  the task's end: then() logs it and answers
            then(error)

    def _submit(self, lane: Lane, question: Question, call: Call, read: Reader, then: Then) -> None:
        def done(outcome: Ran | BaseException, start: int, stop: int) -> None:
            if isinstance(outcome, Ran):
                then(Answered(question, outcome.part(start, stop), lane.live))
            elif isinstance(outcome, ModelFailed):
                self.start(call, read, then, (lane, outcome))
            else:
                then(outcome)

        lane.batcher.submit(Item(question.rows, done, feeds=question.feeds, deadline=call.deadline))

    # The steps of the careful way, in their order.

    async def _read(self, lane: Lane, read: Reader, size: int) -> Question:
        """Large bodies are read in a thread: the loop goes on answering small ones."""
        try:
            question = await self._with_schema_of(lane, read, size)
        except ProtocolError as error:
            raise lane.with_policy(error) from error
        lane.judge(question)
        return question

    async def _with_schema_of(self, lane: Lane, read: Reader, size: int) -> Question:
        took = 0.0

        def timed() -> Question:
            nonlocal took
            began = time.perf_counter()
            try:
                return read(lane.live)
            finally:
                took = time.perf_counter() - began

        try:
            if size > INLINE_BYTES:
                return await self._loop.run_in_executor(None, timed)
            return timed()
        finally:
            lane.counts.reading[0] += took

    def _key(self, question: Question) -> str | None:
        name = self._settings.key
        if name is None:
            return None
        # a feed is the same whichever door its value came by
        return key_in(question.feeds, name) if name in question.feeds else question.key

    async def _ask(
        self,
        served: Served,
        lane: Lane,
        question: Question,
        call: Call,
        read: Reader,
        error: ModelFailed | None,
    ) -> Answered:
        """Ask a version; when it fails, or has failed, those who stand in for it."""
        now = time.perf_counter()
        key = lane.cache.key(question.feeds, question.rows)
        known = lane.cache.get(key, now)
        if lane.cache.is_on and key is not None:
            (lane.counts.misses if known is None else lane.counts.hits)[0] += 1
        if known is not None:
            return Answered(question, known, lane.live, cached=True)
        why = f"Version {lane.version} of {served.name} is out of service: {lane.breaker.why}."
        if error is None and lane.breaker.allows(now):
            try:
                answers = await lane.ask(question, call.deadline)
                lane.cache.put(key, answers, now)
                return Answered(question, answers, lane.live)
            except ModelFailed as found_now:
                error = found_now
        reason = "breaker_open" if error is None else "model_failed"
        if error is not None:
            why = f"Version {lane.version} of {served.name} failed: {error}."
        if call.version is None:
            found = await self._instead(served, lane, question, call, read)
            if found is not None:
                return found
        raise ProtocolError(503, why, retry_after=self._settings.breaker.pause, reason=reason)

    async def _instead(
        self, served: Served, failed: Lane, question: Question, call: Call, read: Reader
    ) -> Answered | None:
        for name, lane in served.stand_ins(failed, self._settings.fallback):
            if not lane.breaker.allows(time.perf_counter()):
                continue
            try:
                own = await self._with_schema_of(lane, read, call.size)
                answers = await lane.ask(own, call.deadline)
                return Answered(own, answers, lane.live, fallback=name)
            except ModelFailed:
                continue
            except ProtocolError as error:  # it is busy, or reads other columns
                if error.status == 504:
                    raise
        if served.constant is None or "constant" not in self._settings.fallback:
            return None
        return Answered(
            question, served.constant.answer(question.rows), failed.live, fallback="constant"
        )  # fmt: skip

    def _mirror(
        self, served: Served, version: str, read: Reader, found: Answered, call: Call
    ) -> None:
        """Let a shadow answer the same request, after its caller has been answered."""
        lane = served.lanes.get(version)
        if lane is None or not lane.is_closed or self._shadows >= SHADOW_DEPTH:
            return
        self._shadows += 1
        self.spawn(self._shadow(lane, read, found, call))

    async def _shadow(self, lane: Lane, read: Reader, found: Answered, call: Call) -> None:
        """Ask the shadow, count where it says something else, under the id of the request; whatever
        it does harms nobody."""
        try:
            await asyncio.sleep(0)
            question = await self._with_schema_of(lane, read, call.size)
            began, id = time.perf_counter(), question.id or call.id
            answers = await lane.ask(question, began + self._settings.deadline)
            lane.counts.shadowed(question.rows, _disagreements(found.answers, answers))
            if self.journal.is_on and id:
                own = Answered(question, answers, lane.live, arm=SHADOW)
                self.journal.answered(id, began, time.perf_counter() - began, own)
        except (ProtocolError, ModelFailed):
            lane.counts.failed("shadow", 500, "model_failed")
        finally:
            self._shadows -= 1


class CountedCalls:
    """The dispatcher as the gRPC door sees it: every answer is counted and recorded, and by
    `failed` every call that ends with an error, whoever refused it."""

    def __init__(self, models: Models, journal: Journal = OFF) -> None:
        self._models, self._journal = models, journal
        self._new_id, self._refusals = new_ids(), Refusals(asyncio.get_running_loop())
        self.live, self.models, self.versions = models.live, models.models, models.versions
        self.is_ready = models.is_ready

    def ask(self, call: Call, read: Reader, then: Then) -> None:
        """See `Models.ask`."""

        def counted(outcome: Answered | BaseException) -> None:
            if isinstance(outcome, Answered):
                self._answered(call, outcome)
                began = time.perf_counter()
                then(outcome)
                self._models.counts_of(outcome).writing[0] += time.perf_counter() - began
            elif isinstance(outcome, Overloaded):
                self._refusals.tell(lambda: then(outcome), call.deadline)
            else:
                then(outcome)

        self._models.ask(call, read, counted)

    def _answered(self, call: Call, found: Answered) -> None:
        seconds = time.perf_counter() - call.received
        self._models.counts_of(found).answered(
            "grpc", seconds, found.question.rows, arm=found.arm, fallback=found.fallback
        )
        if self._journal.is_on:
            self._journal.answered(call.id or self._new_id(), call.received, seconds, found)

    def held(self) -> int:
        """Calls that only wait to be refused."""
        return len(self._refusals)

    def failed(self, status: int, model: str, reason: str) -> None:
        """Count a call that was refused or failed; names that callers made up are not kept."""
        known = model if model in self._models.served else ""
        self._models.counts.failed("grpc", status, reason, known)


def _disagreements(one: Answers, two: Answers) -> int:
    """Rows with another label, or with values that differ by over 1 % of their size."""
    if one.codes is not None and two.codes is not None:
        pairs = zip(one.predictions(), two.predictions(), strict=True)
        return sum(a != b for a, b in pairs)
    pairs = zip(one.raw.ravel().tolist(), two.raw.ravel().tolist(), strict=True)
    return sum(abs(a - b) > 0.01 * max(1e-9, abs(a)) for a, b in pairs)
