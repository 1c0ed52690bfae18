"""The process that writes: what is told of it is in files, whatever becomes of it or its worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import modelwright as mw
from modelwright.core.intake import feeds_from_rows
from modelwright.serve import journal_files, journal_out
from modelwright.serve.journal import Recorder
from modelwright.serve.journal_chunk import Recorded, described
from modelwright.serve.journal_entries import together
from modelwright.serve.journal_pipe import COMMAND, Pipe
from modelwright.serve.journal_process import Writer
from modelwright.serve.journal_store import Folder
from modelwright.serve.journal_wire import Asked, Begin, Tally, Version, received, send
from modelwright.serve.live import LiveModel
from modelwright.serve.messages import Answered, Question
from modelwright.serve.metrics import Counts
from modelwright.serve.settings import Journaling, Settings
from serve.running import until

ROW = {"size, cm": 61.5, "colour": "red", "big": 5, "member": True, "start": "2021-03-01"}


@pytest.fixture(scope="module")
def live(released: mw.Released) -> LiveModel:
    folder = released.run / "artefact"
    return LiveModel.load(folder, Settings(models=()), name="shop", version="3", tried=True)


def asked(live: LiveModel, *ids: str) -> Asked:
    """A message of one row a request."""
    feeds = feeds_from_rows(live.schema, [ROW])
    usual = ("champion", "", False)
    answers = live.run(feeds)
    version = Recorded.of(live, 1)
    return together(
        [(version, 1, 1, id, 0.0, 0.001, usual, feeds, answers, "") for id in ids], time.time()
    )


def ids(to: Path) -> list[str]:
    table = journal_files.rows(to, "shop")
    return [] if table is None else sorted(table["request_id"].to_pylist())


def test_a_place_that_comes_back_loses_nothing(
    live: LiveModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_out, "RETRY_SECONDS", 0.0)
    where, tallies = tmp_path / "away", list[Tally]()
    where.write_text("in the way")
    writer = Writer(Journaling(to=str(where), rows=1), Folder(where), tallies.append)
    writer.take(described(live, 1))
    for number in range(3):
        writer.take(asked(live, f"{number}"))
        writer.look(time.perf_counter())
    assert writer.waits and tallies == [Tally(0, 0, failing=True)]
    where.unlink()
    writer.look(time.perf_counter())
    assert not writer.waits and ids(where) == ["0", "1", "2"]
    assert tallies[1:] == [Tally(3, 0)]


def test_what_waits_too_long_is_lost_and_counted(live: LiveModel, tmp_path: Path) -> None:
    where, tallies = tmp_path / "away", list[Tally]()
    where.write_text("in the way")
    writer = Writer(Journaling(to=str(where), rows=1), Folder(where), tallies.append)
    writer.take(described(live, 1))
    for number in range(journal_out.MOST_UNWRITTEN + 2):
        writer.take(asked(live, f"{number}"))
    writer.look(time.perf_counter())
    assert tallies == [Tally(0, 2, failing=True)]
    writer.look(float("inf"))
    assert tallies[-1] == Tally(0, journal_out.MOST_UNWRITTEN + 2, failing=True)


def test_an_answer_of_a_version_that_it_was_not_told_of_harms_no_other(
    live: LiveModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tallies = list[Tally]()
    writer = Writer(Journaling(to=str(tmp_path)), Folder(tmp_path), tallies.append)
    writer.take(asked(live, "before"))
    writer.take(described(live, 1))
    writer.take(asked(live, "after"))
    writer.look(float("inf"))
    assert ids(tmp_path) == ["after"] and tallies == [Tally(1, 1)]
    [line] = [record.getMessage() for record in caplog.records]
    assert line == "the journal lost 1 answers of a version never told of"


def test_it_writes_what_reached_it_when_the_other_side_is_gone_and_heeds_no_signal(
    live: LiveModel, tmp_path: Path
) -> None:
    """As it is when a worker is killed in the middle of a message."""
    process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    send(Begin(Journaling(to=str(tmp_path), rows=1)), process.stdin)
    send(described(live, 1), process.stdin)
    send(asked(live, "first"), process.stdin)
    assert process.stdout.readline()  # it has written, so it has come as far as to heed signals
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        process.send_signal(number)
    send(asked(live, "a", "b\ud800"), process.stdin)
    process.stdin.write((10**6).to_bytes(8, "little") + b"half")
    process.stdin.close()
    assert process.wait(60) == 0
    assert ids(tmp_path) == ["a", "b?", "first"]
    assert process.stdout.read().splitlines()[-1] == b'{"written":3,"lost":0,"failing":false}'
    process.stdout.close()


def test_without_a_beginning_it_writes_nothing(live: LiveModel) -> None:
    for message, code in ((None, 0), (described(live, 1), 2)):
        process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert process.stdin
        if message is not None:
            send(message, process.stdin)
        process.stdin.close()
        assert process.wait(60) == code


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal's thread that looks a hundred times a second."""
    monkeypatch.setattr("modelwright.serve.journal.EVERY", 0.01)


def one_answer(live: LiveModel) -> Answered:
    feeds = feeds_from_rows(live.schema, [ROW])
    return Answered(Question(feeds, 1), live.run(feeds), live)


@pytest.mark.usefixtures("quick")
def test_a_killed_process_is_started_again_and_what_it_had_is_counted(
    live: LiveModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counts, found = Counts(), one_answer(live)
    recorder = Recorder(Journaling(to=str(tmp_path), rows=100), counts)

    def ask(*names: str) -> None:
        for name in names:
            recorder.answered(name, time.perf_counter(), 0.001, found)
        until(lambda: not recorder.waits)

    ask("a", "b")
    first = until(lambda: recorder._pipe._process)
    first.kill()
    until(lambda: recorder._pipe.begun == 2)
    ask("c")
    recorder.close()
    assert ids(tmp_path) == ["c"]
    lost = counts.book.counters["modelwright_journal_dropped_total"]["write",]
    assert lost == [2] and counts.book.counters["modelwright_journal_rows_total"][()] == [1]
    assert counts.book.counters["modelwright_journal_restarts_total"][()] == [1]
    ended, begun = [record.getMessage() for record in caplog.records]
    assert "ended (exit code -9)" in ended and "begun; 2 answers were lost" in begun


@pytest.mark.usefixtures("quick")
def test_each_process_that_lived_for_a_while_is_said_to_have_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelwright.serve.journal_pipe.AGAIN_SECONDS", 0.0)
    recorder = Recorder(Journaling(to=str(tmp_path)), Counts())
    for number in (1, 2):
        until(lambda: recorder._pipe._process).kill()
        until(lambda after=number + 1: recorder._pipe.begun == after)
    recorder.close()
    assert len([one for one in caplog.records if "exit code -9" in one.getMessage()]) == 2


def test_where_it_cannot_be_started_answers_are_counted_as_lost(
    live: LiveModel, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("modelwright.serve.journal_pipe.COMMAND", (str(tmp_path / "none"),))
    counts = Counts()
    recorder = Recorder(Journaling(to=str(tmp_path)), counts)
    recorder.answered("a", 0.0, 0.001, one_answer(live))
    recorder.close()
    assert counts.book.counters["modelwright_journal_dropped_total"]["write",] == [1]
    first, last = [record.getMessage() for record in caplog.records]
    assert first.startswith("the journal cannot start its process")
    assert last == "the journal ends; 1 answers were lost"


@pytest.mark.usefixtures("quick")
def test_what_cannot_be_told_is_counted_and_harms_no_later_answer(
    live: LiveModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counts, good = Counts(), one_answer(live)
    recorder = Recorder(Journaling(to=str(tmp_path)), counts)
    bad = Answered(Question({}, 1), good.answers, live)  # no column has a value
    for id, found in (("bad", bad), ("good", good)):
        recorder.answered(id, time.perf_counter(), 0.001, found)
        until(lambda: not recorder.waits)
    recorder.close()
    assert ids(tmp_path) == ["good"]
    assert counts.book.counters["modelwright_journal_dropped_total"]["write",] == [1]
    assert counts.book.counters["modelwright_journal_rows_total"][()] == [1]
    [line] = [record.getMessage() for record in caplog.records]
    assert line == "the journal lost 1 answers of shop version 3"


def test_what_cannot_be_encoded_is_left_to_whoever_asked_to_count(tmp_path: Path) -> None:
    counts = Counts()
    pipe = Pipe(Journaling(to=str(tmp_path)), counts)
    assert pipe.begin()
    with pytest.raises(TypeError):
        pipe.send(object(), 5)  # what no message is
    pipe.end(60.0)
    assert counts.book.counters["modelwright_journal_dropped_total"]["write",] == [0]


def test_it_loads_neither_a_model_nor_what_trains_one() -> None:
    code = (
        "import sys, modelwright.serve.journal_process as p\n"
        "print([n for n in ('onnxruntime', 'uvloop', 'polars', 'mlflow') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_messages_come_whole_however_they_are_cut(live: LiveModel, tmp_path: Path) -> None:
    path = tmp_path / "sent"
    with path.open("wb") as file:
        send(described(live, 7), file)
        send(asked(live, "a"), file)
    reading, writing = os.pipe()
    messages = received(reading, 0.0)
    found = []
    for byte in path.read_bytes():
        os.write(writing, bytes([byte]))
        while (one := next(messages)) is not None:
            found.append(one)
    os.close(writing)
    assert list(messages) == []
    os.close(reading)
    version, answers = found
    assert isinstance(version, Version) and version.schema == live.schema and version.number == 7
    assert isinstance(answers, Asked) and answers.about.ids == ["a"]
    assert answers.feeds["colour"].array().tolist() == ["red"]
