"""Every rule at every door: the same refusal in Python, at the command line, and over MCP."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from mcp import Client

import modelwright as mw
from agents import structured, talk
from modelwright.core.errors import ModelwrightError
from modelwright.core.policy import FILE
from modelwright.core.principal import AGENT, Principal, acting_as
from modelwright.core.progress import Silent
from modelwright.core.rules import RULES
from modelwright.core.writer import writing
from modelwright.ways_in.carry_out import carry_out
from modelwright.ways_in.operations import OPERATIONS
from projects import QUICK

ADA = "ada"
Refusal = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A rule, and what breaks it. `{passed}` and `{failed}` in arguments are runs.

    Attributes:
        written: what stands beside the spec at the other doors, as a change of its text over MCP,
            where nothing can stand beside it.
    """

    rule: str
    operation: str
    arguments: dict[str, Any]
    spec: str = ""
    policy: str = ""
    prepare: Callable[[Path], None] = field(default=lambda _: None)
    held: bool = False
    written: tuple[str, str] | None = None


def without_records(project: Path) -> None:
    for run in (project / "runs").iterdir():
        (run / "evaluation.json").unlink(missing_ok=True)


def with_another_model(project: Path) -> None:
    for run in (project / "runs").glob("*/artefact"):
        (run / "golden.json").chmod(0o644)
        (run / "golden.json").write_text("[]")


ALONE = "agents: {promote: allow, release: allow}\n"
CASES = [
    Case("eval_split_required", "run", {}, spec="data.split.holdout: 0"),
    Case("test_sealed", "predict", {"model": "shop", "data": "shop.csv", "out": "scratch/a.csv"}),
    Case("baseline_required", "run", {}, spec="release.policy: {baseline: warn}"),
    Case("spec_only_hparams", "run", {"overrides": ["fit.params.lightgbm.num_leaves=3"]}),
    Case(
        "repro_required", "release", {"run": "{failed}", "allow": ["limit"], "why": "please"},
        policy=ALONE, prepare=without_records,
    ),
    Case("memory_preflight", "run", {}, policy="budget: {memory: 9 kB}\n"),
    Case(
        "artifact_immutable", "predict",
        {"model": "runs/{passed}/artefact", "data": "new.csv", "out": "scratch/a.csv"},
        prepare=with_another_model,
    ),
    Case("accuracy_drop_max", "run", {}, spec="pack.drop_at_most: 0.5"),
    Case(
        "gates_all_pass", "release", {"run": "{failed}", "allow": ["limit"], "why": "please"},
        policy=ALONE,
    ),
    Case("card_complete", "promote", {"model": "shop", "version": "2"}, policy=ALONE),
    Case(
        "monitor_and_rollback_ready", "promote", {"model": "shop", "version": "2"},
        policy=ALONE + "rules: {card_complete: 'off'}\n",
    ),
    Case(
        "human_approval", "promote", {"model": "shop", "version": "2"},
        policy="rules: {card_complete: 'off', monitor_and_rollback_ready: 'off'}\n",
    ),
    Case(
        "human_approval", "run", {"overrides": ["limits.roc_auc=0.5"]},
        written=("roc_auc: 0.6", "roc_auc: 0.5"),
    ),
    Case(
        "human_approval", "retrain", {"overrides": ["release.policy.champion=off"]},
        written=("limits:", "release: {policy: {champion: 'off'}}\nlimits:"),
    ),
    Case("one_writer", "run", {}, held=True),
    Case("scratch_only", "dashboard", {"model": "shop", "out": "../out.json"}),
    Case("budget", "run", {}, spec="fit.budget: 9 trials", policy="budget: {trials: 2}\n"),
]  # fmt: skip


@pytest.fixture(scope="module")
def judged(released: mw.Released, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The released project with a challenger, and with a run whose gates failed."""
    folder = tmp_path_factory.mktemp("judged") / "project"
    shutil.copytree(released.run.parents[1], folder)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    spec = folder / "modelwright.yaml"
    second = mw.run(spec, overrides=(*QUICK, "release.policy.champion=off"))
    assert second.record.version == "2" and second.record.alias == "challenger"
    failed = mw.run(spec, overrides=(*QUICK, "limits.roc_auc=0.999"))
    assert failed.record.verdict == "fail"
    pl.read_csv(folder / "shop.csv").head(3).with_columns(big=7).write_csv(folder / "new.csv")
    return folder


@pytest.fixture
def prepared(
    case: Case, judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A copy of the project, in which the case's operation breaks its rule; its arguments."""
    folder = tmp_path / "project"
    shutil.copytree(judged, folder)
    monkeypatch.chdir(folder)
    runs = sorted((folder / "runs").glob("2*"))
    names = {"passed": runs[0].name, "failed": runs[-1].name}
    arguments = {
        key: value.format(**names) if isinstance(value, str) else value
        for key, value in case.arguments.items()
    }
    if case.spec:
        key, _, value = case.spec.partition(": ")
        put(folder / "modelwright.yaml", key, value)
    if case.policy:
        (folder / FILE).write_text(case.policy)
    case.prepare(folder)
    held = writing(folder, "run") if case.held else contextlib.nullcontext()
    with held:
        yield folder, arguments


def put(path: Path, key: str, value: str) -> None:
    """Write a value into a spec file, below its dotted key."""
    *above, last = key.split(".")
    inner = f"{{{last}: {value}}}"
    for name in reversed(above[1:]):
        inner = f"{{{name}: {inner}}}"
    text = path.read_text()
    head = next((line for line in text.splitlines() if line.startswith(f"{above[0]}: {{")), None)
    if head:
        body = inner.removeprefix("{").removesuffix("}")
        path.write_text(text.replace(head, f"{head.removesuffix('}')}, {body}}}"))
    else:
        path.write_text(f"{text}{above[0]}: {inner}\n")


def in_python(case: Case, arguments: dict[str, Any]) -> Refusal:
    operation = next(one for one in OPERATIONS if one.name == case.operation)
    given = operation.arguments.model_validate(arguments)
    with acting_as(Principal(f"agent {ADA}", "agent")):
        try:
            carry_out(operation, given, Silent())
        except ModelwrightError as error:
            return error.refusal()
    raise AssertionError(f"{case.rule} was not kept")


def at_the_command_line(case: Case, arguments: dict[str, Any]) -> Refusal:
    operation = next(one for one in OPERATIONS if one.name == case.operation)
    words = [case.operation, "--json"]
    for name, about in operation.arguments.model_fields.items():
        extra = about.json_schema_extra if isinstance(about.json_schema_extra, dict) else {}
        value = arguments.get(name)
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                flag = str(extra.get("flag", f"--{name}"))
                words += [one] if extra.get("positional") else [flag, one]
    done = subprocess.run(
        [sys.executable, "-m", "modelwright", *words],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, AGENT: ADA},
    )  # fmt: skip
    assert done.returncode in (2, 3), done.stdout + done.stderr
    found: Refusal = json.loads(done.stdout)["error"]
    return found


def over_mcp(case: Case, arguments: dict[str, Any]) -> Refusal:
    async def story(client: Client) -> Refusal:
        name, given = case.operation, arguments
        if case.written is not None:
            name = "spec_write"
            given = {"text": Path("modelwright.yaml").read_text().replace(*case.written)}
        found = structured(await client.call_tool(name, given))
        if found["status"] != "started":
            return found
        waited = {"job_id": found["job_id"], "seconds": 50}
        job = structured(await client.call_tool("job_wait", waited))
        assert job["state"] == "failed", job
        refusal: Refusal = job["error"]
        return refusal

    refusal: Refusal = talk(story)
    return refusal


DOORS = {"python": in_python, "command line": at_the_command_line, "mcp": over_mcp}


@pytest.mark.parametrize(
    "door", ["python", *(pytest.param(n, marks=pytest.mark.slow) for n in list(DOORS)[1:])]
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_each_rule_is_kept_at_each_door(
    case: Case, door: str, prepared: tuple[Path, dict[str, Any]]
) -> None:
    folder, arguments = prepared
    before = sorted(path.name for path in (folder / "runs").iterdir())
    champion = mw.history("shop", folder=folder)[0]
    found = DOORS[door](case, arguments)
    assert found["rule"] == case.rule, found
    assert found["message"]
    assert found.get("fix") or found.get("approve_with"), found
    assert sorted(path.name for path in (folder / "runs").iterdir()) == before
    assert mw.history("shop", folder=folder)[0] == champion
    assert not (folder / "scratch" / "a.csv").exists()


def test_no_rule_is_left_out() -> None:
    assert list(dict.fromkeys(case.rule for case in CASES)) == list(RULES)
