"""The chain of the audit log, and what verify says about it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelwright.core.store import sha256
from modelwright.release.audit import AuditLog


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    found = AuditLog(tmp_path)
    for number in range(1, 6):
        found.record("promote", "shop", str(number), replaces=str(number - 1), why=f"w{number}")
    return found


def lines(folder: Path) -> list[bytes]:
    return (folder / ".modelwright" / "audit.jsonl").read_bytes().splitlines(keepends=True)


def write(folder: Path, found: list[bytes]) -> None:
    (folder / ".modelwright" / "audit.jsonl").write_bytes(b"".join(found))


def verify(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modelwright", "audit", "verify", *more]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_a_whole_chain_is_said_to_be_whole(log: AuditLog, tmp_path: Path) -> None:
    assert log.broken_at() is None
    done = verify(tmp_path)
    assert done.returncode == 0 and "5 lines" in done.stdout


@pytest.mark.parametrize("gone", [0, 1, 3])
def test_a_removed_line_shows(log: AuditLog, tmp_path: Path, gone: int) -> None:
    found = lines(tmp_path)
    write(tmp_path, found[:gone] + found[gone + 1 :])
    assert log.broken_at() == gone + 1


def test_exchanged_and_inserted_lines_show(log: AuditLog, tmp_path: Path) -> None:
    found = lines(tmp_path)
    write(tmp_path, [found[0], found[2], found[1], *found[3:]])
    assert log.broken_at() == 2
    write(tmp_path, [*found[:3], found[2], *found[3:]])
    assert log.broken_at() == 4


def test_the_line_is_named_and_the_exit_code_is_one(log: AuditLog, tmp_path: Path) -> None:
    found = lines(tmp_path)
    found[1] = found[1].replace(b'"w2"', b'"x2"')
    write(tmp_path, found)
    done = verify(tmp_path)
    assert done.returncode == 1 and "Line 3" in done.stdout
    answer = json.loads(verify(tmp_path, "--json").stdout)
    assert (answer["whole"], answer["broken_at"], answer["count"]) == (False, 3, 5)


def test_a_cut_last_line_never_took_effect(log: AuditLog, tmp_path: Path) -> None:
    found, head = lines(tmp_path), tmp_path / ".modelwright" / "audit.head"
    for cut in (1, len(found[4]) // 2, len(found[4]) - 1):
        write(tmp_path, [*found[:4], found[4][:cut]])
        head.write_text(sha256(found[3].rstrip()))  # it is written after the line
        assert log.broken_at() is None
        assert [line.version for line in log.lines()] == ["1", "2", "3", "4"]
    log.record("override", "shop", "5", replaces="", why="few rows", subject="roc_auc")
    assert [line.subject for line in log.lines("shop")][-2:] == ["", "roc_auc"]
    assert log.broken_at() is None


def test_an_edited_or_removed_last_line_shows(log: AuditLog, tmp_path: Path) -> None:
    found = lines(tmp_path)
    write(tmp_path, [*found[:4], found[4].replace(b'"w5"', b'"x5"')])
    assert log.broken_at() == 5
    write(tmp_path, found[:4])
    assert log.broken_at() == 4
