"""One version in service: its graph, queue, breaker, cache and counts; and all those of a model."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from modelwright.core.errors import RowsError
from modelwright.core.traffic import Traffic
from modelwright.pack.artefact import ROWS_A_RUN, Answers
from modelwright.serve.aside import Aside
from modelwright.serve.batching import Batcher
from modelwright.serve.breaker import CLOSED, HALF_OPEN, OPEN, Breaker
from modelwright.serve.cache import cache_of
from modelwright.serve.fallback import BASELINE, CHAMPION, PREVIOUS, Constant
from modelwright.serve.live import LiveModel
from modelwright.serve.messages import ProtocolError, Question
from modelwright.serve.metrics import STATES, Counts
from modelwright.serve.odd_values import OddValues
from modelwright.serve.policy import Policy
from modelwright.serve.runs import Item, ModelFailed, Ran, run_feeds, together
from modelwright.serve.settings import Settings

_LOG = logging.getLogger("modelwright.serve")
_STATE = {CLOSED: STATES["closed"], HALF_OPEN: STATES["half_open"], OPEN: STATES["open"]}
RUNS_SCORED = 32
"""Runs whose scores are counted at once, at the latest with the next tick: by itself each would
cost as much as all of them."""
TELL_SECONDS = 60.0
"""Failures of a version are told in the log at most so often; all are counted."""


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
        limit = live.limit_p95
        self.breaker = Breaker(
            settings.breaker, limit, expected=live.engine.curve.seconds, most=settings.deadline
        )
        self.cache = cache_of(settings.cache, [c.name for c in live.schema.features])
        self.policy = Policy(
            live.schema, unseen_levels=settings.unseen_levels, out_of_range=settings.out_of_range
        )
        self._refuses = "refuse" in (settings.unseen_levels, settings.out_of_range)
        self._odd = OddValues(live.schema, self.counts)
        self.batcher = Batcher(
            live.engine, live.reader, loop, self.breaker, budget=limit, on_run=self._ran
        )
        self.batcher.failures.not_finite = self.counts.not_finite
        self._loop = loop
        self._is_out, self._failures_told, self._tell_again = False, 0, -math.inf
        live.counts = self.counts
        self._bulk = Aside(loop, "bulk", "requests of so many rows")
        self._unscored: list[Answers] = []

    @property
    def version(self) -> str:
        """Its number."""
        return self.live.version

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for it."""
        return self.batcher.is_idle and self._bulk.is_idle

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
        outcome = await self._bulk.do(lambda: run_feeds(self.live.engine, question.feeds), deadline)
        if isinstance(outcome, ModelFailed):
            self.batcher.failures.note(outcome)
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
            self.policy.judge(question.feeds, question.lines)
        self._odd.count(question.feeds)
        if question.unknown:
            self.counts.odds("unknown_columns", question.unknown)

    def with_policy(self, error: ProtocolError) -> ProtocolError:
        """The refusal of rows that do not fit, with what the spec's policy refuses of the rest."""
        cause = error.__cause__
        if self._refuses and isinstance(cause, RowsError) and cause.by_line == error.problems:
            return self.policy.also(cause)
        return error

    def tick(self, now: float) -> None:
        """A few times a second: late requests, sleeping runs, what typed rows had that was odd."""
        self.batcher.tick(now)
        self._odd.finish()
        self.counts.breaker[0] = _STATE[self.breaker.state]
        self._tell(now)
        reader = self.live.reader
        for (what, column), count in reader.odds.items():
            self.counts.odd(what, column, count)
        reader.odds.clear()
        self._score()

    def _tell(self, now: float) -> None:
        """Say in the log that it fails, is out of service or back: behind a fallback no caller
        would notice."""
        breaker, failures = self.breaker, self.batcher.failures
        who = f"version {self.version} of {self.live.model}"
        more = failures.count - self._failures_told
        if more and now >= self._tell_again:
            _LOG.error("%s failed %d requests; the last: %s", who, more, failures.last)
            self._failures_told, self._tell_again = failures.count, now + TELL_SECONDS
        if breaker.state is not CLOSED and not self._is_out:
            _LOG.error("%s is out of service: %s", who, breaker.why)
        elif breaker.state is CLOSED and self._is_out:
            _LOG.warning("%s is in service again", who)
        self._is_out = breaker.state is not CLOSED

    def close(self) -> None:
        """Free its threads; who waits is still answered."""
        self.batcher.close()
        self._bulk.close()

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
        if lane is None or self.traffic is not None or lane.cache.is_on:
            return None
        return lane if lane.breaker.state is CLOSED else None

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
