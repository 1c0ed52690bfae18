"""A fault in one request, in one run or in telling an answer costs nobody else theirs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelwright as mw
from modelwright.core.intake import Feeds, feeds_from_rows
from modelwright.serve.admission import LATELY
from modelwright.serve.batching import Batcher
from modelwright.serve.breaker import Breaker
from modelwright.serve.curve import KNOTS, Curve
from modelwright.serve.engine import Engine, Inputs
from modelwright.serve.live import LiveModel
from modelwright.serve.messages import ProtocolError
from modelwright.serve.runs import Failures, Item, ModelFailed, NotFinite, Ran, run_feeds
from modelwright.serve.settings import Breaking, Settings, Source


@pytest.fixture(scope="module")
def live(released: mw.Released) -> LiveModel:
    folder: Path = released.run / "artefact"
    settings = Settings(models=(Source(name="shop", folder=str(folder)),))
    return LiveModel.load(folder, settings, name="shop", version="3", tried=True)


class Odd(Engine):
    """The real graph with a fault for chosen batches."""

    def __init__(self, engine: Engine, fault: Callable[[int], BaseException | None]) -> None:
        self.__dict__.update(engine.__dict__)
        self._fault = fault

    def run(self, inputs: Inputs) -> Any:
        fault = self._fault(len(next(iter(inputs.values()))))
        if fault is not None:
            raise fault
        return super().run(inputs)


class Unlike(Engine):
    """The real graph whose first answer is NaN."""

    def __init__(self, engine: Engine) -> None:
        self.__dict__.update(engine.__dict__)

    def run(self, inputs: Inputs) -> Any:
        found = super().run(inputs)
        found.raw[0] = np.nan
        return found


def test_a_request_whose_answer_is_no_finite_number_is_counted_as_such(live: LiveModel) -> None:
    engine, failures = Unlike(live.engine), Failures()
    outcome = run_feeds(engine, feeds(live))
    assert isinstance(outcome, NotFinite)
    failures.note(outcome)
    failures.note(ModelFailed("a fault"))
    assert (failures.count, failures.not_finite) == (2, [1])


def feeds(live: LiveModel, rows: int = 1) -> Feeds:
    return feeds_from_rows(live.schema, [live.manifest.example] * rows)


def batched(
    live: LiveModel, work: Callable[[Batcher], Coroutine[Any, Any, None]], **about: Any
) -> None:
    """Run something with a batcher on a loop; nothing may escape to the loop."""

    async def ran() -> None:
        loop = asyncio.get_running_loop()
        escaped: list[Any] = []
        loop.set_exception_handler(lambda _, what: escaped.append(what))
        fault = about.pop("fault", lambda rows: None)
        engine = Odd(live.engine, fault)
        if "seconds" in about:
            engine.curve = Curve([about.pop("seconds")] * KNOTS)
        breaker = Breaker(Breaking(least=10_000), None)
        batcher = Batcher(engine, live.reader, loop, breaker, **about)
        await work(batcher)
        batcher.close()
        await asyncio.sleep(0)
        assert not escaped, escaped

    asyncio.run(asyncio.wait_for(ran(), 20))


def ask(batcher: Batcher, given: Feeds, **about: Any) -> asyncio.Future[Any]:
    """Submit rows; the outcome, an error as a value."""
    future = asyncio.get_running_loop().create_future()

    def done(outcome: Ran | BaseException, start: int, stop: int) -> None:
        part = outcome.part(start, stop) if isinstance(outcome, Ran) else outcome
        future.set_result(part)

    count = len(next(iter(given.values())))
    batcher.submit(Item(count, done, feeds=given, **about))
    return future


@pytest.mark.parametrize("seconds", [1e-6, 0.01])  # in the loop, and in a thread
@pytest.mark.parametrize("kind", [MemoryError, KeyError, RuntimeError, ValueError, TypeError])
def test_any_fault_of_a_run_is_an_answer(
    live: LiveModel, seconds: float, kind: type[Exception]
) -> None:
    faults = iter([kind(""), kind(""), kind("")])

    async def work(batcher: Batcher) -> None:
        both = await asyncio.gather(ask(batcher, feeds(live)), ask(batcher, feeds(live)))
        assert all(isinstance(one, ModelFailed) for one in both)
        after = await ask(batcher, feeds(live))
        np.testing.assert_array_equal(after.raw, live.run(feeds(live)).raw)

    batched(live, work, fault=lambda rows: next(faults, None), seconds=seconds)


@pytest.mark.parametrize("seconds", [1e-6, 0.01])
def test_who_cannot_be_told_harms_nobody(live: LiveModel, seconds: float) -> None:
    async def work(batcher: Batcher) -> None:
        def gone(outcome: object, start: int, stop: int) -> None:
            raise OSError("gone")

        first = ask(batcher, feeds(live))
        batcher.submit(Item(1, gone, feeds=feeds(live)))
        last = ask(batcher, feeds(live))
        wanted = live.run(feeds(live)).raw
        for found in await asyncio.gather(first, last):
            np.testing.assert_array_equal(found.raw, wanted)

    batched(live, work, seconds=seconds)


def test_a_request_that_cannot_be_read_is_alone(live: LiveModel) -> None:
    async def work(batcher: Batcher) -> None:
        def careful() -> Any:
            raise KeyError("a fault of ours")

        futures = [ask(batcher, feeds(live))]
        told: list[object] = []
        odd = live.reader.decode(b'[{"big": 5, "member": true, "start": "no date"}]')
        item = Item(1, lambda o, a, b: told.append(o), rows=odd, careful=careful)
        batcher.submit(item)
        futures.append(ask(batcher, feeds(live)))
        found = await asyncio.gather(*futures)
        assert len(found) == 2 and all(len(one.raw) == 1 for one in found)
        assert isinstance(told[0], KeyError)

    batched(live, work)


@pytest.mark.parametrize("seconds", [1e-6, 0.01])
def test_a_fault_in_counting_still_answers(live: LiveModel, seconds: float) -> None:
    def on_run(run: Ran, waited: float) -> None:
        raise ZeroDivisionError

    async def work(batcher: Batcher) -> None:
        found = await asyncio.gather(*[ask(batcher, feeds(live)) for _ in range(3)])
        assert all(len(one.raw) == 1 for one in found)
        assert len((await ask(batcher, feeds(live))).raw) == 1

    batched(live, work, on_run=on_run, seconds=seconds)


def test_what_was_submitted_before_the_end_is_answered(live: LiveModel) -> None:
    async def work(batcher: Batcher) -> None:
        futures = [ask(batcher, feeds(live))]
        await asyncio.sleep(0)  # the first goes to the thread, the next wait for it
        futures += [ask(batcher, feeds(live, 2)) for _ in range(3)]
        batcher.close()
        assert [len(one.raw) for one in await asyncio.gather(*futures)] == [1, 2, 2, 2]
        assert len((await ask(batcher, feeds(live))).raw) == 1  # by who still held on to it

    batched(live, work, seconds=0.01)


def test_a_full_queue_and_a_late_request_are_told(live: LiveModel) -> None:
    async def work(batcher: Batcher) -> None:
        late = ask(batcher, feeds(live), deadline=0.0)
        assert (await late).status == 504
        first = ask(batcher, feeds(live))
        with pytest.raises(ProtocolError) as caught:
            for _ in range(5):
                ask(batcher, feeds(live))
        assert caught.value.status == 503 and caught.value.retry_after
        await first

    batched(live, work, seconds=0.01, budget=0.005)


def test_runs_that_got_slow_leave_the_event_loop(live: LiveModel) -> None:
    """Whatever was measured when the version was loaded, and until they are fast again."""
    where: list[bool] = []

    async def work(batcher: Batcher) -> None:
        for took, times in ((0.5, LATELY // 2), (0.5, 1), (1e-6, LATELY // 2 + 1)):
            for _ in range(times):
                batcher._admission.ran(1, took)
            await ask(batcher, feeds(live))
        assert where == [True, False, True]

    def noted(rows: int) -> None:
        where.append(threading.current_thread() is threading.main_thread())

    batched(live, work, fault=noted, seconds=1e-4)


def test_a_thread_that_cannot_start_costs_one_run_only(live: LiveModel) -> None:
    async def work(batcher: Batcher) -> None:
        batcher._thread = ThreadPoolExecutor(1)
        batcher._thread.shutdown()
        assert isinstance(await ask(batcher, feeds(live)), BaseException)
        assert batcher.is_idle and not batcher._breaker._flight
        assert not isinstance(await ask(batcher, feeds(live)), BaseException)

    batched(live, work, seconds=0.01)
