"""What the fast way notes while the journal's thread takes it: every row once, the right one."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

import modelwright as mw
from modelwright.serve import journal_files
from modelwright.serve.journal import Recorder
from modelwright.serve.journal_chunk import ROWS, Chunk
from modelwright.serve.live import LiveModel
from modelwright.serve.metrics import Counts
from modelwright.serve.runs import Ran, run
from modelwright.serve.settings import Journaling, Settings
from serve.running import until

ROW = {"size, cm": 61.5, "colour": "red", "big": 5, "member": True, "start": "2021-03-01"}


@pytest.fixture(scope="module")
def live(released: mw.Released) -> LiveModel:
    folder = released.run / "artefact"
    return LiveModel.load(folder, Settings(models=()), name="shop", version="3", tried=True)


def ran(live: LiveModel, first: int, rows: int) -> Ran:
    """A run of rows whose sizes count up."""
    body = json.dumps([{**ROW, "size, cm": float(first + n)} for n in range(rows)])
    typed = live.reader.decode(body.encode())
    assert typed is not None
    found = run(live.engine, live.reader.inputs(typed), live.reader.whole)
    assert isinstance(found, Ran)
    return found


def test_nothing_is_lost_or_mixed_up_while_the_thread_takes(
    live: LiveModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of one to five rows, requests of one or two; every third of them is of another door."""
    monkeypatch.setattr("modelwright.serve.journal.EVERY", 0.0005)
    counts, rng, sent = Counts(), np.random.default_rng(0), dict[str, float]()
    recorder = Recorder(Journaling(to=str(tmp_path), rows=500), counts)
    for number in range(0, 3 * ROWS, 5):
        many = int(rng.integers(1, 6))
        one, start = ran(live, number, many), 0
        while start < many:
            size = min(int(rng.integers(1, 3)), many - start)
            if (number + start) % 3:
                id = f"{number}-{start}"
                recorder.ran(live, id, time.perf_counter(), 0.001, one, start, size, None)
                sent |= {f"{id}/{n}": float(number + start + n) for n in range(size)}
            start += size
    recorder.close()
    table = journal_files.rows(tmp_path, "shop")
    assert table is not None
    keys = zip(table["request_id"].to_pylist(), table["row"].to_pylist(), strict=True)
    found = dict(
        zip((f"{id}/{row}" for id, row in keys), table["f_size, cm"].to_pylist(), strict=True)
    )
    assert found == sent and len(table) == len(sent)
    assert counts.book.counters["modelwright_journal_rows_total"][()][0] == len(sent)


def test_requests_of_a_run_may_be_taken_in_parts(live: LiveModel) -> None:
    first, second = ran(live, 0, 3), ran(live, 3, 2)
    chunk = Chunk(live, first, 5)
    found = []

    def note(row: int) -> None:
        chunk.records.append((f"r-{row}", 0.0, 0.0, row, 1))

    def take() -> None:
        taken = chunk.take()
        told = taken.message(1, taken.numbers, 0.0, ())
        numbers = told.inputs["numbers"].array()
        for id, row in zip(told.about.ids, told.first.array().tolist(), strict=True):
            found.append((id, float(numbers[row].max())))

    assert chunk.keep(first)
    note(0)
    take()
    note(1)
    take()
    note(2)
    assert chunk.keep(second)
    note(3)
    take()
    note(4)
    take()
    assert [id for id, _ in found] == [f"r-{n}" for n in range(5)]
    whole = np.concatenate([one.inputs["numbers"] for one in (first, second)]).max(axis=1)
    assert [value for _, value in found] == whole.tolist()
    assert list(chunk.take().numbers) == []


def test_a_chunk_without_news_is_let_go_so_that_a_version_may_be_unloaded(
    live: LiveModel, tmp_path: Path
) -> None:
    recorder = Recorder(Journaling(to=str(tmp_path)), Counts())
    recorder.ran(live, "r-1", time.perf_counter(), 0.001, ran(live, 0, 1), 0, 1, None)
    until(lambda: not recorder.waits and not recorder._open)
    recorder.ran(live, "r-2", time.perf_counter(), 0.001, ran(live, 1, 1), 0, 1, None)
    recorder.close()
    table = journal_files.rows(tmp_path, "shop")
    assert table is not None and table["request_id"].to_pylist() == ["r-1", "r-2"]


def test_a_full_queue_drops_the_fast_way_as_well(live: LiveModel, tmp_path: Path) -> None:
    counts = Counts()
    room = 3 * (128 + len(live.schema.features))
    recorder = Recorder(Journaling(to=str(tmp_path)), counts, room=room)
    one = ran(live, 0, 1)
    for number in range(5000):
        recorder.ran(live, f"{number}", time.perf_counter(), 0.001, one, 0, 1, None)
    recorder.close()
    dropped = counts.book.counters["modelwright_journal_dropped_total"]["queue",][0]
    written = counts.book.counters["modelwright_journal_rows_total"][()][0]
    assert dropped > 0 and written + dropped == 5000 and written >= 3
