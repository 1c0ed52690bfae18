"""Artefact to Release: the only place that breaks the holdout's seal."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from modelwright.core.errors import ModelwrightError, UsageError
from modelwright.core.evaluation import Evaluation
from modelwright.core.intake import Array, Feeds
from modelwright.core.principal import acting
from modelwright.core.records import (
    DatasetRecord,
    Finding,
    FitRecord,
    Measured,
    Override,
    ReleaseRecord,
)
from modelwright.core.spec_file import SpecFile
from modelwright.core.spec_release import ALWAYS
from modelwright.core.store import timestamp, to_json, write_atomic
from modelwright.core.table import Table
from modelwright.data.dataset import SEALED_GIVEN, Dataset
from modelwright.fit.pipeline import Fit, Pipeline
from modelwright.fit.score import decided
from modelwright.pack.artefact import Artefact
from modelwright.release.approvals import gate
from modelwright.release.attest import attest
from modelwright.release.audit import AuditLog
from modelwright.release.card import card_finding
from modelwright.release.curves import days_after_training
from modelwright.release.evaluate import evaluate
from modelwright.release.evidence import Evidence
from modelwright.release.gates import judge, ruling
from modelwright.release.grounds import in_words
from modelwright.release.pages import write_pages
from modelwright.release.promote import register
from modelwright.release.recent import Recent, recent_finding
from modelwright.release.registry import CHAMPION, Registry, Version
from modelwright.release.requests import STANDS
from modelwright.release.run_records import EVALUATION, REPORT, RunRecords
from modelwright.release.sealed import all_sealed, keep_sealed
from modelwright.release.standings import keep_standings, standings_of
from modelwright.release.tracking import log_run

BY_POLICY = "the policy (release.undecided: allow)"
"""Who let an undecided gate through where no person did."""
EVALUATION_SHARE, EVALUATION_SECONDS = 0.06, 4.0
"""Part of a budget in seconds, and most seconds, for a look at what the model uses."""


@dataclass(frozen=True)
class Judged:
    """What a release is made from: the run's records and its packed model.

    `baseline`: digest of the packed baseline beside it, where there is one. `recent`: of a
    retraining, the rows that judge it beside the sealed ones; `notes`: what it was made of.
    """

    spec_file: SpecFile
    dataset: DatasetRecord
    fit: FitRecord
    measured: Measured
    artefact: Artefact
    run: Path
    baseline: str = ""
    recent: Recent | None = None
    notes: tuple[Finding, ...] = ()


def judge_and_register(
    judged: Judged,
    dataset: Dataset,
    fit: Fit,
    registry: Registry,
    pressed: Callable[[], bool] = bool,
) -> ReleaseRecord:
    """Score the sealed rows, judge, report, log, and register when the gates pass.

    The first model to pass becomes champion, since nothing is in production yet; later ones
    become challenger and wait for `promote`.

    Args:
        pressed: whether Ctrl-C was pressed: every gate is judged all the same, and what no gate
            needs is left out.

    Raises:
        RegistryError: MLflow refused or cannot be reached; the run folder is kept.
    """
    spec = judged.spec_file.spec
    champion = registry.aliased(spec.name, CHAMPION)
    holdout, uses = dataset.holdout.open(judged.run.name)
    keep_sealed(judged.run, holdout)
    theirs, problem = _comparable_champion(judged, holdout, champion, registry)
    evidence = _evidence(judged, dataset, fit, holdout, champion, theirs, problem)
    evaluation = evaluate(evidence, _seconds(spec.fit.budget), pressed)
    recent = _on_recent_rows(judged, champion, theirs, evidence.confidence)
    more = [*evaluation.findings, *recent, *judged.notes, card_finding(spec)]
    findings = judge(evidence, more)
    ruled, now = ruling(findings, spec.release), timestamp()
    release = ReleaseRecord(
        model=spec.name,
        run=judged.run.name,
        verdict=ruled.verdict,
        artefact=judged.artefact.digest,
        evidence=findings,
        at=now,
        replaces=champion.number if champion else "",
        report=REPORT,
        holdout_uses=uses,
        baseline=judged.baseline,
        overrides=tuple(
            Override(f.check, f.subject, BY_POLICY, spec.release.reason, now)
            for f in ruled.let_through
        ),
    )
    write_atomic(judged.run / EVALUATION, to_json(evaluation))
    keep_standings(judged.run, standings_of(evidence))
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
    """Release a run whose gates left it undecided, on a person's word; an agent's is not enough.

    Whoever calls this has seen that the records are those that it was judged by
    (`attest.must_be_as_judged`), before the model was loaded.

    Args:
        judged, evaluation, release: the run's records.
        gates: names of the gates to let through, such as champion.
        why: the reason; goes into the audit with the person's name.

    Raises:
        UsageError: a gate failed, is not undecided, still blocks, or no reason is given; the
            champion is another one now.
        Refused: an agent needs a person's approval for it, or may not do it.
    """
    spec = judged.spec_file.spec
    if not why.strip():
        raise UsageError("An override needs a reason.", hint="Give it with --why.")
    if release.version:
        raise UsageError(f"Run {release.run} is released already: version {release.version}.")
    blocking = [f for f in release.evidence if f.blocks]
    failed = [f"{f.check} {f.subject}" for f in blocking if f.verdict == "fail"]
    if failed:
        raise UsageError(
            f"Gates failed: {', '.join(failed)}. Nobody can override that.",
            hint="A better model, other limits, or release.policy in the spec; then run again.",
            rule="gates_all_pass",
            evidence={"failed": failed},
        )
    champion = registry.aliased(spec.name, CHAMPION)
    if (champion.number if champion else "") != release.replaces:
        raise UsageError(
            f"Run {release.run} was compared with champion {release.replaces or 'none'}; now it is "
            f"{champion.number if champion else 'none'}.",
            hint="Run again, so that the two are compared.",
        )
    _must_be_undecided(gates, blocking)
    let = [f for f in blocking if f.check in gates]
    overrides = tuple(Override(f.check, f.subject, acting().name, why, timestamp()) for f in let)
    verdict = ruling(release.evidence, spec.release, overrides).verdict
    if verdict != "pass":
        left = ", ".join(f"{f.check} {f.subject}" for f in blocking if f.check not in gates)
        raise UsageError(f"Still undecided: {left}.", hint="Name each gate with --allow.")
    who = _on_whose_word(judged, release, let, why)
    overrides = tuple(msgspec.structs.replace(one, who=who) for one in overrides)
    released = msgspec.structs.replace(release, verdict=verdict, overrides=overrides)
    return _log_and_register(judged, evaluation, registry, released, champion)


def _must_be_undecided(gates: Sequence[str], blocking: Sequence[Finding]) -> None:
    certain = sorted(set(gates) & set(ALWAYS))
    if certain:
        raise UsageError(
            f"{', '.join(certain)}: nobody can let that through.", rule="baseline_required"
        )
    unknown = sorted(set(gates) - {f.check for f in blocking})
    if unknown:
        known = ", ".join(sorted({f.check for f in blocking})) or "none"
        raise UsageError(f"Not undecided here: {', '.join(unknown)}.", hint=f"Undecided: {known}.")


def _on_whose_word(judged: Judged, release: ReleaseRecord, let: list[Finding], why: str) -> str:
    """The person who lets gates through; where an agent asked for it, with whoever approved."""
    request = gate(
        judged.spec_file.folder, "release",
        {"run": release.run, "allow": sorted({f.check for f in let})},
        model=release.model, version="", why=why, champion=release.replaces,
        evidence={
            "let through": [in_words(f) for f in let],
            "gates": [in_words(f) for f in release.evidence if f.severity == "error"],
            "report": str(Path("runs") / release.run / release.report),
            STANDS: {"artefact": release.artefact},
        },
    )  # fmt: skip
    if request is None:
        return acting().name
    return f"{acting().name}, approved by {request.decided_by} ({request.id})"


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
        registry, judged.artefact, judged.dataset, judged.fit, judged.measured, release,
        evaluation, judged.run,
    )  # fmt: skip
    if release.verdict != "pass":
        return release
    with _uninterrupted():
        folder = judged.spec_file.folder
        _record_overrides(judged.spec_file, release)
        intent = judged.spec_file.spec.intent
        release = register(
            registry, folder, judged.artefact, release, mlflow_run, intent=intent.strip()
        )
        _write(judged, evaluation, release)
    return release


def _record_overrides(spec_file: SpecFile, release: ReleaseRecord) -> None:
    """An audit line for each undecided gate that was let through, by a person or by the policy; a
    release that a kill cut off after them does not say them again."""
    policy, log = spec_file.spec.release, AuditLog(spec_file.folder)
    said = {(e.subject, e.why) for e in log.lines(release.model) if e.action == "override"}
    reasons = {(o.check, o.subject): o.why for o in release.overrides if o.who != BY_POLICY}
    allowed = f"release.undecided: allow; {policy.reason}"
    for finding in ruling(release.evidence, policy, release.overrides).let_through:
        why = f"{reasons.get((finding.check, finding.subject), allowed)} (run {release.run})"
        subject = f"{finding.check} {finding.subject}"
        if (subject, why) not in said:
            log.record(
                "override", release.model, "", replaces=release.replaces, why=why, subject=subject
            )


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
    theirs: Artefact | None,
    problem: str,
) -> Evidence:
    feeds = holdout.feeds
    chosen = fit.best
    baselines = {
        name: pipeline.answer(feeds)
        for name, pipeline in fit.baselines.items()
        if name == "dummy" or not _same(pipeline, chosen)
    }
    answered = judged.artefact.answer(feeds)
    said = None if theirs is None else theirs.answer(_read_by(theirs, feeds))
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
        champion=said.raw if said is not None else None,
        champion_version=champion.number if champion else "",
        champion_problem=problem,
        parity=judged.artefact.manifest.parity,
        measured=judged.measured,
        seed=judged.dataset.seed,
        ordered=dataset.ordered,
        ages=days_after_training(judged.spec_file.spec.data.split, dataset.train, holdout),
        data=judged.dataset.findings,
        labels=answered.codes,
        champion_labels=said.codes if said is not None else None,
        ends=ends,
        out_of_fold=fit.out_of_fold,
        search=judged.fit.findings,
        learning=fit.learning,
        ablation=fit.ablation,
        sized_by=_sized_by(fit),
    )


def _sized_by(fit: Fit) -> int:
    reach = fit.best.outputs.reach
    if reach is None:
        return 0
    return reach.aside or int((~np.isnan(fit.out_of_fold)).sum())


def _same(one: Pipeline, other: Pipeline) -> bool:
    """Whether two pipelines are the same single model."""
    return len(other.members) == 1 and other.members[0] is one.members[0]


def _comparable_champion(
    judged: Judged, holdout: Table, champion: Version | None, registry: Registry
) -> tuple[Artefact | None, str]:
    """The champion, or why it cannot be compared with on the same rows."""
    if champion is None:
        return None, ""
    try:
        model = Artefact.load(registry.fetch(champion), digest=champion.digest)
    except ModelwrightError as error:
        return None, str(error)
    now, then = judged.dataset.schema, model.schema
    if (now.target.name, now.target.levels) != (then.target.name, then.target.levels):
        return None, "it predicts another target or other classes"
    kinds = {column.name: column.kind for column in now.features}
    changed = [c.name for c in then.features if kinds.get(c.name) != c.kind]
    if changed:
        named = ", ".join(changed[:5])
        return None, f"columns it reads are gone or of another kind: {named}"
    ours = (judged.dataset.split, judged.dataset.seed)
    same = (model.manifest.split, model.manifest.seed) == ours
    if not same or judged.dataset.split.endswith(SEALED_GIVEN):
        run = judged.spec_file.folder / "runs" / champion.run
        if not all_sealed(run, holdout, [column.name for column in then.features]):
            return None, "it was trained under another split, so it may know the sealed rows"
    return model, ""


def _on_recent_rows(
    judged: Judged, champion: Version | None, theirs: Artefact | None, confidence: float
) -> list[Finding]:
    """Of a retraining: whether it is better than the champion on the newest labelled rows."""
    recent, metric = judged.recent, judged.fit.goal
    if recent is None or champion is None:
        return []
    ours: Array | None = None
    champions: Array | None = None
    if theirs is not None and not recent.problem and recent.rows.rows:
        said = [m.answer(_read_by(m, recent.rows.feeds)) for m in (judged.artefact, theirs)]
        ours, champions = (decided(metric, one.raw, one.codes) for one in said)
    found = recent_finding(
        metric, recent, ours, champions, champion.number,
        confidence=confidence,
    )  # fmt: skip
    return [found]


def _read_by(model: Artefact, feeds: Feeds) -> Feeds:
    return {column.name: feeds[column.name] for column in model.schema.features}


def _write(judged: Judged, evaluation: Evaluation, release: ReleaseRecord) -> None:
    write_atomic(judged.run / "release.json", to_json(release))
    write_pages(RunRecords(
        judged.run, release, judged.dataset, judged.fit, judged.artefact.manifest, judged.measured,
        judged.spec_file, evaluation,
    ))  # fmt: skip
