"""Differences between the groups of protected columns, in fairlearn's terms, with intervals.

The figures equal those of fairlearn 0.15 (a test holds them to it). The largest of many differences
is large by chance alone, so its interval comes from all pairs of groups: the low end is the largest
that holds for a pair corrected for all pairs (Bonferroni), the high end the largest of any pair.
Either group may be the better one, so the low end of a pair is that of a folded normal variable.
Judgement stays with people: the gate warns unless the policy makes it block.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from modelwright.core.intake import Array
from modelwright.core.records import Finding, Interval, Verdict
from modelwright.core.schema import MISSING_TIME, Column
from modelwright.fit.certainty import Clusters
from modelwright.fit.in_time import InTime, error_in_time, wider
from modelwright.release.evidence import Evidence
from modelwright.release.more_rows import WRONG_SIDE, rows_to_decide

FEWEST_ROWS = 30
QUARTERS = 4


def fairness(evidence: Evidence) -> list[Finding]:
    """One finding a protected column and measure; none where nothing is protected."""
    return [
        finding
        for column in evidence.schema.features
        if column.protected
        for finding in _of_column(evidence, column)
    ]


def groups_of(column: Column, values: Array) -> Array:
    """The group of each row, as text: levels, quarters of a number, missing values by themselves.

    Example:
        >>> groups_of(Column("age", "number"), np.array([1.0, 2, 3, 4, float("nan")])).tolist()
        ['1', '2', '3', '4', '(missing)']
    """
    if column.kind in ("category", "list"):
        return np.where(values == "", "(missing)", values.astype(str))
    missing = values == MISSING_TIME if column.kind == "datetime" else np.isnan(values)
    known = values[~missing].astype(np.float64)
    found = np.full(len(values), "(missing)", dtype=object)
    if len(np.unique(known)) <= QUARTERS:
        found[~missing] = [f"{value:g}" for value in known]
        return found
    ends = np.quantile(known, np.arange(1, QUARTERS) / QUARTERS)
    between = [f"{a:g} to {b:g}" for a, b in pairwise(ends)]
    names = [f"up to {ends[0]:g}", *between, f"over {ends[-1]:g}"]
    found[~missing] = np.array(names, dtype=object)[np.searchsorted(ends, known)]
    return found


def _of_column(evidence: Evidence, column: Column) -> list[Finding]:
    groups = groups_of(column, evidence.holdout.feeds[column.name])
    names, code, sizes = np.unique(groups.astype(str), return_inverse=True, return_counts=True)
    kept = np.flatnonzero(sizes >= FEWEST_ROWS)
    if len(kept) < 2:
        return [_too_few(column, len(names))]
    rows = np.isin(code, kept)
    place = np.searchsorted(kept, code[rows])
    shown = [] if column.private else [str(names[k]) for k in kept]
    if evidence.schema.target.task != "binary":
        return [_of_errors(evidence, column, rows, place, shown)]
    assert evidence.labels is not None
    y, said = evidence.holdout.target[rows], evidence.labels[rows].astype(np.float64)
    selected = rates_of(said, place, evidence.together(rows))
    hits, alarms = (
        rates_of(said[y == k], place[y == k], evidence.together(np.flatnonzero(rows)[y == k]))
        for k in (1, 0)
    )
    return [
        _judged(evidence, column, "demographic parity difference", [selected],
                f"share labelled positive: {_each(shown, selected)}"),
        _judged(evidence, column, "equalized odds difference", [hits, alarms],
                f"true positive rate: {_each(shown, hits)}; false positive rate: "
                f"{_each(shown, alarms)}"),
    ]  # fmt: skip


class Rate(NamedTuple):
    """Of one group: its mean, how that varies, and of how many rows it is; of rows in order of time
    also how far each moves the mean, since what happens at one time happens to all groups."""

    mean: float
    variance: float
    rows: int
    pulls: Array | None = None


Rates = Sequence[Rate]


def rates_of(values: Array, place: Array, clusters: Clusters = None) -> Rates:
    """Of each group; the variance of a share is that of Agresti and Coull (1998), so that a few
    rows that are all alike are not taken for certain, and at least that of clusters of rows that
    vary together."""
    found = []
    for group in range(int(place.max(initial=-1)) + 1):
        own = values[place == group]
        if not len(own):
            continue
        mean, count = float(own.mean()), len(own)
        share = (own.sum() + 2) / (count + 4)
        spread = share * (1 - share) if set(np.unique(own)) <= {0.0, 1.0} else own.var()
        pulls, together = None, 0.0
        if isinstance(clusters, InTime):
            apart = np.where(place == group, values - mean, 0.0) / count
            pulls = np.bincount(clusters.stretches, apart)
        elif clusters is not None:
            together = _together(own - mean, clusters[place == group])
        found.append(Rate(mean, max(float(spread) / count, together), count, pulls))
    return found


def _together(apart: Array, clusters: Array) -> float:
    """Variance of a mean of rows of which those of a cluster vary together; what few clusters leave
    unknown (Student) is in it. One cluster alone tells nothing."""
    _, place = np.unique(clusters, return_inverse=True)
    count = int(place.max()) + 1
    if count < 2:
        return float("inf")
    squares = (np.bincount(place, apart) ** 2).sum() / len(apart) ** 2
    return float(squares * count / (count - 1) * wider(count - 1) ** 2)


def largest_difference(measures: Sequence[Rates], confidence: float) -> Interval:
    """The largest difference between two groups in any of the measures, with its interval.

    Example:
        >>> same = [Rate(0.5, 0.0025, 100)] * 3
        >>> found = largest_difference([same], 0.9)
        >>> found.value, found.low, round(found.high, 2)
        (0.0, 0.0, 0.12)
    """
    pairs = [pair for rates in measures for pair in combinations(rates, 2)]
    alpha = (1 - confidence) / 2
    likely = float(stats.norm.isf(alpha))
    value = low = high = 0.0
    for one, other in pairs:
        apart, error = abs(one.mean - other.mean), _error_of(one, other)
        value, low = max(value, apart), max(low, _at_least(apart, error, alpha / len(pairs)))
        high = max(high, apart + likely * error)
    return Interval(value, low, high if pairs else float("inf"), confidence)


def _at_least(apart: float, error: float, alpha: float) -> float:
    """The largest true difference, whichever way, of which an estimate as far apart as this or
    further would be a surprise: it has a chance of `alpha` at most.

    Example:
        >>> round(_at_least(5.0, 1.0, 0.05), 3), round(_at_least(2.0, 1.0, 0.05), 3)
        (3.355, 0.204)
    """
    if not 0 < error < np.inf:
        return apart if error == 0 else 0.0
    far = apart / error

    def beyond(true: float) -> float:
        return float(stats.norm.sf(far - true) + stats.norm.sf(far + true)) - alpha

    return 0.0 if beyond(0.0) >= 0 else error * float(optimize.brentq(beyond, 0.0, far, xtol=1e-6))


def _error_of(one: Rate, other: Rate) -> float:
    """Of the difference of two groups."""
    alone = float(np.sqrt(one.variance + other.variance))
    if one.pulls is None or other.pulls is None:
        return alone
    error, freedom = error_in_time(one.pulls - other.pulls)
    return max(alone, error * wider(freedom))


def _each(shown: Sequence[str], rates: Rates) -> str:
    if not shown:
        return "groups are private"
    named = zip(shown, rates, strict=False)
    return ", ".join(f"{group} {mean:.2f} ({count:,})" for group, (mean, _, count, _) in named)


def _of_errors(
    evidence: Evidence, column: Column, rows: Array, place: Array, shown: Sequence[str]
) -> Finding:
    """Several classes: share of wrong labels. A number: mean error, in deviations of the target."""
    y, answers = evidence.holdout.target[rows], evidence.answers[rows]
    if answers.ndim == 1:
        name, what = "mean error difference", "truth less answer, in deviations of the target"
        wrong = (y - answers) / (evidence.train.target.std() or 1.0)
    else:
        name, what = "error rate difference", "share of wrong labels"
        wrong = (answers.argmax(axis=1) != y).astype(np.float64)
    rates = rates_of(wrong, place, evidence.together(rows))
    return _judged(evidence, column, name, [rates], f"{what}: {_each(shown, rates)}")


def _judged(
    evidence: Evidence, column: Column, name: str, measures: Sequence[Rates], why: str
) -> Finding:
    wanted = evidence.policy.fairness_difference
    found = largest_difference(measures, evidence.confidence)
    verdict: Verdict = "undecided"
    if found.high <= wanted:
        verdict = "pass"
    elif found.low > wanted:
        verdict = "fail"
    advice = {
        "fail": "a person must judge whether this is justified, and say so under ethics",
        "undecided": f"{rows_to_decide(found, wanted, evidence.holdout.rows)}, fewer where they "
        "are of the small groups"
        if found.value <= wanted
        else f"{WRONG_SIDE}: more holdout rows of the small groups would tell whether by chance",
    }.get(verdict, "")
    return Finding(
        "fairness", f"{column.name}: {name}", verdict,
        f"{found.value:.3f} ({found.confidence:.0%}: {found.low:.3f} to {found.high:.3f})",
        f"at most {wanted:g}", why, advice, "warning", found, columns=(column.name,),
    )  # fmt: skip


def _too_few(column: Column, groups: int) -> Finding:
    return Finding(
        "fairness", column.name, "undecided",
        f"{groups} group(s), fewer than two of them with {FEWEST_ROWS} holdout rows",
        "two groups to compare", "", "more holdout rows", "warning", columns=(column.name,),
    )  # fmt: skip
