"""Limits on quality, held against answers whose truths came."""

from __future__ import annotations

import numpy as np

from modelwright.core.goals import goal_of
from modelwright.core.limits import QUALITY as QUALITY_METRICS
from modelwright.core.limits import Limit, show
from modelwright.core.records import Finding, Interval, Verdict
from modelwright.fit.certainty import interval
from modelwright.fit.in_time import InTime
from modelwright.fit.score import decided
from modelwright.serve.journal_segment import FEATURE
from modelwright.watch.answered import Answered
from modelwright.watch.subject import Subject

LEAST_OF_SLICE = 50


def of_limits(labelled: Answered, late: str, subject: Subject) -> list[Finding]:
    """Every limit on quality that the version was released under, on a window's rows, and the
    goal: of all rows, and of each value of the columns that limits are declared for; failures
    first.

    Args:
        labelled: rows that have a truth.
        late: how many have one and how late it came, in words.
        subject: whose limits hold.
    """
    manifest = subject.champion.manifest
    limits = [one for one in manifest.limits if one.metric in QUALITY_METRICS and not one.relative]
    goal = goal_of(subject.spec, manifest.schema.target)
    found = [
        _against(limit, rows, name, late)
        for limit in limits
        for name, rows in _slices(limit.metric, limit.slice_column, labelled)
    ]
    judged = {f.subject for f in found}
    for column in dict.fromkeys([None, *(one.slice_column for one in limits)]):
        for name, rows in _slices(goal, column, labelled):
            if name not in judged:
                value = _metric(goal, rows)
                found.append(Finding("metric", name, "pass", _shown(goal, value), why=late,
                                     severity="info", interval=finite(value)))  # fmt: skip
    return sorted(found, key=lambda f: f.verdict != "fail")


def _slices(metric: str, column: str | None, labelled: Answered) -> list[tuple[str, Answered]]:
    """(what, rows): all of them without a column, else each value of it."""
    if column is None:
        return [(metric, labelled)]
    name = FEATURE + column
    if name not in labelled.table.column_names:
        return []
    values = np.array([str(v) for v in labelled.table[name].to_pylist()])
    return [
        (f"{metric} where {column} is {value}", labelled.take(values == value))
        for value in sorted(set(values.tolist()))
        if (values == value).sum() >= LEAST_OF_SLICE
    ]


def _against(limit: Limit, rows: Answered, name: str, late: str) -> Finding:
    value = _metric(limit.metric, rows)
    higher = limit.direction == "at_least"
    worst, best = (value.low, value.high) if higher else (value.high, value.low)
    verdict: Verdict = "fail"
    if limit.met_by(best):
        verdict = "pass" if limit.met_by(worst) else "undecided"
    return Finding(
        check="limit",
        subject=name,
        verdict=verdict,
        measured=_shown(limit.metric, value),
        wanted=str(limit),
        why=late,
        advice="compare with the estimate and the drift; retrain or roll back"
        if verdict == "fail" else "",
        severity="error" if verdict == "fail" else "info",
        interval=finite(value),
    )  # fmt: skip


def _metric(metric: str, rows: Answered) -> Interval:
    answers = decided(metric, rows.answers, rows.codes)
    return interval(metric, rows.truth, answers, clusters=InTime.of(len(rows.truth)))


def finite(value: Interval) -> Interval | None:
    """None where a metric has no value, as a ranking has none while all truths are alike."""
    return value if np.isfinite([value.value, value.low, value.high]).all() else None


def _shown(metric: str, value: Interval) -> str:
    if finite(value) is None:
        return "no value on these rows"
    return f"{show(metric, value.value)} ({show(metric, value.low)} to {show(metric, value.high)})"
