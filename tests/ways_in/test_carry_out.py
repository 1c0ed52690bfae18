"""An agent's call leaves its line and counts, whatever door it came through."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import modelwright as mw
from agents import audited
from modelwright.core.errors import ModelwrightError, Refused
from modelwright.core.principal import AGENT, Principal, acting_as
from modelwright.core.progress import Silent
from modelwright.core.store import sha256
from modelwright.ways_in import jobs
from modelwright.ways_in.carry_out import carry_out
from modelwright.ways_in.cli import perform
from modelwright.ways_in.operations import OPERATIONS, Operation

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


SHORT: dict[str, dict[str, object]] = {
    "init": {"data": "shop.csv", "target": "bought", "out": "scratch/x.yaml"},
    "check": {}, "compare": {"one": "shop.csv", "two": "shop.csv"},
    "run": {"overrides": ["fit.params.lightgbm.num_leaves=3"]},
    "retrain": {}, "report": {}, "release": {"run": "no"}, "reproduce": {"run": "no"},
    "jobs": {}, "serve": {"models": ["no"]}, "dashboard": {"model": "no"},
    "predict": {"model": "no", "data": "x.csv"},
    "client": {"language": "python", "model": "no"},
    "promote": {"model": "no"}, "rollback": {"model": "no"},
    "traffic": {"model": "no", "what": "show"}, "watch": {"once": True},
    "history": {"model": "no"}, "audit": {}, "requests": {}, "approve": {"id": "PR-1"},
    "reject": {"id": "PR-1", "why": "no"}, "gc": {},
    "keys": {"what": "new", "folder": "../keys"},
    "agents": {"what": "install", "check": True}, "spec": {}, "doctor": {},
    "mcp": {"http": True, "host": "0.0.0.0"},
}  # fmt: skip
"""Arguments with which each operation comes to its end at once, well or not."""


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_every_operation_leaves_its_lines(
    shop: Path, monkeypatch: pytest.MonkeyPatch, operation: Operation
) -> None:
    """Whoever adds an operation says how it is called, and whether it lasts."""
    monkeypatch.setenv(AGENT, "ada")
    code = perform(operation, dict(SHORT[operation.name]), as_json=True)
    lines = [line for line in audited(shop) if line["action"] == "call"]
    verdicts = [line["detail"]["verdict"] for line in lines]
    assert {(line["who"], line["subject"]) for line in lines} == {("agent ada", operation.name)}
    assert verdicts[:-1] == (["started"] if operation.is_lasting else [])
    assert (verdicts[-1] == "ok") == (code in (0, 1)), verdicts
    assert verdicts[-1] not in ("fault", "started")
    given = json.loads(lines[-1]["detail"]["arguments"])
    assert set(given) <= set(SHORT[operation.name])


def test_arguments_that_do_not_fit_are_a_call_too(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(AGENT, "ada")
    assert perform(OPERATION["gc"], {"keep": "many"}, as_json=True) == 2
    [line] = audited(shop)
    assert (line["subject"], line["detail"]["verdict"]) == ("gc", "usage")


def _begun(shop: Path, *words: str) -> subprocess.Popen[bytes]:
    """A command of an agent's shell that lasts, once the audit knows of it."""
    environment = {**os.environ, AGENT: "ada"}
    process = subprocess.Popen(
        [sys.executable, "-m", "modelwright", *words], cwd=shop, env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    path = shop / ".modelwright" / "audit.jsonl"
    while not path.exists() or words[0].encode() not in path.read_bytes():
        with suppress(subprocess.TimeoutExpired):
            raise AssertionError(process.wait(0.05))
    return process


LASTING = {
    "serve": ("serve", "shop", "--port", "0"),
    "mcp": ("mcp",),
    "mcp --http": ("mcp", "--http", "--port", "0"),
    "watch": ("watch", "--out", "scratch/watch.html"),
}


@pytest.mark.slow
@pytest.mark.parametrize("words", LASTING.values(), ids=LASTING)
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_lasts_leaves_its_beginning_and_its_end(
    project: Path, words: tuple[str, ...], end: signal.Signals
) -> None:
    with (project / "modelwright.yaml").open("a") as spec:
        spec.write("serve: {journal: {to: journal}}\nwatch: {every: 1 s}\n")
    with _begun(project, *words) as process:
        if words[0] == "serve":  # by now another program, which ends by itself
            assert process.stdout is not None
            assert any(b"Serving" in line for line in process.stdout)
        process.send_signal(end)
        process.wait(60)
    calls = [line for line in audited(project) if line["action"] == "call"]
    verdicts = [(line["subject"], line["detail"]["verdict"]) for line in calls]
    if end == signal.SIGKILL:
        assert verdicts == [(words[0], "started")]
    else:
        assert verdicts[0] == (words[0], "started") and len(verdicts) == 2
        assert verdicts[1] in ((words[0], "ended"), (words[0], "ok"))
    assert mw.AuditLog(project).broken_at() is None


def test_the_end_of_an_agents_job_is_kept(shop: Path) -> None:
    with acting_as(ADA):
        job = jobs.start(shop, "spec", {})
    assert jobs.wait(shop, job.id, 60).state == "done"
    [line] = audited(shop)
    assert (line["subject"], line["detail"]["verdict"]) == ("spec", "ok")
    assert json.loads(line["detail"]["arguments"]) == {"job": job.id}
