"""What the fast way notes while the journal's thread takes it: every row once, the right one."""

from __future__ import annotations

import gc
import json
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

import modelwright as mw
from modelwright.serve import journal_files
from modelwright.serve.journal import Recorder
from modelwright.serve.journal_chunk import ROWS, Chunk, Recorded
from modelwright.serve.journal_wire import RECORD
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
    chunk = Chunk(live, Recorded.of(live, 1), first)
    found = []

    def note(row: int) -> None:
        chunk.ids += b"r-%d\n" % row
        chunk.records += np.array([(0.0, 0.0, row, 1)], RECORD).tobytes()

    def take() -> None:
        assert chunk.waits
        taken = chunk.take()
        assert not chunk.waits
        told = taken.message(range(len(taken.ids)), 0.0)
        numbers = told.inputs["numbers"].array()
        for id, row in zip(told.about.ids, told.about.table()["first"].tolist(), strict=True):
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
    assert chunk.take().ids == []


def test_some_of_the_requests_that_were_taken(live: LiveModel) -> None:
    one = ran(live, 0, 4)
    chunk = Chunk(live, Recorded.of(live, 1), one)
    assert chunk.keep(one)
    chunk.ids += b"a\nb\nc\n"
    for first, rows in ((0, 1), (1, 2), (3, 1)):
        chunk.records += np.array([(5.0, 0.5, first, rows)], RECORD).tobytes()
    taken = chunk.take()
    assert (taken.rows([0, 1, 2]), taken.rows([1]), taken.rows([0, 2])) == (4, 2, 2)
    told = taken.message([1, 2], 100.0)
    assert told.about.ids == ["b", "c"]
    assert told.about.table().tolist() == [(105.0, 0.5, 1, 2), (105.0, 0.5, 3, 1)]


def test_a_version_may_be_unloaded_while_its_answers_wait(
    released: mw.Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelwright.serve.journal.EVERY", 0.01)
    folder = released.run / "artefact"
    short = LiveModel.load(folder, Settings(models=()), name="shop", version="4", tried=True)
    recorder = Recorder(Journaling(to=str(tmp_path)), Counts())
    recorder.ran(short, "r-1", time.perf_counter(), 0.001, ran(short, 0, 1), 0, 1, None)
    until(lambda: not recorder.waits and recorder._seen)  # more runs of it may come
    gone = weakref.ref(short)
    recorder.ran(short, "r-2", time.perf_counter(), 0.001, ran(short, 1, 1), 0, 1, None)
    del short
    until(lambda: gc.collect() >= 0 and gone() is None)
    until(lambda: not recorder._seen)
    recorder.close()
    table = journal_files.rows(tmp_path, "shop")
    assert table is not None and table["request_id"].to_pylist() == ["r-1", "r-2"]


def test_a_full_queue_drops_the_fast_way_as_well(live: LiveModel, tmp_path: Path) -> None:
    counts = Counts()
    room = 3 * (8 + len(live.schema.features))
    recorder = Recorder(Journaling(to=str(tmp_path)), counts, room=room)
    one = ran(live, 0, 1)
    for number in range(5000):
        same = Ran(one.answers, 1, 0.0, one.inputs, whole=True)
        recorder.ran(live, f"{number}", time.perf_counter(), 0.001, same, 0, 1, None)
    recorder.close()
    dropped = counts.book.counters["modelwright_journal_dropped_total"]["queue",][0]
    written = counts.book.counters["modelwright_journal_rows_total"][()][0]
    assert dropped > 0 and written + dropped == 5000 and written >= 3
