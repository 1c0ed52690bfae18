"""One writer at a time, whatever becomes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from modelwright.core.errors import Refused
from modelwright.core.store import to_json, write_atomic
from modelwright.core.writer import FILE, SILENT, last_writer, must_still_hold, writing

HOLDER = """
import sys
from pathlib import Path
from modelwright.core.errors import Refused
from modelwright.core.writer import must_still_hold, writing
folder = Path(sys.argv[1])
with writing(folder, "run"):
    print("held", flush=True)
    sys.stdin.readline()
    try:
        must_still_hold(folder)
        print("mine", flush=True)
    except Refused as error:
        print("lost", error.rule, error.evidence["newer"], flush=True)
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that holds the project."""
    made = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "MODELWRIGHT_USER": "bob"},
    )  # fmt: skip
    assert made.stdout and made.stdout.readline() == "held\n"
    return made


def test_a_second_writer_is_told_who_the_first_is(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(Refused, match="bob writes in this project: run, since") as caught:
        writing(tmp_path, "retrain").__enter__()
    assert caught.value.rule == "one_writer" and caught.value.evidence["holder"] == "bob"
    out, _ = holder.communicate("\n")
    assert out == "mine\n"
    with writing(tmp_path, "retrain") as lease:
        assert lease.writer.token == 2


def test_a_killed_writer_frees_the_project_at_once(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    holder.wait()
    with writing(tmp_path, "run") as lease:
        assert lease.writer.token == 2
    assert [p.name for p in (tmp_path / ".modelwright").glob("writer-*")] == ["writer-2.lock"]


def test_a_silent_writer_is_passed_over_and_can_then_write_nothing(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    holder.send_signal(signal.SIGSTOP)
    was = last_writer(tmp_path)
    assert was is not None
    old = msgspec.structs.replace(was, beat=time.time() - SILENT - 1)
    write_atomic(tmp_path / FILE, to_json(old))
    with writing(tmp_path, "run") as lease:
        assert lease.writer.token == 2
        holder.send_signal(signal.SIGCONT)
        out, _ = holder.communicate("\n")
        assert out == "lost one_writer 2\n"
        must_still_hold(tmp_path)


def test_a_beat_keeps_the_token_and_does_not_bring_back_a_lost_one(tmp_path: Path) -> None:
    with writing(tmp_path, "run") as lease:
        before = last_writer(tmp_path)
        lease.beat()
        after = last_writer(tmp_path)
        assert before and after and after.beat > before.beat
        newer = msgspec.structs.replace(after, token=9)
        write_atomic(tmp_path / FILE, to_json(newer))
        lease.beat()
        assert last_writer(tmp_path) == newer
        with pytest.raises(Refused, match="has taken over"):
            must_still_hold(tmp_path)


def test_who_holds_nothing_is_not_asked(tmp_path: Path) -> None:
    must_still_hold(tmp_path)
    with writing(tmp_path / "a", "run"):
        must_still_hold(tmp_path / "b")
