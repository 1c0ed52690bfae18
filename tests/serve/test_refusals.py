"""Refusals are told at once, in a storm of them a thousand a second, and nobody waits for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from modelwright.serve.admission import Admission
from modelwright.serve.curve import Curve
from modelwright.serve.messages import Overloaded
from modelwright.serve.refusals import A_SECOND, BURST, LONGEST, Refusals


class Desk:
    """Refusals on a real loop, by a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[int] = []
        self.refusals = Refusals(asyncio.get_running_loop(), lambda: self.now)

    def refuse(self, *numbers: int, deadline: float | None = None) -> None:
        for number in numbers:
            self.refusals.tell(lambda number=number: self.told.append(number), deadline)

    async def until(self, count: int) -> None:
        end = asyncio.get_running_loop().time() + 20
        while len(self.told) < count:
            assert asyncio.get_running_loop().time() < end, len(self.told)
            await asyncio.sleep(0.001)


def on_loop(work: Callable[[Desk], Coroutine[Any, Any, None]]) -> None:
    async def all_of_it() -> None:
        await work(Desk())

    asyncio.run(all_of_it())


def test_a_few_are_told_at_once_and_a_storm_in_turn() -> None:
    async def work(desk: Desk) -> None:
        desk.refuse(*range(300))
        assert desk.told == list(range(int(BURST))) and len(desk.refusals) == 200
        await asyncio.sleep(0.02)
        assert len(desk.told) == BURST  # no time has passed
        for waited in (50, 100, 200):
            desk.now = 100.0 + waited / A_SECOND + 1e-6
            await desk.until(int(BURST) + waited)
            await asyncio.sleep(0.02)
            assert desk.told == list(range(int(BURST) + waited))  # the oldest first
        assert not len(desk.refusals)
        desk.now += 10.0
        desk.refuse(*range(50))
        assert len(desk.told) == 350  # calm again: at once

    on_loop(work)


def test_nobody_waits_longer_than_a_second() -> None:
    async def work(desk: Desk) -> None:
        held = int(A_SECOND * LONGEST)
        desk.refuse(*range(int(BURST) + held + 500))
        assert len(desk.refusals) == held and desk.told[-1] == int(BURST) + 500 - 1
        desk.now += LONGEST + 1e-6
        while len(desk.refusals):  # an allowance that is saved up is no larger than the burst
            desk.now += 0.01
            await asyncio.sleep(0.002)
        assert sorted(desk.told) == list(range(int(BURST) + held + 500))

    on_loop(work)


def test_who_has_no_time_is_told_at_once() -> None:
    async def work(desk: Desk) -> None:
        desk.refuse(*range(int(BURST) + 100))
        desk.refuse(777, deadline=desk.now + 0.05)
        desk.refuse(888, deadline=desk.now + 0.5)
        assert desk.told[-1] == 777 and len(desk.refusals) == 101

    on_loop(work)


def test_too_busy_is_told_that_way() -> None:
    with pytest.raises(Overloaded) as caught:
        Admission(Curve((0.02,)), 0.01).check(1, 0, 0, 0.0, None)
    assert caught.value.status == 503 and caught.value.retry_after == 1.0
