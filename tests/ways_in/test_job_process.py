"""The process of a job: what it is given, how it ends, and what it leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from modelwright.core.principal import Principal, acting_as
from modelwright.core.store import is_held
from modelwright.core.writer import last_writer, writing
from modelwright.ways_in import job_files as files
from modelwright.ways_in import jobs
from modelwright.ways_in.job_state import JobState
from projects import QUICK
from waiting import LONG, PIPE, begin, let_go, pid_of, until


def test_cancel_works_where_ctrl_c_was_ignored(held: Path) -> None:
    """As shells do for what they start in the background, and processes inherit."""
    code = (
        "import signal; from pathlib import Path; from modelwright.ways_in import jobs\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"print(jobs.start(Path.cwd(), 'spec', {{'file': {PIPE!r}}}).id, flush=True)\n"
    )
    made = subprocess.run([sys.executable, "-c", code], cwd=held, text=True, capture_output=True)
    id = made.stdout.strip()
    jobs.cancel(held, id)
    assert jobs.wait(held, id, LONG).state == "cancelled"


def test_what_python_said_last_tells_why_it_was_lost(held: Path) -> None:
    state = begin(held)
    home = held / files.JOBS / state.id
    with (home / files.OUTPUT).open("ab") as output:
        output.write(b"noise\nterminate called: out of memory\n")
    os.kill(pid_of(held, state.id), signal.SIGKILL)
    lost = jobs.wait(held, state.id, LONG)
    assert (lost.state, lost.note) == ("lost", "terminate called: out of memory")
    assert lost.resume_with is None


def test_sigterm_from_elsewhere_is_no_cancel(held: Path) -> None:
    state = begin(held)
    os.kill(pid_of(held, state.id), signal.SIGTERM)
    ended = jobs.wait(held, state.id, LONG)
    assert ended.state == "lost" and ended.error is not None
    assert ended.error["code"] == "terminated"


def test_a_refusal_stands_in_the_state(shop: Path) -> None:
    state = jobs.wait(shop, jobs.start(shop, "spec", {"file": "none.yaml"}).id, LONG)
    assert state.state == "failed" and state.error is not None
    assert set(state.error) == {"code", "rule", "message", "fix", "evidence", "problems"}
    assert "none.yaml" in state.error["message"] and "init" in state.error["fix"]
    assert state.resume_with is None


def test_a_fault_of_ours_leaves_its_traceback(shop: Path) -> None:
    state = jobs.wait(shop, jobs.start(shop, "spec", {"file": "\0"}).id, LONG)
    assert state.state == "failed" and state.error is not None
    assert state.error["code"] == "fault"
    assert "Traceback" in Path(state.error["evidence"]["traceback"]).read_text()


def test_the_process_gets_no_key_of_an_approver(
    held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(jobs.APPROVER_KEY, "/secret/key")
    monkeypatch.setenv("OTHER", "kept")
    state = begin(held)
    environment = psutil.Process(pid_of(held, state.id)).environ()
    assert jobs.APPROVER_KEY not in environment and environment["OTHER"] == "kept"
    let_go(held)
    assert jobs.wait(held, state.id, LONG).state == "done"


def test_nothing_of_the_project_is_run_as_code(shop: Path) -> None:
    """A file named as one of Python's own modules lies in the folder where the job works."""
    (shop / "json.py").write_text("raise SystemExit('taken')")
    (shop / "modelwright.py").write_text("raise SystemExit('taken')")
    state = jobs.wait(shop, jobs.start(shop, "spec", {}).id, LONG)
    assert state.state == "done", state


def test_whoever_started_it_has_no_zombie(shop: Path) -> None:
    state = jobs.start(shop, "spec", {})
    assert jobs.wait(shop, state.id, LONG).state == "done"
    for thread in threading.enumerate():
        if thread.name == f"job {state.id}":
            thread.join()
    assert not psutil.pid_exists(pid_of(shop, state.id))
    assert not is_held(shop / files.JOBS / state.id / files.LOCK)


@pytest.mark.slow
def test_a_run_as_a_job_of_an_agent(shop: Path) -> None:
    told: list[JobState] = []
    with acting_as(Principal("agent ada", "agent")):
        began = jobs.start(shop, "run", {"overrides": list(QUICK)})
    state = jobs.wait(shop, began.id, LONG, told.append)
    assert state.state == "done" and state.result is not None, state
    assert (state.result["version"], state.result["verdict"]) == ("1", "pass")
    stages = list(dict.fromkeys(one.stage for one in told if one.stage))
    assert stages[-1] == "release" and set(stages) <= {"data", "fit", "pack", "release"}
    assert any(one.board for one in told) or any(one.total for one in told)
    lines, _ = jobs.log(shop, began.id, 0)
    assert [line.text.split(":")[0] for line in lines if line.kind == "stage"] == [
        "data", "fit", "pack", "release",
    ]  # fmt: skip
    writer = last_writer(shop)
    assert writer is not None and (writer.who, writer.what) == ("agent ada", "run")


@pytest.mark.slow
def test_a_second_writer_is_refused_in_its_state(shop: Path) -> None:
    with writing(shop, "run"):
        state = jobs.wait(shop, jobs.start(shop, "run", {}).id, LONG)
    assert state.state == "failed" and state.error is not None
    assert (state.error["code"], state.error["rule"]) == ("Refused", "one_writer")


@pytest.mark.slow
def test_cancelling_a_search_keeps_what_was_found(shop: Path) -> None:
    quick = [text for text in QUICK if "budget" not in text]
    began = jobs.start(shop, "run", {"overrides": [*quick, "fit.budget=10 min"]})

    def a_model_is_shown(_: object) -> bool:
        board = jobs.look(shop, began.id).board
        return any("dummy" not in line["candidate"] for line in board)

    until(shop, began.id, a_model_is_shown)
    jobs.cancel(shop, began.id)
    state = jobs.wait(shop, began.id, LONG)
    assert state.state == "cancelled" and state.result is not None
    assert state.result["version"] == "1"
    said = [line.text for line in jobs.log(shop, began.id, 0)[0]]
    assert any("going on with the best so far" in text for text in said)


@pytest.mark.slow
def test_a_lost_run_is_gone_on_with(shop: Path) -> None:
    began = jobs.start(shop, "run", {"overrides": list(QUICK)})
    until(shop, began.id, lambda _: jobs.look(shop, began.id).done >= 2)
    os.kill(pid_of(shop, began.id), signal.SIGKILL)
    lost = jobs.wait(shop, began.id, LONG)
    assert lost.state == "lost" and lost.resume_with is not None and lost.stage == "fit"
    state = jobs.wait(shop, jobs.start(shop, **lost.resume_with).id, LONG)
    assert state.state == "done", state
    assert len(list((shop / "runs").glob("*/"))) == 1
