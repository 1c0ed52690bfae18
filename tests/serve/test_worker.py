"""Processes that answer while the registry changes, while they are told to end, and while alone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import grpc
import msgspec
import pytest

import modelwright as mw
from modelwright.serve.settings import Settings, Source
from modelwright.serve.worker import FOLLOW_SECONDS, ORPHAN_SECONDS
from serve.doors import typed
from serve.running import Hammer, Running, free_port, request, same_as, serving, started, until
from serve.versions import TRIGGER, Shop, row_of

ROWS = [row_of(float(size)) for size in range(-40, 60, 5)]
BODIES = [msgspec.json.encode(row) for row in ROWS]
NOISE_SECONDS = 0.05
"""The clients are on the same cores as the server, and so is the loading of a version."""
FORBIDDEN = (
    "sklearn", "optuna", "pandas", "polars", "pyarrow", "mlflow", "onnx", "grpc", "opentelemetry",
    "pydantic", "sqlalchemy", "lightgbm", "torch", "rich", "yaml",
)  # fmt: skip


@pytest.fixture
def shop(project: Path) -> Shop:
    """The project with three versions, of which the first is the champion."""
    found = Shop(project)
    found.add()
    found.add()
    return found


def source(shop: Shop) -> Source:
    return Source(name="shop", project=str(shop.project))


def answering(running: Running, **headers: str) -> str:
    """The version that answers."""
    return running.predict(ROWS[0], **headers).headers.get("x-modelwright-version", "")


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("workers", [1, 2])
def test_the_alias_moves_under_load_and_nobody_notices(shop: Shop, workers: int) -> None:
    answers = shop.answers(ROWS)
    moves = [str(2 + turn % 2) if turn % 5 else "1" for turn in range(1, 51)]
    with (
        serving(shop.project, source(shop), workers=workers) as running,
        Hammer(running, BODIES, keep_alive=32, check=same_as(answers)) as counted,
    ):
        until(lambda: counted.answered > 2000)
        began = time.perf_counter()
        for version in moves:
            shop.move(version)
            # each of the clients, on whatever worker it is, meets the version
            until(lambda v=version: all(seen[-1] == v for seen in counted.versions.values()))
        ended = time.perf_counter()
    quiet, swapping = counted.percentile(0.99, 0, began), counted.percentile(0.99, began, ended)
    print(f"p99 quiet {quiet * 1e3:.1f} ms, during {len(moves)} swaps {swapping * 1e3:.1f} ms")
    assert swapping <= max(3 * quiet, quiet + NOISE_SECONDS)
    assert counted.outcomes == Counter(ok=counted.answered)
    for seen in counted.versions.values():
        assert seen == ["1", *(v for v, before in zip(moves, ["1", *moves], strict=False)
                               if v != before)]  # fmt: skip


def test_promotion_and_rollback_are_followed(shop: Shop) -> None:
    with serving(shop.project, source(shop)) as running:
        assert answering(running) == "1"
        mw.promote("shop", "2", why="test", folder=shop.project)
        until(lambda: answering(running) == "2")
        mw.rollback("shop", folder=shop.project)
        until(lambda: answering(running) == "1", seconds=FOLLOW_SECONDS * 20)
        assert running.metric('modelwright_reloads_total{model="shop",outcome="ok"') == 3
        told = [line for line in running.errors.read_text().splitlines() if "answers" in line]
    assert told == ["modelwright: shop: version 2 answers from now on, before it 1",
                    "modelwright: shop: version 1 answers from now on, before it 2"]  # fmt: skip


@pytest.mark.slow  # what is damaged is fetched again, which imports MLflow
@pytest.mark.parametrize("fault", ["bytes", "golden"])
def test_a_version_that_cannot_be_loaded_leaves_the_old_one(shop: Shop, fault: str) -> None:
    name = "model.onnx" if fault == "bytes" else "golden.json"
    path = shop.folders["3"] / name
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"3", b"4"))
    with (
        serving(shop.project, source(shop)) as running,
        Hammer(running, BODIES, keep_alive=4, check=same_as(shop.answers_of("1", "2"))) as counted,
    ):
        shop.move("2")
        until(lambda: answering(running) == "2")
        shop.move("3")
        entry = until(lambda: [e for e in index(running) if e["state"] == "UNAVAILABLE"])
        assert "3" in entry[0]["reason"]
        until(lambda: running.metric('modelwright_reloads_total{model="shop",outcome="failed"'))
        assert answering(running) == "2" and running.ask("/v2/health/ready").status == 200
        # a worker that is started again has no more than the others
        [worker] = running.workers()
        os.kill(worker, signal.SIGKILL)
        until(lambda: running.workers() not in ([], [worker]))
        until(lambda: answering(running) in ("1", "2"))
        assert counted.outcomes["ok"] and set(counted.outcomes) <= {"ok", "lost"}
        shop.move("1")
        until(lambda: answering(running) == "1")
        until(lambda: all(e["state"] == "READY" for e in index(running)))


def index(running: Running) -> list[dict[str, str]]:
    found = running.ask("/v2/repository/index", {}).json()
    assert isinstance(found, list)
    return found


def test_wrong_golden_answers_are_refused_and_counted(shop: Shop) -> None:
    shop.spoil_golden("3")
    with serving(shop.project, source(shop)) as running:
        shop.move("3")
        until(lambda: running.metric('modelwright_reloads_total{model="shop",outcome="refused"'))
        assert answering(running) == "1"
        assert any("golden row" in e.get("reason", "") for e in index(running))


def arms(running: Running, **headers: str) -> set[str]:
    """Who answers many rows of as many colours."""
    found = (running.predict(row_of(colour=f"colour {n}"), **headers) for n in range(30))
    return {reply.headers["x-modelwright-version"] for reply in found}


def test_traffic_end_to_end(shop: Shop) -> None:
    with serving(shop.project, source(shop), key="colour") as running:
        mw.canary("shop", "2", weight=0.5, folder=shop.project)
        until(lambda: arms(running) == {"1", "2"})
        by_key = [arms(running, x_modelwright_key=str(key)) for key in range(12)]
        assert all(len(found) == 1 for found in by_key) and set.union(*by_key) == {"1", "2"}
        by_row = {n: {running.predict(row_of(colour=f"colour {n}")).headers["x-modelwright-version"]
                      for _ in range(5)} for n in range(12)}  # fmt: skip
        assert all(len(found) == 1 for found in by_row.values())
        replies = [running.predict(row_of(colour=f"colour {n}")) for n in range(30)]
        marked = [r for r in replies if r.headers.get("x-modelwright-arm") == "canary"]
        assert marked and all(r.json()["version"] == "2" for r in marked)
        # pinned, whatever the traffic says
        assert arms(running, x_modelwright_version="1") == {"1"}
        pinned = running.ask("/models/shop/versions/2/predict", ROWS[0])
        assert pinned.json()["version"] == "2"
        assert running.predict(ROWS[0], x_modelwright_version="9").status == 404
        # a test, then a shadow
        mw.stop_traffic("shop", folder=shop.project)
        mw.ab_test("shop", {"1": 0.5, "3": 0.5}, folder=shop.project)
        until(lambda: arms(running) == {"1", "3"})
        mw.stop_traffic("shop", folder=shop.project)
        mw.shadow("shop", "3", folder=shop.project)
        until(lambda: arms(running) == {"1"})
        shadowed = 'modelwright_shadow_rows_total{model="shop",version="3"'
        until(lambda: [running.predict(ROWS[4])] and running.metric(shadowed))
        before = running.metric(shadowed)
        for _ in range(20):
            assert answering(running) == "1"
        until(lambda: running.metric(shadowed) >= before + 20)
        assert running.metric("modelwright_shadow_disagreements_total") > 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_under_load_loses_nobody(shop: Shop, number: int, workers: int) -> None:
    with (
        serving(shop.project, source(shop), workers=workers, drain=5.0) as running,
        Hammer(running, BODIES, keep_alive=16, connecting=16) as counted,
    ):
        until(lambda: counted.answered > 1000)
        began = time.perf_counter()
        assert running.end(number) == 0
        assert time.perf_counter() - began < 5.0
        assert counted.outcomes["lost"] == 0, counted.said
    assert set(counted.outcomes) == {"ok", "refused"}, counted.outcomes
    assert "rror" not in running.errors.read_text()


@pytest.mark.slow
def test_a_worker_that_is_told_to_end_loses_no_grpc_call(shop: Shop) -> None:
    port = free_port()
    message = typed([ROWS[0]]).SerializeToString()
    answered = Counter[int]()

    async def ask(number: int, stop: asyncio.Event) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            while not stop.is_set():
                await infer(message)
                answered[number] += 1

    async def answers(more: int) -> None:
        before = answered.copy()
        while not all(answered[n] >= before[n] + more for n in range(16)):
            await asyncio.sleep(0.01)

    async def hammer(running: Running) -> None:
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for number in range(16):
                group.create_task(ask(number, stop))
            await answers(5)
            worker, _ = running.workers()
            os.kill(worker, signal.SIGTERM)
            while worker in running.workers() or len(running.workers()) < 2:
                await asyncio.sleep(0.01)
            await answers(5)
            stop.set()

    with serving(shop.project, source(shop), workers=2, grpc_port=port) as running:
        asyncio.run(asyncio.wait_for(hammer(running), 40))
        count = 'modelwright_requests_total{code="200",door="grpc"'
        until(lambda: running.metric(count) >= sum(answered.values()))


def test_a_slow_request_ends_and_ready_says_no(shop: Shop) -> None:
    number = shop.add(sleeps=100)
    shop.move(number)
    with serving(shop.project, source(shop), drain=20.0) as running:
        with socket.create_connection(("127.0.0.1", running.port)) as slow:
            slow.sendall(request("/predict", msgspec.json.encode(row_of(TRIGGER))))
            until(lambda: running.metric("modelwright_in_flight") >= 2)
            with socket.create_connection(("127.0.0.1", running.port)) as other:
                running.process.send_signal(signal.SIGTERM)
                until(lambda: running.ask("/v2/health/ready").status == 503, seconds=5)
                other.sendall(request("/predict", BODIES[0]))
                assert b"connection: close" in until(lambda: other.recv(65536))
            assert slow.recv(65536).startswith(b"HTTP/1.1 200")
        assert running.process.wait(20) == 0


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_who_comes_in_during_the_end_has_time_to_ask(shop: Shop) -> None:
    with serving(shop.project, source(shop)) as running:
        with socket.create_connection(("127.0.0.1", running.port)) as idle:
            idle.sendall(request("/predict", BODIES[0]))
            assert idle.recv(65536).startswith(b"HTTP/1.1 200")
            running.process.send_signal(signal.SIGTERM)
            until(lambda: running.ask("/v2/health/ready").status == 503, seconds=5)
            with socket.create_connection(("127.0.0.1", running.port)) as late:
                until(lambda: refuses(running.port), seconds=5)
                late.sendall(request("/predict", BODIES[0]))
                assert late.recv(65536).startswith(b"HTTP/1.1 200")
        assert running.process.wait(20) == 0


def test_sighup_looks_at_once(shop: Shop) -> None:
    with serving(shop.project, source(shop), workers=2) as running:
        pids = running.workers()
        shop.move("2")
        running.process.send_signal(signal.SIGHUP)
        until(lambda: {answering(running) for _ in range(20)} == {"2"})
        assert running.workers() == pids


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_whose_supervisor_was_killed_end(shop: Shop, workers: int) -> None:
    with serving(shop.project, source(shop), workers=workers) as running:
        pids, before = running.workers(), set(shared_memory())
        with socket.create_connection(("127.0.0.1", running.port)) as idle:
            idle.sendall(request("/predict", BODIES[0]))
            assert idle.recv(65536).startswith(b"HTTP/1.1 200")
            running.process.kill()
            began = time.perf_counter()
            until(lambda: not any(map(lives, pids)), seconds=ORPHAN_SECONDS + 2)
            print(f"ended after {time.perf_counter() - began:.2f} s")
        running.process.wait()
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", running.port))
        assert len(set(shared_memory()) & before) < len(before)


@pytest.mark.slow
def test_children_of_a_supervisor_that_was_killed_right_after_the_fork_end(shop: Shop) -> None:
    settings = Settings(models=(source(shop),), port=0, metrics_port=0, quiet=True)
    config = shop.project / "settings.json"
    config.write_bytes(msgspec.json.encode(settings))
    command = [sys.executable, "-m", "modelwright.serve", "--config", str(config)]
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        running = Running(process, 0, config)
        try:
            while len(pids := running.workers()) < 2:  # the worker and the metrics' port
                assert process.poll() is None
        finally:
            process.kill()
            process.wait()
        try:
            until(lambda pids=pids: not any(map(lives, pids)), seconds=ORPHAN_SECONDS + 20)
        finally:
            for pid in filter(lives, pids):
                os.kill(pid, signal.SIGKILL)


def shared_memory() -> list[Path]:
    return list(Path("/dev/shm").glob("modelwright-*"))


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_the_command_serves_by_name(shop: Shop) -> None:
    with started(shop.project, "-m", "modelwright", "serve", "shop", "--port", "0", cut=True,
                 cwd=shop.project) as running:  # fmt: skip
        assert answering(running) == "1"
        shop.move("2")
        until(lambda: answering(running) == "2")
        assert running.end() == 0


def test_a_worker_that_has_answered_holds_no_training_library(shop: Shop) -> None:
    with serving(shop.project, source(shop)) as running:
        assert answering(running) == "1"
        running.ask("/metrics")
        running.ask("/openapi.json")
        [worker] = running.workers()
        maps = Path(f"/proc/{worker}/maps").read_text()
    found = {
        name for name in FORBIDDEN for line in maps.splitlines() if f"site-packages/{name}/" in line
    }
    assert not found


def test_grpc_calls_that_are_refused_before_a_model_is_asked_are_counted(shop: Shop) -> None:
    port = free_port()
    with (
        serving(shop.project, source(shop), grpc_port=port, max_body=1000) as running,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        place = "/inference.GRPCInferenceService/"
        for method, content in (
            ("Nothing", b""), ("ModelInfer", bytes(1001)), ("ModelInfer", b"no message"),
            ("ModelMetadata", b"\n\x04none"), ("ModelInfer", b"\n\x04none"),
            ("ModelInfer", b"\n\x04shop"),
        ):  # fmt: skip
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(place + method)(content, timeout=10)

        def counted(model: str, reason: str) -> float:
            start = 'modelwright_errors_total{class="4xx",door="grpc",'
            named = f'model="{model}",' if model else ""
            return running.metric(f'{start}{named}reason="{reason}"')

        assert counted("", "not_found") == 3 and counted("", "too_large") == 1
        assert counted("", "malformed") + counted("shop", "malformed") >= 1
        assert running.metric('modelwright_errors_total{class="4xx",door="grpc"') == 6
        assert running.metric('modelwright_errors_total{class="5xx",door="grpc"') == 0
