"""A real server's journal: what is in it, and what a kill, an end and a full disk leave of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

import modelwright as mw
from modelwright.core.errors import MissingExtra, UsageError
from modelwright.serve import journal_files
from modelwright.serve.journal import OFF, Recorder, check, is_sampled, journal_of
from modelwright.serve.metrics import Counts
from modelwright.serve.settings import Journaling, Source
from serve.running import serving, until
from serve.versions import Shop, row_of, share

ROW = {"size, cm": 61.5, "colour": "red", "big": 2**24 + 1, "member": True, "start": "2021-03-01"}


@contextmanager
def server(
    folder: Path, *sets: str, before: str = ""
) -> Iterator[tuple[httpx.Client, subprocess.Popen[str]]]:
    """`modelwright serve` over a model folder with a journal; ended at the end."""
    code = before + (
        "import sys, json, msgspec\n"
        "from modelwright.serve.settings import Settings\n"
        "from modelwright.serve.server import serve\n"
        "sys.exit(serve(msgspec.convert(json.loads(sys.argv[1]), Settings)))"
    )
    given: dict[str, Any] = {
        "models": [{"name": "shop", "folder": str(folder), "version": "3", "tried": True}],
        "port": 0,
    }
    for one in sets:
        given |= json.loads(one)
    process = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(given)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert " on http" in line, process.stderr and process.stderr.read()
        with httpx.Client(base_url=line.rsplit(" ", 1)[1].strip(), timeout=60) as client:
            yield client, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def journal(to: Path, **more: Any) -> str:
    return json.dumps({"journal": {"to": str(to), **more}})


def rows(to: Path) -> list[dict[str, Any]]:
    found = journal_files.rows(to, "shop")
    return [] if found is None else list(found.to_pylist())


def ask(client: httpx.Client, number: int, body: Any = ROW, **headers: str) -> Any:
    answer = client.post("/predict", json=body, headers={"x-request-id": f"r-{number}", **headers})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def model(released: mw.Released) -> Path:
    return released.run / "artefact"


def test_every_door_is_recorded_and_an_end_loses_nothing(model: Path, tmp_path: Path) -> None:
    odd = {**ROW, "colour": "mauve", "big": None, "start": None, "member": None}
    given = [ROW, {**ROW, "colour": None, "size, cm": None}, odd, {**ROW, "colour": " red "}]
    with server(model, journal(tmp_path / "j")) as (client, _):
        began = time.time()
        answers = [ask(client, n, row)["predictions"][0] for n, row in enumerate(given)]
        answers += ask(client, 9, given)["predictions"]
        csv = '"size, cm",colour,big,member,start\n61.5,red,16777217,true,2021-03-01\n'
        table = client.post(
            "/predict", content=csv, headers={"content-type": "text/csv", "x-request-id": "csv"}
        )
        assert table.status_code == 200, table.text
        tensors = [
            {"name": name, "shape": [1], "datatype": kind, "data": [ROW[name]]}
            for name, kind in (("size, cm", "FP64"), ("colour", "BYTES"), ("big", "INT64"),
                               ("member", "BOOL"), ("start", "BYTES"))
        ]  # fmt: skip
        oip = client.post("/v2/models/shop/infer", json={"id": "oip", "inputs": tensors})
        assert oip.status_code == 200, oip.text
        assert client.post("/predict", json={"colour": 1}).status_code == 422
        ended = time.time()
    found = {(one["request_id"], one["row"]): one for one in rows(tmp_path / "j")}
    keys = [*((f"r-{n}", 0) for n in range(4)), *(("r-9", n) for n in range(4))]
    assert found.keys() == {*keys, ("csv", 0), ("oip", 0)}
    for key, answer in zip(keys, answers, strict=True):
        one = found[key]
        assert one["prediction"] == answer["prediction"] and one["score"] == answer["p_yes"]
        assert {n: one[n] for n in ("p_no", "p_yes")} == {n: answer[n] for n in ("p_no", "p_yes")}
    for key in (("r-0", 0), ("r-3", 0), ("r-9", 0), ("csv", 0), ("oip", 0)):
        one = found[key]
        features = {name[2:]: one[name] for name in one if name.startswith("f_")}
        assert features.pop("start").isoformat() == "2021-03-01T00:00:00"
        assert features == {n: ROW[n] for n in features}, key
        assert (one["model"], one["version"], one["arm"]) == ("shop", "3", "champion")
        assert (one["fallback"], one["cached"]) == ("", False) and 0 < one["ms"] < 60_000
        assert began <= one["time"].timestamp() <= ended
    for key in (("r-2", 0), ("r-9", 2)):  # texts that the graph does not tell apart are kept
        one = found[key]
        gaps = (one["f_big"], one["f_start"], one["f_member"])
        assert one["f_colour"] == "mauve" and gaps == (None, None, None)
    assert found["r-1", 0]["f_colour"] is None and found["r-1", 0]["f_size, cm"] is None
    [segment] = journal_files.segments(tmp_path / "j", "shop", "3")
    assert segment.digest == mw.Artefact.load(model).digest


def test_gaps_of_time_and_of_models(model: Path, tmp_path: Path) -> None:
    with server(model, journal(tmp_path, rows=2)) as (client, _):
        for number in range(5):
            ask(client, number)
        until(lambda: len(journal_files.files(tmp_path)) >= 1)
    files = journal_files.files(tmp_path)
    assert sum(len(one.table) for one in journal_files.segments(tmp_path)) == 5
    assert journal_files.files(tmp_path, "shop", "3") == files
    assert journal_files.files(tmp_path, "shop", "4") == []
    assert journal_files.rows(tmp_path, "other") is None
    assert journal_files.files(tmp_path, begin=files[-1].end + 1) == []
    moment = sorted(one["time"] for one in rows(tmp_path))[3].timestamp()
    assert len(journal_files.rows(tmp_path, end=moment)) == 3
    assert len(journal_files.rows(tmp_path, begin=moment)) == 2
    only = journal_files.rows(tmp_path, columns=["request_id", "f_colour"])
    assert only.column_names == ["request_id", "f_colour"] and len(only) == 5


def test_a_killed_worker_loses_the_open_file_only(model: Path, tmp_path: Path) -> None:
    with server(model, journal(tmp_path, rows=10)) as (client, process):
        for number in range(10):
            ask(client, number)
        until(lambda: len(rows(tmp_path)) == 10)
        for number in range(10, 13):
            ask(client, number)
        listed = subprocess.run(
            ["ps", "--ppid", str(process.pid), "-o", "pid="], capture_output=True, text=True
        )
        [worker] = listed.stdout.split()
        os.kill(int(worker), signal.SIGKILL)
        client.close()
        with httpx.Client(base_url=client.base_url, timeout=60) as again:
            until(lambda: _answers(again))
            for number in range(20, 25):
                ask(again, number)
    found = until(lambda: {f"r-{n}" for n in range(20, 25)} <= _ids(tmp_path) and _ids(tmp_path))
    assert {f"r-{n}" for n in range(10)} <= found
    assert not list(tmp_path.rglob("*.part"))


def _ids(to: Path) -> set[str]:
    return {one["request_id"] for one in rows(to)}


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/v2/health/ready").status_code == 200
    except httpx.HTTPError:
        return False


def test_two_workers_and_a_sample(model: Path, tmp_path: Path) -> None:
    with server(model, journal(tmp_path, sample=0.5), json.dumps({"workers": 2})) as (client, _):
        for number in range(60):
            with httpx.Client(base_url=client.base_url, timeout=60) as one:  # the kernel spreads
                ask(one, number)
                ask(one, number)
    names = {file.name.rsplit("/", 1)[1].split("-")[2] for file in journal_files.files(tmp_path)}
    assert len(names) == 2
    found = [one["request_id"] for one in rows(tmp_path)]
    wanted = [f"r-{n}" for n in range(60) if is_sampled(f"r-{n}", 0.5)]
    assert sorted(found) == sorted(wanted * 2) and 15 < len(wanted) < 45


def test_no_place_to_write_is_said_at_once_and_harms_no_answer(model: Path, tmp_path: Path) -> None:
    (tmp_path / "full").write_text("a file where the folder should be")
    where = tmp_path / "full"
    with server(model, journal(where, rows=1)) as (client, process):
        assert process.stderr
        first = process.stderr.readline()
        until(lambda: "\nmodelwright_journal_unwritable 1" in client.get("/metrics").text)
        for number in range(5):
            ask(client, number)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        rest = process.stderr.read()
    assert f"the journal cannot be written to {where}" in first
    assert "cannot be written to" not in rest and "Traceback" not in rest
    assert "the journal lost 5 answers" in rest


def test_of_several_workers_each_says_whose_line_it_is(model: Path, tmp_path: Path) -> None:
    (tmp_path / "full").write_text("a file where the folder should be")
    sets = journal(tmp_path / "full"), json.dumps({"workers": 2})
    with server(model, *sets) as (client, process):
        assert process.stderr
        lines = [process.stderr.readline() for _ in range(2)]
        found = {
            re.match(r"modelwright: worker (\d): the journal cannot", line)[1] for line in lines
        }
        text = client.get("/metrics").text
        assert found == set(re.findall(r'process_resident_memory_bytes{worker="(\d+)"}', text))


def test_what_cannot_be_written_is_counted(model: Path, tmp_path: Path) -> None:
    """The system refuses every write of the journal, as it does when a disk is full."""
    code = (
        "import modelwright.serve.journal as j, resource; j.EVERY = 0.01;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
    )
    with server(model, journal(tmp_path, rows=1), before=code) as (client, _):

        def lost() -> bool:
            ask(client, 1)
            [line] = [
                line for line in client.get("/metrics").text.splitlines()
                if line.startswith('modelwright_journal_dropped_total{reason="write"}')
            ]  # fmt: skip
            return float(line.split()[-1]) > 0

        until(lost)
    assert rows(tmp_path) == [] and not list(tmp_path.rglob("*.part"))


def test_a_private_column_is_nowhere(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    for file in model.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((folder / "manifest.json").read_text())
    for column in manifest["schema"]["columns"]:
        column["private"] = column["name"] in ("colour", "size, cm")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with server(folder, journal(tmp_path / "j")) as (client, _):
        ask(client, 1, {**ROW, "colour": "a secret colour", "size, cm": 12345.678})
        ask(client, 2, {**ROW, "colour": "red", "member": "true"})  # the careful way
    [file] = journal_files.files(tmp_path / "j")
    data = (tmp_path / "j" / file.name).read_bytes()
    names = pq.read_table(tmp_path / "j" / file.name).column_names
    assert "f_big" in names and "f_colour" not in names and "f_size, cm" not in names
    assert b"colour" not in data and b"secret" not in data and b"size, cm" not in data


def test_a_full_queue_drops_and_counts(model: Path, tmp_path: Path) -> None:
    from modelwright.serve.live import LiveModel
    from modelwright.serve.messages import Answered, Question
    from modelwright.serve.settings import Settings

    live = LiveModel.load(model, Settings(models=()), name="shop", version="3", tried=True)
    feeds = {**_feeds(live)}
    found = Answered(Question(feeds, 1), live.run(feeds), live, "canary", "previous", True)
    counts = Counts()
    room = 3 * (128 + len(live.schema.features))
    recorder = Recorder(Journaling(to=str(tmp_path)), counts, room=room)
    sent = 5000
    for number in range(sent):
        recorder.answered(f"{number}", time.perf_counter(), 0.001, found)
    recorder.close()
    dropped = counts.book.counters["modelwright_journal_dropped_total"]
    written = counts.book.counters["modelwright_journal_rows_total"][()][0]
    assert dropped[("queue",)][0] > 0 and dropped[("write",)] == [0]
    assert written + dropped[("queue",)][0] == sent and written >= 3
    one = rows(tmp_path)[0]
    assert (one["arm"], one["fallback"], one["cached"]) == ("canary", "previous", True)


def _feeds(live: Any) -> Any:
    from modelwright.core.intake import feeds_from_rows

    return feeds_from_rows(live.schema, [ROW])


def test_an_answer_that_cannot_be_recorded_harms_no_other(model: Path, tmp_path: Path) -> None:
    from modelwright.serve.live import LiveModel
    from modelwright.serve.messages import Answered, Question
    from modelwright.serve.settings import Settings

    live = LiveModel.load(model, Settings(models=()), name="shop", version="3", tried=True)
    feeds = _feeds(live)
    answers = live.run(feeds)
    broken = {name: values for name, values in feeds.items() if name != "big"}
    counts = Counts()
    recorder = Recorder(Journaling(to=str(tmp_path)), counts)
    for number in range(6):
        given = broken if number == 2 else feeds
        until(lambda: not recorder.waits)  # each in a batch of its own
        found = Answered(Question(given, 1), answers, live)
        recorder.answered(f"{number}\ud800", time.perf_counter(), 0.001, found)
    recorder.close()
    assert [one["request_id"] for one in rows(tmp_path)] == ["0?", "1?", "3?", "4?", "5?"]
    assert counts.book.counters["modelwright_journal_dropped_total"]["write",] == [1]


def test_off_is_an_object_and_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert journal_of(Journaling(), Counts()) is OFF and not OFF.is_on
    OFF.close()
    with pytest.raises(UsageError, match="fsspec knows no gopher://"):
        check(Journaling(to="gopher://a/b"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="pyarrow"):
        check(Journaling(to="journal"))


def test_a_shadow_is_recorded_under_the_same_id(project: Path, tmp_path: Path) -> None:
    shop, to = Shop(project), tmp_path / "journal"
    shop.add()
    source, settings = Source(name="shop", project=str(project)), Journaling(to=str(to))
    with serving(project, source, journal=settings) as running:
        mw.shadow("shop", "2", folder=project)
        shadowed = 'modelwright_shadow_rows_total{model="shop",version="2"'
        until(lambda: [running.predict(row_of())] and running.metric(shadowed))
        for number in range(10):
            running.predict(row_of(float(number)), x_request_id=f"r-{number}")
        until(lambda: running.metric(shadowed) >= 11)
        running.end()
    for number in range(10):
        both = [one for one in rows(to) if one["request_id"] == f"r-{number}"]
        assert sorted((one["version"], one["arm"]) for one in both) == [
            ("1", "champion"), ("2", "shadow")
        ]  # fmt: skip
        assert [one["f_size, cm"] for one in both] == [number] * 2
        said = {one["arm"]: one["score"] for one in both}
        assert said["shadow"] == pytest.approx(share(2, number), abs=1e-6)
