"""Records as the lines of results."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from pathlib import Path

import modelwright as mw
from modelwright.core.records import (
    DatasetRecord,
    Finding,
    FitRecord,
    Interval,
    ReleaseRecord,
    Trial,
)
from modelwright.core.schema import Column
from modelwright.ways_in import results


def run_result(record: ReleaseRecord, fit: FitRecord, folder: Path) -> results.RunResult:
    """A judged run as every door shows it."""
    return results.RunResult(
        model=record.model,
        version=record.version,
        alias=record.alias,
        verdict=record.verdict,
        headline=mw.headline(record),
        family=fit.family,
        trials=sum(bool(trial.scores) for trial in fit.trials),
        report=near(folder / record.report),
        project=near(folder.resolve().parents[1]),
        run=record.run,
        artefact=record.artefact,
        replaces=record.replaces,
        goal=fit.goal,
        first_feasible=fit.first_feasible,
        leaderboard=[_candidate(t, fit.best) for t in fit.leaderboard()],
        findings=lines(record.evidence),
        next=next_step(record),
    )


def next_step(record: ReleaseRecord) -> str:
    """What is left to do with a version that was made; empty where there is none."""
    if record.alias == "challenger" and not record.replaces:
        return (
            f"{record.model} has no champion yet, and this first version, an agent's, waits as "
            f"challenger. modelwright promote {record.model} makes it one; where an agent asks, a "
            "person approves."
        )
    if record.alias == "challenger":
        return (
            f"The champion is still version {record.replaces}. "
            f"modelwright promote {record.model} changes that."
        )
    return f"modelwright serve {record.model}" if record.version else ""


def figure(found: Interval | None) -> results.Figure | None:
    """An interval as numbers that JSON knows."""
    if found is None:
        return None
    value, low, high = (
        one if math.isfinite(one) else None for one in (found.value, found.low, found.high)
    )
    return results.Figure(value=value, low=low, high=high, confidence=found.confidence)


def _candidate(trial: Trial, chosen: int) -> results.CandidateLine:
    """A trial with what is known of its costs, measured before estimated."""
    real, price = trial.measured, trial.price
    seconds = real.in_process_p50 if real else price.in_process if price else None
    size = real.size if real else price.size if price else None
    figures = {name: getattr(real, name, None) for name in ("latency_p95", "throughput", "memory")}
    return results.CandidateLine(
        number=trial.number,
        candidate=trial.family,
        origin=trial.origin,
        score=trial.score,
        error=trial.error,
        in_process=seconds,
        size=size,
        fit_seconds=trial.seconds,
        folds=len(trial.scores),
        measured=real is not None,
        outcome=trial.outcome,
        feasible=not trial.broken,
        pareto=trial.pareto,
        chosen=trial.number == chosen,
        **{name: found.value if found is not None else None for name, found in figures.items()},
    )


def lines(findings: Iterable[Finding]) -> list[results.FindingLine]:
    """Findings as every door shows them."""
    return [
        results.FindingLine(
            check=f.check,
            subject=f.subject,
            verdict=f.verdict,
            severity=f.severity,
            measured=f.measured,
            wanted=f.wanted,
            why=f.why,
            advice=f.advice,
            columns=list(f.columns),
            rows=list(f.rows),
        )
        for f in findings
    ]


def in_a_line(found: Finding) -> str:
    """A finding where lines pass by: a log, a watcher at a terminal.

    Example:
        >>> in_a_line(Finding("disk", "free", "fail", "1 GB", "2 GB", advice="make room"))
        'free: 1 GB, 2 GB. What to do: make room'
    """
    why = f"; {found.why}" if found.why else ""
    return f"{found.subject}: {found.measured}, {found.wanted}{why}. What to do: {found.advice}"


def column_line(record: DatasetRecord, column: Column) -> results.ColumnLine:
    """A column of a table; values of private ones are left out."""
    base = record.baseline.get(column.name)
    values = ", ".join(column.levels[:4])
    if column.kind == "list":
        values = f"items {values}, parted by {column.format}"
    if column.kind == "number" and column.minimum is not None:
        values = f"{column.minimum:,.10g} to {column.maximum:,.10g}"
    if column.kind == "datetime":
        values = f"written as {column.format or 'ISO 8601'}"
    return results.ColumnLine(
        name=column.name,
        kind=column.kind,
        missing=base.missing if base else None,
        values="(private)" if column.private else values,
        unused=column.unused,
        relation=record.relations.get(column.name),
        fingerprint=record.column_fingerprints.get(column.name, ""),
    )


def change(line: mw.AuditLine) -> results.ChangeResult:
    """A line of the audit."""
    return results.ChangeResult(
        action=line.action if line.action in ("rollback", "override", "moved") else "promote",
        subject=line.subject,
        model=line.model,
        champion=line.version,
        replaces=line.replaces,
        by=line.who,
        at=line.at,
        why=line.why,
    )


def moment(milliseconds: int) -> str:
    """MLflow's time as people write it."""
    moment = dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def near(path: Path) -> str:
    """A path relative to here when it is below, else absolute."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
