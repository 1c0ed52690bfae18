"""Labels on disk: the same whatever is read twice, merged, killed, or merged by two at once."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from modelwright.serve import labels as module
from modelwright.serve.journal_files import files as journal_files
from modelwright.serve.journal_store import STALE_SECONDS, Folder, Place, Remote, place_of
from modelwright.serve.journal_store import sweep as sweep_journal
from modelwright.serve.labels import FEW, Labels, Sender, compact, files, models, read, sweep

NOW = 1_795_000_000.0
DAY = 86_400.0


def some(*ids: str, label: str = "yes", at: float = NOW) -> Labels:
    count, moment = len(ids), int(at * 1e6)
    return Labels(
        list(ids), [0] * count, [label] * count, [None] * count, [moment] * count, [moment] * count
    )


def ids(place: Place, model: str = "shop") -> list[str]:
    return sorted(set(read(place, model)["request_id"].to_pylist()))


@pytest.fixture(params=["folder", "memory", "moved"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "moved":
        return Remote(fsspec.filesystem("file"), str(tmp_path), whole=False)
    return place_of(str(tmp_path) if request.param == "folder" else f"memory://{tmp_path.name}/j")


def test_statements_come_back_and_no_journal_sees_them(place: Place, tmp_path: Path) -> None:
    assert len(read(place, "shop")) == 0 and files(place) == []
    number = Labels(["b"], [7], ["0.1"], [0.1], [1], [int(NOW * 1e6)])
    name = Sender(place).send("../shop", number)
    Sender(place).send("shop", some("a"))
    assert name.startswith(".labels/%2E.%2Fshop/2026-11-") and models(place) == ["../shop", "shop"]
    [found] = read(place, "../shop").to_pylist()
    assert (found["request_id"], found["row"], found["label"], found["value"]) == (
        "b",
        7,
        "0.1",
        0.1,
    )
    assert found["time"].timestamp() == 1e-6 and found["arrived"].timestamp() == NOW
    assert read(place, "shop", NOW + 1).num_rows == 0
    assert list(place.files()) == [] and journal_files(tmp_path) == []
    sweep_journal(place, NOW + 1000 * DAY, keep=1.0, most=0)
    assert ids(place) == ["a"]


def test_a_day_that_is_over_becomes_one_file(place: Place) -> None:
    sender = Sender(place)
    for number in range(FEW - 1):
        sender.send("shop", some(f"{number}"))
    assert compact(place, "shop", NOW) == 0 and len(files(place)) == FEW - 1
    sender.send("shop", some("last", "0"))
    before = {tuple(row.items()) for row in read(place, "shop").to_pylist()}
    assert compact(place, "shop", NOW) == FEW - 1
    after = [tuple(row.items()) for row in read(place, "shop").to_pylist()]
    assert set(after) == before and len(after) == FEW + 1
    Sender(place).send("shop", some("x"))
    Sender(place).send("a b", some("x"))
    Sender(place).send("a b", some("y"))
    assert [compact(place, name, NOW + DAY) for name in models(place)] == [1, 1] and len(
        files(place, "shop")
    ) == 1
    assert compact(place, "shop", NOW + DAY) == 0
    assert ids(place) == [*(f"{n}" for n in range(FEW - 1)), "last", "x"]


def test_old_labels_go_and_young_ones_stay(place: Place) -> None:
    sender = Sender(place)
    sender.send("shop", some("old", at=NOW - 3 * DAY))
    sender.send("shop", some("young", at=NOW - DAY))
    assert sweep(place, NOW, 2 * DAY) == 1 and ids(place) == ["young"]


def test_large_files_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Folder(tmp_path)
    sender = Sender(place)
    for number in range(6):
        sender.send("shop", some(f"{number}"))
    monkeypatch.setattr(module, "LARGEST", 1)
    assert compact(place, "shop", NOW + DAY) == 0
    monkeypatch.setattr(module, "LARGEST", 2 * files(place)[0].size)
    assert compact(place, "shop", NOW + DAY) == 3
    assert len(files(place)) == 3 and ids(place) == list("012345")


KILLED = """
import os, signal, sys
from pathlib import Path
import pyarrow.parquet
from modelwright.serve.journal_store import Folder
from modelwright.serve.labels import compact
left = 0
def stepped(real):
    def work(*given, **named):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **named)
    return work
for name in ("fsync", "replace", "rename", "unlink", "rmdir"):
    setattr(os, name, stepped(getattr(os, name)))
for step in range(1, 100):
    child = os.fork()
    if child == 0:
        left = step
        compact(Folder(Path(sys.argv[1], str(step))), "shop", float(sys.argv[2]))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
    if status == 0:
        break
"""


def test_a_merge_that_is_killed_at_any_step_loses_nothing(tmp_path: Path) -> None:
    for number in range(3):
        Sender(Folder(tmp_path / "first")).send("shop", some(f"{number}"))
    for step in range(1, 30):
        shutil.copytree(tmp_path / "first", tmp_path / f"{step}")
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(NOW + DAY)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    codes = [int(line) for line in done.stdout.split()]
    assert codes == [-signal.SIGKILL] * (len(codes) - 1) + [0] and 5 < len(codes) < 30
    assert len(list(tmp_path.rglob("*.part"))) == 2  # killed before the sync, and before the rename
    for step in range(1, len(codes) + 1):
        place = Folder(tmp_path / f"{step}")
        assert ids(place) == ["0", "1", "2"], step
        compact(place, "shop", NOW + DAY)
        assert ids(place) == ["0", "1", "2"] and len(files(place)) == 1
        place.tidy(time.time() + 2 * STALE_SECONDS)
    assert not list(tmp_path.rglob("*.part"))


def test_two_that_merge_and_one_that_reads_at_once(tmp_path: Path) -> None:
    place, failed, ended = Folder(tmp_path), [], threading.Event()
    written: list[str] = []

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                while not ended.is_set():
                    work()
            except BaseException as error:  # noqa: BLE001
                failed.append(error)

        return threading.Thread(target=run)

    def look() -> None:
        wanted = set(written)
        assert wanted <= set(ids(place))

    def merge() -> None:
        compact(Folder(tmp_path), "shop", NOW + DAY)

    threads = [guarded(merge), guarded(merge), guarded(look)]
    for thread in threads:
        thread.start()
    sender = Sender(place)
    for number in range(150):
        sender.send("shop", some(f"{number}"))
        written.append(f"{number}")
    ended.set()
    for thread in threads:
        thread.join(60)
    assert not failed
    for _ in range(3):
        compact(place, "shop", NOW + DAY)
    assert len(files(place)) == 1 and ids(place) == sorted(written)


def test_a_source_that_vanishes_ends_the_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What two that merge the same files see of each other."""
    place = Folder(tmp_path)
    for number in range(3):
        Sender(place).send("shop", some(f"{number}"))
    real: Any = Folder.names

    class Slow(Folder):
        def names(self, under: str) -> Any:
            if under.count("/") == 2:  # the second look of a merge: meanwhile another did it all
                assert compact(place, "shop", NOW + DAY) == 2
            return real(self, under)

    assert compact(Slow(tmp_path), "shop", NOW + DAY) == 0
    assert len(files(place)) == 1 and ids(place) == ["0", "1", "2"]
