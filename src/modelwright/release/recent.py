"""Challenger against champion on the newest rows whose truth is known: a paired bootstrap.

The sealed rows are as old as the first model. What a retrained model is for are the rows of today,
so both models answer the same ones, which neither learned from, and stretches of time are drawn
with replacement (Efron and Tibshirani 1993, chapter 8: neighbours vary together).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from modelwright.core.intake import Array
from modelwright.core.records import Finding, Interval, Verdict
from modelwright.core.table import Table
from modelwright.fit.score import gain, score
from modelwright.release.evidence import led

CHECK = "recent"
FEWEST = 40
"""Rows below which nothing is said."""
DRAWS, BLOCKS = 1000, 20
"""How often is drawn, and how many stretches of time there are: of 50, neighbours were too much
alike where errors stay for a while, and 90 % held 85 %."""


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
    seed: int,
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
    found = paired_bootstrap(
        metric, recent.rows.target, ours, theirs, confidence=confidence, seed=seed
    )
    verdict: Verdict = "pass" if found.low > 0 else "fail" if found.high < 0 else "undecided"
    measured = "cannot be measured on these rows"
    if np.isfinite(found.value):
        measured = f"{led(metric, found)} on {count:,} rows"
    advice = {"fail": "keep the champion", "undecided": "more labels, or let a canary decide"}
    return Finding(
        CHECK, subject, verdict, measured, wanted,
        "paired bootstrap on the newest labelled rows, which neither learned from",
        advice.get(verdict, ""), "error" if verdict == "fail" else "warning", found,
    )  # fmt: skip


def paired_bootstrap(
    metric: str, y: Array, a: Array, b: Array, *, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """How much better answers `a` are than `b` on the same rows, which are in order of time.

    Example:
        >>> y = np.tile([0.0, 1.0], 200)
        >>> found = paired_bootstrap("mae", y, y + 0.1, y + 0.3)
        >>> round(found.value, 3), round(found.low, 3)
        (0.2, 0.2)
    """
    value = gain(metric, score(metric, y, a), score(metric, y, b))
    if np.array_equal(a, b):
        return Interval(0.0, 0.0, 0.0, confidence)
    count = min(BLOCKS, len(y) // 2)
    block = np.arange(len(y)) * count // len(y)
    generator = np.random.default_rng(seed)
    leads = []
    for _ in range(DRAWS):
        times = np.bincount(generator.integers(0, count, count), minlength=count)
        weights = times[block].astype(np.float64)
        leads.append(gain(metric, score(metric, y, a, weights), score(metric, y, b, weights)))
    known = np.array(leads)[np.isfinite(leads)]
    if not np.isfinite(value) or len(known) < 0.9 * len(leads):
        return Interval(float("nan"), float("-inf"), float("inf"), confidence)
    ends = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = value + _wider(confidence, count) * (ends - value)
    return Interval(float(value), float(low), float(high), confidence)


def _wider(confidence: float, count: int) -> float:
    """What resampling so few stretches leaves out: Student's t, and a spread without bias."""
    share = (1 + confidence) / 2
    wider = stats.t.ppf(share, count - 1) / stats.norm.ppf(share)
    return float(wider * np.sqrt(count / (count - 1)))
