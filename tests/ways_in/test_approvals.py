"""From an agent's wish to a changed production, at the doors that people and agents use."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

import killed
import modelwright as mw
from approving import AGENT, approver, request_of, undecided_run
from modelwright.core.errors import ApprovalNeeded, NoSuchModel, Refused
from modelwright.core.policy import FILE as POLICY
from modelwright.core.principal import acting_as
from modelwright.core.progress import Silent
from modelwright.core.records import ReleaseRecord
from modelwright.core.store import from_json
from modelwright.release.registry import Registry
from modelwright.watch.look import Advice
from modelwright.watching import act
from modelwright.ways_in.approvals import carry_out, request_line
from modelwright.ways_in.render_requests import show_requests
from modelwright.ways_in.results_requests import RequestsResult
from projects import QUICK


@pytest.fixture
def two(project: Path) -> Path:
    """Champion 1, challenger 2, and an approver."""
    registry = Registry(project)
    first = registry.resolve("shop")
    run = project / "runs" / first.run
    record = from_json((run / "release.json").read_bytes(), ReleaseRecord)
    artefact = mw.Artefact.load(run / "artefact")
    record = msgspec.structs.replace(record, replaces="1")
    assert registry.register(artefact, record, first.mlflow_run) == "2"
    registry.set_alias("shop", "challenger", "2")
    loose = "rules: {card_complete: 'off', monitor_and_rollback_ready: 'off'}\n"
    (project / POLICY).write_text(loose)
    approver(project)
    return project


def key_of(project: Path) -> Path:
    return project.parent / f"keys of {project.name}" / "approver-ada.pem"


def cli(folder: Path, *words: str, agent: str = "") -> subprocess.CompletedProcess[str]:
    """A shell, of an agent where one is named."""
    marked = {"MODELWRIGHT_AGENT": agent} if agent else {}
    return subprocess.run(
        [sys.executable, "-m", "modelwright", *words], cwd=folder, capture_output=True, text=True,
        timeout=120, env={**os.environ, "COLUMNS": "160", **marked}, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def champion(folder: Path) -> str:
    found = Registry(folder).aliased("shop", "champion")
    return found.number if found else ""


def approve(folder: Path, id: str = "PR-1") -> None:
    mw.Requests(folder).approve(id, key=key_of(folder), reason="looked at it")


def asked(error: type[Exception], call: Any, *given: Any, **named: Any) -> str:
    """What an agent tries becomes a request."""
    with acting_as(AGENT), pytest.raises(error) as found:
        call(*given, **named)
    return request_of(found)


@pytest.mark.slow
def test_an_agents_promotion_at_the_command_line(two: Path) -> None:
    done = cli(two, "promote", "shop", "--why", "better", "--json", agent="bo")
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 2
    assert (error["kind"], error["code"], error["rule"]) == (
        "ApprovalNeeded", "ApprovalNeeded", "human_approval",
    )  # fmt: skip
    assert error["fix"] == "Approve with: modelwright approve PR-1"
    assert error["evidence"]["request"] == "PR-1" and champion(two) == "1"
    done = cli(two, "requests", agent="bo")
    assert "promote shop 2" in done.stdout and "agent bo" in done.stdout
    done = cli(two, "requests", "PR-1")
    assert "limit roc_auc: pass" in done.stdout and "Why: better" in done.stdout
    done = cli(two, "approve", "PR-1", "--key", str(key_of(two)), agent="bo")
    assert done.returncode == 2 and "only a person can approve" in done.stderr
    done = cli(two, "approve", "PR-1", "--key", str(key_of(two)), "--why", "looked at it")
    assert done.returncode == 0, done.stderr
    assert "PR-1 is applied" in done.stdout and "Version 2 is now champion" in done.stdout
    assert champion(two) == "2"
    line = mw.AuditLog(two).lines("shop")[-1]
    assert (line.who, line.why, line.detail["request"]) == ("agent bo", "better", "PR-1")
    done = cli(two, "audit")
    for word in ("request", "approve", "applied", "(PR-1)"):
        assert word in done.stdout
    done = cli(two, "approve", "PR-1", "--key", str(key_of(two)))
    assert done.returncode == 2 and "PR-1 is applied already" in done.stderr
    assert "Nothing waits" in cli(two, "requests").stdout
    assert "applied" in cli(two, "requests", "--all").stdout
    done = cli(two, "reject", "PR-1", "--why", " ")
    assert done.returncode == 2 and "Give it with --why" in done.stderr


def test_reject_at_the_command_line(two: Path) -> None:
    asked(ApprovalNeeded, mw.promote, "shop", folder=two)
    assert cli(two, "reject", "PR-1", "--why", "no", agent="bo").returncode == 2
    done = cli(two, "reject", "PR-1", "--why", "not on a Friday")
    assert done.returncode == 0 and "not on a Friday" in done.stdout
    assert champion(two) == "1"


def test_a_champion_that_changed_since_fails_the_request(two: Path) -> None:
    asked(ApprovalNeeded, mw.promote, "shop", "2", folder=two)
    mw.promote("shop", "2", folder=two)
    mw.rollback("shop", folder=two)
    third(two)
    mw.promote("shop", "3", why="by hand", folder=two)
    approve(two)
    with pytest.raises(Refused, match="the champion of shop was 1; now it is 3"):
        carry_out("PR-1", two, Silent())
    found = mw.Requests(two).find("PR-1")
    assert found.state == "failed" and "now it is 3" in found.outcome
    assert champion(two) == "3"


def third(folder: Path) -> None:
    registry = Registry(folder)
    first = registry.version("shop", "1")
    run = folder / "runs" / first.run
    record = from_json((run / "release.json").read_bytes(), ReleaseRecord)
    assert registry.register(mw.Artefact.load(run / "artefact"), record, first.mlflow_run) == "3"


def test_an_operation_that_fails_fails_the_request(two: Path) -> None:
    asked(ApprovalNeeded, mw.promote, "shop", "2", folder=two)
    approve(two)
    mw.promote("shop", "2", folder=two)
    with pytest.raises(NoSuchModel, match="is the champion already"):
        carry_out("PR-1", two, Silent())
    found = mw.Requests(two).find("PR-1")
    assert (found.state, "champion already" in found.outcome) == ("failed", True)
    assert carry_out("PR-1", two, Silent()).request.state == "failed"


def test_rollback_and_traffic_under_approval(two: Path) -> None:
    with acting_as(AGENT):
        mw.traffic("shop", folder=two)  # a look is free
    steps = mw.steps_of("5%:90s,33.3%:1h")
    id = asked(ApprovalNeeded, mw.canary, "shop", "challenger", steps=steps, folder=two)
    assert not mw.traffic("shop", folder=two).traffic.canary
    approve(two, id)
    done = carry_out(id, two, Silent())
    rule = mw.traffic("shop", folder=two).traffic.canary
    assert rule is not None and rule.steps == steps and rule.version == "2"
    assert done.request.state == "applied" and done.result["by"] == AGENT.name
    wide = asked(ApprovalNeeded, mw.canary, "shop", "2", weight=1 / 3, folder=two)
    mw.canary("shop", "2", weight=0.5, folder=two)  # by a person, meanwhile
    approve(two, wide)
    with pytest.raises(Refused, match="approved for something else"):
        carry_out(wide, two, Silent())
    wide = asked(ApprovalNeeded, mw.canary, "shop", "2", weight=1 / 3, folder=two)
    approve(two, wide)
    carry_out(wide, two, Silent())
    rule = mw.traffic("shop", folder=two).traffic.canary
    assert rule is not None and rule.weight == 1 / 3
    stop = asked(ApprovalNeeded, mw.stop_traffic, "shop", folder=two)
    shadow = asked(ApprovalNeeded, mw.shadow, "shop", "2", folder=two)
    approve(two, stop)
    carry_out(stop, two, Silent())
    assert not mw.traffic("shop", folder=two).traffic.canary
    test = asked(ApprovalNeeded, mw.ab_test, "shop", {"1": 0.7, "2": 0.3}, folder=two)
    approve(two, test)
    carry_out(test, two, Silent())
    assert mw.traffic("shop", folder=two).shares == {"1": 0.7, "2": 0.3}
    approve(two, shadow)
    with pytest.raises(Refused, match="something else"):  # other traffic than when it was asked
        carry_out(shadow, two, Silent())
    mw.promote("shop", "2", folder=two)
    back = asked(ApprovalNeeded, mw.rollback, "shop", why="worse", folder=two)
    approve(two, back)
    carry_out(back, two, Silent())
    assert champion(two) == "1" and mw.AuditLog(two).broken_at() is None


def test_gc_removes_what_was_shown_and_no_more(two: Path) -> None:
    def stray(name: str) -> Path:
        path = two / ".modelwright" / "artefacts" / (name * 64)
        path.mkdir(parents=True)
        (path / "model.onnx").write_bytes(b"x")
        return path

    one = stray("0")
    with acting_as(AGENT):
        assert len(mw.gc(two)) == 1
    id = asked(ApprovalNeeded, mw.gc, two, apply=True)
    two_ = stray("1")
    approve(two, id)
    done = carry_out(id, two, Silent())
    assert len(done.result["garbage"]) == 1
    assert not one.exists() and two_.exists()


def carry_out_one(folder: Path) -> object:
    return carry_out("PR-1", folder, Silent())


@pytest.mark.slow
def test_an_approved_promotion_killed_at_every_step_happens_once(two: Path, tmp_path: Path) -> None:
    asked(ApprovalNeeded, mw.promote, "shop", "2", folder=two)
    approve(two)
    seen = []
    for step in range(1, 100):
        folder = killed.copied(two, tmp_path / f"copy{step}")
        died = killed.killed_at(step, carry_out_one, folder)
        if died:
            seen.append(died)
            assert carry_out("PR-1", folder, Silent()).request.state == "applied", died
        assert champion(folder) == "2", died
        lines = mw.AuditLog(folder).entries()
        assert [e.action for e in lines].count("promote") == 2, died
        assert [e.action for e in lines].count("applied") == 1, died
        assert mw.Requests(folder).find("PR-1").state == "applied", died
        assert mw.AuditLog(folder).broken_at() is None, died
        assert carry_out("PR-1", folder, Silent()).result == {}
        if not died:
            break
    assert len(seen) >= 10 and "set_registered_model_alias" in seen


def test_a_change_that_another_person_made_after_a_kill_is_told(two: Path, tmp_path: Path) -> None:
    asked(ApprovalNeeded, mw.promote, "shop", "2", folder=two)
    approve(two)
    folder = killed.copied(two, tmp_path / "copy")
    killed.killed_in("set_registered_model_alias", carry_out_one, folder)
    third(folder)
    Registry(folder).set_alias("shop", "champion", "3")  # past modelwright
    found = carry_out("PR-1", folder, Silent()).request
    assert found.state == "failed" and "production had changed meanwhile" in found.outcome


@pytest.mark.slow
def test_a_removal_that_was_cut_off_is_unknown(two: Path, tmp_path: Path) -> None:
    path = two / ".modelwright" / "artefacts" / ("0" * 64)
    path.mkdir(parents=True)
    (path / "model.onnx").write_bytes(b"x")
    asked(ApprovalNeeded, mw.gc, two, apply=True)
    approve(two)
    states = set()
    for step in range(1, 60):
        folder = killed.copied(two, tmp_path / f"copy{step}")
        died = killed.killed_at(step, carry_out_one, folder)
        found = carry_out("PR-1", folder, Silent()).request
        states.add(found.state)
        if found.state == "failed":
            assert "unknown" in found.outcome and "modelwright gc" in found.outcome
        if not died:
            break
    assert states == {"applied", "failed"}


@pytest.mark.slow
def test_an_agents_first_release_waits(shop: Path) -> None:
    words = [f"--set={text}" for text in QUICK]
    loose = "rules: {card_complete: 'off', monitor_and_rollback_ready: 'off'}\n"
    (shop / POLICY).write_text(loose)
    done = cli(shop, "run", *words, "--json", agent="bo")
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (found["version"], found["alias"]) == ("1", "challenger")
    assert "has no champion yet" in found["next"] and "modelwright promote shop" in found["next"]
    assert champion(shop) == ""
    done = cli(shop, "promote", "shop", agent="bo")
    assert done.returncode == 2 and "modelwright approve PR-1" in done.stderr
    approver(shop)
    done = cli(shop, "approve", "PR-1", "--key", str(key_of(shop)))
    assert done.returncode == 0 and champion(shop) == "1", done.stderr


def test_a_watcher_acts_on_a_persons_order_and_an_agents_has_to_ask(
    two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(two)
    mw.canary("shop", "2", weight=0.5, folder=two)
    advice = Advice("promote", "2", "no worse", ())
    monkeypatch.setenv("MODELWRIGHT_AGENT", "bo")
    with pytest.raises(ApprovalNeeded, match="PR-1 waits"):
        act(advice, registry, two, "shop")
    monkeypatch.delenv("MODELWRIGHT_AGENT")
    assert "made version 2 the champion" in act(advice, registry, two, "shop")


@pytest.mark.slow
def test_letting_gates_through_needs_a_persons_word(
    released: mw.Released, project: Path, tmp_path: Path
) -> None:
    approver(project)
    run = undecided_run(released)
    given = {"allow": ["limit"], "why": "rows seen", "folder": project}
    id = asked(ApprovalNeeded, mw.release_run, run.run, **given)
    request = mw.Requests(project).find(id)
    assert request.arguments == {"run": run.run, "allow": ["limit"]}
    assert request.evidence["let through"][0].startswith("limit roc_auc: undecided")
    approve(project, id)
    folder = killed.copied(project, tmp_path / "copy")
    killed.killed_in("set_registered_model_alias", carry_out_one, folder)
    ended = carry_out(id, folder, Silent()).request
    assert (ended.state, ended.outcome) == ("applied", "version 2")
    assert len(Registry(folder).versions("shop")) == 2
    done = carry_out(id, project, Silent())
    assert done.result["version"] == "2" and done.result["alias"] == "challenger"
    assert f"agent bo, approved by ada ({id})" in done.result["overrides"][0]
    line = mw.AuditLog(project).lines("shop")[-1]
    assert (line.action, line.detail["request"]) == ("override", id)


def test_words_of_an_agent_steer_no_terminal_of_the_approver() -> None:
    why = "fine\x1b[2K\x1b[1A\x9b2J\u202e\nDecided by ada: yes"
    found = mw.Request(
        "PR-1", "promote", {"model": "shop"}, "shop", "2", "agent x", "c\x1b]0;t\x07", why,
        "2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z", "", {"told": why},
    )  # fmt: skip
    out = io.StringIO()
    console = Console(file=out, width=160)
    for one in (True, False):
        line = request_line(found, whole=one)
        show_requests(RequestsResult(one=one, requests=[line]), console)
    shown = out.getvalue()
    assert not {"\x1b", "\x9b", "\u202e"} & set(shown)
    assert "\nDecided by" not in shown
    assert "Why: fine Decided by ada: yes" in shown
