"""Callers who come back at once when they are refused: what is answered, and how fast.

    .venv/bin/python benchmarks/serve/retrying.py [--connections 16,64,256] [--rounds 3]
        [--source NAME=CLONE/src ...]

Each connection sends one request after the other. One that is told 503 comes back at once (the
worst there is, as wrk does) or, with `--polite`, after `Retry-After`. With several sources their
servers take turns in every round, so that before and after are told apart from the machine's
moods. Prints Markdown: answered and refused requests a second, percentiles of the answered ones as
the callers saw them. Needs the released example (`make demo`); client and server share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import uvloop
from bodies import example_rows, row_bodies
from load import post
from process import Running, cpu_seconds, free_port
from servers import CLONE

WARM_SECONDS = 0.5
Figures = dict[str, float]


class Caller(asyncio.Protocol):
    """One connection, one request at a time until `until`."""

    def __init__(self, bodies: Sequence[bytes], first: int, *, polite: bool) -> None:
        self.bodies, self.next, self.polite = bodies, first, polite
        self.times: list[tuple[float, float]] = []
        self.refused: list[float] = []
        self.until = float("inf")
        self.ended = asyncio.get_running_loop().create_future()
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast(asyncio.Transport, transport)
        self.ask()

    def ask(self) -> None:
        """Send the next request."""
        self.sent = time.perf_counter()
        self.transport.write(self.bodies[self.next % len(self.bodies)])
        self.next += 1

    def data_received(self, data: bytes) -> None:
        """Count an answer that is whole, and go on."""
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        if len(self.buffer) < end + 4 + int(_value(head, b"content-length:")):
            return
        now, self.buffer = time.perf_counter(), b""
        wait = 0.0
        if head[9:12] == b"200":
            self.times.append((now, now - self.sent))
        else:
            self.refused.append(now)
            wait = float(_value(head, b"retry-after:") or 0) if self.polite else 0.0
        if now > self.until:
            self.transport.close()
            self.ended.set_result(None)
        elif wait:
            asyncio.get_running_loop().call_later(wait, self.ask)
        else:
            self.ask()

    def connection_lost(self, error: Exception | None) -> None:
        """A server that ends connections of this load is broken."""
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionError("the server ended a connection"))


def _value(head: bytes, name: bytes) -> bytes:
    at = head.find(name)
    return b"" if at < 0 else head[at + len(name) :].partition(b"\r\n")[0].strip()


async def load(
    port: int, bodies: Sequence[bytes], count: int, seconds: float, *, polite: bool
) -> Figures:
    """What `count` connections met."""
    loop = asyncio.get_running_loop()
    callers = [
        (await loop.create_connection(
            lambda number=number: Caller(bodies, 7 * number, polite=polite), "127.0.0.1", port
        ))[1]
        for number in range(count)
    ]  # fmt: skip
    await asyncio.sleep(WARM_SECONDS)
    began, cpu = time.perf_counter(), cpu_seconds()
    await asyncio.sleep(seconds)
    over, cpu = time.perf_counter(), cpu_seconds() - cpu
    for caller in callers:
        caller.until = over
        if polite:
            caller.ended.cancel()
            caller.transport.close()
    if not polite:
        await asyncio.wait_for(asyncio.gather(*(caller.ended for caller in callers)), 30)
    took = sorted(t for c in callers for at, t in c.times if began <= at < over)
    refused = sum(began <= at < over for c in callers for at in c.refused)
    found = {"answered": len(took) / (over - began), "refused": refused / (over - began)}
    for percent in (50, 95, 99):
        found[f"p{percent}"] = 1e3 * took[min(len(took) - 1, len(took) * percent // 100)]
    return {**found, "cpu": 100 * cpu / (over - began)}


def measured(
    source: str, artefact: Path, counts: Sequence[int], seconds: float, *, polite: bool
) -> list[Figures]:
    """One server of these sources, under each number of connections."""
    manifest = json.loads((artefact / "manifest.json").read_text(encoding="utf-8"))
    bodies = row_bodies("rows", example_rows(manifest, 2000), 1)
    port = free_port()
    given = [
        b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(body), body)
        for body in bodies
    ]
    command = [sys.executable, "-m", "modelwright.serve", "--artefact", str(artefact), "--tried",
               "--port", str(port), "--quiet"]  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        with Running(command, {"PYTHONPATH": source}, place, place / "log") as running:
            running.first_answer(lambda: post(f"http://127.0.0.1:{port}/predict", bodies[0]))
            return [
                uvloop.run(load(port, given, count, seconds, polite=polite)) for count in counts
            ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--artefact", type=Path, help="default: the newest of examples/income")
    parser.add_argument("--connections", default="16,64,256")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--source", action="append", help="NAME=FOLDER of the package's sources")
    parser.add_argument("--polite", action="store_true", help="wait for Retry-After")
    given = parser.parse_args()
    made = sorted((CLONE / "examples" / "income" / "runs").glob("2*/artefact"))
    artefact = (given.artefact or made[-1]).resolve()
    counts = [int(text) for text in given.connections.split(",")]
    sources = dict(text.split("=", 1) for text in given.source or [f"here={CLONE / 'src'}"])
    rounds: dict[str, list[list[Figures]]] = {name: [] for name in sources}
    for _ in range(given.rounds):
        for name, folder in sources.items():
            rounds[name].append(
                measured(folder, artefact, counts, given.seconds, polite=given.polite)
            )
    shown = ("answered", "refused", "p50", "p95", "p99", "cpu")
    print("| server | connections | answered/s | refused/s | p50 ms | p95 ms | p99 ms | CPU % |")
    print("| --- | --- |" + " ---: |" * len(shown))
    for place, count in enumerate(counts):
        for name, found in rounds.items():
            cells: list[Any] = [
                statistics.median(one[place][figure] for one in found) for figure in shown
            ]
            texts = [f"{cell:,.0f}" if cell > 200 else f"{cell:.1f}" for cell in cells]
            print(f"| {name} | {count} | {' | '.join(texts)} |", flush=True)


if __name__ == "__main__":
    main()
