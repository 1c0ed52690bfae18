"""An agent's call leaves its line and counts, whatever door it came through."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import modelwright as mw
from agents import audited
from modelwright.core.errors import ModelwrightError, Refused
from modelwright.core.principal import AGENT, Principal, acting_as
from modelwright.core.progress import Silent
from modelwright.core.store import sha256
from modelwright.ways_in.carry_out import carry_out
from modelwright.ways_in.cli import perform
from modelwright.ways_in.operations import OPERATIONS

ADA = Principal("agent ada", "agent")
OPERATION = {one.name: one for one in OPERATIONS}


@pytest.fixture(autouse=True)
def _here(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)


def test_in_python(shop: Path) -> None:
    spec = OPERATION["spec"]
    result = carry_out(spec, spec.arguments(), Silent())  # a person
    assert not (shop / ".modelwright" / "audit.jsonl").exists()
    history = OPERATION["history"]
    given = history.arguments.model_validate({"model": "no"})
    with acting_as(ADA):
        carry_out(spec, spec.arguments(), Silent())
        with pytest.raises(ModelwrightError):
            carry_out(history, given, Silent())
    one, two = audited(shop)
    assert (one["who"], one["action"], one["subject"]) == ("agent ada", "call", "spec")
    assert one["detail"]["verdict"] == "ok"
    assert one["detail"]["result"] == sha256(result.model_dump_json().encode())
    assert (two["model"], two["detail"]["verdict"]) == ("no", "NoSuchModel")
    assert json.loads(two["detail"]["arguments"]) == {"model": "no"}
    assert mw.AuditLog(shop).broken_at() is None


def test_at_the_command_line(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(AGENT, "ada")
    (shop / "modelwright.policy.yaml").write_text("budget: {calls: 2}\n")
    codes = [perform(OPERATION["spec"], {}, as_json=True) for _ in range(3)]
    assert codes == [0, 0, 2]
    assert json.loads(capsys.readouterr().out.split("\n}\n")[2] + "}")["error"]["rule"] == "budget"
    verdicts = [line["detail"]["verdict"] for line in audited(shop)]
    assert verdicts == ["ok", "ok", "budget"]


def test_a_gate_is_pending_and_no_refusal(shop: Path) -> None:
    gc = OPERATION["gc"]
    stale = shop / ".modelwright" / "x.part"
    stale.parent.mkdir()
    stale.write_text("left by a kill")
    os.utime(stale, (1, 1))
    with acting_as(ADA), pytest.raises(Refused):
        carry_out(gc, gc.arguments.model_validate({"apply": True, "keep": 0}), Silent())
    assert audited(shop)[-1]["detail"]["verdict"] == "pending"
