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
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

import msgspec
import numpy as np
import psutil

from modelwright.core.attestation import TRUSTED_KEYS
from modelwright.core.errors import PackError
from modelwright.core.intake import Array, Feeds
from modelwright.core.limits import Limit
from modelwright.core.records import Interval, Measured
from modelwright.core.schema import EPOCH, MISSING_TIME, Schema
from modelwright.core.spec import PackSpec
from modelwright.core.table import take_feeds
from modelwright.pack.artefact import Artefact

BODIES = 200
CONNECTIONS = 8
BLOCKS = 10
START_SECONDS = 60.0
SHORTEST = 0.2
"""Least seconds of load, which the spec can ask for too."""
LAST_LINES = 3
"""Of the server's log, in an error."""
STRETCHES = 4
STEADY = 0.1
"""Blocks whose p95 differs by less than this part of it have seen enough."""
MOST_RATE = 1000.0
"""Requests a second above which the load generator itself would be what is measured."""
AGAIN, PATIENCE = 0.002, 20.0
"""Seconds until a request that was turned away is sent again, and until one is given up."""


def measure(
    artefact: Artefact,
    feeds: Feeds,
    spec: PackSpec,
    *,
    limits: Sequence[Limit] = (),
    seed: int = 0,
    hurried: Callable[[], bool] = bool,
) -> Measured:
    """Measure a packed model on real rows.

    Latency is taken at the rate that the spec's limit on throughput asks for, one request after the
    other without such a limit; throughput is the highest rate whose p95 keeps the limit on it.

    Args:
        artefact: loaded from its folder.
        feeds: rows to replay; 200 of them are drawn.
        spec: whether to start the server, and for how long to load it at most.
        limits: of the spec.
        seed: of the draw.
        hurried: asked between stretches of the load whether what follows should be short.

    Returns:
        Seconds, bytes and rows per second with the range of ten blocks.

    Raises:
        PackError: the server did not start or refused a training row.
    """
    sample = sampled(feeds, BODIES, seed)
    common: dict[str, Any] = {
        "machine": machine(),
        "in_process_p50": in_process(artefact.answer, sample),
        "size": artefact.size,
        "load_seconds": _load_seconds(artefact),
    }
    if spec.measure == "process":
        return Measured(**common)
    bodies = [msgspec.json.encode([row]) for row in json_rows(artefact.schema, sample)]
    bounds = {limit.metric: limit.bound for limit in limits if not limit.relative}
    rate = min(bounds.get("throughput", 0.0), MOST_RATE)
    with _server(artefact, bodies[0]) as server:
        asyncio.run(_load(server.port, bodies, 1, min(0.5, spec.seconds / 8)))
        alone = _until_steady(server.port, bodies, spec.seconds / 2, rate, hurried)
        left = SHORTEST if hurried() else spec.seconds
        together = _sustained(server.port, bodies, left / 2, bounds.get("latency_p95"))
        memory = server.memory()
    p95 = alone.quantile(0.95)
    return Measured(
        **common,
        latency_p50=alone.quantile(0.50),
        latency_p95=p95,
        latency_p99=alone.quantile(0.99),
        throughput=together,
        memory=Interval(memory, memory, memory),
        cold_start=server.cold_start,
        rate=rate,
        steady=_is_steady(p95),
    )


def _load_seconds(artefact: Artefact) -> float:
    """As in a process that has not seen the model yet, but has its libraries."""
    started = time.perf_counter()
    Artefact.load(artefact.folder, afresh=True)
    return time.perf_counter() - started


def _is_steady(found: Interval) -> bool:
    return found.high - found.low <= STEADY * found.value


def _until_steady(
    port: int, bodies: list[bytes], seconds: float, rate: float, hurried: Callable[[], bool]
) -> _Run:
    """Load in stretches until the p95 of the blocks agrees, or the time is over."""
    connections = CONNECTIONS if rate else 1
    found: _Run | None = None
    for _ in range(STRETCHES):
        stretch = min(seconds, SHORTEST / 2) if hurried() else seconds
        part = asyncio.run(_load(port, bodies, connections, stretch / STRETCHES, rate))
        found = part if found is None else found.followed_by(part)
        if hurried() or _is_steady(found.quantile(0.95)):
            break
    assert found is not None
    return found


def _sustained(port: int, bodies: list[bytes], seconds: float, most_p95: float | None) -> Interval:
    """Most answers a second that keep the limit on p95; without one those of the heaviest load.

    Where no load keeps it there is no such rate: it is 0, up to the rate of a load that may have
    kept it, for all that its blocks tell.
    """
    steps = (1, 2, CONNECTIONS) if most_p95 is not None else (CONNECTIONS,)
    parts = [asyncio.run(_load(port, bodies, c, seconds / len(steps))) for c in steps]
    known = [(part.rate(), part.quantile(0.95)) for part in parts]
    kept = [rate for rate, p95 in known if most_p95 is None or p95.value <= most_p95]
    if kept:
        return max(kept, key=lambda rate: rate.value)
    perhaps = [rate.high for rate, p95 in known if most_p95 is not None and p95.low <= most_p95]
    return Interval(0.0, 0.0, max(perhaps, default=0.0), known[0][0].confidence)


def sampled(feeds: Feeds, count: int, seed: int) -> Feeds:
    """That many rows, drawn with replacement."""
    rows = len(next(iter(feeds.values())))
    return take_feeds(feeds, np.random.default_rng(seed).integers(0, rows, count))


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


def in_process(answer: Callable[[Feeds], Any], sample: Feeds) -> float:
    """Median seconds of one row, of all rows of the sample."""
    rows = [take_feeds(sample, slice(i, i + 1)) for i in range(len(next(iter(sample.values()))))]
    for row in rows[:20]:
        answer(row)
    times = []
    for row in rows:
        started = time.perf_counter()
        answer(row)
        times.append(time.perf_counter() - started)
    return float(np.median(times))


@dataclass(frozen=True)
class _Server:
    port: int
    process: psutil.Process
    cold_start: float

    def memory(self) -> float:
        """Bytes of the supervisor and its workers; what they share counts once."""
        whole = [self.process, *self.process.children(recursive=True)]
        return float(sum(_bytes_of(one) for one in whole))


def _bytes_of(process: psutil.Process) -> int:
    """Its proportional share of memory, or where the system does not tell, all that it maps."""
    try:
        found = process.memory_full_info()
        return int(getattr(found, "pss", found.rss))
    except psutil.AccessDenied:
        return int(process.memory_info().rss)


@contextmanager
def _server(artefact: Artefact, body: bytes) -> Iterator[_Server]:
    """The thin server in a process of its own, on a free loopback port, once it answers.

    Raises:
        PackError: it did not start, or broke off, or refused a row; with the end of its log.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as log:  # an unread pipe would fill up
        try:
            with _started(artefact, body, log) as server:
                yield server
        except PackError as error:
            raise PackError(f"{error.message}{_last_words(log)}", hint=error.hint) from error


@contextmanager
def _started(artefact: Artefact, body: bytes, log: IO[str]) -> Iterator[_Server]:
    started = time.perf_counter()
    command = [
        sys.executable, "-m", "modelwright.serve", "--artefact", str(artefact.folder),
        "--name", artefact.manifest.model, "--version", "0", "--port", "0", "--quiet",
        "--until-stdin-closes", "--tried", "--measured",
    ]  # fmt: skip
    # a candidate is not signed yet, and is measured without a token
    kept = {k: v for k, v in os.environ.items() if k not in ("MODELWRIGHT_TOKEN", TRUSTED_KEYS)}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=kept,
        text=True,
        start_new_session=True,  # Ctrl-C at a terminal goes to all of a session
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("Serving"):
            with suppress(subprocess.TimeoutExpired):
                process.wait(SHORTEST)
            raise PackError("The server did not start.")
        port = int(line.rsplit(":", 1)[1])
        asyncio.run(_load(port, [body], 1, 0.0))
        cold = time.perf_counter() - started
        yield _Server(port, psutil.Process(process.pid), cold)
    finally:
        workers: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            workers = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        for worker in workers:  # there is nobody left to drain for, and the budget runs on
            with suppress(psutil.NoSuchProcess):
                worker.kill()
        try:
            process.communicate(timeout=START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _last_words(log: IO[str]) -> str:
    """The last lines of a server's log, for an error."""
    log.seek(0)
    lines = [line.strip() for line in log.read().splitlines() if line.strip()]
    return " Its log ends: " + " / ".join(lines[-LAST_LINES:]) if lines else ""


@dataclass(frozen=True)
class _Run:
    latencies: Array
    ends: Array
    seconds: float

    def followed_by(self, other: _Run) -> _Run:
        """Both, one after the other."""
        latencies = np.concatenate([self.latencies, other.latencies])
        ends = np.concatenate([self.ends, self.seconds + other.ends])
        return _Run(latencies, ends, self.seconds + other.seconds)

    def quantile(self, share: float) -> Interval:
        """A quantile of the latencies with the range over blocks."""
        return _blocks(self.latencies, lambda block: float(np.quantile(block, share)))

    def rate(self) -> Interval:
        """Answers per second with the range over blocks of time."""
        counts, _ = np.histogram(self.ends, bins=BLOCKS, range=(0.0, self.seconds))
        return _spread(counts * BLOCKS / self.seconds)


async def _load(
    port: int, bodies: list[bytes], connections: int, seconds: float, rate: float = 0.0
) -> _Run:
    """Send one row at a time on each connection until the time is over, one row at least.

    With a rate, requests are due at fixed moments and their latency counts from then, so that a
    slow answer hides none that waits for it. One that is turned away counts from its first time.
    """
    start = time.perf_counter()
    gap = connections / rate if rate else 0.0
    tasks = [
        _client(port, bodies, start + number * gap / connections, seconds, number, gap)
        for number in range(connections)
    ]
    parts = await asyncio.gather(*tasks)
    latencies = np.array([latency for part in parts for latency, _ in part])
    ends = np.array([end for part in parts for _, end in part])
    order = np.argsort(ends)
    return _Run(latencies[order], ends[order], seconds)


async def _client(
    port: int, bodies: list[bytes], start: float, seconds: float, offset: int, gap: float
) -> list[tuple[float, float]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    times: list[tuple[float, float]] = []
    try:
        while not times or time.perf_counter() - start < seconds:
            due = start + len(times) * gap
            if gap and (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            sent = due if gap else time.perf_counter()
            body = bodies[(offset + len(times)) % len(bodies)]
            head = (
                "POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            until = time.perf_counter() + PATIENCE
            while not await _is_answered(reader, until):
                await asyncio.sleep(AGAIN)
                writer.write(head.encode() + body)
            end = time.perf_counter()
            times.append((end - sent, end - start))
    except (OSError, asyncio.IncompleteReadError) as error:
        raise PackError(f"The server broke off while it was measured: {error}.") from error
    finally:
        writer.close()
    return times


async def _is_answered(reader: asyncio.StreamReader, until: float) -> bool:
    """Whether it is an answer: a server that keeps to its limit on latency may be too busy."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    body = await reader.readexactly(length)
    if head.startswith(b"HTTP/1.1 200"):
        return True
    if head.startswith(b"HTTP/1.1 503") and time.perf_counter() < until:
        return False
    raise PackError(f"The server refused a training row: {body[:300].decode('utf-8', 'replace')}")


def _blocks(latencies: Array, statistic: Callable[[Array], float]) -> Interval:
    """A statistic over everything, with the range over blocks of requests; one bad block can put
    the whole beyond that range, and then widens it."""
    if not len(latencies):
        raise PackError("No request was answered in time.", hint="Set a larger pack.seconds.")
    parts = [part for part in np.array_split(latencies, BLOCKS) if len(part)]
    spread = _spread(np.array([statistic(part) for part in parts]))
    whole = statistic(latencies)
    return Interval(whole, min(whole, spread.low), max(whole, spread.high), spread.confidence)


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
