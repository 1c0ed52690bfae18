"""What the journal costs: the whole HTTP path in one process, with and without it, in turns.

    python benchmarks/serve/journal.py examples/income/runs/<id>/artefact [rounds]

Prints microseconds of CPU a request with 1, 8 and 64 callers: of the event loop's thread (what a
request waits for) and of the process (the loop, the journal's thread, Parquet, zstd). Then the
call on the loop by itself. Medians of rounds in turns, as the machine is shared.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
import timeit
from pathlib import Path
from typing import Any

import uvloop
from bodies import example_rows, row_bodies

from modelwright.serve.access_log import access_log
from modelwright.serve.app import App
from modelwright.serve.dispatch import Models
from modelwright.serve.http import HttpConnection
from modelwright.serve.journal import Journal, Recorder, journal_of
from modelwright.serve.loading import Loader
from modelwright.serve.metrics import Counts
from modelwright.serve.pages import Pages
from modelwright.serve.repository import ModelRepository
from modelwright.serve.runs import run
from modelwright.serve.settings import Journaling, Settings, Source
from modelwright.serve.tokens import Gate
from modelwright.serve.tracing import tracing
from modelwright.serve.worker import SWITCH_SECONDS

REQUESTS = 12_800
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
    loader = Loader(settings, models, counts, {})
    found = journal_of(journal, counts)
    repository = ModelRepository(models, loader, folder)
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
    off, on = await app_of(folder, Journaling()), await app_of(folder, Journaling(to=to))
    asked = requests_of(folder)
    print(f"{'callers':>8} {'loop off':>9} {'loop on':>8} {'more':>6} {'all off':>9} {'all on':>8}")
    for callers in CALLERS:
        spent: dict[str, list[tuple[float, float]]] = {"off": [], "on": []}
        for turn in range(rounds + 1):
            for name, (app, journal, _, _) in (("off", off), ("on", on)):
                loop, whole = time.thread_time(), time.process_time()
                answered = await ask(app, asked, callers)
                assert answered > 0.99 * REQUESTS, answered  # a busy machine may shed some
                loop = time.thread_time() - loop
                while isinstance(journal, Recorder) and journal._entries:
                    time.sleep(0.01)
                if turn:
                    spent[name].append((loop, time.process_time() - whole))
        print_line(callers, spent)
    one_call(on[1], on[3], asked)
    on[1].close()
    book = on[2].book.counters
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


def one_call(journal: Journal, live: Any, asked: list[bytes]) -> None:
    """The call on the event loop, nothing else."""
    rows = live.reader.decode(asked[0].split(b"\r\n\r\n", 1)[1])
    ran = run(live.engine, live.reader.inputs(rows))
    assert isinstance(journal, Recorder) and not isinstance(ran, Exception)
    kept = None if ran.whole else rows
    best = min(timeit.repeat(
        lambda: journal.ran(live, "id", 1.0, 0.001, ran, 0, 1, kept), number=2000, repeat=9
    ))  # fmt: skip
    print(f"the call by itself: {best / 2000 * 1e6:.2f} us")


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as place,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(main(Path(sys.argv[1]), int((sys.argv[2:] or ["5"])[0]), place))
