"""Challenger against champion on the newest rows whose truth is known.

The sealed rows are as old as the first model. What a retrained model is for are the rows of today,
so both models answer the same ones, which neither learned from. Neighbours vary together, so that
the error comes from equally weighted cosines (Lazarus, Lewis, Stock and Watson 2018).
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
"""Fewest and most cosines; of more, the fastest see too little of errors that stay for a while.
With a bootstrap of 20 stretches of time 90 % held 85 % of 60 rows whose errors stay, now 88 %."""


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
    neighbours vary together; each is worth one degree of freedom of Student's t.

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
    value, count = gain(metric, one.value, other.value), len(y)
    number = int(np.clip(round(0.4 * count ** (2 / 3)), *WAVES))
    freedom = min(number, one.fewest - 1, other.fewest - 1)
    reach = float("inf")
    if freedom >= 1:
        steps = np.pi * np.arange(1, number + 1)[:, None] * (np.arange(count) + 0.5) / count
        heights = np.sqrt(2) * np.cos(steps) @ (one.pulls - other.pulls)
        error = float(np.sqrt((heights**2).mean()))
        reach = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    reach = max(reach, one.floor, other.floor)
    return Interval(float(value), float(value - reach), float(value + reach), confidence)
