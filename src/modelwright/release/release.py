"""Artefact to Release: the only place that breaks the holdout's seal."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from modelwright.core.errors import ModelwrightError
from modelwright.core.records import Measured, ReleaseRecord
from modelwright.core.spec_file import SpecFile
from modelwright.core.store import timestamp, to_json, write_atomic
from modelwright.core.table import Table
from modelwright.data.dataset import Dataset
from modelwright.fit.pipeline import Fit, Pipeline
from modelwright.pack.artefact import Answers, Artefact
from modelwright.release.gates import Evidence, judge, verdict_of
from modelwright.release.promote import promote
from modelwright.release.registry import CHALLENGER, CHAMPION, Registry, Version
from modelwright.release.report import ReportInput, render
from modelwright.release.tracking import log_run

REPORT = "report.html"


@dataclass(frozen=True)
class Judged:
    """What a release is made from."""

    spec_file: SpecFile
    dataset: Dataset
    fit: Fit
    artefact: Artefact
    measured: Measured
    run: Path


def judge_and_register(judged: Judged, registry: Registry) -> ReleaseRecord:
    """Score the sealed rows, judge, report, log, and register when the gates pass.

    The first model to pass becomes champion, since nothing is in production yet; later ones
    become challenger and wait for `promote`.

    Raises:
        RegistryError: MLflow refused or cannot be reached; the run folder is kept.
    """
    spec = judged.spec_file.spec
    champion = registry.aliased(spec.name, CHAMPION)
    holdout, uses = judged.dataset.holdout.open(judged.run.name)
    evidence = _evidence(judged, holdout, champion, registry)
    findings = judge(evidence)
    release = ReleaseRecord(
        model=spec.name,
        run=judged.run.name,
        verdict=verdict_of(findings, spec.release),
        artefact=judged.artefact.digest,
        evidence=findings,
        at=timestamp(),
        replaces=champion.number if champion else "",
        report=REPORT,
        holdout_uses=uses,
    )
    _write(judged, release)
    mlflow_run = log_run(
        registry,
        judged.artefact,
        judged.dataset.record,
        judged.fit.record,
        judged.measured,
        release,
        judged.run,
    )
    if release.verdict != "pass":
        return release
    with _uninterrupted():
        return _register(judged, registry, release, champion, mlflow_run)


def _register(
    judged: Judged,
    registry: Registry,
    release: ReleaseRecord,
    champion: Version | None,
    mlflow_run: str,
) -> ReleaseRecord:
    spec = judged.spec_file.spec
    version = registry.register(judged.artefact, release, mlflow_run, intent=spec.intent)
    release = msgspec.structs.replace(release, version=version, alias=CHALLENGER)
    registry.set_alias(spec.name, CHALLENGER, version)
    why = "first release that passed its gates"
    folder = judged.spec_file.folder
    if champion is None and promote(registry, folder, spec.name, version, why=why, only_first=True):
        release = msgspec.structs.replace(release, alias=CHAMPION)
    _write(judged, release)
    return release


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C off, so that a registration is done or was never begun."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _evidence(
    judged: Judged, holdout: Table, champion: Version | None, registry: Registry
) -> Evidence:
    spec = judged.spec_file.spec
    feeds = holdout.feeds
    chosen = judged.fit.best
    baselines = {
        name: pipeline.answer(feeds)
        for name, pipeline in judged.fit.baselines.items()
        if name == "dummy" or not _same(pipeline, chosen)
    }
    answered = judged.artefact.answer(feeds)
    theirs, problem = _champion_answers(judged, holdout, champion, registry)
    ends = None
    if answered.low is not None and answered.high is not None:
        ends = answered.low, answered.high
    return Evidence(
        schema=judged.artefact.schema,
        goal=judged.fit.record.goal,
        limits=spec.parsed_limits(),
        policy=spec.release,
        holdout=holdout,
        answers=answered.raw,
        baselines=baselines,
        champion=theirs.raw if theirs is not None else None,
        champion_version=champion.number if champion else "",
        champion_problem=problem,
        parity=judged.artefact.manifest.parity,
        measured=judged.measured,
        seed=judged.dataset.record.seed,
        data=judged.dataset.record.findings,
        labels=answered.codes,
        champion_labels=theirs.codes if theirs is not None else None,
        ends=ends,
        out_of_fold=judged.fit.out_of_fold,
        search=judged.fit.record.findings,
    )


def _same(one: Pipeline, other: Pipeline) -> bool:
    """Whether two pipelines are the same single model."""
    return len(other.members) == 1 and other.members[0] is one.members[0]


def _champion_answers(
    judged: Judged, holdout: Table, champion: Version | None, registry: Registry
) -> tuple[Answers | None, str]:
    """The champion's answers on the same rows, or why there can be none."""
    if champion is None:
        return None, ""
    try:
        model = Artefact.load(registry.fetch(champion), digest=champion.digest)
    except ModelwrightError as error:
        return None, str(error)
    now, then = judged.dataset.schema, model.schema
    if (now.target.name, now.target.levels) != (then.target.name, then.target.levels):
        return None, "it predicts another target or other classes"
    ours = (judged.dataset.record.split, judged.dataset.record.seed)
    if (model.manifest.split, model.manifest.seed) != ours:
        return None, "it was trained under another split, so it may know the sealed rows"
    kinds = {column.name: column.kind for column in now.features}
    changed = [c.name for c in then.features if kinds.get(c.name) != c.kind]
    if changed:
        named = ", ".join(changed[:5])
        return None, f"columns it reads are gone or of another kind: {named}"
    return model.answer({c.name: holdout.feeds[c.name] for c in then.features}), ""


def _write(judged: Judged, release: ReleaseRecord) -> None:
    given = ReportInput(
        release,
        judged.dataset.record,
        judged.fit.record,
        judged.artefact.manifest,
        judged.measured,
        judged.spec_file,
    )
    write_atomic(judged.run / REPORT, render(given).encode())
    write_atomic(judged.run / "release.json", to_json(release))
