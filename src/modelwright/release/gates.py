"""The gates: each limit, the baselines, the champion, parity and the rest; three verdicts each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from scipy import stats

from modelwright.core.intake import Array
from modelwright.core.limits import QUALITY, Limit, show
from modelwright.core.records import ACCEPTED, Finding, Interval, Override, Parity, Verdict
from modelwright.core.spec_release import ALWAYS, GATES, ReleaseSpec
from modelwright.fit.certainty import interval
from modelwright.fit.score import decided, gain, score
from modelwright.release.evidence import Evidence, led, written
from modelwright.release.figures import figures
from modelwright.release.more_rows import WRONG_SIDE, rows_to_decide

CHAMPION_MARGIN = 0.01
"""Part of the champion's gain over the dummy that may be lost where the spec sets no margin."""
COVERAGE_SLACK, COVERAGE_CERTAIN = 0.02, 1.645
"""By how much intervals may hold fewer true values than they state; and standard errors of the
share that a width holds which comes from so many rows: the level is held on average over tables,
not on each."""
FEWEST_TOLD = 5
"""Rows of a declared slice. What fewer score would tell of single sealed rows (`test_sealed`)."""
NOT_LEARNED = "(none that was learned)"
AGREEMENT_FLOOR = 0.1
"""Distance between two distributions of answers that is not worth a word."""


def judge(evidence: Evidence, more: Sequence[Finding] = ()) -> tuple[Finding, ...]:
    """Every gate's finding under the spec's policy, quality first.

    Args:
        evidence: what is looked at.
        more: findings of the evaluation (calibration, slices, fairness, robustness), of the card,
            and of a retraining's recent rows.
    """
    findings = figures(evidence)
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
        found = _against_champion(evidence, evidence.goal, margin, wanted)
        findings.append(_beside(found, more))
    if evidence.ends is not None:
        findings.append(_coverage(evidence, *evidence.ends))
    if evidence.out_of_fold is not None:
        findings.append(_agreement(evidence, evidence.out_of_fold))
    findings += [*_data(evidence.data), _parity(evidence.parity), *more]
    return (*(_under(evidence.policy, finding) for finding in findings), *evidence.search)


def _under(policy: ReleaseSpec, finding: Finding) -> Finding:
    """A gate's finding with the weight that the policy gives it."""
    if finding.severity == "info" or finding.check not in GATES:
        return finding
    wanted = policy.policy_of(finding.check)
    if wanted == "off":
        why = f"switched off by release.policy; {finding.why}"
        return msgspec.structs.replace(finding, severity="info", why=why)
    asked = finding.check in policy.policy
    if finding.severity == "warning" and not asked and wanted == GATES[finding.check]:
        return finding  # the gate itself found it to matter less, and the spec says nothing
    return msgspec.structs.replace(finding, severity="error" if wanted == "block" else "warning")


@dataclass(frozen=True)
class Ruling:
    """What all gates together say.

    Attributes:
        verdict: pass, fail or undecided.
        let_through: undecided gates that would block and were let through.
    """

    verdict: Verdict
    let_through: tuple[Finding, ...] = ()


def ruling(
    findings: Sequence[Finding], policy: ReleaseSpec, overrides: Sequence[Override] = ()
) -> Ruling:
    """One failed gate fails all; an undecided one blocks, unless the policy allows it or a person
    took it upon himself. Nobody can override a gate that failed, nor parity and baseline.

    Example:
        >>> found = [Finding("limit", "x", "undecided")]
        >>> ruling(found, ReleaseSpec(undecided="allow", reason="a pilot")).verdict
        'pass'
    """
    blocking = [f for f in findings if f.blocks]
    if any(f.verdict == "fail" for f in blocking):
        return Ruling("fail")
    known = {(override.check, override.subject) for override in overrides}
    open_ones = [f for f in blocking if (f.check, f.subject) not in known]
    certain = [f for f in blocking if f.check in ALWAYS]
    if certain or (open_ones and policy.undecided == "block"):
        return Ruling("undecided")
    return Ruling("pass", tuple(blocking))


def _coverage(evidence: Evidence, low: Array, high: Array) -> Finding:
    """How many true values the intervals hold, on rows that nothing was fitted on."""
    level = evidence.schema.target.interval
    assert level is not None
    y = evidence.holdout.target
    inside = ((y >= low) & (y <= high)).astype(np.int64)
    found = interval(
        "accuracy", np.ones(len(y), np.int64), np.stack([1 - inside, inside], axis=1) * 1.0,
        confidence=evidence.confidence, clusters=evidence.together(),
    )  # fmt: skip
    spread = level * (1 - level) / evidence.sized_by if evidence.sized_by else 0.0
    chance = COVERAGE_CERTAIN * float(np.sqrt(spread))
    bound = level - COVERAGE_SLACK - chance
    verdict: Verdict = "fail" if found.high < bound else "undecided"
    if found.low >= bound:
        verdict = "pass"
    more = rows_to_decide(found, bound, len(y)) if found.value >= bound else (
        f"{WRONG_SIDE}: more rows to learn from"
    )  # fmt: skip
    advice = {
        "fail": "the holdout differs from the training rows: is time missing?", "undecided": more,
    }  # fmt: skip
    return Finding(
        "interval", f"{level:.0%}", verdict,
        f"holds {found.value:.1%} of true values ({found.confidence:.0%}: {found.low:.1%} to "
        f"{found.high:.1%})", f"at least {bound:.1%}: {level:.0%}, less {COVERAGE_SLACK:.0%}"
        + (f" and {chance:.1%} of chance in their width" if chance else ""),
        "coverage on the sealed holdout",
        advice.get(verdict, ""),
        "error", found,
    )  # fmt: skip


def _agreement(evidence: Evidence, seen: Array) -> Finding:
    """Whether the model answers alike on training rows it had not seen and on the holdout; no label
    is needed for that. Two-sample test of Kolmogorov and Smirnov, with floors on its size."""
    seen = seen[~np.isnan(seen if seen.ndim == 1 else seen[:, 0])]
    columns = [(seen, evidence.answers)] if seen.ndim == 1 else [
        (seen[:, code], evidence.answers[:, code]) for code in range(1, seen.shape[1])
    ]  # fmt: skip
    tests = [stats.ks_2samp(a, b, method="asymp") for a, b in columns]
    worst = max(tests, key=lambda test: test.statistic)
    moved = max(  # ranks alone would call a thousandth a difference, where answers are alike
        stats.wasserstein_distance(a, b) / (np.concatenate([a, b]).std() or 1.0) for a, b in columns
    )
    how = "" if evidence.ordered else ", or split by time"
    apart = min(worst.statistic, moved) > AGREEMENT_FLOOR and worst.pvalue < 0.001 / len(tests)
    return Finding(
        "agreement", "train and holdout", "fail" if apart else "pass",
        f"answers differ by {worst.statistic:.3f} (Kolmogorov-Smirnov), {moved:.2f} deviations",
        f"either at most {AGREEMENT_FLOOR}, or no more than chance on these rows",
        "answers on unseen training rows against answers on the holdout, without any label",
        f"the holdout is another population: look at modelwright check{how}" if apart else "",
        "warning",
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


def _quality(evidence: Evidence, limit: Limit) -> Finding:
    found = evidence.interval(limit.metric, evidence.shared_confidence)
    verdict = _compare(limit, found)
    return Finding(
        "limit", limit.metric, verdict, written(limit.metric, found), str(limit),
        "quality on the sealed holdout", _advice(verdict, limit, found, evidence.holdout.rows),
        "error", found,
    )  # fmt: skip


def _slices(evidence: Evidence, limit: Limit) -> list[Finding]:
    assert limit.slice_column is not None
    column = evidence.schema.column(limit.slice_column)
    values = evidence.holdout.feeds[column.name].astype(str)
    if column.kind == "category":  # the name of a level that only sealed rows have is theirs
        values = np.where(np.isin(values, ["", *column.levels]), values, NOT_LEARNED)
    findings = []
    for level in sorted({*column.levels, *values.tolist()}):
        rows = np.flatnonzero(values == level)
        if len(rows) < FEWEST_TOLD:
            findings.append(_small_slice(limit, level, len(rows)))
            continue
        found = evidence.interval(limit.metric, evidence.shared_confidence, rows)
        verdict = "undecided" if np.isnan(found.value) else _compare(limit, found)
        findings.append(Finding(
            "slice", f"{limit.metric} where {limit.slice_column} is {level or '(missing)'}",
            verdict, f"{written(limit.metric, found)} on {len(rows):,} rows", str(limit),
            "each declared slice must meet its limit",
            _advice(verdict, limit, found, len(rows)), "error", found,
        ))  # fmt: skip
    return findings


def _small_slice(limit: Limit, level: str, rows: int) -> Finding:
    return Finding(
        "slice", f"{limit.metric} where {limit.slice_column} is {level or '(missing)'}",
        "undecided", f"fewer than {FEWEST_TOLD} holdout rows" if rows else "no holdout row",
        str(limit), "each declared slice must meet its limit", "more rows of this level", "error",
    )  # fmt: skip


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
              "(pack.seconds)", "fail": _to_cost_less(limit, found, measured.size)}  # fmt: skip
    return Finding(
        "limit", limit.metric, verdict, written(limit.metric, found), str(limit),
        f"measured on {measured.machine}", advice.get(verdict, ""), "error", found,
    )  # fmt: skip


def _to_cost_less(limit: Limit, found: Interval, size: int) -> str:
    if limit.metric == "memory" and not limit.met_by(found.low - size):
        return (
            f"another limit: the model's files are {show('size', size)}, the rest is the server "
            "itself, which no smaller model saves"
        )
    return "a smaller model, or another limit"


def _baseline(evidence: Evidence, name: str, answers: Array) -> Finding:
    """The dummy must be beaten for certain; a linear model may not be better for certain."""
    found = evidence.lead(evidence.goal, answers)
    verdict: Verdict = "pass" if found.low > 0 else "fail" if found.high < 0 else "undecided"
    advice = "" if verdict == "pass" else "look at the data: is there anything to learn?"
    blocks = name == "dummy" or verdict == "fail"
    if name != "dummy" and verdict != "pass":
        how = "better on the holdout" if verdict == "fail" else "not clearly worse"
        advice = f"{name} is simpler and {how}: fit.families: [{name}]"
    if verdict == "undecided" and found.value > 0:
        advice = f"{advice}; {rows_to_decide(found, 0.0, evidence.holdout.rows)}"
    return Finding(
        "baseline", name, verdict, led(evidence.goal, found),
        "better by more than its noise", "paired on the same holdout rows", advice,
        "error" if blocks else "warning", found,
    )  # fmt: skip


def _against_champion(evidence: Evidence, metric: str, margin: float, wanted: str) -> Finding:
    if evidence.champion is None:
        return Finding(
            "champion", metric, "pass", "no champion to compare with", wanted, "", "", "info"
        )
    found = evidence.lead(metric, decided(metric, evidence.champion, evidence.champion_labels))
    verdict: Verdict = (
        "pass" if found.low >= -margin else "fail" if found.high < -margin else "undecided"
    )
    room = show(metric, max(0.0, -found.low))
    enough = rows_to_decide(found, -margin, evidence.holdout.rows)
    advice = {
        "fail": "keep the champion",
        "undecided": f"{enough}; modelwright release --allow champion, or a margin (now "
        f"{show(metric, margin)}) of at least {room}",
    }.get(verdict, "")
    return Finding(
        "champion", f"version {evidence.champion_version}", verdict,
        led(metric, found), wanted, "paired on the same sealed rows",
        advice, "error", found,
    )  # fmt: skip


def _beside(champion: Finding, more: Sequence[Finding]) -> Finding:
    """A model that is better on the rows of today may be worse on sealed rows of long ago."""
    if champion.verdict == "pass" or not any(
        f.check == "recent" and f.verdict == "pass" for f in more
    ):
        return champion
    why = f"{champion.why}; it is better on recent rows, which it is made for"
    return msgspec.structs.replace(champion, severity="warning", why=why)


def _incomparable(evidence: Evidence) -> Finding:
    return Finding(
        "champion", f"version {evidence.champion_version}", "undecided", "cannot be compared",
        "not worse than the champion", evidence.champion_problem,
        "release under another name, or let it through with a reason: modelwright release",
    )  # fmt: skip


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
    if verdict == "pass":
        return ""
    if not limit.met_by(found.value):
        return f"{WRONG_SIDE}: a better model, or another limit"
    return rows_to_decide(found, limit.bound, rows)
