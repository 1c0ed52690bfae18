"""The closed loop on a stream whose world changes: alarm, retraining, canary, promotion, by real
processes over HTTP, some of which are killed on the way."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

import pytest

import modelwright as mw
from modelwright.core.store import is_in_use
from modelwright.core.traffic import traffic_path
from modelwright.serve import journal_files
from modelwright.watch.database import Database
from modelwright.watch.state import Memory
from projects import EXAMPLES
from serve.running import until

PATIENCE = 240.0
PROMOTED = 400.0
"""Seconds until a version is made champion: a canary or two may be ended before."""


def replay() -> ModuleType:
    spec = importlib.util.spec_from_file_location("replay", EXAMPLES / "elec2" / "replay.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def command(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`modelwright ...` in a folder; told to end with the block."""
    with (folder / f"{words[0]}.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "modelwright", *words], cwd=folder, text=True,
            stdout=subprocess.PIPE if words[0] == "serve" else log, stderr=log,
        )  # fmt: skip
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            process.wait(30)


def address_of(server: subprocess.Popen[str]) -> str:
    assert server.stdout
    for line in server.stdout:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return found[0]
    raise AssertionError("the server said no address")


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


class Stream(threading.Thread):
    """Callers, and somebody who knows the truth a second or two later, until told to stop."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.address, self.ending = address, threading.Event()

    def run(self) -> None:
        while not self.ending.is_set():
            replay().play(self.address, 36_000, 200.0, 400, self.ending.is_set)


def audit(folder: Path) -> list[str]:
    return [f"{line.action} {line.version}" for line in mw.AuditLog(folder).lines("elec2")]


def done(memory: Memory) -> list[str]:
    return [one.done for one in memory.said("elec2") if one.done]


def trainer(folder: Path) -> int:
    """The process of the retraining that goes on; 0 for none."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            is_one = b"retrain" in place.read_bytes().split(b"\0")
            if is_one and (place.parent / "cwd").readlink() == folder:
                return int(place.parent.name)
    return 0


def searching(folder: Path) -> bool:
    """Whether a retraining has its table and a first trial, so that it can be gone on with."""
    plans = [run.parent for run in (folder / "runs").glob("*/retrain.json")]
    return any(list((run / "trials").glob("*")) for run in plans)


@pytest.mark.slow
@pytest.mark.alone
def test_the_loop_closes_whatever_is_killed(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EXAMPLES / "elec2", tmp_path / "elec2"))
    replay().history(folder)
    spec = folder / "modelwright.yaml"
    spec.write_text(spec.read_text().replace("port: 8737", "port: 0"))
    released = mw.run(spec)
    assert (released.record.verdict, released.record.alias) == ("pass", "champion")
    with command(folder, "serve", "elec2") as server:
        address = address_of(server)
        spec.write_text(spec.read_text().replace("port: 0", f"port: {address.rsplit(':')[-1]}"))
        stream = Stream(address)
        stream.start()
        try:
            _watched(folder, server, stream)
        finally:
            stream.ending.set()
            stream.join(30)
    page = subprocess.run(
        [sys.executable, "-m", "modelwright", "watch", "report"], cwd=folder, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert page.returncode == 0, page.stderr
    assert (folder / "watch.html").stat().st_size > 20_000


def _watched(folder: Path, server: subprocess.Popen[str], stream: Stream) -> None:
    memory = Memory(Database(folder / ".modelwright" / "watch.db"))
    with command(folder, "watch") as first:
        until(lambda: any(s.event for s in memory.said("elec2")), "an episode", PATIENCE)
        kill(first)
    opened = [s.event.episode.id for s in memory.said("elec2") if s.event]
    with command(folder, "watch") as second:
        until(lambda: any("began to retrain" in d for d in done(memory)), "training", PATIENCE)
        training = until(lambda: trainer(folder), "a trainer", PATIENCE)
        until(lambda: searching(folder), "a search of a retraining", PATIENCE)
        kill(second)
        with suppress(ProcessLookupError):
            os.kill(training, signal.SIGKILL)
    assert not traffic_path(folder, "elec2").exists()
    with command(folder, "watch"):
        until(lambda: any("of the requests" in d for d in done(memory)), "a canary", PATIENCE)
        _kill_a_worker(server)
        made = r"made version (\d+) the champion"
        promoted = until(lambda: re.search(made, "; ".join(done(memory))), "a promotion", PROMOTED)
    ids = [s.event.episode.id for s in memory.said("elec2") if s.event]
    keys = [(s.event.what, s.event.episode.id) for s in memory.said("elec2") if s.event]
    assert set(opened) <= set(ids) and len(keys) == len(set(keys))
    assert any("went on with retraining" in d for d in done(memory))
    actions = audit(folder)
    assert "promote 1" in actions and any(a.startswith("canary ") for a in actions)
    assert int(promoted[1]) > 1 and f"promote {promoted[1]}" in actions
    until(lambda: _answers(stream.address) == _champion(folder), "answers of the champion", 60.0)
    assert int(_champion(folder)) > 1
    assert mw.AuditLog(folder).broken_at() is None
    until(lambda: not trainer(folder), "the end of a training that outlives the watcher", PATIENCE)
    assert not [run for run in (folder / "runs").iterdir() if is_in_use(run)]
    table = journal_files.rows(folder / "journal", "elec2", columns=["request_id", "row"])
    assert table.num_rows > 1000 and stream.is_alive()


def _champion(folder: Path) -> str:
    found = mw.Registry(folder).aliased("elec2", "champion")
    assert found
    return found.number


def _answers(address: str) -> str:
    """Which version does: the champion, or a canary that is on."""
    row = {k: float(v) for k, v in next(replay().rows()).items() if k not in ("at", "class")}
    request = urllib.request.Request(
        f"{address}/predict", json.dumps(row).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["version"])


def _kill_a_worker(server: subprocess.Popen[str]) -> None:
    found = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    os.kill(int(found[0]), signal.SIGKILL)
    assert server.poll() is None


@pytest.mark.slow
def test_a_second_watcher_and_a_missing_journal_are_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EXAMPLES / "elec2", tmp_path / "elec2"))
    spec = folder / "modelwright.yaml"
    with (
        mw.watcher(spec),
        pytest.raises(mw.ModelwrightError, match="another process already"),
        mw.watcher(spec),
    ):
        pass
    with mw.watcher(spec) as made, pytest.raises(mw.ModelwrightError, match="no champion"):
        made.look(0.0)
    text = spec.read_text()
    spec.write_text(re.sub(r"  journal: .*\n", "", text))
    with pytest.raises(mw.ModelwrightError, match="keeps no journal"), mw.watcher(spec):
        pass
