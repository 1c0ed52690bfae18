"""Would more rows help: the chosen model's score against the rows it learns from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelwright.core.evaluation import Curve
from modelwright.core.intake import Array
from modelwright.core.limits import METRICS
from modelwright.core.records import Interval
from modelwright.fit.certainty import Clusters, interval, standing
from modelwright.fit.ledger import Ledger
from modelwright.fit.trials import Candidate

SHARES, HALF = (0.125, 0.25, 0.5), (0.5,)
"""Parts of the rows; where time is short, half of them alone tells whether more would help."""
FEWEST_ROWS = 50
WITHOUT_LIMIT = 25.0
"""Seconds for the curve where the budget has no limit on time."""
Z = 1.96
ROOM = 1.5
"""Seconds are guessed from a whole fold; a small one has costs of its own."""


def learning_curve(ledger: Ledger, chosen: Candidate) -> Curve | None:
    """The widest fold again, on an eighth, a quarter and a half of its rows, or on a half alone.

    Args:
        ledger: its folds and trainer.
        chosen: a candidate; of a blend the heaviest member stands for it.

    Returns:
        None where there is no time, or too few rows.
    """
    parts = sorted(chosen.members, key=lambda pair: -pair[1])
    part = parts[0][0] if parts else chosen
    number = ledger.folds.widest
    rows = len(ledger.folds.cuts[number][0])
    times = 1 if ledger.folds.dataset.ordered else 2
    most = ledger.budget.spare(WITHOUT_LIMIT) / (ROOM * times * part.seconds_a_fold + 1e-9)
    affordable = [s for s in (SHARES, HALF) if sum(s) <= most and s[0] * rows >= FEWEST_ROWS]
    if not affordable or part.teacher is not None or len(part.outcomes) <= number:
        return None
    shares = affordable[0]
    answers = ledger.trainer.on_shares(part, ledger.folds, shares)
    answers.append([part.outcomes[number].answers])
    y, clusters = ledger.folds.truth(number), ledger.folds.together(number)
    found = points(ledger.goal, y, answers, clusters)
    if not all(np.isfinite([one.value, one.low, one.high]).all() for one in found):
        return None
    sizes = tuple(int(share * rows) for share in (*shares, 1.0))
    return Curve(
        "learning", tuple(float(size) for size in sizes), _ends(found, "value"),
        _ends(found, "low"), _ends(found, "high"), sizes, part.name,
    )  # fmt: skip


def points(
    metric: str, y: Array, answers: Sequence[Sequence[Array]], clusters: Clusters
) -> list[Interval]:
    """The mean score of models that learned from as many rows, for each number of rows.

    Its 95 % are of the rows that judge, and of which rows were learned from: how far two models of
    disjoint rows lie apart. What learned alone gets no more than the number of rows before it had:
    with more rows chance moves a model less.

    Args:
        metric: the goal.
        y: truth of the rows that judge.
        answers: of one or two models a number of rows, the fewest rows first.
        clusters: see `interval`.

    Example:
        >>> y = np.arange(200.0)
        >>> alone, apart = (points("mae", y, [[y + 1 + y % 2, y + k]], None)[0] for k in (1.5, 3))
        >>> bool(apart.high - apart.low > alone.high - alone.low)
        True
    """
    found, luck = [], 0.0
    for same in answers:
        each = [interval(metric, y, one, clusters=clusters) for one in same]
        scores = [one.value for one in each]
        if len(scores) > 1:
            luck = float(np.var(scores, ddof=1)) / len(scores)
        value, low, high = np.mean([[one.value, one.low, one.high] for one in each], axis=0)
        shared = _shared(metric, y, same, clusters)
        below, above = (np.hypot(shared * (value - end), Z * luck**0.5) for end in (low, high))
        low, high = _possible(metric, value - below, value + above)
        found.append(Interval(float(value), low, high))
    return found


def _shared(metric: str, y: Array, answers: Sequence[Array], clusters: Clusters) -> float:
    """Error of the mean of several models' scores as a part of one's: they err on the same rows."""
    known = [standing(metric, y, one, clusters=clusters) for one in answers]
    pulls = [one.pulls for one in known if one is not None]
    each = [float(np.linalg.norm(one)) for one in pulls]
    if len(pulls) < len(answers) or not sum(each):
        return 1.0
    return float(np.linalg.norm(np.sum(pulls, axis=0))) / sum(each)


def _possible(metric: str, low: float, high: float) -> tuple[float, float]:
    """Ends within what the metric can be."""
    top = 1.0 if METRICS[metric].better == "higher" else np.inf
    bottom = -1.0 if metric == "mcc" else -np.inf if metric == "r2" else 0.0
    return float(max(low, bottom)), float(min(high, top))


def _ends(found: list[Interval], end: str) -> tuple[float, ...]:
    return tuple(float(getattr(one, end)) for one in found)
