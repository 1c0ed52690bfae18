"""Differences between the groups of protected columns, in fairlearn's terms, with intervals.

The figures equal those of fairlearn 0.15 (a test holds them to it); they are computed here from one
table of counts, which makes a bootstrap of a thousand draws a matter of milliseconds. Judgement
stays with people: the gate warns unless the policy makes it block.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from modelwright.core.intake import Array
from modelwright.core.records import Finding, Interval, Verdict
from modelwright.core.schema import MISSING_TIME, Column
from modelwright.release.evidence import Evidence

DRAWS = 1000
FEWEST_ROWS = 30
QUARTERS = 4

Counts = Array
"""[draws, groups, 4]: true negatives, false positives, false negatives, true positives."""


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
    rng = np.random.default_rng(evidence.seed)
    if evidence.schema.target.task == "binary":
        assert evidence.labels is not None
        y, predicted = evidence.holdout.target[rows], evidence.labels[rows]
        cell = place * 4 + y * 2 + predicted
        counts = np.bincount(cell, minlength=len(kept) * 4).reshape(1, -1, 4)
        return [
            _finding(evidence, column, name, _differences(counts, measure, rng), shown, counts,
                     measure)
            for name, measure in MEASURES.items()
        ]  # fmt: skip
    return [_of_errors(evidence, column, rows, place, shown, rng)]


def selection_rate(counts: Counts) -> Counts:
    """Share that is labelled positive."""
    return _share(counts[..., 1] + counts[..., 3], counts.sum(axis=-1))


def true_positive_rate(counts: Counts) -> Counts:
    """Share of the positive ones that is labelled positive."""
    return _share(counts[..., 3], counts[..., 2] + counts[..., 3])


def false_positive_rate(counts: Counts) -> Counts:
    """Share of the negative ones that is labelled positive."""
    return _share(counts[..., 1], counts[..., 0] + counts[..., 1])


def _share(part: Array, whole: Array) -> Array:
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def _spread(values: Array) -> Array:
    """Largest difference between two groups, [draws, groups] -> [draws]."""
    return np.asarray(np.nanmax(values, axis=-1) - np.nanmin(values, axis=-1))


Measure = Callable[[Counts], Array]

MEASURES: dict[str, Measure] = {
    "demographic parity difference": lambda c: _spread(selection_rate(c)),
    "equalized odds difference": lambda c: np.maximum(
        _spread(true_positive_rate(c)), _spread(false_positive_rate(c))
    ),
}


def _differences(counts: Counts, measure: Measure, rng: np.random.Generator) -> Array:
    """The measure of the counts, then of resampled ones."""
    flat = counts.reshape(-1)
    drawn = rng.multinomial(int(flat.sum()), flat / flat.sum(), size=DRAWS)
    return np.concatenate([measure(counts), measure(drawn.reshape(DRAWS, *counts.shape[1:]))])


def _finding(
    evidence: Evidence,
    column: Column,
    name: str,
    values: Array,
    shown: list[str],
    counts: Counts,
    measure: Measure,
) -> Finding:
    rates = selection_rate(counts)[0]
    each = ", ".join(f"{group} {rate:.2f}" for group, rate in zip(shown, rates, strict=False))
    parity = measure is MEASURES["demographic parity difference"]
    why = f"share labelled positive: {each}" if each and parity else (
        "largest difference between groups in true and false positive rate"
        if not parity else "largest difference between groups in the share labelled positive"
    )  # fmt: skip
    return _judged(evidence, column, name, values, why, "")


def _of_errors(
    evidence: Evidence,
    column: Column,
    rows: Array,
    place: Array,
    shown: list[str],
    rng: np.random.Generator,
) -> Finding:
    """Several classes: share of wrong labels. A number: mean error, in deviations of the target."""
    y, answers = evidence.holdout.target[rows], evidence.answers[rows]
    if answers.ndim == 1:
        name, wrong = "mean error difference", (answers - y) / (evidence.train.target.std() or 1.0)
    else:
        name, wrong = "error rate difference", (answers.argmax(axis=1) != y).astype(np.float64)

    def means(drawn: Array) -> Array:
        sums = np.bincount(place[drawn], wrong[drawn], minlength=place.max() + 1)
        return _share(sums, np.bincount(place[drawn], minlength=place.max() + 1).astype(float))

    count = len(wrong)
    draws = [np.arange(count), *(rng.integers(0, count, count) for _ in range(DRAWS // 5))]
    table = np.stack([means(drawn) for drawn in draws])
    each = ", ".join(f"{group} {value:.2f}" for group, value in zip(shown, table[0], strict=False))
    return _judged(evidence, column, name, _spread(table), f"of each group: {each}", "")


def _judged(
    evidence: Evidence, column: Column, name: str, values: Array, why: str, advice: str
) -> Finding:
    value, draws = float(values[0]), values[1:][~np.isnan(values[1:])]
    alpha, wanted = evidence.policy.alpha, evidence.policy.fairness_difference
    low, high = np.quantile(draws, [alpha, 1 - alpha]) if len(draws) else (0.0, np.inf)
    found = Interval(value, float(min(low, value)), float(max(high, value)), 1 - 2 * alpha)
    verdict: Verdict = "undecided"
    if found.high <= wanted:
        verdict = "pass"
    elif found.low > wanted:
        verdict = "fail"
    advice = {
        "fail": "a person must judge whether this is justified, and say so under ethics",
        "undecided": "more holdout rows of the small groups",
    }.get(verdict, advice)
    return Finding(
        "fairness", f"{column.name}: {name}", verdict,
        f"{value:.3f} ({found.confidence:.0%}: {found.low:.3f} to {found.high:.3f})",
        f"at most {wanted:g}", why, advice, "warning", found, columns=(column.name,),
    )  # fmt: skip


def _too_few(column: Column, groups: int) -> Finding:
    return Finding(
        "fairness", column.name, "undecided",
        f"{groups} group(s), fewer than two of them with {FEWEST_ROWS} holdout rows",
        "two groups to compare", "", "more holdout rows", "warning", columns=(column.name,),
    )  # fmt: skip
