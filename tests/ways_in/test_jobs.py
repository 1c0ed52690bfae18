"""Jobs as real processes: started, waited for, cancelled, killed, and outliving their server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killed import killed_at, start_job
from modelwright.core.errors import UsageError
from modelwright.core.principal import Principal, acting_as
from modelwright.core.store import append_line, from_json, to_json
from modelwright.ways_in import job_files as files
from modelwright.ways_in import jobs
from modelwright.ways_in.job_state import JobState
from projects import QUICK
from waiting import LONG, PIPE, begin, let_go, pid_of, until


def test_a_job_ends_with_the_result_of_its_operation(shop: Path) -> None:
    with acting_as(Principal("agent ada", "agent", client="test 1")):
        began = jobs.start(shop, "spec", {"what": "show"})
    assert (began.operation, began.by) == ("spec", "agent ada") and not began.result
    told: list[JobState] = []
    state = jobs.wait(shop, began.id, LONG, told.append)
    assert state.state == "done" and state.ended >= state.began
    assert state.result is not None and state.result["document"]["name"] == "shop"
    assert told[-1] == state == jobs.look(shop, began.id)
    assert state.error is None and state.resume_with is None
    [listed] = jobs.all_jobs(shop)
    assert listed.result is None and listed.state == "done"
    job = from_json((shop / files.JOBS / began.id / files.JOB).read_bytes(), files.Job)
    assert job.principal == Principal("agent ada", "agent", client="test 1")
    assert job.arguments == {"what": "show"}


@pytest.mark.parametrize(
    ("operation", "arguments", "said"),
    [
        ("rnu", {}, "id you mean 'run'"),
        ("serve", {"models": ["shop"]}, "services are kept running"),
        ("jobs", {}, "answers at once"),
        ("run", {"resumee": True}, "resumee: Extra inputs"),
        ("reproduce", {}, "run: Field required"),
        ("gc", {"keep": "many"}, "keep: Input should be a valid integer"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_begins(
    shop: Path, operation: str, arguments: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        jobs.start(shop, operation, arguments)
    assert not (shop / ".modelwright").exists()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no folder"):
        jobs.start(tmp_path / "none", "spec", {})
    assert not (tmp_path / "none").exists()
    assert jobs.all_jobs(tmp_path) == []


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.sampled_from(["../../x", "/etc", "20261126-221434-12307/..", ""])))
def test_an_id_is_never_a_path(tmp_path_factory: pytest.TempPathFactory, id: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    for call in (jobs.look, jobs.cancel, jobs.log):
        with pytest.raises(UsageError, match="There is no job"):
            call(folder, id)
    assert not (folder / ".modelwright").exists()


def test_it_runs_while_it_works_and_is_never_taken_for_lost(held: Path) -> None:
    """From the moment a job is listed, whoever looks sees it run until it has ended."""
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.update(one.state for one in jobs.all_jobs(held))

    watchers = [threading.Thread(target=watch) for _ in range(3)]
    for one in watchers:
        one.start()
    began = [begin(held) for _ in range(2)]
    assert jobs.wait(held, began[0].id, 0.0).state == "running"
    [other] = [jobs.start(held, "spec", {})]
    assert jobs.wait(held, other.id, LONG).state == "done"
    over.set()
    for one in watchers:
        one.join()
    assert seen == {"running", "done"} or seen == {"running"}
    assert [one.id for one in jobs.all_jobs(held)] == [other.id, began[1].id, began[0].id]


def test_it_goes_on_when_its_server_is_killed(held: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from modelwright.ways_in import jobs\n"
        f"print(jobs.start(Path.cwd(), 'spec', {{'file': {PIPE!r}}}).id, flush=True)\n"
        "sys.stdin.read()"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code], cwd=held, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert server.stdout is not None
    id = server.stdout.readline().strip()
    os.killpg(server.pid, signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL
    assert jobs.wait(held, id, 0.5).state == "running"
    let_go(held)
    assert jobs.wait(held, id, LONG).state == "done"


@pytest.mark.slow
def test_whoever_starts_it_may_be_killed_at_any_step(shop: Path) -> None:
    """There is no job, or a lost one, or one that goes on to its end."""
    seen = []
    for step in range(1, 7):
        name = killed_at(step, start_job, shop)
        known = jobs.all_jobs(shop)
        seen.append([jobs.wait(shop, one.id, LONG).state for one in known][:1])
        if not name:
            break
        for one in known:
            shutil.rmtree(shop / files.JOBS / one.id)
    assert not name and seen[0] == [] and seen[-1] == ["done"]
    assert ["lost"] in seen


def test_a_job_that_is_killed_is_lost_and_says_how_to_go_on(shop: Path) -> None:
    given_ = {"spec": "modelwright.yaml", "overrides": list(QUICK)}
    state = jobs.start(shop, "run", given_)
    until(shop, state.id, lambda home: (home / files.PROCESS).exists())
    os.kill(pid_of(shop, state.id), signal.SIGKILL)
    lost = jobs.wait(shop, state.id, LONG)
    assert (lost.state, lost.result, lost.error, lost.ended) == ("lost", None, None, "")
    assert lost.resume_with == {"operation": "run", "arguments": {**given_, "resume": True}}
    assert jobs.cancel(shop, state.id) == lost
    assert not (shop / files.JOBS / state.id / files.CANCEL).exists()


def test_cancel_is_ctrl_c(held: Path) -> None:
    state = begin(held)
    with acting_as(Principal("ada")):
        assert jobs.cancel(held, state.id).id == state.id
    ended = jobs.wait(held, state.id, LONG)
    assert ended.state == "cancelled" and ended.error is not None
    assert (ended.error["code"], ended.result) == ("interrupted", None)
    asked = from_json((held / files.JOBS / state.id / files.CANCEL).read_bytes(), files.Cancelling)
    assert (asked.by, asked.times) == ("ada", 1)


def test_cancel_before_the_process_has_a_pid(held: Path) -> None:
    state = jobs.start(held, "spec", {"file": PIPE})
    jobs.cancel(held, state.id)
    assert jobs.wait(held, state.id, LONG).state == "cancelled"


def test_the_third_cancel_kills_after_a_grace(held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process takes neither SIGINT nor SIGTERM."""
    state = begin(held)
    os.kill(pid_of(held, state.id), signal.SIGSTOP)
    for _ in range(3):
        assert jobs.cancel(held, state.id).state == "running"
    assert jobs.wait(held, state.id, 0.3).state == "running"
    monkeypatch.setattr(jobs, "GRACE", 0.0)
    jobs.cancel(held, state.id)
    ended = jobs.wait(held, state.id, LONG)
    assert (ended.state, ended.error, ended.result) == ("cancelled", None, None)


def test_a_foreign_process_with_the_same_pid_is_left_alone(held: Path) -> None:
    """Whether the job lives or not: the pid in its file is not believed by itself."""
    with subprocess.Popen(["sleep", "600"]) as foreign:
        state = begin(held)
        path = held / files.JOBS / state.id / files.PROCESS
        mine = from_json(path.read_bytes(), files.Process)
        path.write_bytes(to_json(files.Process(foreign.pid, mine.started - 5000)))
        for _ in range(2):
            jobs.cancel(held, state.id)
        assert jobs.wait(held, state.id, 0.2).state == "running" and foreign.poll() is None
        os.kill(mine.pid, signal.SIGKILL)
        started = psutil.Process(foreign.pid).create_time()
        path.write_bytes(to_json(files.Process(foreign.pid, started)))
        assert jobs.wait(held, state.id, LONG).state == "cancelled"
        (path.parent / files.CANCEL).unlink()
        assert jobs.cancel(held, state.id).state == "lost" and foreign.poll() is None
        foreign.kill()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.text(max_size=10).filter(lambda t: t.isprintable()), max_size=12),
    st.integers(1, 5),
    st.integers(0, 10),
)
def test_a_log_is_read_whole_in_pieces_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], most: int, cut: int
) -> None:
    """A last line that is still being written waits for its end."""
    folder = tmp_path_factory.mktemp("log")
    id = "20261126-221434-12307"
    path = folder / files.JOBS / id / files.LOG
    path.parent.mkdir(parents=True)
    for text in texts:
        append_line(path, files.Line("now", "say", text))
    tail = b'{"at":"now","kind":"say","text":"cut"}'[:cut]
    with path.open("ab") as file:
        file.write(tail)
    found, cursor = [], 0
    while True:
        lines, cursor = jobs.log(folder, id, cursor, most)
        assert len(lines) <= most
        if not lines:
            break
        found += [line.text for line in lines]
    assert found == texts
    assert cursor == path.stat().st_size - len(tail)
    append_line(path, files.Line("now", "say", "later"))
    late, _ = jobs.log(folder, id, cursor)
    assert [line.text for line in late] == ["later"]  # what was cut spoils only itself
