"""The chain of the audit log, and what verify says about it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelwright.core.store import sha256
from modelwright.release.audit import BLOCK, FILE, AuditLog, previous


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


def test_a_call_of_a_tool_is_chained_and_is_no_change(log: AuditLog, tmp_path: Path) -> None:
    given = {"model": "shop/3", "token": "s3cr3t", "rows": [{"name": "Ada"}] * 4, "why": "w" * 900}
    line = log.call("agent bo", "tester 1.0", "predict", given, "ok", "abc", 12.4)
    assert (line.action, line.model, line.subject, line.who) == (
        "call", "shop", "predict", "agent bo",
    )  # fmt: skip
    assert json.loads(line.detail["arguments"]) == {
        "model": "shop/3", "token": "***", "rows": "4 rows",
        "why": f"{'w' * 200}... (900 characters)",
    }  # fmt: skip
    assert line.detail["ms"] == "12" and line.detail["client"] == "tester 1.0"
    log.record("promote", "shop", "6", replaces="5", why="")
    assert log.broken_at() is None
    assert [e.version for e in log.lines("shop")] == ["1", "2", "3", "4", "5", "6"]
    assert len(log.entries("shop")) == 6 and len(log.entries(calls=True)) == 7
    assert previous(log.entries("shop", calls=True), "6") == "5"
    text = (tmp_path / ".modelwright" / "audit.jsonl").read_text()
    assert "s3cr3t" not in text and "Ada" not in text


def test_calls_are_shown_where_they_are_asked_for(log: AuditLog, tmp_path: Path) -> None:
    log.call("agent bo", "tester 1.0", "predict", {"model": "shop"}, "ok", "abc", 12.4)
    command = [sys.executable, "-m", "modelwright", "audit"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "predict" not in done.stdout and "1 calls of tools are not shown" in done.stdout
    done = subprocess.run([*command, "--calls"], cwd=tmp_path, capture_output=True, text=True)
    assert "predict" in done.stdout and "agent bo" in done.stdout
    answer = json.loads(verify(tmp_path, "--json").stdout)
    assert (answer["count"], answer["calls"], answer["lines"]) == (6, 1, [])


def test_an_edit_of_the_last_line_shows_after_the_next_line_too(
    log: AuditLog, tmp_path: Path
) -> None:
    found = lines(tmp_path)
    write(tmp_path, [*found[:4], found[4].replace(b'"w5"', b'"x5"')])
    log.record("promote", "shop", "6", replaces="5", why="")
    assert log.broken_at() == 6


def test_lines_longer_than_a_block_and_lines_of_older_versions(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    for size in (0, BLOCK - 400, BLOCK, 3 * BLOCK + 1, 5):
        log.record("promote", "shop", "1", replaces="", why="w" * size)
        assert log.broken_at() is None
    path = tmp_path / ".modelwright" / "audit.jsonl"
    path.write_bytes(path.read_bytes() + b"x" * 2 * BLOCK)  # cut short
    log.record("promote", "shop", "2", replaces="1", why="")
    assert log.broken_at() is None and len(log.lines()) == 6
    path.write_bytes(path.read_bytes().replace(b'"why":""', b'"why":"","zzz":1'))
    assert log.broken_at() is not None


def test_a_log_of_an_older_version_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / ".modelwright" / "audit.jsonl"
    path.parent.mkdir()
    old, before = b"", ""
    for version in ("1", "2"):
        line = json.dumps({
            "at": "2026-01-01T00:00:00Z", "who": "ada", "action": "promote", "model": "shop",
            "version": version, "replaces": "", "why": "", "previous": before, "subject": "",
        }, separators=(",", ":")).encode()  # fmt: skip
        before = sha256(line)
        old += line + b"\n"
    path.write_bytes(old)
    (path.with_suffix(".head")).write_text(before)
    log = AuditLog(tmp_path)
    assert log.broken_at() is None
    log.record("rollback", "shop", "1", replaces="2", why="")
    assert log.broken_at() is None and path.read_bytes().startswith(old)


def test_what_was_appended_since(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    assert log.lines_from(0) == ([], 0)
    first = log.record("promote", "shop", "1", replaces="", why="")
    found, read = log.lines_from(0, "shop")
    assert found == [first]
    log.call("agent a", "", "history", {"model": "shop"}, "ok", "", 1.0)
    log.record("promote", "other", "1", replaces="", why="")
    last = log.record("rollback", "shop", "1", replaces="2", why="")
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"at": "cut')
    found, again = log.lines_from(read, "shop")
    assert found == [last] and again > read
    assert log.lines_from(again) == ([], again)
    assert log.lines("shop") == [first, last]
