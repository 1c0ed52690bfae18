"""What is remembered is never older than its files."""

from __future__ import annotations

import os
from pathlib import Path

from modelwright.ways_in.mcp.remembered import remembered


def test_made_again_when_a_file_changes(tmp_path: Path) -> None:
    path, made = tmp_path / "a", list[str]()

    def make() -> str:
        made.append(path.read_text() if path.exists() else "none")
        return made[-1]

    def ask() -> str:
        return remembered(path, [path, tmp_path / "b"], make)

    assert [ask(), ask(), made] == ["none", "none", ["none"]]
    path.write_text("one")
    os.utime(path, (1, 1))
    assert [ask(), ask()] == ["one", "one"]
    assert made == ["none", "one"]
    path.write_text("two")
    assert [ask(), ask()] == ["two", "two"]
    assert made == ["none", "one", "two", "two"]  # too fresh to be kept
    (tmp_path / "b").write_text("x")
    os.utime(tmp_path / "b", (1, 1))
    os.utime(path, (2, 2))
    assert [ask(), ask()] == ["two", "two"]
    assert len(made) == 5
