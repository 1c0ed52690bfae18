"""Artefact to Release: the only place that breaks the holdout's seal."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from modelwright.core.errors import ModelwrightError, UsageError
from modelwright.core.evaluation import Evaluation
from modelwright.core.records import (
    DatasetRecord,
    FitRecord,
    Measured,
    Override,
    ReleaseRecord,
)
from modelwright.core.spec_file import SpecFile
from modelwright.core.spec_release import ALWAYS
from modelwright.core.store import timestamp, to_json, write_atomic
from modelwright.core.table import Table
from modelwright.data.dataset import Dataset
from modelwright.fit.pipeline import Fit, Pipeline
from modelwright.pack.artefact import Answers, Artefact
from modelwright.release.attest import attest, must_be_as_judged
from modelwright.release.audit import AuditLog, who
from modelwright.release.card import card_finding
from modelwright.release.evaluate import evaluate
from modelwright.release.evidence import Evidence
from modelwright.release.gates import judge, ruling
from modelwright.release.pages import write_pages
from modelwright.release.promote import register
from modelwright.release.registry import CHAMPION, Registry, Version
from modelwright.release.run_records import EVALUATION, REPORT, RunRecords
from modelwright.release.tracking import log_run

EVALUATION_SHARE, EVALUATION_SECONDS = 0.06, 4.0
"""Part of a budget in seconds, and most seconds, for a look at what the model uses."""


@dataclass(frozen=True)
class Judged:
    """What a release is made from: the run's records and its packed model."""

    spec_file: SpecFile
    dataset: DatasetRecord
    fit: FitRecord
    measured: Measured
    artefact: Artefact
    run: Path


def judge_and_register(
    judged: Judged, dataset: Dataset, fit: Fit, registry: Registry
) -> ReleaseRecord:
    """Score the sealed rows, judge, report, log, and register when the gates pass.

    The first model to pass becomes champion, since nothing is in production yet; later ones
    become challenger and wait for `promote`.

    Raises:
        RegistryError: MLflow refused or cannot be reached; the run folder is kept.
    """
    spec = judged.spec_file.spec
    champion = registry.aliased(spec.name, CHAMPION)
    holdout, uses = dataset.holdout.open(judged.run.name)
    evidence = _evidence(judged, dataset, fit, holdout, champion, registry)
    evaluation = evaluate(evidence, _seconds(spec.fit.budget))
    findings = judge(evidence, [*evaluation.findings, card_finding(spec)])
    release = ReleaseRecord(
        model=spec.name,
        run=judged.run.name,
        verdict=ruling(findings, spec.release).verdict,
        artefact=judged.artefact.digest,
        evidence=findings,
        at=timestamp(),
        replaces=champion.number if champion else "",
        report=REPORT,
        holdout_uses=uses,
    )
    write_atomic(judged.run / EVALUATION, to_json(evaluation))
    return _log_and_register(judged, evaluation, registry, release, champion)


def _seconds(budget: str) -> float:
    """How long to look at what the model uses."""
    if budget.endswith("trials"):
        return EVALUATION_SECONDS
    return min(EVALUATION_SECONDS, EVALUATION_SHARE * float(budget.removesuffix("s")))


def release_anyway(
    judged: Judged,
    evaluation: Evaluation,
    release: ReleaseRecord,
    registry: Registry,
    gates: Sequence[str],
    why: str,
) -> ReleaseRecord:
    """Release a run whose gates left it undecided, on a person's word.

    Args:
        judged, evaluation, release: the run's records.
        gates: names of the gates to let through, such as champion.
        why: the reason; goes into the audit with the person's name.

    Raises:
        UsageError: a gate failed, is not undecided, still blocks, or no reason is given; the
            champion is another one now.
    """
    spec = judged.spec_file.spec
    if not why.strip():
        raise UsageError("An override needs a reason.", hint="Give it with --why.")
    must_be_as_judged(judged.run, judged.artefact.digest, release)
    if release.version:
        raise UsageError(f"Run {release.run} is released already: version {release.version}.")
    blocking = [f for f in release.evidence if f.blocks]
    failed = [f"{f.check} {f.subject}" for f in blocking if f.verdict == "fail"]
    if failed:
        raise UsageError(
            f"Gates failed: {', '.join(failed)}. Nobody can override that.",
            hint="A better model, other limits, or release.policy in the spec; then run again.",
        )
    champion = registry.aliased(spec.name, CHAMPION)
    if (champion.number if champion else "") != release.replaces:
        raise UsageError(
            f"Run {release.run} was compared with champion {release.replaces or 'none'}; now it is "
            f"{champion.number if champion else 'none'}.",
            hint="Run again, so that the two are compared.",
        )
    certain = sorted(set(gates) & set(ALWAYS))
    if certain:
        raise UsageError(f"{', '.join(certain)}: nobody can let that through.")
    unknown = sorted(set(gates) - {f.check for f in blocking})
    if unknown:
        known = ", ".join(sorted({f.check for f in blocking})) or "none"
        raise UsageError(f"Not undecided here: {', '.join(unknown)}.", hint=f"Undecided: {known}.")
    overrides = tuple(
        Override(f.check, f.subject, who(), why, timestamp()) for f in blocking if f.check in gates
    )
    verdict = ruling(release.evidence, spec.release, overrides).verdict
    if verdict != "pass":
        left = ", ".join(f"{f.check} {f.subject}" for f in blocking if f.check not in gates)
        raise UsageError(f"Still undecided: {left}.", hint="Name each gate with --allow.")
    released = msgspec.structs.replace(release, verdict=verdict, overrides=overrides)
    return _log_and_register(judged, evaluation, registry, released, champion)


def _log_and_register(
    judged: Judged,
    evaluation: Evaluation,
    registry: Registry,
    release: ReleaseRecord,
    champion: Version | None,
) -> ReleaseRecord:
    _write(judged, evaluation, release)
    parent = champion.digest if champion else ""
    attest(judged.run, judged.artefact, release, judged.spec_file.spec, judged.dataset, parent)
    mlflow_run = log_run(
        registry, judged.artefact, judged.dataset, judged.fit, judged.measured, release, judged.run
    )
    if release.verdict != "pass":
        return release
    with _uninterrupted():
        folder = judged.spec_file.folder
        _record_overrides(judged.spec_file, release)
        release = register(registry, folder, judged.artefact, release, mlflow_run)
        _write(judged, evaluation, release)
    return release


def _record_overrides(spec_file: SpecFile, release: ReleaseRecord) -> None:
    """An audit line for each undecided gate that was let through, by a person or by the policy."""
    policy, log = spec_file.spec.release, AuditLog(spec_file.folder)
    reasons = {(o.check, o.subject): o.why for o in release.overrides}
    allowed = f"release.undecided: allow; {policy.reason}"
    for finding in ruling(release.evidence, policy, release.overrides).let_through:
        why = reasons.get((finding.check, finding.subject), allowed)
        log.record(
            "override", release.model, "", replaces=release.replaces,
            why=f"{why} (run {release.run})", subject=f"{finding.check} {finding.subject}",
        )  # fmt: skip


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
    judged: Judged,
    dataset: Dataset,
    fit: Fit,
    holdout: Table,
    champion: Version | None,
    registry: Registry,
) -> Evidence:
    feeds = holdout.feeds
    chosen = fit.best
    baselines = {
        name: pipeline.answer(feeds)
        for name, pipeline in fit.baselines.items()
        if name == "dummy" or not _same(pipeline, chosen)
    }
    answered = judged.artefact.answer(feeds)
    theirs, problem = _champion_answers(judged, holdout, champion, registry)
    ends = None
    if answered.low is not None and answered.high is not None:
        ends = answered.low, answered.high
    return Evidence(
        schema=judged.artefact.schema,
        goal=judged.fit.goal,
        limits=judged.spec_file.spec.parsed_limits(),
        policy=judged.spec_file.spec.release,
        holdout=holdout,
        train=dataset.train,
        answers=answered.raw,
        answer=lambda rows: judged.artefact.answer(rows).raw,
        baselines=baselines,
        champion=theirs.raw if theirs is not None else None,
        champion_version=champion.number if champion else "",
        champion_problem=problem,
        parity=judged.artefact.manifest.parity,
        measured=judged.measured,
        seed=judged.dataset.seed,
        ordered=dataset.ordered,
        data=judged.dataset.findings,
        labels=answered.codes,
        champion_labels=theirs.codes if theirs is not None else None,
        ends=ends,
        out_of_fold=fit.out_of_fold,
        search=judged.fit.findings,
        learning=fit.learning,
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
    ours = (judged.dataset.split, judged.dataset.seed)
    if (model.manifest.split, model.manifest.seed) != ours:
        return None, "it was trained under another split, so it may know the sealed rows"
    kinds = {column.name: column.kind for column in now.features}
    changed = [c.name for c in then.features if kinds.get(c.name) != c.kind]
    if changed:
        named = ", ".join(changed[:5])
        return None, f"columns it reads are gone or of another kind: {named}"
    return model.answer({c.name: holdout.feeds[c.name] for c in then.features}), ""


def _write(judged: Judged, evaluation: Evaluation, release: ReleaseRecord) -> None:
    write_atomic(judged.run / "release.json", to_json(release))
    write_pages(RunRecords(
        judged.run, release, judged.dataset, judged.fit, judged.artefact.manifest, judged.measured,
        judged.spec_file, evaluation,
    ))  # fmt: skip
