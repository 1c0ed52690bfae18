"""Versions come and go in one process: nobody who asked one waits in vain, nothing stays behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from modelwright.core.traffic import Canary, Traffic, write_traffic
from modelwright.release.audit import FILE as AUDIT
from modelwright.serve.dispatch import Models
from modelwright.serve.loading import Lives, Loader, fixed, load_all, load_place
from modelwright.serve.messages import Answered, Call, Live, Question
from modelwright.serve.metrics import Counts
from modelwright.serve.protocol import read_predict
from modelwright.serve.settings import Breaking, Settings, Source
from serve.versions import TRIGGER, Shop, row_of

BREAKING = Breaking(slower_than=60.0)


@pytest.fixture
def shop(project: Path) -> Shop:
    """The champion sleeps when it is asked to; versions 3 and 4 do not."""
    found = Shop(project)
    found.move(found.add(sleeps=100))
    found.add()
    found.add()
    return found


def reading(size: float) -> Callable[[Live], Question]:
    body = msgspec.json.encode(row_of(size))
    return lambda live: read_predict(live.schema, body, 10)


class Process:
    """What a worker has, on the running loop and without sockets."""

    def __init__(self, settings: Settings, lives: Lives | None = None) -> None:
        self.counts = Counts()
        self.models = Models(settings, self.counts, asyncio.get_running_loop())
        self.loader = Loader(settings, self.models, self.counts, lives or Lives())

    async def ask(self, size: float) -> Answered:
        call = Call("shop", deadline=time.perf_counter() + 30)
        return await self.models.answer(call, reading(size))

    def gauges(self) -> set[str]:
        found = self.counts.book.gauges["modelwright_model_info"]
        return {labels[-1] for labels in found}


def in_process(
    shop: Shop, work: Callable[[Process], Awaitable[None]], lives: Lives | None = None,
    breaking: Breaking = BREAKING,
) -> None:  # fmt: skip
    source = Source(name="shop", project=str(shop.project))

    async def all_of_it() -> None:
        process = Process(Settings(models=(source,), breaker=breaking), lives)
        await process.loader.begin()
        try:
            await work(process)
        finally:
            process.loader.close()

    asyncio.run(all_of_it())


def test_who_waits_for_a_version_that_goes_is_answered_by_it(shop: Shop) -> None:
    async def work(process: Process) -> None:
        champion = process.models.served["shop"].champion
        assert champion is not None and champion.version == "2"
        champion.batcher._wary_until = float("inf")  # runs in its thread
        slow = asyncio.ensure_future(process.ask(TRIGGER))
        waiting = asyncio.ensure_future(process.ask(1.0))
        await asyncio.sleep(0)
        for version in ("3", "4"):  # the one before stays as the way back, then goes too
            shop.move(version)
            await process.loader.follow(at_once=True)
        assert (await process.ask(1.0)).live.version == "4"
        assert champion not in [*process.models.served["shop"].everyone()]
        first, second = await slow, await waiting
        assert first.live.version == second.live.version == "2"
        # counted where it belongs, and the gauges of what is gone stay gone
        process.models.counts_of(first).answered("predict", 0.1)
        assert process.gauges() == set(process.models.served["shop"].lanes) == {"3", "4"}
        process.models.tick(time.perf_counter())
        assert not process.models.retired

    in_process(shop, work)


def test_a_model_taken_out_while_it_is_renewed_stays_out(shop: Shop) -> None:
    async def work(process: Process) -> None:
        shop.move("3")
        renewed = asyncio.ensure_future(process.loader.follow(at_once=True))
        await asyncio.sleep(0)
        process.loader.unload("shop")
        await renewed
        served = process.models.served["shop"]
        assert served.champion is None and not served.lanes and process.gauges() == set()
        await process.loader.load("shop")
        assert (await process.ask(1.0)).live.version == "3"

    in_process(shop, work)


def test_what_is_asked_twice_at_once_is_loaded_once_and_in_order(shop: Shop) -> None:
    async def work(process: Process) -> None:
        shop.move("3")
        one = asyncio.ensure_future(process.loader.follow(at_once=True))
        await asyncio.sleep(0)
        shop.move("4")
        await asyncio.gather(one, process.loader.load("shop"))
        assert (await process.ask(1.0)).live.version == "4"
        process.models.tick(time.perf_counter())
        assert process.gauges() == set(process.models.served["shop"].lanes)

    in_process(shop, work)


def test_a_worker_started_again_without_a_registry_has_the_version_from_before_the_fork(
    shop: Shop,
) -> None:
    source = Source(name="shop", folder=str(shop.folders["3"]), version="3", tried=True)
    place = fixed(source).champion
    assert place is not None
    live = load_place(source, place, Settings(models=()))
    (shop.project / ".modelwright" / "mlflow.db").rename(shop.project / "gone.db")

    async def work(process: Process) -> None:
        assert (await process.ask(1.0)).live.version == "3"
        assert "no registry" in process.models.served["shop"].problem

    in_process(shop, work, Lives({"shop": live}, {("shop", "3", ""): live}))


def test_what_stands_beside_a_champion_is_shared_by_the_workers_as_well(shop: Shop) -> None:
    shop.move(shop.add(baseline=True))
    write_traffic(shop.project, Traffic("shop", shadow="3", canary=Canary("4", 0.5)))
    lives = load_all(Settings(models=(Source(name="shop", project=str(shop.project)),)))
    before = dict(lives.versions)
    assert [key[1] for key in before] == [
        "5",
        "4",
        "3",
        "1",
        "5",
    ]  # then the way back, the baseline

    async def work(process: Process) -> None:
        served = process.models.served["shop"]
        assert {id(lane.live) for lane in served.everyone()} == set(map(id, before.values()))
        assert served.champion is not None and served.champion.version == "5"
        assert served.baseline is not None and served.baseline.version == "baseline"

    in_process(shop, work, lives)


def test_what_stands_beside_a_champion_and_cannot_be_loaded_ends_no_server(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.spoil_golden("3")
    write_traffic(shop.project, Traffic("shop", shadow="3"))
    lives = load_all(Settings(models=(Source(name="shop", project=str(shop.project)),)))
    assert [key[1] for key in lives.versions] == ["2", "1"]

    async def work(process: Process) -> None:
        assert (await process.ask(1.0)).live.version == "2"
        assert "version 3 was refused" in caplog.text

    in_process(shop, work, lives)


def test_a_champion_from_before_the_fork_that_has_a_lane_is_not_given_another(shop: Shop) -> None:
    lives = load_all(Settings(models=(Source(name="shop", project=str(shop.project)),)))
    shop.spoil_golden("3")
    shop.move("3")
    write_traffic(shop.project, Traffic("shop", shadow="2"))
    (shop.project / AUDIT).unlink()  # nobody knows the way back

    async def work(process: Process) -> None:
        served = process.models.served["shop"]
        assert served.champion is served.lanes["2"] and "3" not in served.lanes

    in_process(shop, work, lives)


def test_a_version_that_was_refused_is_not_looked_for_when_nobody_wants_it(shop: Shop) -> None:
    async def work(process: Process) -> None:
        shop.spoil_golden("3")
        shop.move("3")
        await process.loader.follow(at_once=True)
        assert process.loader._failed and (await process.ask(1.0)).live.version == "2"
        shop.move("4")
        await process.loader.follow(at_once=True)
        assert (await process.ask(1.0)).live.version == "4"
        # the way back by the registry is the refused one: it may be tried again, and only it
        assert {key[0] for key in process.loader._failed} <= {"shop"}
        shop.move("2")
        await process.loader.follow(at_once=True)
        assert not process.loader._failed

    in_process(shop, work)


def test_a_version_that_fails_behind_another_is_told_in_the_log(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """Every caller is answered, by the version before: only the log and counters tell."""
    bad = shop.add(fails=True)

    def said() -> list[str]:
        found = (one.getMessage() for one in caplog.records if one.name == "modelwright.serve")
        return [text for text in found if text.startswith(f"version {bad}")]

    async def work(process: Process) -> None:
        shop.move(bad)
        await process.loader.follow(at_once=True)
        champion = process.models.served["shop"].champion
        assert champion is not None
        began = time.perf_counter()
        for _ in range(3):
            assert (await process.ask(TRIGGER)).fallback == "previous"
        champion.tick(began)
        failed, out = said()
        assert out == f"version {bad} of shop is out of service: 3 of 3 answers failed"
        assert failed.startswith(f"version {bad} of shop failed 3 requests; the last: ")
        assert len(failed) > 60, "what the graph said"
        for _ in range(2):  # said once, however long it lasts
            champion.tick(began + 1)
        while champion.breaker.state != "closed":  # its pause is over at once
            await process.ask(1.0)
        champion.tick(began + 2)
        assert said()[2:] == [f"version {bad} of shop is in service again"]

    in_process(shop, work, breaking=Breaking(slower_than=60.0, window=60.0, least=3, pause=1e-6))
