"""What the packed model costs: one row in process, and the real HTTP server in its own process.

Each figure comes with the range of its blocks, so that a gate can say "undecided" on a noisy
machine instead of believing one number.
"""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import psutil

from modelwright.core.errors import PackError
from modelwright.core.intake import Array, Feeds
from modelwright.core.records import Interval, Measured
from modelwright.core.schema import EPOCH, MISSING_TIME, Schema
from modelwright.core.spec import PackSpec
from modelwright.core.table import take_feeds
from modelwright.pack.artefact import Artefact

BODIES = 200
CONNECTIONS = 8
BLOCKS = 10
START_SECONDS = 60.0


def measure(artefact: Artefact, feeds: Feeds, spec: PackSpec, *, seed: int = 0) -> Measured:
    """Measure a packed model on real rows.

    Args:
        artefact: loaded from its folder.
        feeds: rows to replay; 200 of them are drawn.
        spec: whether to start the server, and for how long to load it.
        seed: of the draw.

    Returns:
        Seconds, bytes and rows per second with the range of ten blocks.

    Raises:
        PackError: the server did not start or refused a training row.
    """
    count = len(next(iter(feeds.values())))
    chosen = np.random.default_rng(seed).integers(0, count, BODIES)
    sample = take_feeds(feeds, chosen)
    started = time.perf_counter()
    Artefact.load(artefact.folder)
    load_seconds = time.perf_counter() - started
    common: dict[str, Any] = {
        "machine": machine(),
        "in_process_p50": _in_process(artefact, sample),
        "size": artefact.size,
        "load_seconds": load_seconds,
    }
    if spec.measure == "process":
        return Measured(**common)
    bodies = [msgspec.json.encode([row]) for row in json_rows(artefact.schema, sample)]
    with _server(artefact) as server:
        asyncio.run(_load(server.port, bodies, 1, min(1.0, spec.seconds / 4)))
        alone = asyncio.run(_load(server.port, bodies, 1, spec.seconds / 2))
        together = asyncio.run(_load(server.port, bodies, CONNECTIONS, spec.seconds / 2))
        memory = server.rss()
    return Measured(
        **common,
        latency_p50=_blocks(alone.latencies, lambda block: float(np.quantile(block, 0.50))),
        latency_p95=_blocks(alone.latencies, lambda block: float(np.quantile(block, 0.95))),
        latency_p99=_blocks(alone.latencies, lambda block: float(np.quantile(block, 0.99))),
        throughput=together.rate(),
        memory=Interval(memory, memory, memory),
    )


def machine() -> str:
    """The machine in words, for every figure that was measured on it."""
    cores = len(os.sched_getaffinity(0))
    memory = psutil.virtual_memory().total / 2**30
    return f"{platform.machine()}, {cores} cores, {memory:.0f} GiB, {platform.system()}"


def json_rows(schema: Schema, feeds: Feeds) -> list[dict[str, Any]]:
    """Feeds back to rows as a client would send them; missing values become null."""
    columns = {}
    for column in schema.features:
        values = feeds[column.name].tolist()
        if column.kind in ("category", "list"):
            columns[column.name] = [value or None for value in values]
        elif column.kind == "datetime":
            columns[column.name] = [_iso(value) for value in values]
        elif column.kind == "boolean":
            columns[column.name] = [None if v != v else bool(v) for v in values]
        else:
            columns[column.name] = [v if np.isfinite(v) else None for v in values]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _iso(moment: int) -> str | None:
    if moment == MISSING_TIME:
        return None
    return str((EPOCH + np.timedelta64(moment, "us").astype(object)).isoformat())


def _in_process(artefact: Artefact, sample: Feeds) -> float:
    rows = [take_feeds(sample, slice(i, i + 1)) for i in range(BODIES)]
    for row in rows[:20]:
        artefact.answer(row)
    times = []
    for row in rows:
        started = time.perf_counter()
        artefact.answer(row)
        times.append(time.perf_counter() - started)
    return float(np.median(times))


@dataclass(frozen=True)
class _Server:
    port: int
    process: psutil.Process

    def rss(self) -> float:
        return float(self.process.memory_info().rss)


@contextmanager
def _server(artefact: Artefact) -> Iterator[_Server]:
    """The thin server in a process of its own, on a free loopback port."""
    command = [
        sys.executable, "-m", "modelwright.serve", "--artefact", str(artefact.folder),
        "--name", artefact.manifest.model, "--version", "0", "--port", "0", "--quiet",
        "--until-stdin-closes",
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k != "MODELWRIGHT_TOKEN"}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        if not line.startswith("Serving"):
            raise PackError(f"The server did not start: {process.stderr.read().strip()[:300]}")
        yield _Server(int(line.rsplit(":", 1)[1]), psutil.Process(process.pid))
    finally:
        process.terminate()
        try:
            process.communicate(timeout=START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@dataclass(frozen=True)
class _Run:
    latencies: Array
    ends: Array
    seconds: float

    def rate(self) -> Interval:
        """Answers per second with the range over blocks of time."""
        counts, _ = np.histogram(self.ends, bins=BLOCKS, range=(0.0, self.seconds))
        return _spread(counts * BLOCKS / self.seconds)


async def _load(port: int, bodies: list[bytes], connections: int, seconds: float) -> _Run:
    """Send one row at a time on each connection until the time is over."""
    start = time.perf_counter()
    tasks = [_client(port, bodies, start, seconds, offset) for offset in range(connections)]
    parts = await asyncio.gather(*tasks)
    latencies = np.array([latency for part in parts for latency, _ in part])
    ends = np.array([end for part in parts for _, end in part])
    order = np.argsort(ends)
    return _Run(latencies[order], ends[order], seconds)


async def _client(
    port: int, bodies: list[bytes], start: float, seconds: float, offset: int
) -> list[tuple[float, float]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    times = []
    number = offset
    try:
        while (sent := time.perf_counter()) - start < seconds:
            body = bodies[number % len(bodies)]
            head = (
                "POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await _answer(reader)
            end = time.perf_counter()
            times.append((end - sent, end - start))
            number += 1
    except (OSError, asyncio.IncompleteReadError) as error:
        raise PackError(f"The server broke off while it was measured: {error}.") from error
    finally:
        writer.close()
    return times


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    lowered = head.lower()
    length = int(lowered.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    body = await reader.readexactly(length)
    if not head.startswith(b"HTTP/1.1 200"):
        raise PackError(
            f"The server refused a training row: {body[:300].decode('utf-8', 'replace')}"
        )


def _blocks(latencies: Array, statistic: Callable[[Array], float]) -> Interval:
    """A statistic over everything, with the range over blocks of requests."""
    if not len(latencies):
        raise PackError("No request was answered in time.", hint="Set a larger pack.seconds.")
    parts = [part for part in np.array_split(latencies, BLOCKS) if len(part)]
    spread = _spread(np.array([statistic(part) for part in parts]))
    return Interval(statistic(latencies), spread.low, spread.high, spread.confidence)


def _spread(values: Array) -> Interval:
    """Median of the blocks with its distribution-free interval: the 2nd and the 9th of ten.

    Order statistics 2 and 9 of ten hold the median with 97.9 % (binomial).
    """
    ordered = np.sort(values)
    cut = 1 if len(ordered) >= BLOCKS else 0
    return Interval(
        float(np.median(ordered)),
        float(ordered[cut]),
        float(ordered[len(ordered) - 1 - cut]),
        0.979,
    )
