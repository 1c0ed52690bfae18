"""Everything worth knowing about a judged model beyond its limits, within a few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable

from modelwright.core.evaluation import Evaluation
from modelwright.core.records import not_looked_at
from modelwright.release.calibration import calibration_finding
from modelwright.release.curves import curves
from modelwright.release.evidence import Evidence
from modelwright.release.failures import confused_pairs, confusion, failures
from modelwright.release.fairness import fairness
from modelwright.release.importance import groups, importance
from modelwright.release.robustness import robustness
from modelwright.release.slices import weak_slices


def evaluate(
    evidence: Evidence, seconds: float = 4.0, pressed: Callable[[], bool] = bool
) -> Evaluation:
    """Look at the sealed rows from all sides.

    Args:
        evidence: the rows and everybody's answers.
        seconds: about how long disturbed rows, importance and Shapley values may take; the rest
            takes less than a second on ten thousand rows.
        pressed: whether Ctrl-C was pressed: then importance, which no gate asks for, is left out
            and named; all gates are judged as ever.
    """
    started = time.monotonic()
    slices, weak = weak_slices(evidence)
    findings = [weak, *fairness(evidence), *robustness(evidence, 0.25 * seconds)]
    if evidence.answers.ndim == 2:
        findings.insert(0, calibration_finding(evidence))
    columns, notes = ((), []) if pressed() else importance(evidence, 0.55 * seconds)
    findings += not_looked_at([] if columns or not pressed() else ["importance"])
    together = () if pressed() else groups(evidence, 0.2 * seconds)
    findings += not_looked_at([] if together or not pressed() else ["groups of columns"])
    return Evaluation(
        goal=evidence.goal,
        rows=evidence.holdout.rows,
        curves=curves(evidence),
        importance=columns,
        groups=together,
        ablation=evidence.ablation,
        slices=slices,
        failures=failures(evidence),
        confusion=confusion(evidence),
        confused=confused_pairs(evidence),
        findings=tuple(findings),
        notes=tuple(notes),
        seconds=round(time.monotonic() - started, 2),
    )
