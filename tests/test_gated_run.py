"""A run that the policy wants asked for: a person says yes, and it runs exactly once."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

import modelwright as mw
from agents import MODES, Person, audited, call, structured, talk
from approving import approver
from modelwright.core.errors import Refused, UsageError
from modelwright.core.progress import Silent
from modelwright.core.store import from_json
from modelwright.ways_in import approvals, arguments, jobs
from modelwright.ways_in.cli import perform
from modelwright.ways_in.job_files import Job
from modelwright.ways_in.job_process import _perform
from modelwright.ways_in.job_progress import JobProgress
from modelwright.ways_in.operations import OPERATIONS
from waiting import pid_of, until
from ways_in.mcp.test_over_http import TOKEN, listening, over_http, stdio

RUN = next(one for one in OPERATIONS if one.name == "run")
YES = {"approve": True, "reason": "go on"}


@pytest.fixture
def gated(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose runs have to be asked for, and are quick."""
    monkeypatch.chdir(shop)
    spec = shop / "modelwright.yaml"
    fit = "fit: {families: [lightgbm], budget: 2 trials, folds: 2}\npack: {seconds: 0.2}\n"
    spec.write_text(spec.read_text().replace("fit: {families: [lightgbm]}\n", fit))
    (shop / "modelwright.policy.yaml").write_text("agents: {run: ask}\n")
    return shop


@pytest.fixture
def asking(gated: Path) -> Path:
    """The same, where a client's yes counts."""
    with (gated / "modelwright.policy.yaml").open("a") as file:
        file.write("confirm: client\n")
    return gated


@pytest.fixture(params=["in process", "stdio", "http"])
def door(request: pytest.FixtureRequest, asking: Path) -> Iterator[Any]:
    with ExitStack() as stack:
        if request.param == "in process":
            yield None
        elif request.param == "stdio":
            yield stdio(asking, "--persona", "release")
        else:
            url, _, _ = stack.enter_context(listening(asking, MODELWRIGHT_MCP_TOKEN=TOKEN))
            yield over_http(url, TOKEN)


def runs(project: Path) -> list[Path]:
    return list((project / "runs").glob("2*"))


async def _until_over(client: Client, job: str) -> dict[str, Any]:
    while True:
        found = structured(await client.call_tool("job_wait", {"job_id": job, "seconds": 50}))
        if found["state"] != "running":
            return found


async def _run(client: Client) -> dict[str, Any]:
    """Ask for a run, and wait for it where there is a job."""
    found = structured(await client.call_tool("run"))
    if found["status"] == "started":
        found["over"] = await _until_over(client, found["job_id"])
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("person", [None, Person("accept", **YES)], ids=["none", "person"])
def test_without_a_clients_yes_it_waits_for_a_key(
    gated: Path, mode: str, person: Person | None
) -> None:
    for _ in range(2):  # asking again is the same request
        found = call("run", mode=mode, person=person)
        assert (found["status"], found["request"]) == ("pending", "PR-1")
        assert found["approve_with"] == "modelwright approve PR-1 --key FILE"
    assert person is None or not person.asked  # a yes would not count
    assert not jobs.all_jobs(gated) and not runs(gated)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "person", [Person("decline"), Person("cancel"), Person("accept", approve=False), None],
    ids=["decline", "cancel", "no", "none"],
)  # fmt: skip
def test_anything_but_a_yes_begins_nothing(asking: Path, mode: str, person: Person | None) -> None:
    found = call("run", mode=mode, person=person)
    assert (found["status"], found["request"]) == ("pending", "PR-1")
    assert not jobs.all_jobs(asking) and not runs(asking)


@pytest.mark.parametrize("mode", MODES)
def test_a_broken_spec_is_told_before_anybody_is_asked(asking: Path, mode: str) -> None:
    (asking / "modelwright.yaml").write_text("name: 1\n")
    person = Person("accept", **YES)
    found = call("run", mode=mode, person=person)
    assert (found["status"], found["code"]) == ("refused", "SpecError")
    assert not person.asked and not mw.Requests(asking).all()


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_what_was_approved_and_failed_is_asked_for_anew(asking: Path, mode: str) -> None:
    (asking / "shop.csv").unlink()
    person = Person("accept", **YES)
    found = talk(_run, mode=mode, person=person)
    assert (found["status"], found["request"], len(person.asked)) == ("started", "PR-1", 1)
    assert (found["over"]["state"], found["over"]["error"]["code"]) == ("failed", "DataError")
    assert mw.Requests(asking).find("PR-1").state == "failed"
    assert talk(_run, mode=mode, person=person)["request"] == "PR-2"


def test_the_yes_is_for_the_spec_that_was_shown(asking: Path) -> None:
    assert call("run")["request"] == "PR-1"
    spec = asking / "modelwright.yaml"
    spec.write_text(spec.read_text().replace("2 trials", "3 trials"))
    person = Person("accept", **YES)
    (asking / "shop.csv").unlink()  # so that it is over soon
    assert talk(_run, person=person)["request"] == "PR-2"
    assert mw.Requests(asking).find("PR-1").state == "pending"


def test_a_job_of_an_agents_shell_is_asked_for_as_well(
    gated: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODELWRIGHT_AGENT", "bo")
    assert perform(RUN, {}, as_json=True, background=True) == 2
    told = json.loads(capsys.readouterr().out)["error"]
    assert (told["kind"], told["evidence"]["request"]) == ("ApprovalNeeded", "PR-1")
    assert not jobs.all_jobs(gated)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_yes_starts_one_job_at_every_door(asking: Path, door: Any, mode: str) -> None:
    person = Person("accept", **YES)
    found = talk(_run, door, mode=mode, person=person)
    assert (found["status"], found["request"], len(person.asked)) == ("started", "PR-1", 1)
    assert "run shop" in person.asked[0]
    over = found["over"]
    assert (over["state"], over["result"]["model"]) == ("done", "shop")
    kept = mw.Requests(asking).find("PR-1")
    assert kept.state == "applied" and kept.decided_by.startswith("whoever uses")
    assert kept.decided_by != kept.by == "agent ada"
    [run] = runs(asking)
    assert over["result"]["run"] == run.name
    actions = [line["action"] for line in audited(asking) if line["action"] != "call"]
    assert actions == ["request", "approve", "begun", "applied"]


@pytest.mark.slow
def test_a_key_carries_it_out_once_and_the_agent_sees_it(gated: Path) -> None:
    key = approver(gated)
    assert call("run")["request"] == "PR-1"
    given = arguments.ApproveArguments(id="PR-1", key=str(key), why="fine")
    done = approvals.approve(given, Silent())
    assert (done.request.state, done.result["model"]) == ("applied", "shop")
    with pytest.raises(Refused, match="applied already"):
        approvals.approve(given, Silent())
    assert len(runs(gated)) == 1
    [seen] = call("requests", {"id": "PR-1"})["requests"]
    assert (seen["state"], seen["decided_by"]) == ("applied", "ada")
    assert call("project_status")["newest_run"]["run"] == done.result["run"]
    assert call("run")["request"] == "PR-2"


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_job_that_is_killed_goes_on_after_the_same_call(asking: Path, mode: str) -> None:
    """kill -9 in the middle of an approved run: the same tool again ends the same run."""
    person = Person("accept", **YES)

    async def story(client: Client) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        first = structured(await client.call_tool("run"))
        job = first["job_id"]
        until(asking, job, lambda _: bool(mw.Requests(asking).going_on("PR-1")))
        os.kill(pid_of(asking, job), signal.SIGKILL)
        return first, await _until_over(client, job), await _run(client)

    first, lost, again = talk(story, mode=mode, person=person)
    assert (first["request"], lost["state"]) == ("PR-1", "lost")
    assert lost["resume_with"] == {"operation": "run", "arguments": {}}
    assert (again["request"], len(person.asked)) == ("PR-1", 2)
    assert "goes on or was cut off" in person.asked[1]
    assert again["over"]["state"] == "done", again["over"]
    [run] = [path for path in runs(asking) if (path / "release.json").exists()]
    assert again["over"]["result"]["run"] == run.name
    assert mw.Requests(asking).find("PR-1").state == "applied"


def test_a_request_that_was_carried_out_makes_no_second_run(asking: Path) -> None:
    (asking / "shop.csv").unlink()
    found = talk(_run, person=Person("accept", **YES))
    home = asking / ".modelwright" / "jobs" / found["job_id"]
    assert json.loads((home / "job.json").read_text())["by"]["approved"] == "PR-1"
    with pytest.raises(UsageError, match="carried out already"):
        _do_again(home)
    assert not runs(asking)


def _do_again(home: Path) -> None:
    """What the job's process does, once more."""
    with JobProgress(home) as progress:
        _perform(from_json((home / "job.json").read_bytes(), Job), progress)
