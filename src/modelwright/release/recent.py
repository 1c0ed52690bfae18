"""Challenger against champion on the newest rows whose truth is known.

The sealed rows are as old as the first model. What a retrained model is for are the rows of today,
so both models answer the same ones, which neither learned from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modelwright.core.intake import Array
from modelwright.core.records import Finding, Verdict
from modelwright.core.table import Table
from modelwright.fit.certainty import paired_gain
from modelwright.fit.in_time import InTime
from modelwright.release.evidence import led

CHECK = "recent"
FEWEST = 40
"""Rows below which nothing is said."""


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
    found = paired_gain(
        metric, recent.rows.target, ours, theirs,
        confidence=confidence, clusters=InTime.of(count),
    )  # fmt: skip
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
