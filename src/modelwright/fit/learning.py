"""Would more rows help: the chosen model's score against the rows it learns from."""

from __future__ import annotations

import numpy as np

from modelwright.core.evaluation import Curve
from modelwright.core.records import Interval
from modelwright.fit.certainty import interval
from modelwright.fit.ledger import Ledger
from modelwright.fit.trials import Candidate

SHARES, HALF = (0.125, 0.25, 0.5), (0.5,)
"""Parts of the rows; where time is short, half of them alone tells whether more would help."""
FEWEST_ROWS = 50
SHARE_OF_REST, WITHOUT_LIMIT = 0.4, 25.0
"""Part of the time left, or seconds without a limit on time, that the curve may take."""
ROOM = 1.5
"""Seconds are guessed from a whole fold; a small one has costs of its own."""


def learning_curve(ledger: Ledger, chosen: Candidate) -> Curve | None:
    """The first fold again, on an eighth, a quarter and a half of its rows, or on a half alone.

    Args:
        ledger: its folds and trainer.
        chosen: a candidate; of a blend the heaviest member stands for it.

    Returns:
        None where there is no time, or too few rows.
    """
    parts = sorted(chosen.members, key=lambda pair: -pair[1])
    part = parts[0][0] if parts else chosen
    rows = len(ledger.folds.cuts[0][0])
    most = _spare_seconds(ledger) / (ROOM * part.seconds_a_fold + 1e-9)
    affordable = [s for s in (SHARES, HALF) if sum(s) <= most and s[0] * rows >= FEWEST_ROWS]
    if not affordable or part.teacher is not None:
        return None
    shares = affordable[0]
    answers = ledger.trainer.on_shares(part, ledger.folds, shares)
    answers.append(part.outcomes[0].answers)
    y, clusters = ledger.folds.truth(0), ledger.folds.clusters(0)
    found = [interval(ledger.goal, y, a, clusters=clusters) for a in answers]
    if not all(np.isfinite([one.value, one.low, one.high]).all() for one in found):
        return None
    sizes = tuple(round(share * rows) for share in (*shares, 1.0))
    return Curve(
        "learning", tuple(float(size) for size in sizes), _ends(found, "value"),
        _ends(found, "low"), _ends(found, "high"), sizes, part.name,
    )  # fmt: skip


def _spare_seconds(ledger: Ledger) -> float:
    budget = ledger.budget
    return SHARE_OF_REST * budget.left if budget.trials is None else WITHOUT_LIMIT


def _ends(found: list[Interval], end: str) -> tuple[float, ...]:
    return tuple(float(getattr(one, end)) for one in found)
