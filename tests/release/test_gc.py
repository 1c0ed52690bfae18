"""What nothing refers to is found, and only that is removed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import modelwright as mw
from modelwright.core.errors import RegistryError
from modelwright.core.records import ReleaseRecord
from modelwright.core.store import from_json, in_use, to_json
from modelwright.release.gc import KEEP_JOBS
from projects import writable_copy


def old(path: Path) -> Path:
    """As if it had been written a day ago."""
    moment = path.stat().st_mtime - 86400
    os.utime(path, (moment, moment))
    return path


@pytest.fixture
def littered(project: Path) -> Path:
    """The released project with six runs that came to nothing, a stray copy and cut files."""
    for number in range(6):
        run = project / "runs" / f"2020010{number}-000000-abcd"
        run.mkdir()
        (run / "dataset.json").write_bytes(b"x" * 1000)
        old(run)
    stray = project / ".modelwright" / "artefacts" / ("0" * 64)
    stray.mkdir(parents=True)
    (stray / "model.onnx").write_bytes(b"x" * 500)
    old_part = project / ".modelwright" / ".audit.jsonl.0000.part"
    old_part.write_bytes(b"x" * 10)
    old(old_part)
    (project / ".modelwright" / ".now.0000.part").write_bytes(b"somebody writes it")
    return project


def found(garbage: list[object]) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for one in garbage:
        kinds.setdefault(one.kind, []).append(one.path.name)
    return kinds


def test_nothing_changes_without_apply(littered: Path) -> None:
    before = sorted(p.relative_to(littered) for p in littered.rglob("*") if p.name != ".lock")
    garbage = mw.gc(littered, keep=2)
    assert found(garbage) == {
        "run": [f"2020010{n}-000000-abcd" for n in (3, 2, 1, 0)],
        "artefact": ["0" * 64],
        "part": [".audit.jsonl.0000.part"],
    }
    assert sum(one.bytes for one in garbage) == 4 * 1000 + 500 + 10
    after = sorted(p.relative_to(littered) for p in littered.rglob("*") if p.name != ".lock")
    assert [p for p in after if p.name != "artefacts.lock"] == before


def test_apply_removes_exactly_what_was_shown(littered: Path, released: mw.Released) -> None:
    shown = mw.gc(littered, keep=0)
    assert len(shown) == 8
    assert [g.path for g in mw.gc(littered, keep=0, apply=True)] == [g.path for g in shown]
    assert not any(g.path.exists() for g in shown)
    assert [p.name for p in (littered / "runs").iterdir()] == [released.record.run]
    assert (littered / ".modelwright" / ".now.0000.part").exists()
    assert mw.load("shop", folder=littered).digest == released.record.artefact
    assert mw.gc(littered, keep=0) == []


def test_what_rollback_could_go_back_to_stays(littered: Path, released: mw.Released) -> None:
    """Version 2 replaces version 1, which lies in a run of its own and in the cache."""
    registry = mw.Registry(littered)
    first = registry.resolve("shop")
    run = littered / "runs" / "20200101-000000-ffff"
    shutil.copytree(littered / "runs" / first.run, run)
    record = from_json((run / "release.json").read_bytes(), ReleaseRecord)
    artefact = mw.Artefact.load(run / "artefact")
    record = ReleaseRecord("shop", run.name, "pass", artefact.digest, (), record.at, replaces="1")
    (run / "release.json").write_bytes(to_json(record))
    registry.register(artefact, record, first.mlflow_run)
    mw.promote("shop", "2", folder=littered)
    copy = littered / ".modelwright" / "artefacts" / first.digest
    writable_copy(run / "artefact", copy)
    mw.gc(littered, keep=0, apply=True)
    assert run.exists() and copy.exists()
    assert mw.rollback("shop", folder=littered).version == "1"


def test_a_run_that_is_going_on_stays(littered: Path) -> None:
    busy = littered / "runs" / "20200100-000000-abcd"
    with in_use(busy):
        assert busy.name not in found(mw.gc(littered, keep=0))["run"]
        mw.gc(littered, keep=0, apply=True)
        assert (busy / "dataset.json").exists()
    mw.gc(littered, keep=0, apply=True)
    assert not busy.exists()


def test_a_run_just_begun_or_registered_elsewhere_stays(littered: Path) -> None:
    new = littered / "runs" / "20991231-000000-abcd"
    new.mkdir()
    elsewhere = littered / "runs" / "20200105-000000-abcd"
    record = ReleaseRecord("shop", elsewhere.name, "pass", "0", (), "", version="9")
    (elsewhere / "release.json").write_bytes(to_json(record))
    old(elsewhere)
    names = found(mw.gc(littered, keep=0))["run"]
    assert new.name not in names and elsewhere.name not in names and len(names) == 5


def test_a_lost_registry_is_no_reason_to_remove(littered: Path) -> None:
    (littered / ".modelwright" / "mlflow.db").unlink()
    with pytest.raises(RegistryError, match="an audit log but no registry"):
        mw.gc(littered, keep=0, apply=True)
    assert len(list((littered / "runs").iterdir())) == 7


def test_a_removal_that_was_cut_off_is_ended(littered: Path) -> None:
    run = littered / "runs" / "20200100-000000-abcd"
    run.rename(run.with_name(f".removed.{run.name}"))
    names = found(mw.gc(littered, keep=6))
    assert names["part"] == [".audit.jsonl.0000.part", f".removed.{run.name}"]
    mw.gc(littered, keep=6, apply=True)
    assert not run.with_name(f".removed.{run.name}").exists()


@pytest.mark.slow
@pytest.mark.parametrize("more", [["--apply"], []])
def test_the_command_shows_what_it_frees(littered: Path, more: list[str]) -> None:
    command = [sys.executable, "-m", "modelwright", "gc", "--keep", "0", *more]
    done = subprocess.run(command, cwd=littered, capture_output=True, text=True)
    said = "freed" if more else "modelwright gc --apply"
    assert done.returncode == 0 and said in done.stdout, done.stdout + done.stderr
    answer = subprocess.run([*command, "--json"], cwd=littered, capture_output=True, text=True)
    assert json.loads(answer.stdout)["bytes"] == (0 if more else 6510)


def test_what_people_keep_among_the_runs_is_not_touched(littered: Path, tmp_path: Path) -> None:
    notes = littered / "runs" / "my-notes"
    notes.mkdir()
    (notes / "thesis.md").write_text("mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (littered / "runs" / "20200101-000000-aaaa").symlink_to(elsewhere)
    mw.gc(littered, keep=0, apply=True)
    assert (notes / "thesis.md").exists() and elsewhere.exists() and not list(elsewhere.iterdir())


def test_old_jobs_go_but_for_the_newest_and_those_that_run(project: Path) -> None:
    jobs = project / ".modelwright" / "jobs"
    for number in range(KEEP_JOBS + 3):
        job = jobs / f"20200101-0000{number:02d}-00000"
        job.mkdir(parents=True)
        (job / "job.json").write_text("{}")
        (job / ".lock").touch()
    oldest = [jobs / f"20200101-0000{number:02d}-00000" for number in (2, 1, 0)]
    with in_use(oldest[1]):
        garbage = mw.gc(project)
        assert found(garbage) == {"job": [oldest[0].name, oldest[2].name]}
        assert len(mw.gc(project, apply=True)) == 2
    assert [path.exists() for path in oldest] == [False, True, False]
    assert len(list(jobs.iterdir())) == KEEP_JOBS + 1
