"""Long work in a thread of its own: one piece at a time, so many at most, and in time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from modelwright.serve.aside import Aside
from modelwright.serve.messages import ProtocolError


def with_aside(work: Callable[[Aside], Coroutine[Any, Any, None]], most: int = 3) -> None:
    async def go() -> None:
        aside = Aside(asyncio.get_running_loop(), "long", "long requests", most)
        try:
            await asyncio.wait_for(work(aside), 20)
        finally:
            aside.close()

    asyncio.run(go())


def test_pieces_are_done_in_order_and_not_more_than_are_let_in() -> None:
    goes, done = threading.Event(), list[int]()

    def piece(number: int) -> int:
        assert goes.wait(10) and threading.current_thread().name.startswith("long")
        done.append(number)
        return number

    async def work(aside: Aside) -> None:
        assert aside.is_idle
        tasks = [asyncio.create_task(aside.do(lambda n=n: piece(n), None)) for n in range(3)]
        while aside._pieces < 3:
            await asyncio.sleep(0)
        with pytest.raises(ProtocolError, match="3 long requests are under way") as refused:
            await aside.do(lambda: piece(3), None)
        assert refused.value.status == 503 and not aside.is_idle
        goes.set()
        assert await asyncio.gather(*tasks) == [0, 1, 2] == done
        assert aside.is_idle and await aside.do(lambda: piece(4), None) == 4

    with_aside(work)


def test_what_is_late_ends_and_is_not_begun() -> None:
    goes, begun = threading.Event(), list[str]()

    def first() -> None:
        begun.append("first")
        assert goes.wait(10)

    async def work(aside: Aside) -> None:
        held = asyncio.create_task(aside.do(first, None))
        while not begun:
            await asyncio.sleep(0)
        with pytest.raises(ProtocolError) as late:
            await aside.do(lambda: begun.append("late"), time.perf_counter() + 0.02)
        assert late.value.status == 504
        goes.set()
        await held
        await aside.do(lambda: begun.append("next"), time.perf_counter() + 10)
        assert begun == ["first", "next"]

    with_aside(work)


def test_a_fault_is_the_askers() -> None:
    def fails() -> None:
        raise OSError("no room")

    async def work(aside: Aside) -> None:
        with pytest.raises(OSError, match="no room"):
            await aside.do(fails, None)
        assert aside.is_idle

    with_aside(work)
