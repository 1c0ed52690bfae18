"""One version in service: its graph, queue, breaker, cache and counts; and all those of a model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from modelwright.core.traffic import Traffic
from modelwright.pack.artefact import ROWS_A_RUN, Answers
from modelwright.serve.batching import Batcher
from modelwright.serve.breaker import CLOSED, HALF_OPEN, OPEN, Breaker, slow_without_limit
from modelwright.serve.cache import cache_of
from modelwright.serve.fallback import BASELINE, CHAMPION, PREVIOUS, Constant
from modelwright.serve.live import LiveModel
from modelwright.serve.messages import ProtocolError, Question
from modelwright.serve.metrics import STATES, Counts
from modelwright.serve.odd_values import OddValues
from modelwright.serve.policy import Policy
from modelwright.serve.runs import Item, ModelFailed, Ran, run_feeds, together
from modelwright.serve.settings import Settings

_STATE = {CLOSED: STATES["closed"], HALF_OPEN: STATES["half_open"], OPEN: STATES["open"]}
RUNS_SCORED = 32
"""Runs whose scores are counted at once, at the latest with the next tick: by itself each would
cost as much as all of them."""
MOST_BULKS = 8
"""Requests of more rows than one run that may wait for a version; each holds megabytes."""


class Lane:
    """A loaded version with all that belongs to it in this process."""

    def __init__(
        self, live: LiveModel, settings: Settings, counts: Counts, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.live = live
        self.counts = counts.served(
            live.model, live.version, live.manifest, digest=live.digest,
            deadline=settings.deadline, made=live.made_at,
        )  # fmt: skip
        curve, limit = live.engine.curve, live.limit_p95
        largest = curve.seconds(ROWS_A_RUN if limit is None else curve.most_rows(limit))
        self.breaker = Breaker(
            settings.breaker, limit, otherwise=slow_without_limit(largest),
            most=settings.deadline,
        )  # fmt: skip
        self.cache = cache_of(settings.cache, [c.name for c in live.schema.features])
        self.policy = Policy(
            live.schema, unseen_levels=settings.unseen_levels, out_of_range=settings.out_of_range
        )
        self._refuses = "refuse" in (settings.unseen_levels, settings.out_of_range)
        self._odd = OddValues(live.schema, self.counts)
        self.batcher = Batcher(
            live.engine, live.reader, loop, self.breaker, budget=limit, on_run=self._ran
        )
        self._loop = loop
        live.counts = self.counts
        self._bulk: ThreadPoolExecutor | None = None
        self._bulks = 0
        self._unscored: list[Answers] = []

    @property
    def version(self) -> str:
        """Its number."""
        return self.live.version

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for it."""
        return self.batcher.is_idle and not self._bulks

    @property
    def is_closed(self) -> bool:
        """Whether questions go to it without a second thought."""
        return self.breaker.state is CLOSED

    async def ask(self, question: Question, deadline: float | None) -> Answers:
        """Answer checked rows with the next run.

        Raises:
            ModelFailed: the graph cannot.
            ProtocolError: 503 too busy, 504 too late.
        """
        if question.rows > ROWS_A_RUN:
            return await self._ask_bulk(question, deadline)
        future: asyncio.Future[Answers] = self._loop.create_future()

        def done(outcome: Ran | BaseException, start: int, stop: int) -> None:
            if future.done():
                return
            if isinstance(outcome, Ran):
                future.set_result(outcome.part(start, stop))
            else:
                future.set_exception(outcome)

        self.batcher.submit(Item(question.rows, done, feeds=question.feeds, deadline=deadline))
        return await future

    async def _ask_bulk(self, question: Question, deadline: float | None) -> Answers:
        """Many rows take long: in a thread of their own, so that nobody's single row waits."""
        if self._bulks >= MOST_BULKS:
            raise ProtocolError(
                503, f"{MOST_BULKS} requests of so many rows are under way; try again.",
                retry_after=1,
            )  # fmt: skip
        if self._bulk is None:
            self._bulk = ThreadPoolExecutor(1, "bulk")
        self._bulks += 1
        try:
            work = self._loop.run_in_executor(
                self._bulk, run_feeds, self.live.engine, question.feeds
            )
            left = None if deadline is None else max(0.0, deadline - time.perf_counter())
            outcome = await asyncio.wait_for(work, left)
        except TimeoutError as error:
            raise ProtocolError(504, "The time for this request is over.") from error
        finally:
            self._bulks -= 1
        if isinstance(outcome, ModelFailed):
            self.breaker.record(False, 0.0, time.perf_counter())
            raise outcome
        # many rows may take long: that is no slowness of the version
        self.breaker.record(True, 0.0, time.perf_counter())
        self._ran(outcome, 0.0)
        return outcome.answers

    def judge(self, question: Question) -> None:
        """Count what training never saw in rows of the careful way, or refuse it.

        Raises:
            ProtocolError: 422 by the spec's policy.
        """
        if self._refuses:
            self.policy.judge(question.feeds)
        self._odd.count(question.feeds)
        if question.unknown:
            self.counts.odds("unknown_columns", question.unknown)

    def tick(self, now: float) -> None:
        """A few times a second: late requests, sleeping runs, what typed rows had that was odd."""
        self.batcher.tick(now)
        self._odd.finish()
        self.counts.breaker[0] = _STATE[self.breaker.state]
        reader = self.live.reader
        for (what, column), count in reader.odds.items():
            self.counts.odd(what, column, count)
        reader.odds.clear()
        self._score()

    def close(self) -> None:
        """Free its threads; who waits is still answered."""
        self.batcher.close()
        if self._bulk is not None:
            self._bulk.shutdown(wait=False)
            self._bulk = None

    def _ran(self, run: Ran, waited: float) -> None:
        self.counts.ran(run.rows, run.seconds, waited)
        self._unscored.append(run.answers)
        if len(self._unscored) >= RUNS_SCORED or run.rows > ROWS_A_RUN:
            self._score()

    def _score(self) -> None:
        if self._unscored:
            self.counts.scored(together(self._unscored))
            self._unscored.clear()


@dataclass
class Served:
    """One model by its name: who answers, who stands in, who answers along.

    Attributes:
        champion: the version that the followed alias names.
        lanes: every loaded version by its number, the champion before included.
        previous, baseline: stand-ins, where they are loaded.
        constant: the answer of last resort for so many rows, or None.
        problem: why the newest version of the registry is not in service; empty when it is.
    """

    name: str
    champion: Lane | None = None
    lanes: dict[str, Lane] = field(default_factory=dict)
    previous: Lane | None = None
    baseline: Lane | None = None
    constant: Constant | None = None
    traffic: Traffic | None = None
    problem: str = ""

    @property
    def fast(self) -> Lane | None:
        """The lane that every request may take without looking right or left, or None."""
        lane = self.champion
        if lane is None or self.traffic is not None or lane.cache.is_on or not lane.is_closed:
            return None
        return lane

    def stand_ins(self, failed: Lane, names: tuple[str, ...]) -> Iterator[tuple[str, Lane]]:
        """Who is asked after a version failed, in the order of the spec."""
        if self.champion is not None and self.champion is not failed:
            yield CHAMPION, self.champion  # for a canary, whatever the order
        found = {PREVIOUS: self.previous, BASELINE: self.baseline}
        for name in names:
            lane = found.get(name)
            if lane is not None and lane is not failed:
                yield name, lane

    def everyone(self) -> Iterator[Lane]:
        """Every lane once."""
        yield from self.lanes.values()
        if self.baseline is not None:
            yield self.baseline
