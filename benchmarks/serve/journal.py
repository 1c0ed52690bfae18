"""What the journal costs: the whole HTTP path in one process, with and without it, in turns.

    python benchmarks/serve/journal.py examples/income/runs/<id>/artefact [rounds | --own]

Prints microseconds of CPU a request with 1, 8 and 64 callers: of the event loop's thread (what a
request waits for) and of the worker (the loop and the journal's thread; not the process that makes
the files). Medians of rounds in turns, as the machine is shared, of one server whose journal is
switched: two that are alike may be apart by a third. Then what the journal does by
itself, step by step, in the worker and in the process: with `--own` that alone.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import uvloop
from bodies import example_rows, row_bodies

from modelwright.serve.access_log import access_log
from modelwright.serve.app import App
from modelwright.serve.dispatch import Models
from modelwright.serve.http import HttpConnection
from modelwright.serve.journal import OFF, Journal, Recorder, journal_of
from modelwright.serve.journal_chunk import Chunk, Recorded
from modelwright.serve.journal_segment import Segment
from modelwright.serve.journal_wire import received, record, send
from modelwright.serve.loading import Lives, Loader
from modelwright.serve.metrics import Counts
from modelwright.serve.pages import Pages
from modelwright.serve.repository import ModelRepository
from modelwright.serve.runs import run
from modelwright.serve.settings import Journaling, Settings, Source
from modelwright.serve.tokens import Gate
from modelwright.serve.tracing import tracing
from modelwright.serve.worker import SWITCH_SECONDS

REQUESTS = 12_800
OWN = 10_240
CALLERS = (1, 8, 64)


class Sink(asyncio.Transport):
    """A connection whose answers go nowhere."""

    def write(self, data: Any) -> None:
        """Count answers."""
        self.answers = getattr(self, "answers", 0) + data.count(b"HTTP/1.1 200")

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default


def requests_of(folder: Path) -> list[bytes]:
    """Requests of one row of the example each."""
    rows = example_rows(json.loads((folder / "manifest.json").read_text()), 500)
    head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return [
        b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        for body in row_bodies("rows", rows, 1)
    ]


async def app_of(folder: Path, journal: Journaling) -> tuple[App, Journal, Counts, Any]:
    """Everything of a worker but its sockets."""
    source = Source(name="model", folder=str(folder), version="1", tried=True)
    settings = Settings(models=(source,), queue=10**6)
    loop, counts = asyncio.get_running_loop(), Counts()
    models = Models(settings, counts, loop)
    loader = Loader(settings, models, counts, Lives())
    found = journal_of(journal, counts)
    repository = ModelRepository(models, loader, folder, {})
    app = App(
        models, Pages(models, settings, repository, lambda _: (b"", b"")), settings, counts,
        Gate(settings, {}), access_log(False, counts.log_dropped), tracing({}), found,
    )  # fmt: skip
    loader.changed = app.refresh
    await loader.begin()
    return app, found, counts, models.live("model")


async def ask(app: App, asked: list[bytes], callers: int) -> int:
    """Every caller sends its next request when it has its answer; how many were answered."""
    pairs = []
    for _ in range(callers):
        connection, sink = HttpConnection(app.shared), Sink()
        connection.connection_made(sink)
        pairs.append((connection, sink))
    number = 0
    for _ in range(REQUESTS // callers):
        for connection, _ in pairs:
            connection.data_received(asked[number % len(asked)])
            number += 1
        while app.shared.in_flight:
            await asyncio.sleep(0)
    return sum(getattr(sink, "answers", 0) for _, sink in pairs)


async def main(folder: Path, rounds: int, to: str) -> None:
    """Measure and print."""
    sys.setswitchinterval(SWITCH_SECONDS)
    app, journal, counts, live = await app_of(folder, Journaling(to=to))
    asked = requests_of(folder)
    print(f"{'callers':>8} {'loop off':>9} {'loop on':>8} {'more':>6} {'all off':>9} {'all on':>8}")
    for callers in CALLERS if rounds else ():
        spent: dict[str, list[tuple[float, float]]] = {"off": [], "on": []}
        for turn in range(rounds + 1):
            for name, app.journal in (("off", OFF), ("on", journal)):
                loop, whole = time.thread_time(), time.process_time()
                answered = await ask(app, asked, callers)
                assert answered > 0.99 * REQUESTS, answered  # a busy machine may shed some
                loop = time.thread_time() - loop
                while isinstance(journal, Recorder) and journal.waits:
                    time.sleep(0.01)
                if turn:
                    spent[name].append((loop, time.process_time() - whole))
        print_line(callers, spent)
    own_work(live, asked)
    journal.close()
    book = counts.book.counters
    print({k: {" ".join(n): v[0] for n, v in c.items()} for k, c in book.items() if "journal" in k})
    files = list(Path(to).rglob("*.parquet"))
    size = sum(file.stat().st_size for file in files)
    rows = book["modelwright_journal_rows_total"][()][0]
    print(f"{len(files)} files, {size / max(1, rows):.1f} bytes a row")


def print_line(callers: int, spent: dict[str, list[tuple[float, float]]]) -> None:
    """Medians, and the median of the ratios of neighbours."""
    loops, wholes = (
        {name: statistics.median(v[place] for v in found) / REQUESTS * 1e6
         for name, found in spent.items()}
        for place in (0, 1)
    )  # fmt: skip
    pairs = zip(spent["off"], spent["on"], strict=True)
    more = statistics.median(b[0] / a[0] - 1 for a, b in pairs)
    print(f"{callers:>8} {loops['off']:>9.2f} {loops['on']:>8.2f} {more:>6.1%} "
          f"{wholes['off']:>9.2f} {wholes['on']:>8.2f}")  # fmt: skip


def own_work(live: Any, asked: list[bytes]) -> None:
    """What the journal itself does, in this thread: microseconds a request, the best of 9 times.

    On the loop a request is noted; the thread tells the process, where it becomes columns, a table,
    and a file.
    """
    rows = [live.reader.decode(one.split(b"\r\n\r\n", 1)[1])[0] for one in asked]
    for many in CALLERS:
        runs = []
        for start in range(0, OWN, many):
            some = [rows[(start + n) % len(rows)] for n in range(many)]
            runs.append(run(live.engine, live.reader.inputs(some), live.reader.whole))
        times = np.min([_noted(live, runs, many) for _ in range(9)], axis=0) / OWN * 1e6
        loop, thread, columns, table, file = times.round(2).tolist()
        print(f"{many} rows a run: loop {loop}, thread {thread}; in the process columns {columns}, "
              f"table {table}, file {file}; together {times.sum():.1f} us")  # fmt: skip


def _noted(live: Any, runs: list[Any], many: int) -> list[float]:
    version = Recorded.of(live, 1)
    at, chunks = [time.thread_time()], list[Chunk]()
    for one in runs:
        if not chunks or not chunks[-1].keep(one):
            chunks.append(Chunk(live, version, one))
            chunks[-1].keep(one)
        chunk = chunks[-1]
        for start in range(many):
            chunk.ids += f"{id(one)}-{start}\n".encode()
            chunk.records += record(1.0, 0.001, one.base + start, 1)
    at.append(time.thread_time())
    told = io.BytesIO()
    for chunk in chunks:
        taken = chunk.take()
        send(taken.message(range(len(taken.ids)), 0.0), told)
    at.append(time.thread_time())
    segment = Segment(version.told)
    for message in messages(told.getvalue()):
        segment.take(message)
    at.append(time.thread_time())
    table = segment.table(pyarrow)
    at.append(time.thread_time())
    words = [field.name for field in table.schema if "dictionary" in str(field.type)]
    pyarrow.parquet.write_table(
        table, pyarrow.BufferOutputStream(), compression="zstd", use_dictionary=words
    )
    at.append(time.thread_time())
    return np.diff(at).tolist()


def messages(data: bytes) -> Iterator[Any]:
    """As the process reads them."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe, ThreadPoolExecutor() as pool:
        pool.submit(lambda: (pipe.write(data), pipe.close()))
        yield from received(reading, 1.0)
    os.close(reading)


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as place,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        given = (sys.argv[2:] or ["5"])[0]
        runner.run(main(Path(sys.argv[1]), 0 if given == "--own" else int(given), place))
