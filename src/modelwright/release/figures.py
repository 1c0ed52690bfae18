"""The figures of quality with their intervals: no gates, what a report tells first."""

from __future__ import annotations

import numpy as np

from modelwright.core.intake import Array
from modelwright.core.records import Finding, Interval
from modelwright.fit.certainty import interval
from modelwright.fit.in_time import InTime
from modelwright.release.calibration import expected_error_interval, stated_and_true
from modelwright.release.evidence import Evidence, written

SMALL = 0.05
"""Part of the median below which a true value makes a relative error large."""


def figures(evidence: Evidence) -> list[Finding]:
    """The goal, every other metric of the task, and what no limit can be set on."""
    return [_goal(evidence), *_metrics(evidence), *_other_figures(evidence)]


def _goal(evidence: Evidence) -> Finding:
    """Not a gate: the figure everybody asks for first."""
    found = evidence.interval(evidence.goal, evidence.confidence)
    return Finding(
        "goal", evidence.goal, "pass", written(evidence.goal, found), "",
        _about(evidence, evidence.goal), "", "info", found,
    )  # fmt: skip


def _about(evidence: Evidence, metric: str) -> str:
    """How a figure is to be read."""
    if metric == "mape":
        sizes = np.abs(evidence.holdout.target)
        small = float((sizes < SMALL * np.median(sizes)).mean())
        if small:
            return (f"{small:.1%} of the true values are below {SMALL:.0%} of a usual one, and an "
                    f"error is divided by the true value")  # fmt: skip
    if metric != evidence.goal:
        return ""
    if isinstance(evidence.together(), InTime):
        return ("rows of the holdout are in order of time, so intervals are wider "
                "where an error is like the one before")  # fmt: skip
    return ""


def _metrics(evidence: Evidence) -> list[Finding]:
    """Every other quality metric of the task, for the report."""
    return [
        Finding("metric", name, "pass", written(name, found), "", _about(evidence, name),
                severity="info", interval=found)
        for name in evidence.metrics()[1:]
        for found in [evidence.interval(name, evidence.confidence)]
        if not np.isnan(found.value)
    ]  # fmt: skip


def _other_figures(evidence: Evidence) -> list[Finding]:
    """Figures that no limit is set on: calibration error, and the pinball loss of intervals."""
    y, found = evidence.holdout.target, {}
    if evidence.answers.ndim == 2:
        stated, true = stated_and_true(evidence.answers, y)
        found["ece"] = expected_error_interval(
            stated, true, evidence.confidence, evidence.together()
        )
    if evidence.ends is not None:
        level = evidence.schema.target.interval
        assert level is not None
        shares = ((1 - level) / 2, (1 + level) / 2)
        for end, share in zip(evidence.ends, shares, strict=True):
            found[f"pinball {share:g}"] = _pinball(evidence, end, share)
    return [
        Finding("metric", name, "pass", written(name, one), severity="info", interval=one)
        for name, one in found.items()
    ]


def _pinball(evidence: Evidence, end: Array, share: float) -> Interval:
    """Mean pinball loss of a quantile (Koenker and Bassett 1978)."""
    apart = evidence.holdout.target - end
    losses = np.maximum(share * apart, (share - 1) * apart)
    return interval("mae", np.zeros(len(losses)), losses, confidence=evidence.confidence,
                    clusters=evidence.together())  # fmt: skip
