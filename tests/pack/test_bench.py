"""Intervals of what was measured hold what is shown."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

import modelwright as mw
from modelwright.core.errors import PackError
from modelwright.core.intake import feeds_from_rows
from modelwright.core.spec import PackSpec
from modelwright.pack import bench
from modelwright.pack.artefact import Artefact
from modelwright.pack.bench import _blocks, _load, _server, _sustained
from projects import writable_copy

BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\nretry-after: 1\r\n\r\n{}"
SLOW, MOST_P95 = 0.6, 0.5
"""Seconds of a slow answer, and a limit that it breaks on any machine."""


def p95(values: np.ndarray) -> float:
    return float(np.quantile(values, 0.95))


def test_a_quiet_machine_has_a_narrow_interval() -> None:
    found = _blocks(np.random.default_rng(0).gamma(50, 1e-5, 5000), p95)
    assert found.low <= found.value <= found.high < 1.1 * found.low


def test_one_bad_block_widens_the_interval_to_what_is_shown() -> None:
    latencies = np.random.default_rng(0).gamma(50, 1e-5, 5000)
    latencies[2000:2500] += 0.05
    found = _blocks(latencies, p95)
    assert found.value > 0.01, "a tenth of all requests was slow"
    assert found.low < 0.001 and found.high == found.value


def test_no_answer_is_no_figure() -> None:
    with pytest.raises(PackError, match="No request was answered"):
        _blocks(np.empty(0), p95)


def test_one_that_breaks_its_limit_by_far_is_measured_as_it_is(
    released: mw.Released, tmp_path: Path
) -> None:
    """Its breaker would take it out of service, and the pause would be taken for its latency."""
    folder = writable_copy(released.run / "artefact", tmp_path / "artefact")
    manifest = folder / "manifest.json"
    document = json.loads(manifest.read_text())
    document["limits"] = [{"metric": "latency_p95", "direction": "at_most", "bound": 1e-6}]
    manifest.write_text(json.dumps(document))
    artefact = Artefact.load(folder)
    feeds = feeds_from_rows(artefact.schema, [artefact.manifest.example] * 20)
    found = bench.measure(artefact, feeds, PackSpec(seconds=0.4))
    assert found.latency_p99 is not None and found.latency_p99.value < 1.0


def test_a_server_that_does_not_start_says_why(released: mw.Released, tmp_path: Path) -> None:
    folder = tmp_path / "artefact"
    shutil.copytree(released.run / "artefact", folder)
    artefact = Artefact.load(folder)
    (folder / "model.onnx").chmod(0o600)
    (folder / "model.onnx").write_bytes(b"no graph")
    with (
        pytest.raises(PackError, match=r"did not start\. Its log ends: modelwright: .*model\.onnx"),
        _server(artefact, b"{}"),
    ):
        pass


@contextmanager
def toy_server(slow_connections: int, busy: int = 0) -> Iterator[int]:
    """A server whose first so many connections get slow answers, and which turns the first `busy`
    requests away; its port."""
    started, opened = threading.Event(), 0
    turned_away = itertools.repeat(BUSY, busy)
    ports: list[int] = []
    ends: list[Callable[[], object]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        slow = opened <= slow_connections
        with suppress(asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2)
                await asyncio.sleep(SLOW if slow else 0.001)
                writer.write(next(turned_away, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"))
        writer.close()

    async def serve() -> None:
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        ends.append(lambda: loop.call_soon_threadsafe(over.set))
        started.set()
        await over.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        yield ports[0]
    finally:
        ends[0]()
        thread.join(30)


def test_a_rate_that_breaks_the_limit_on_p95_is_not_sustained() -> None:
    with toy_server(slow_connections=100) as port:
        found = _sustained(port, [b"{}"], 0.9, MOST_P95)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_the_most_that_keeps_the_limit_counts_although_the_first_load_broke_it() -> None:
    with toy_server(slow_connections=1) as port:
        found = _sustained(port, [b"{}"], 0.9, MOST_P95)
    assert found.value > 2 / SLOW


def test_a_request_that_is_turned_away_counts_from_the_first_time() -> None:
    with toy_server(0, busy=30) as port:
        found = asyncio.run(_load(port, [b"{}"], 1, 1.0))
    assert found.latencies[0] >= 30 * (0.001 + bench.AGAIN) and len(found.latencies) > 1
    assert found.latencies[0] > np.median(found.latencies[1:])


def test_one_that_is_turned_away_for_ever_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "PATIENCE", 0.1)
    with toy_server(0, busy=10**6) as port, pytest.raises(PackError, match="refused"):
        asyncio.run(_load(port, [b"{}"], 1, 0.05))


def test_without_a_limit_the_heaviest_load_counts() -> None:
    with toy_server(slow_connections=0) as port:
        assert _sustained(port, [b"{}"], 0.9, None).value > 0
