"""How far an approved request came, as the audit and the runs tell."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from approving import AGENT, approver
from modelwright.core.errors import DataError, NoSuchModel, Refused, RegistryError
from modelwright.core.principal import Principal, acting_as
from modelwright.release import approver_keys
from modelwright.release.approvals import Requests
from modelwright.release.audit import AuditLog
from modelwright.release.requests import RequestFiles, as_text, now

RUN = "20300101-000000-0000"
UNDER = Principal(AGENT.name, "agent", client=AGENT.client, approved="PR-1")


@pytest.fixture
def approved(tmp_path: Path) -> Path:
    """A project in which PR-1, a run, is approved."""
    key, kept = approver(tmp_path), Requests(tmp_path)
    with acting_as(AGENT):
        kept.ask("run", {}, model="shop", version="", why="", champion="", evidence={})
    kept.approve("PR-1", key=key, reason="ok")
    return tmp_path


def begin(folder: Path, run: str = RUN) -> Path:
    place = folder / "runs" / run
    place.mkdir(parents=True, exist_ok=True)
    with acting_as(UNDER):
        Requests(folder).begins("PR-1", run)
    return place


def end(place: Path, verdict: str, version: str = "") -> None:
    record: dict[str, Any] = {
        "model": "shop", "run": place.name, "verdict": verdict, "artefact": "", "evidence": [],
        "at": "2030-01-01T00:00:00Z", "replaces": "", "report": "report.html", "version": version,
    }  # fmt: skip
    (place / "release.json").write_text(json.dumps(record))


def test_a_run_that_was_begun_goes_on_and_no_other_does(approved: Path) -> None:
    kept = Requests(approved)
    assert kept.going_on("PR-1") == "" and kept.verified("PR-1", champion="")
    begin(approved)
    begin(approved)  # going on says it no second time
    assert [line.action for line in kept.begun("PR-1")] == ["begun"]
    assert kept.begun("PR-1")[0].detail["run"] == kept.going_on("PR-1") == RUN
    assert kept.verified("PR-1", champion="") and kept.looked_at("PR-1").state == "approved"
    begin(approved, "20300101-000001-0000")  # the first one could not be gone on with
    assert kept.going_on("PR-1") == "20300101-000001-0000"


@pytest.mark.parametrize(
    ("verdict", "version", "outcome"),
    [("fail", "", f"run {RUN}: fail"), ("undecided", "", f"run {RUN}: undecided"),
     ("pass", "3", f"run {RUN}: pass, version 3")],
)  # fmt: skip
def test_a_run_that_came_to_its_end_was_carried_out(
    approved: Path, verdict: str, version: str, outcome: str
) -> None:
    kept = Requests(approved)
    end(begin(approved), verdict, version)
    assert kept.going_on("PR-1") == ""
    with pytest.raises(Refused, match="PR-1 was carried out already"):
        kept.verified("PR-1", champion="")
    found = kept.looked_at("PR-1")
    assert (found.state, found.outcome) == ("applied", outcome)
    assert kept.find("PR-1").state == "applied"
    assert [line.action for line in kept.begun("PR-1")] == ["begun", "applied"]


def test_a_run_that_passed_and_is_no_version_yet_goes_on(approved: Path) -> None:
    end(begin(approved), "pass")
    assert Requests(approved).looked_at("PR-1").state == "approved"
    assert Requests(approved).going_on("PR-1") == RUN


def test_a_run_that_is_gone_is_unknown_and_not_made_again(approved: Path) -> None:
    shutil.rmtree(begin(approved))
    with pytest.raises(Refused, match="carried out already"):
        Requests(approved).verified("PR-1", champion="")
    found = Requests(approved).looked_at("PR-1")
    assert (found.state, found.outcome) == ("failed", f"unknown: run {RUN} was begun, and is gone")


def test_what_was_carried_out_is_not_called_expired(approved: Path) -> None:
    end(begin(approved), "pass", "1")
    key = approved.parent / f"keys of {approved.name}" / "approver-ada.pem"
    past = as_text(now() - dt.timedelta(hours=1))
    late = msgspec.structs.replace(RequestFiles(approved).find("PR-1"), expires=past)
    signature = approver_keys.sign(approver_keys.load(key), late.words())
    RequestFiles(approved).write(msgspec.structs.replace(late, signature=signature))
    assert Requests(approved).find("PR-1").state == "expired"
    assert Requests(approved).looked_at("PR-1").state == "applied"


def test_nobody_is_ended_while_it_is_carried_out(approved: Path) -> None:
    end(begin(approved), "fail")
    with Requests(approved).carrying_out("PR-1"):
        assert Requests(approved).looked_at("PR-1").state == "approved"
    assert Requests(approved).looked_at("PR-1").state == "applied"


def test_which_errors_end_a_request(approved: Path) -> None:
    kept = Requests(approved)
    kept.broke_off("PR-1", Refused("Another writes.", rule="one_writer"))
    assert kept.find("PR-1").state == "approved", "it can be done later"
    begin(approved)
    kept.broke_off("PR-1", RegistryError("MLflow is away."))
    assert kept.find("PR-1").state == "approved", "it may be a version already"
    kept.broke_off("PR-1", NoSuchModel("No such version."))
    assert kept.find("PR-1").outcome == "No such version."
    with pytest.raises(Refused):
        kept.verified("PR-1", champion="")
    assert [line.action for line in AuditLog(approved).entries()][-2:] == ["begun", "failed"]


def test_an_error_before_anything_was_begun_fails_it(approved: Path) -> None:
    Requests(approved).broke_off("PR-1", DataError("No such file."))
    assert Requests(approved).find("PR-1").state == "failed"
