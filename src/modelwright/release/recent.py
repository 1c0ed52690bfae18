"""Challenger against champion on the newest rows whose truth is known.

The sealed rows are as old as the first model. What a retrained model is for are the rows of today,
so both models answer the same ones, which neither learned from. Neighbours vary together, so that
the error comes from equally weighted cosines (Lazarus, Lewis, Stock and Watson 2018), of what is
left of each row beside its neighbour (prewhitening, Andrews and Monahan 1992).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from modelwright.core.intake import Array
from modelwright.core.records import Finding, Interval, Verdict
from modelwright.core.table import Table
from modelwright.fit.certainty import standing
from modelwright.fit.score import gain
from modelwright.release.evidence import led

CHECK = "recent"
FEWEST = 40
"""Rows below which nothing is said."""
WAVES = (4, 19)
"""Fewest and most cosines; of more, the fastest see too little of errors that stay for a while."""
STAYS_MOST = 0.99
"""Largest correlation of neighbours that is believed: at one, no stretch would tell anything."""


@dataclass(frozen=True)
class Recent:
    """The rows that judge.

    Attributes:
        rows: with their target, in order of time.
        problem: why they cannot judge; empty where they can.
    """

    rows: Table
    problem: str = ""


def recent_finding(
    metric: str,
    recent: Recent,
    ours: Array | None,
    theirs: Array | None,
    version: str,
    *,
    confidence: float,
) -> Finding:
    """Whether the challenger is better on the recent rows.

    Args:
        metric: the goal.
        ours, theirs: answers to the rows by challenger and champion, for what the metric is taken
            of; None where there are none.
        version: of the champion.
        confidence: of the interval.

    Returns:
        pass: better for certain; fail: worse for certain, which blocks; undecided is a warning.
    """
    wanted, subject = "better by more than its noise", f"version {version}"
    count = len(recent.rows.target)
    problem = recent.problem
    if not problem and count < FEWEST:
        problem = f"{count:,} labelled rows, wanted at least {FEWEST}"
    if problem or ours is None or theirs is None:
        return Finding(
            CHECK, subject, "undecided", "not compared", wanted,
            problem or "the champion cannot answer them", "more labels", "warning",
        )  # fmt: skip
    found = paired_in_time(metric, recent.rows.target, ours, theirs, confidence=confidence)
    verdict: Verdict = "pass" if found.low > 0 else "fail" if found.high < 0 else "undecided"
    measured = "cannot be measured on these rows"
    if np.isfinite(found.value):
        measured = f"{led(metric, found)} on {count:,} rows"
    advice = {"fail": "keep the champion", "undecided": "more labels, or let a canary decide"}
    return Finding(
        CHECK, subject, verdict, measured, wanted,
        "paired on the newest labelled rows, which neither learned from",
        advice.get(verdict, ""), "error" if verdict == "fail" else "warning", found,
    )  # fmt: skip


def paired_in_time(
    metric: str, y: Array, a: Array, b: Array, *, confidence: float = 0.95
) -> Interval:
    """How much better answers `a` are than `b` on the same rows, which are in order of time.

    Of the influences of the rows on the lead, slow waves over the whole stretch tell how far
    neighbours vary together; see `error_in_time`.

    Example:
        >>> y = np.tile([0.0, 1.0], 200)
        >>> found = paired_in_time("mae", y, y + 0.1, y + 0.3)
        >>> round(found.value, 3), round(found.low, 3)
        (0.2, 0.2)
    """
    if np.array_equal(a, b):
        return Interval(0.0, 0.0, 0.0, confidence)
    one, other = (standing(metric, y, answers, confidence=confidence) for answers in (a, b))
    if one is None or other is None:
        return Interval(float("nan"), float("-inf"), float("inf"), confidence)
    value = gain(metric, one.value, other.value)
    freedom = min(one.fewest, other.fewest) - 1
    reach = float("inf")
    if freedom >= 1:
        error, in_time = error_in_time(one.pulls - other.pulls)
        reach = float(stats.t.ppf((1 + confidence) / 2, min(freedom, in_time))) * error
    reach = max(reach, one.floor, other.floor)
    return Interval(float(value), float(value - reach), float(value + reach), confidence)


def error_in_time(pulls: Array) -> tuple[float, float]:
    """Standard error of a sum whose parts are in order of time, and its degrees of freedom.

    Where neighbours are much alike the rows count as few: n (1 - r) / (1 + r) of them. No more
    than half as many degrees of freedom are claimed, so that 90 % holds 87 to 93 % of 40 to 500
    rows with correlations up to .98 (with the cosines alone, down to 31).

    Args:
        pulls: of each row on the value; they add up to zero.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> pulls = rng.normal(size=400) / 400
        >>> error, freedom = error_in_time(pulls - pulls.mean())
        >>> 0.04 < error < 0.06, freedom
        (True, 19.0)
    """
    count = len(pulls)
    stays = _stays(pulls)
    rest = pulls[1:] - stays * pulls[:-1]
    number = int(np.clip(round(0.4 * count ** (2 / 3)), *WAVES))
    steps = np.pi * np.arange(1, number + 1)[:, None] * (np.arange(len(rest)) + 0.5) / len(rest)
    heights = np.sqrt(2) * np.cos(steps) @ (rest - rest.mean())
    error = float(np.sqrt((heights**2).mean())) / (1 - stays)
    rows = count * (1 - stays) / (1 + stays)
    return error, float(np.clip(rows / 2 - 1, 1, number))


def _stays(pulls: Array) -> float:
    """Correlation of neighbours, which a sample shows too small (Kendall 1954)."""
    count, whole = len(pulls), float(pulls @ pulls)
    if not whole:
        return 0.0
    found = float(pulls[1:] @ pulls[:-1]) / whole
    return float(np.clip((count * found + 1) / (count - 3), 0.0, STAYS_MOST))
