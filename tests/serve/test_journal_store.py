"""Files of a journal: whole or not there, and gone when they are old or too many."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest

from modelwright.serve.journal_store import Folder, Place, Remote, file_name, place_of, sweep

NOW = 1_795_000_000.0
TOKEN = "0123456789ab"


def fill(place: Place, ages: list[float], size: int = 100) -> list[str]:
    """Files that ended so long ago."""
    names = [
        file_name("shop", "3", NOW - age - 60, NOW - age, TOKEN, number)
        for number, age in enumerate(ages)
    ]
    for name in names:
        place.put(name, b"x" * size)
    return names


@pytest.fixture(params=["folder", "file", "memory", "moved"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "moved":  # a storage where a file grows while it is written
        return Remote(fsspec.filesystem("file"), str(tmp_path), whole=False)
    urls = {"folder": f"{tmp_path}", "file": f"file://{tmp_path}",
            "memory": f"memory://{tmp_path.name}/j"}  # fmt: skip
    return place_of(urls[request.param])


def test_files_come_back(place: Place) -> None:
    assert list(place.files()) == []
    names = fill(place, [300.0, 200.0])
    found = sorted(place.files(), key=lambda file: file.begin)
    assert [file.name for file in found] == names
    assert (found[0].begin, found[0].end, found[0].size) == (NOW - 360, NOW - 300, 100)
    assert place.get(names[0]) == b"x" * 100
    assert [file.name for file in place.files("shop/3")] == names
    assert list(place.files("shop/4")) == []


def test_a_probe_leaves_nothing(place: Place, tmp_path: Path) -> None:
    place.probe(TOKEN)
    assert list(place.names("")) == [] and not list(tmp_path.iterdir())


def test_a_probe_finds_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for where in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="file"):
            Folder(where).probe(TOKEN)
    with pytest.raises(OSError, match="RuntimeError: 403"):
        Remote(Broken(), "bucket", whole=True).probe(TOKEN)


def test_old_ones_go_then_the_oldest(place: Place) -> None:
    names = fill(place, [5000.0, 400.0, 300.0, 200.0])
    assert sweep(place, NOW, keep=1000.0, most=10**6) == 1
    assert {file.name for file in place.files()} == set(names[1:])
    assert sweep(place, NOW, keep=1000.0, most=250) == 1
    assert {file.name for file in place.files()} == set(names[2:])
    assert sweep(place, NOW, keep=1000.0, most=250) == 0
    place.remove(names[0])  # gone already


def test_what_is_not_a_journals_stays(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    fill(folder, [5000.0])
    other = tmp_path / "shop" / "3" / "mine.parquet"
    other.write_bytes(b"mine")
    part = tmp_path / "shop" / "3" / f".{int(NOW * 1e3)}-{int(NOW * 1e3)}-{TOKEN}-1.parquet.part"
    part.write_bytes(b"half")
    probe = tmp_path / f".probe-{TOKEN}"
    probe.write_bytes(b"of one that was killed")
    assert len(list(folder.files())) == 1
    sweep(folder, time.time(), keep=1.0, most=1)
    assert other.exists() and part.exists() and probe.exists() and not list(folder.files())
    for left in (part, probe):
        os.utime(left, (1.0, 1.0))
    sweep(folder, time.time(), keep=1.0, most=1)
    assert other.exists() and not part.exists() and not probe.exists()


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    folder = Folder(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        fill(folder, [1.0])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


class Broken:
    """A storage that refuses, with an error of its own."""

    def pipe_file(self, *given: Any) -> None:
        raise RuntimeError("403: forbidden")


def test_errors_of_a_storage_are_os_errors() -> None:
    with pytest.raises(OSError, match="RuntimeError: 403"):
        Remote(Broken(), "bucket", whole=True).put("a", b"")
