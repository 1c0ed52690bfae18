"""Production changes with an audit line and a way back."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from mlflow import MlflowClient

import modelwright as mw
from modelwright.core.errors import ArtefactError, RegistryError
from modelwright.core.records import ReleaseRecord
from modelwright.core.store import from_json, sha256
from modelwright.release.audit import AuditLog
from modelwright.release.registry import Version
from modelwright.release.smoke import try_out
from projects import QUICK


def again(project: Path) -> mw.Released:
    """A second run, which becomes challenger."""
    return mw.run(project / "modelwright.yaml", overrides=(*QUICK, "release.champion_margin=0.5"))


def champion(project: Path) -> str:
    found = mw.Registry(project).aliased("shop", "champion")
    assert found
    return found.number


@pytest.mark.slow
def test_a_second_release_waits_and_there_is_a_way_back(project: Path) -> None:
    assert champion(project) == "1"
    second = again(project)
    assert (second.record.version, second.record.alias, second.record.replaces) == (
        "2",
        "challenger",
        "1",
    )
    assert champion(project) == "1"
    change = mw.promote("shop", why="tested by hand", folder=project)
    assert (change.version, change.replaces, champion(project)) == ("2", "1", "2")
    with pytest.raises(RegistryError, match="no challenger to promote"):
        mw.promote("shop", folder=project)
    with pytest.raises(RegistryError, match="is the champion already"):
        mw.promote("shop", "2", folder=project)
    assert mw.rollback("shop", folder=project).version == "1"
    with pytest.raises(RegistryError, match="had no champion before version 1"):
        mw.rollback("shop", folder=project)
    mw.promote("shop", "2", folder=project)
    assert mw.rollback("shop", folder=project).version == champion(project) == "1"
    versions, changes = mw.history("shop", folder=project)
    assert [v.number for v in versions] == ["2", "1"] and versions[1].aliases == ("champion",)
    assert [(c.action, c.version) for c in changes] == [
        ("promote", "1"), ("promote", "2"), ("rollback", "1"), ("promote", "2"), ("rollback", "1"),
    ]  # fmt: skip
    assert changes[1].why == "tested by hand" and changes[1].who
    assert AuditLog(project).broken_at() is None


def test_a_cut_promotion_does_not_mislead_a_rollback(project: Path) -> None:
    AuditLog(project).record(
        "promote", "shop", "2", replaces="1", why="killed before the alias moved"
    )
    with pytest.raises(RegistryError, match="had no champion before version 1"):
        mw.rollback("shop", folder=project)


def test_a_version_whose_files_are_not_those_released_is_not_promoted(project: Path) -> None:
    registry = mw.Registry(project)
    client = MlflowClient(registry.uri)
    client.set_model_version_tag("shop", "1", "modelwright.digest", "0" * 64)
    registry.remove_alias("shop", "champion")
    with pytest.raises(ArtefactError, match="is not the model that was released"):
        mw.promote("shop", "1", folder=project)
    assert registry.aliased("shop", "champion") is None


def test_a_changed_file_is_never_served(project: Path, released: mw.Released) -> None:
    changed = list(project.glob("runs/*/artefact/model.onnx"))
    for path in changed:
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    found = mw.load("shop", folder=project)
    assert found.digest == released.record.artefact and found.folder != changed[0].parent


def test_the_registry_brings_a_lost_folder_back(project: Path, released: mw.Released) -> None:
    for folder in project.glob("runs/*/artefact"):
        folder.rename(folder.with_name("gone"))
    found = mw.load("shop", folder=project)
    assert found.digest == released.record.artefact
    assert found.folder.parent.name == "artefacts"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("shoop", "id you mean 'shop'"),
        ("shop@canary", "shop has no canary"),
        ("shop/9", "no version 9 of shop"),
        ("../etc", "is not a model"),
        ("shop; DROP", "is not a model"),
    ],
)
def test_unknown_references(project: Path, reference: str, said: str) -> None:
    with pytest.raises(RegistryError, match=said):
        mw.load(reference, folder=project)


def test_the_audit_chain_shows_an_edit(project: Path) -> None:
    log = AuditLog(project)
    log.record("promote", "shop", "1", replaces="", why="b")
    log.record("promote", "shop", "1", replaces="", why="c")
    path = project / ".modelwright" / "audit.jsonl"
    path.write_text(path.read_text().replace('"why":"b"', '"why":"x"'))
    assert log.broken_at() == 3


def test_a_line_cut_by_a_crash_never_counts(project: Path) -> None:
    log = AuditLog(project)
    path = project / ".modelwright" / "audit.jsonl"
    path.write_bytes(path.read_bytes() + b'{"at":"now","who":"m')
    assert len(log.lines("shop")) == 1
    log.record("promote", "shop", "7", replaces="1", why="")
    assert [line.version for line in log.lines("shop")] == ["1", "7"]
    assert log.broken_at() is None


def another_version(project: Path) -> Version:
    """Version 2: the same model with a manifest and runs of its own, so that it may be damaged."""
    registry = mw.Registry(project)
    first = registry.resolve("shop")
    run = project / "runs" / f"{first.run}-again"
    shutil.copytree(project / "runs" / first.run, run, copy_function=shutil.copyfile)
    manifest = run / "artefact" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    record = from_json((run / "release.json").read_bytes(), ReleaseRecord)
    record = msgspec.structs.replace(
        record, run=run.name, replaces="1", artefact=sha256(manifest.read_bytes())
    )
    client = MlflowClient(registry.uri)
    made = client.create_run(registry.experiment("shop")).info.run_id
    client.log_artifacts(made, str(run / "artefact"), "artefact")
    number = registry.register(mw.Artefact.load(run / "artefact"), record, made)
    return registry.version("shop", number)


@pytest.mark.alone
def test_a_rollback_needs_nothing_of_a_newest_version_that_is_broken(project: Path) -> None:
    newest = another_version(project)
    mw.promote("shop", newest.number, why="looks good", folder=project)
    client = MlflowClient(mw.Registry(project).uri)
    shutil.rmtree(project / "runs" / newest.run)
    for file in (project / ".modelwright" / "mlartifacts" / newest.mlflow_run).rglob("*.*"):
        file.write_bytes(b"damaged")
    client.delete_run(newest.mlflow_run)
    client.set_model_version_tag("shop", newest.number, "modelwright.digest", "0" * 64)
    with pytest.raises(mw.ModelwrightError):
        mw.load("shop", folder=project)
    begun = time.monotonic()
    change = mw.rollback("shop", why="it answers no more", folder=project)
    took = time.monotonic() - begun
    print(f"the alias was back after {took:.2f} s")
    assert (change.version, change.replaces, champion(project)) == ("1", newest.number, "1")
    assert took < 5, "mostly the child process that answers with version 1 before the alias moves"
    live = mw.load("shop", folder=project)
    assert live.digest != newest.digest and live.predict([live.manifest.example])


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that passed, and seconds of CPU of this process and its children."""
    began, before = time.perf_counter(), os.times()
    work()
    after = os.times()
    return time.perf_counter() - began, sum(after[:4]) - sum(before[:4])


def test_a_version_of_which_no_good_copy_is_left_says_so(project: Path) -> None:
    newest = another_version(project)
    registry = mw.Registry(project)
    of_run = MlflowClient(registry.uri).get_run(newest.mlflow_run).info.artifact_uri
    kept = Path(of_run.removeprefix("file://")) / "artefact"
    for model in (kept / "model.onnx", project / "runs" / newest.run / "artefact" / "model.onnx"):
        whole = model.read_bytes()
        model.chmod(0o644)
        model.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(
        ArtefactError, match=r"own copy of shop \d is not what was released: model"
    ) as e:
        mw.promote("shop", newest.number, folder=project)
    assert ".part" not in str(e.value) and "Promote another version" in str(e.value)
    assert champion(project) == "1"


@pytest.mark.alone
def test_a_rollback_costs_the_trial_of_its_version_and_next_to_nothing_else(project: Path) -> None:
    newest, registry = another_version(project), mw.Registry(project)
    one = registry.version("shop", "1")
    folder = registry.fetch(one)
    trials, rollbacks = [], []
    for _ in range(3):  # the trial is the yardstick: a child process, on this machine, just now
        mw.promote("shop", newest.number, why="looks good", folder=project)
        trials.append(spent(lambda: try_out(folder, one.digest)))
        rollbacks.append(spent(lambda: mw.rollback("shop", why="it is worse", folder=project)))
        assert champion(project) == "1"
    least, whole = (
        [min(column) for column in zip(*rows, strict=True)] for rows in (trials, rollbacks)
    )
    print(f"trial {least[0]:.2f} s, CPU {least[1]:.2f} s; rollback {whole[0]:.2f}, {whole[1]:.2f}")
    assert whole[0] < 2.5 * least[0], "nothing waits before the alias moves"
    assert whole[1] < 1.75 * least[1], "and nothing else is loaded, trained or tried"
