"""kill -9 at each seam while an approved request is carried out: it happens once, and always."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import killed
import modelwright as mw
from approving import AGENT, approver, request_of, undecided_run
from modelwright.core.errors import ApprovalNeeded, Refused
from modelwright.core.policy import FILE as POLICY
from modelwright.core.principal import acting_as
from modelwright.core.progress import Silent
from modelwright.core.runs import has_ended
from modelwright.release.registry import Registry
from modelwright.ways_in import arguments
from modelwright.ways_in.approvals import carry_out, requests
from projects import make_shop
from release.records import register_again

LOOSE = "rules: {card_complete: 'off', monitor_and_rollback_ready: 'off'}\n"
FIT = (
    "fit: {families: [linear], budget: 2 trials, folds: 2}\n"
    "pack: {measure: process, seconds: 0.2}\nwatch: {retrain: {data: source}}\n"
)
UNTIL_LOGGED = [
    ("file writer.json", 1), ("file audit.head", 1), ("file dataset.json", 1),
    ("file 00001.npz", 1), ("file release.json", 1), ("log_artifacts", 1),
]  # fmt: skip
REGISTERING = [
    ("file pending.json", 1), ("create_model_version", 1), ("set_registered_model_alias", 1),
    ("file release.json", 2), ("file release.json", 3), ("file report.html", 2),
    ("file audit.head", 2), ("file PR-1.json", 1),
]  # fmt: skip


def carry_out_one(folder: Path) -> object:
    return carry_out("PR-1", folder, Silent())


def asked(call: Any, *given: Any, folder: Path, **named: Any) -> None:
    """What an agent tries, approved by a person."""
    with acting_as(AGENT), pytest.raises(ApprovalNeeded) as found:
        call(*given, **named)
    assert request_of(found) == "PR-1"
    key = folder.parent / f"keys of {folder.name}" / "approver-ada.pem"
    mw.Requests(folder).approve("PR-1", key=key, reason="looked at it")


def acts(folder: Path) -> Counter[str]:
    return Counter(line.action for line in mw.AuditLog(folder).entries())


def versions(folder: Path) -> list[str]:
    registry = Registry(folder)
    return sorted(v.number for v in registry.versions("shop")) if registry.models() else []


def ended_runs(folder: Path) -> set[str]:
    return {run.name for run in (folder / "runs").glob("2*") if has_ended(run)}


def looked_at(folder: Path) -> str:
    """The state that `modelwright requests PR-1` tells."""
    given = arguments.RequestsArguments(id="PR-1", project=str(folder))
    [found] = requests(given, Silent()).requests
    return found.state


def must_be_over(folder: Path, died: object) -> None:
    """Carried out once, said once, and never again."""
    assert looked_at(folder) == "applied", died
    found = acts(folder)
    assert (found["request"], found["approve"], found["applied"], found["failed"]) == (1, 1, 1, 0)
    before = versions(folder), ended_runs(folder), found
    assert carry_out("PR-1", folder, Silent()).result == {}
    with pytest.raises(Refused):
        mw.Requests(folder).verified("PR-1")
    assert (versions(folder), ended_runs(folder), acts(folder)) == before, died
    assert mw.AuditLog(folder).broken_at() is None, died


@pytest.fixture
def gated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose runs and retrainings are asked for, and take seconds."""
    folder = tmp_path / "start"
    folder.mkdir()
    spec = make_shop(folder) / "modelwright.yaml"
    text = spec.read_text().replace("fit: {families: [lightgbm]}\n", FIT)
    spec.write_text(text.replace(", latency_p95: 1 s, memory: 2 GB", ""))
    (folder / POLICY).write_text("agents: {run: ask, retrain: ask}\n")
    approver(folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("seam", UNTIL_LOGGED + REGISTERING, ids=str)
def test_an_approved_run_killed_at_each_seam_is_made_once(
    gated: Path, tmp_path: Path, seam: tuple[str, int]
) -> None:
    asked(mw.run, folder=gated)
    killed.killed_before(*seam, carry_out_one, gated)
    begun, over = acts(gated)["begun"], looked_at(gated) == "applied"
    assert over == (seam in REGISTERING[2:])
    trained = len(list((gated / "runs").glob("2*")))
    assert carry_out("PR-1", gated, Silent()).request.state == "applied"
    must_be_over(gated, seam)
    assert versions(gated) == ["1"] and len(ended_runs(gated)) == 1
    if seam in REGISTERING or seam[0] == "file release.json":
        assert begun == acts(gated)["begun"] == 1, "the same run went on"
        assert len(list((gated / "runs").glob("2*"))) == trained == 1


@pytest.mark.slow
def test_an_approved_retraining_killed_at_each_seam_is_made_once(
    gated: Path, tmp_path: Path
) -> None:
    mw.run(overrides=("release.policy.champion=off",))
    spec = gated / "modelwright.yaml"
    spec.write_text(spec.read_text() + "release: {policy: {champion: 'off'}}\n")
    asked(mw.retrain, folder=gated)
    some = (*UNTIL_LOGGED[1:4:2], *REGISTERING[1:4], *REGISTERING[6:])
    for seam in (("file retrain.json", 1), *some):
        folder = killed.copied(gated, tmp_path / f"{seam[0]} {seam[1]}")
        killed.killed_before(*seam, carry_out_one, folder)
        assert carry_out("PR-1", folder, Silent()).request.state == "applied", seam
        must_be_over(folder, seam)
        assert versions(folder) == ["1", "2"] and len(ended_runs(folder)) == 2, seam
        ledger = folder / ".modelwright" / "retrain" / "shop.jsonl"
        assert len(ledger.read_text().splitlines()) == 1, seam


@pytest.mark.slow
def test_a_gate_let_through_killed_at_each_seam_is_let_through_once(
    released: mw.Released, project: Path, tmp_path: Path
) -> None:
    approver(project)
    run = undecided_run(released)
    asked(mw.release_run, run.run, allow=["limit"], why="rows", folder=project)
    judged = [(f"file {name}", 1) for name in ("release.json", "attestation.json", "audit.head")]
    for seam in (*judged, ("create_run", 1), ("log_artifacts", 1), *REGISTERING):
        folder = killed.copied(project, tmp_path / f"{seam[0]} {seam[1]}")
        killed.killed_before(*seam, carry_out_one, folder)
        assert carry_out("PR-1", folder, Silent()).request.state == "applied", seam
        must_be_over(folder, seam)
        assert versions(folder) == ["1", "2"], seam
        assert acts(folder)["override"] == 1, seam


@pytest.mark.slow
@pytest.mark.parametrize("action", ["rollback", "canary", "stop"])
def test_an_approved_change_killed_at_every_step_happens_once(
    project: Path, tmp_path: Path, action: str
) -> None:
    register_again(project, "2")
    (project / POLICY).write_text(LOOSE)
    approver(project)
    if action == "rollback":
        mw.promote("shop", "2", folder=project)
        asked(mw.rollback, "shop", folder=project)
    elif action == "canary":
        asked(mw.canary, "shop", "2", weight=0.1, folder=project)
    else:
        mw.canary("shop", "2", weight=0.1, folder=project)
        asked(mw.stop_traffic, "shop", folder=project)
    for step in range(1, 100):
        folder = killed.copied(project, tmp_path / f"copy{step}")
        died = killed.killed_at(step, carry_out_one, folder)
        assert carry_out("PR-1", folder, Silent()).request.state == "applied", died
        must_be_over(folder, died)
        assert acts(folder)[action] == 1, died
        rule = mw.traffic("shop", folder=folder)
        expected = {"1": 0.9, "2": 0.1} if action == "canary" else {"1": 1.0}
        assert rule.shares == expected, died
        if not died:
            break
    assert step >= 8
