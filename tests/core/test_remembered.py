"""What is remembered is never older than its files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modelwright.core.remembered import COARSE_NS, SETTLED_NS, Remembered


class Reader:
    """Reads a file through a memory whose clock is that much ahead, and counts."""

    def __init__(self, *files: Path, ahead_ns: int = 2 * SETTLED_NS, most: int = 4) -> None:
        self.reads = 0
        self._files = files
        self._kept = Remembered[str](most, lambda: time.time_ns() + ahead_ns)

    def __call__(self, key: str = "") -> str:
        """The text, read or remembered."""
        return self._kept.get(key, self._files, self._read)

    def _read(self) -> str:
        self.reads += 1
        return self._files[0].read_text() if self._files[0].exists() else "none"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "table.csv"
    found.write_text("one")
    return found


def _another_byte(path: Path) -> None:
    """As many bytes, and the date put back."""
    before = path.stat()
    path.write_text("two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _another_file(path: Path) -> None:
    new = path.with_name("new")
    new.write_text("two")
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    new.replace(path)


def _away(path: Path) -> None:
    path.unlink()


def _longer(path: Path) -> None:
    with path.open("a") as file:
        file.write("!")


def test_read_once_while_nothing_changes(path: Path) -> None:
    read = Reader(path, path.with_name("absent"))
    assert [read(), read(), read.reads] == ["one", "one", 1]


@pytest.mark.parametrize(
    ("change", "now"),
    [(_another_byte, "two"), (_another_file, "two"), (_away, "none"), (_longer, "one!")],
)
def test_read_again_after_a_change(path: Path, change: Callable[[Path], None], now: str) -> None:
    read = Reader(path)
    read()
    change(path)
    assert [read(), read(), read.reads] == [now, now, 2]


def test_a_file_that_comes_to_be_is_seen(path: Path) -> None:
    beside = path.with_name("beside")
    read = Reader(path, beside)
    read()
    beside.write_text("x")
    read()
    assert read.reads == 2


def test_what_changed_a_moment_ago_is_not_kept(path: Path) -> None:
    read = Reader(path, ahead_ns=0)
    assert [read(), read(), read.reads] == ["one", "one", 2]


def test_a_clock_of_whole_seconds_needs_longer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = list(path.stat())
    second = 1_000_000_000 * (time.time_ns() // 1_000_000_000)
    whole = os.stat_result(told, {"st_mtime_ns": second, "st_ctime_ns": second})
    monkeypatch.setattr(Path, "stat", lambda self, **_: whole)
    soon, later = (
        Remembered[int](1, lambda ahead=ahead: second + ahead)
        for ahead in (SETTLED_NS + 1, COARSE_NS + 1)
    )
    made = iter(range(9))
    assert [soon.get("", [path], lambda: next(made)) for _ in range(2)] == [0, 1]
    assert [later.get("", [path], lambda: next(made)) for _ in range(2)] == [2, 2]


def test_a_change_while_it_is_made_is_seen(path: Path) -> None:
    kept = Remembered[str](1, lambda: time.time_ns() + 2 * SETTLED_NS)

    def torn() -> str:
        text = path.read_text()
        path.write_text("later")
        return text

    assert kept.get("", [path], torn) == "one"
    assert kept.get("", [path], path.read_text) == "later"


def test_an_error_is_not_kept(path: Path) -> None:
    kept = Remembered[str](1, lambda: time.time_ns() + 2 * SETTLED_NS)

    def fails() -> str:
        raise ValueError("torn")

    with pytest.raises(ValueError, match="torn"):
        kept.get("", [path], fails)
    assert kept.get("", [path], path.read_text) == "one"


def test_the_oldest_goes(path: Path) -> None:
    read = Reader(path, most=2)
    for key in ("a", "b", "a", "c", "a", "b"):
        read(key)
    assert read.reads == 4  # b was asked for longest ago when c came
