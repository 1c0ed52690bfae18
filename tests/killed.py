"""Processes that are killed at their k-th step: what a crash test is made of.

A step is an fsync, rename, removal or truncation of a file, or a call of MLflow's client. The
process kills itself with SIGKILL just before the k-th one. What a write leaves that was cut short,
tests/release/test_audit.py tries.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import polars as pl
from mlflow import MlflowClient

import modelwright as mw
from modelwright.core.evaluation import Evaluation
from modelwright.core.principal import Principal, acting_as
from modelwright.core.records import DatasetRecord, FitRecord, Measured, ReleaseRecord
from modelwright.core.store import from_json
from modelwright.release.promote import register
from modelwright.release.registry import Registry
from modelwright.release.tracking import log_run
from modelwright.ways_in import jobs

CLIENT = (
    "create_run", "log_batch", "log_inputs", "log_artifacts", "set_terminated",
    "create_registered_model", "create_model_version", "set_registered_model_alias",
    "delete_registered_model_alias", "download_artifacts",
)  # fmt: skip
FILES = ("fsync", "replace", "rename", "unlink", "truncate")
LIBRARIES = ["modelwright.lifecycle", "modelwright.release.tracking"]
"""Imported once, before each process is forked."""
QUICKLY = ("limits={}", "fit.budget=3 trials", "fit.folds=2", "pack.measure=process")
Action = Callable[[Path], object]


class Steps:
    """Counts steps, and ends the process before the k-th."""

    def __init__(self, last: int, log: Path) -> None:
        self._left = last
        self._log = log

    def one(self, name: str) -> None:
        self._left -= 1
        if self._left == 0:
            self._log.write_text(name)
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def stepped(*given: Any, **named: Any) -> Any:
            self.one(name)
            return real(*given, **named)

        setattr(owner, name, stepped)


def promote_second(folder: Path) -> object:
    """Version 2 becomes champion in place of version 1."""
    return mw.promote("shop", "2", folder=folder)


def promote_first(folder: Path) -> object:
    """Version 1 becomes champion in place of version 2."""
    return mw.promote("shop", "1", folder=folder)


TO = {"1": promote_first, "2": promote_second}
"""The promotion of each version."""


def roll_back(folder: Path) -> object:
    """Back to version 1."""
    return mw.rollback("shop", folder=folder)


def begin_canary(folder: Path) -> object:
    """Version 2 gets a share of the requests."""
    return mw.canary("shop", "2", weight=0.1, folder=folder)


def widen_canary(folder: Path, weight: float) -> None:
    """The same with any share, in a process of its own."""
    mw.canary("shop", "2", weight=weight, folder=folder)


def train_anew(folder: Path) -> object:
    """The model once more, with the answered rows that lie in the project."""
    rows = pl.read_parquet(folder / "answered.parquet")
    return mw.retrain(folder / "modelwright.yaml", rows=rows)


def log_fresh(folder: Path) -> str:
    """What `run` does first at its end, with the judged run that is there: MLflow's run id."""
    run, record = _fresh(folder)
    return log_run(
        Registry(folder),
        mw.Artefact.load(run / "artefact"),
        from_json((run / "dataset.json").read_bytes(), DatasetRecord),
        from_json((run / "fit.json").read_bytes(), FitRecord),
        from_json((run / "measured.json").read_bytes(), Measured),
        record,
        from_json((run / "evaluation.json").read_bytes(), Evaluation),
        run,
    )


def register_fresh(folder: Path) -> object:
    """What `run` does last: a version of the logged run, with its alias."""
    run, record = _fresh(folder)
    artefact = mw.Artefact.load(run / "artefact")
    return register(Registry(folder), folder, artefact, record, (run / "fresh").read_text())


def register_fresh_as_agent(folder: Path) -> object:
    """The same by an agent, which may not promote by itself."""
    with acting_as(Principal("agent bo", "agent")):
        return register_fresh(folder)


def register_run(folder: Path, name: str) -> object:
    """The same for one of several."""
    run = folder / "runs" / name
    record = from_json((run / "release.json").read_bytes(), ReleaseRecord)
    artefact = mw.Artefact.load(run / "artefact")
    return register(Registry(folder), folder, artefact, record, (run / "fresh").read_text())


def _fresh(folder: Path) -> tuple[Path, ReleaseRecord]:
    [run] = [path for path in (folder / "runs").glob("[!.]*/") if (path / "fresh").exists()]
    return run, from_json((run / "release.json").read_bytes(), ReleaseRecord)


def killed_at(step: int, action: Action, folder: Path) -> str:
    """Do something in a process that dies at a step; the step's name, or nothing if it ended."""
    log = folder.with_name(f"{folder.name}.died")
    log.unlink(missing_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    process = context.Process(target=_stepped, args=(step, action, folder, log))
    process.start()
    process.join(120)
    if process.exitcode == 0:
        return ""
    assert process.exitcode == -signal.SIGKILL, f"{action.__name__} ended with {process.exitcode}"
    return log.read_text()


def killed_in(call: str, action: Action, folder: Path) -> None:
    """Do something in a process that dies when it comes to a call of MLflow's client."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    log = folder.with_name(f"{folder.name}.died")
    process = context.Process(target=_stepped, args=(1, action, folder, log, (call,), ()))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL, f"{call}: ended with {process.exitcode}"


def together(action: Callable[..., object], given: list[tuple[Any, ...]]) -> list[int | None]:
    """Several processes at once; their exit codes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    processes = [context.Process(target=action, args=each) for each in given]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def begun(action: Action, folder: Path) -> ForkServerProcess:
    """Something in a process of its own, which goes on while this returns."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    process = context.Process(target=_within, args=(action, folder))
    process.start()
    return process


def run_quickly(folder: Path) -> object:
    """The small project from table to release, in about three seconds."""
    return mw.run(folder / "modelwright.yaml", overrides=QUICKLY)


def resume_quickly(folder: Path) -> object:
    """The rest of such a run."""
    return mw.run(folder / "modelwright.yaml", overrides=QUICKLY, resume=True)


def start_job(folder: Path) -> object:
    """A small operation in a process of its own."""
    return jobs.start(folder, "spec", {})


def promote_one(folder: Path, version: str) -> None:
    """A promotion in a process of its own."""
    mw.promote("shop", version, why=f"process for {version}", folder=folder)


def copied(folder: Path, target: Path) -> Path:
    """A project as it is now."""
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(folder, target))


def _within(action: Action, folder: Path) -> None:
    os.chdir(folder)
    action(folder)


def _stepped(
    last: int,
    action: Action,
    folder: Path,
    log: Path,
    client: tuple[str, ...] = CLIENT,
    files: tuple[str, ...] = FILES,
) -> None:
    os.chdir(folder)
    steps = Steps(last, log)
    for name in client:
        steps.wrap(MlflowClient, name)
    for name in files:
        steps.wrap(os, name)
    action(folder)
    sys.stdout.flush()
    os._exit(0)


def killed_before(what: str, times: int, action: Action, folder: Path) -> None:
    """Do something in a process that dies just before it does a thing for the n-th time.

    Args:
        what: a call of MLflow's client, or `file NAME`: the rename that puts a file in its place.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    process = context.Process(target=_until, args=(what, times, action, folder))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL, f"{what}: ended with {process.exitcode}"


def _until(what: str, times: int, action: Action, folder: Path) -> None:
    os.chdir(folder)
    seen = [0]

    def watched(owner: Any, name: str, told: Callable[..., str]) -> None:
        real = getattr(owner, name)

        def stepped(*given: Any, **named: Any) -> Any:
            seen[0] += told(*given) == what
            if seen[0] == times:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given, **named)

        setattr(owner, name, stepped)

    for name in CLIENT:
        watched(MlflowClient, name, lambda *_, name=name: name)
    for name in ("replace", "rename"):
        watched(os, name, lambda *given: f"file {Path(given[1]).name}")
    action(folder)
    os._exit(0)
