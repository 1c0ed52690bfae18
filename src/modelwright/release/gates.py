"""The gates: each limit, the baselines, the champion, parity; each with three verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import ks_2samp

from modelwright.core.intake import Array
from modelwright.core.limits import METRICS, QUALITY, Limit, show
from modelwright.core.records import (
    ACCEPTED,
    Finding,
    Interval,
    Measured,
    Parity,
    Severity,
    Verdict,
)
from modelwright.core.schema import Schema
from modelwright.core.spec_release import ReleaseSpec
from modelwright.core.table import Table
from modelwright.fit.score import decided, gain, interval, paired_gain, score

CHAMPION_MARGIN = 0.01
"""Part of the champion's gain over the dummy that may be lost where the spec sets no margin."""
COVERAGE_SLACK = 0.02
"""By how much intervals may hold fewer true values than they state."""
AGREEMENT_FLOOR = 0.1
"""Distance between two distributions of answers that is not worth a word."""


@dataclass(frozen=True)
class Evidence:
    """All that the gates look at.

    Attributes:
        holdout: the sealed rows with their target.
        answers: of the packed model; `labels` its classes, `ends` its intervals.
        baselines: name -> answers of each baseline.
        champion: answers of the champion, or None without one it can be compared with.
        out_of_fold: answers on training rows by models that had not seen them.
        data: what was found in the table.
        champion_problem: why a champion that exists cannot be compared with; empty otherwise.
    """

    schema: Schema
    goal: str
    limits: tuple[Limit, ...]
    policy: ReleaseSpec
    holdout: Table
    answers: Array
    baselines: Mapping[str, Array]
    champion: Array | None
    champion_version: str
    champion_problem: str
    parity: Parity
    measured: Measured
    seed: int
    data: tuple[Finding, ...] = ()
    labels: Array | None = None
    champion_labels: Array | None = None
    ends: tuple[Array, Array] | None = None
    out_of_fold: Array | None = None
    search: tuple[Finding, ...] = ()

    def of(self, metric: str) -> Array:
        """What a metric is taken of: the answers, or the labels for a metric of the label."""
        return decided(metric, self.answers, self.labels)

    @property
    def confidence(self) -> float:
        """Of two-sided intervals whose one end holds with the policy's alpha."""
        return 1 - 2 * self.policy.alpha


def judge(evidence: Evidence) -> tuple[Finding, ...]:
    """Every gate's finding, quality first.

    Raises:
        UsageError: a limit for slices names a column that cannot be sliced.
    """
    findings = [_goal(evidence), *_metrics(evidence)]
    for limit in evidence.limits:
        if limit.relative:
            findings.append(_against_champion(evidence, limit.metric, limit.bound, str(limit)))
        elif limit.slice_column:
            findings += _slices(evidence, limit)
        elif limit.metric in QUALITY:
            findings.append(_quality(evidence, limit))
        else:
            findings.append(_cost(evidence, limit))
    findings += [_baseline(evidence, name, a) for name, a in evidence.baselines.items()]
    if evidence.champion_problem:
        findings.append(_incomparable(evidence))
    elif evidence.champion is not None:
        margin = evidence.policy.champion_margin
        margin = _default_margin(evidence) if margin is None else margin
        wanted = f"{evidence.goal} at most {show(evidence.goal, margin)} worse"
        findings.append(_against_champion(evidence, evidence.goal, margin, wanted))
    if evidence.ends is not None:
        findings.append(_coverage(evidence, *evidence.ends))
    if evidence.out_of_fold is not None:
        findings.append(_agreement(evidence, evidence.out_of_fold))
    return (*findings, *_data(evidence.data), _parity(evidence.parity), *evidence.search)


def _coverage(evidence: Evidence, low: Array, high: Array) -> Finding:
    """How many true values the intervals hold, on rows that nothing was fitted on."""
    level = evidence.schema.target.interval
    assert level is not None
    y = evidence.holdout.target
    inside = ((y >= low) & (y <= high)).astype(np.int64)
    found = interval(
        "accuracy", np.ones(len(y), np.int64), np.stack([1 - inside, inside], axis=1) * 1.0,
        confidence=evidence.confidence,
    )  # fmt: skip
    verdict: Verdict = "fail" if found.high < level - COVERAGE_SLACK else "undecided"
    if found.low >= level - COVERAGE_SLACK:
        verdict = "pass"
    return Finding(
        "interval", f"{level:.0%}", verdict,
        f"holds {found.value:.1%} of true values ({found.confidence:.0%}: {found.low:.1%} to "
        f"{found.high:.1%})", f"at least {level:.0%}, less {COVERAGE_SLACK:.0%}",
        "coverage on the sealed holdout",
        {"pass": "", "undecided": "more holdout rows"}.get(
            verdict, "the holdout differs from the training rows: is time missing?"
        ),
        "error", found,
    )  # fmt: skip


def _agreement(evidence: Evidence, seen: Array) -> Finding:
    """Whether the model answers alike on training rows it had not seen and on the holdout; no label
    is needed for that. Two-sample test of Kolmogorov and Smirnov, with a floor on its size."""
    seen = seen[~np.isnan(seen if seen.ndim == 1 else seen[:, 0])]
    columns = [(seen, evidence.answers)] if seen.ndim == 1 else [
        (seen[:, code], evidence.answers[:, code]) for code in range(1, seen.shape[1])
    ]  # fmt: skip
    tests = [ks_2samp(a, b, method="asymp") for a, b in columns]
    worst = max(tests, key=lambda test: test.statistic)
    apart = worst.statistic > AGREEMENT_FLOOR and worst.pvalue < 0.001 / len(tests)
    return Finding(
        "agreement", "train and holdout", "fail" if apart else "pass",
        f"answers differ by {worst.statistic:.3f} (Kolmogorov-Smirnov)",
        f"at most {AGREEMENT_FLOOR}, or no more than chance on these rows",
        "answers on unseen training rows against answers on the holdout, without any label",
        "the holdout is another population: look at modelwright check, or split by time"
        if apart else "", "warning",
    )  # fmt: skip


def _data(found: Sequence[Finding]) -> list[Finding]:
    """One finding a fault of the data that makes scores worthless, or one that there is none."""
    faults = [f for f in found if f.blocks]
    if not faults:
        warned = sum(f.severity == "warning" for f in found)
        known = [f"{f.check} {f.subject}" for f in found if f.why.startswith(ACCEPTED)]
        accepted = f", accepted: {', '.join(known[:5])}" if known else ""
        return [Finding("data", "table", "pass", f"no error, {warned} warning(s){accepted}",
                        "no finding of severity error")]  # fmt: skip
    return [
        Finding("data", f"{f.check} {f.subject}", "fail", f.measured,
                "no finding of severity error", f.why, f.advice, columns=f.columns, rows=f.rows)
        for f in faults
    ]  # fmt: skip


def verdict_of(findings: Sequence[Finding], policy: ReleaseSpec) -> Verdict:
    """What all gates together say; undecided ones count as the policy has it.

    Example:
        >>> verdict_of([Finding("limit", "x", "undecided")], ReleaseSpec(undecided="allow"))
        'pass'
    """
    verdicts = {f.verdict for f in findings if f.severity == "error"}
    if "fail" in verdicts:
        return "fail"
    if "undecided" in verdicts and policy.undecided == "block":
        return "undecided"
    return "pass"


def _goal(evidence: Evidence) -> Finding:
    """Not a gate: the figure everybody asks for first."""
    found = _interval(evidence, evidence.goal)
    return Finding(
        "goal", evidence.goal, "pass", _written(evidence.goal, found), "",
        "measured on the holdout", "", "info", found,
    )  # fmt: skip


def _metrics(evidence: Evidence) -> list[Finding]:
    """Every other quality metric of the task, for the report."""
    task = evidence.schema.target.task
    names = [n for n in METRICS if n in QUALITY and task in METRICS[n].tasks and n != evidence.goal]
    y = evidence.holdout.target
    values = {name: score(name, y, evidence.of(name)) for name in names}
    return [
        Finding("metric", name, "pass", show(name, value), severity="info")
        for name, value in values.items()
    ]


def _quality(evidence: Evidence, limit: Limit) -> Finding:
    found = _interval(evidence, limit.metric)
    verdict = _compare(limit, found)
    return Finding(
        "limit",
        limit.metric,
        verdict,
        _written(limit.metric, found),
        str(limit),
        "quality on the sealed holdout",
        _advice(verdict, limit, found, evidence.holdout.rows),
        "error",
        found,
    )


def _slices(evidence: Evidence, limit: Limit) -> list[Finding]:
    assert limit.slice_column is not None
    values = evidence.holdout.feeds[limit.slice_column]
    levels = sorted({str(value) for value in values.tolist()})
    findings = []
    for level in levels:
        rows = np.flatnonzero(values.astype(str) == level)
        y, answers = evidence.holdout.target[rows], evidence.of(limit.metric)[rows]
        found = interval(limit.metric, y, answers, confidence=evidence.confidence)
        verdict = "undecided" if np.isnan(found.value) else _compare(limit, found)
        findings.append(
            Finding(
                "slice",
                f"{limit.metric} where {limit.slice_column} is {level or '(missing)'}",
                verdict,
                f"{_written(limit.metric, found)} on {len(rows):,} rows",
                str(limit),
                "each declared slice must meet its limit",
                _advice(verdict, limit, found, len(rows)),
                "error",
                found,
            )
        )
    return findings


def _cost(evidence: Evidence, limit: Limit) -> Finding:
    measured = evidence.measured
    found: Interval | None
    if limit.metric == "size":
        found = Interval(measured.size, measured.size, measured.size)
    else:
        found = getattr(measured, limit.metric)
    if found is None:
        return Finding(
            "limit", limit.metric, "undecided", "not measured", str(limit),
            "pack.measure is process, so the server was not measured", "set pack.measure: server",
        )  # fmt: skip
    verdict = _compare(limit, found)
    advice = {"undecided": "the machine was too noisy to tell: run again, or measure for longer "
              "(pack.seconds)", "fail": "a smaller model, or another limit"}  # fmt: skip
    return Finding(
        "limit", limit.metric, verdict, _written(limit.metric, found), str(limit),
        f"measured on {measured.machine}", advice.get(verdict, ""), "error", found,
    )  # fmt: skip


def _baseline(evidence: Evidence, name: str, answers: Array) -> Finding:
    """The dummy must be beaten for certain; a linear model may not be better for certain."""
    found = _paired(evidence, evidence.goal, answers)
    verdict: Verdict = "pass" if found.low > 0 else "fail" if found.high < 0 else "undecided"
    severity: Severity = "error"
    advice = "" if verdict == "pass" else "look at the data: is there anything to learn?"
    if name != "dummy":
        severity = "error" if verdict == "fail" else "warning"
        if verdict != "pass":
            how = "better on the holdout" if verdict == "fail" else "not clearly worse"
            advice = f"{name} is simpler and {how}: fit.families: [{name}]"
    return Finding(
        "baseline", name, verdict, f"{evidence.goal} better by {_written(evidence.goal, found)}",
        "better by more than its noise", "paired on the same holdout rows", advice, severity, found,
    )  # fmt: skip


def _against_champion(evidence: Evidence, metric: str, margin: float, wanted: str) -> Finding:
    if evidence.champion is None:
        return Finding(
            "champion", metric, "pass", "no champion to compare with", wanted, "", "", "info"
        )
    labelled = decided(metric, evidence.champion, evidence.champion_labels)
    found = _paired(evidence, metric, labelled)
    verdict: Verdict = (
        "pass" if found.low >= -margin else "fail" if found.high < -margin else "undecided"
    )
    room = show(metric, max(0.0, -found.low))
    advice = {
        "fail": "keep the champion",
        "undecided": "more holdout rows, release.undecided: allow, or a margin (now "
        f"{show(metric, margin)}) of at least {room}",
    }.get(verdict, "")
    return Finding(
        "champion", f"version {evidence.champion_version}", verdict,
        f"{metric} better by {_written(metric, found)}", wanted,
        "paired on the same sealed rows",
        advice, "error", found,
    )  # fmt: skip


def _incomparable(evidence: Evidence) -> Finding:
    return Finding(
        "champion",
        f"version {evidence.champion_version}",
        "undecided",
        "cannot be compared",
        "not worse than the champion",
        evidence.champion_problem,
        "release under another name, or set release.undecided: allow",
    )


def _parity(parity: Parity) -> Finding:
    return Finding(
        "parity", "packed model", "pass",
        f"{parity.label_flips} labels differ, largest difference {parity.largest_difference:.1e}",
        f"none, and at most {parity.tolerance:.0e}",
        f"on {parity.rows:,} rows and {parity.edge_rows:,} edge rows", "", "error",
    )  # fmt: skip


def _default_margin(evidence: Evidence) -> float:
    dummy, champion = evidence.baselines.get("dummy"), evidence.champion
    if dummy is None or champion is None:
        return 0.0
    y = evidence.holdout.target
    lead = gain(evidence.goal, score(evidence.goal, y, champion), score(evidence.goal, y, dummy))
    return max(0.0, CHAMPION_MARGIN * lead)


def _interval(evidence: Evidence, metric: str) -> Interval:
    y, answers = evidence.holdout.target, evidence.of(metric)
    return interval(metric, y, answers, confidence=evidence.confidence)


def _paired(evidence: Evidence, metric: str, other: Array) -> Interval:
    return paired_gain(
        metric,
        evidence.holdout.target,
        evidence.of(metric),
        other,
        confidence=evidence.confidence,
    )


def _compare(limit: Limit, found: Interval) -> Verdict:
    """Pass when the whole interval is on the right side, fail when none of it is."""
    if limit.met_by(found.low) and limit.met_by(found.high):
        return "pass"
    if limit.met_by(found.low) or limit.met_by(found.high):
        return "undecided"
    return "fail"


def _advice(verdict: Verdict, limit: Limit, found: Interval, rows: int) -> str:
    if verdict == "fail":
        return "more or better data, a larger fit.budget, or another limit"
    if verdict == "undecided":
        return _more_rows(limit, found, rows)
    return ""


def _more_rows(limit: Limit, found: Interval, rows: int) -> str:
    """How many holdout rows would move the interval off the line, at the present value.

    An interval's width falls with the square root of the rows; 1.5 stands for about 80 % power
    at a one-sided 5 % level: (1.645 + 0.842) / 1.645.
    """
    distance = abs(found.value - limit.bound)
    half = (found.high - found.low) / 2
    if not limit.met_by(found.value) or distance == 0 or not np.isfinite(half):
        return "the value itself is on the wrong side of the line: a better model, or another limit"
    needed = int(np.ceil(rows * (1.5 * half / distance) ** 2)) - rows
    return f"about {max(1, needed):,} more holdout rows would decide it (80 % power)"


def _written(metric: str, found: Interval) -> str:
    value, low, high = (show(metric, v) for v in (found.value, found.low, found.high))
    if found.value != found.value:
        return "cannot be measured (one class only)"
    if low == high:
        return value
    return f"{value} ({found.confidence:.0%}: {low} to {high})"
