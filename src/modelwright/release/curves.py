"""Curves to look at, each with its band."""

from __future__ import annotations

import numpy as np
from scipy import stats

from modelwright.core.evaluation import Curve
from modelwright.core.intake import Array
from modelwright.core.spec_data import SplitSpec
from modelwright.core.table import Table
from modelwright.fit.certainty import Clusters, wider_in_time
from modelwright.fit.in_time import InTime
from modelwright.release.calibration import calibration_curve, stated_and_true
from modelwright.release.evidence import Evidence

GRID = 60
DRAWS = 80
MOST_CLASSES = 4
BANDS = 10
AGES = 5
DAY = 86_400e6
"""In microseconds, in which date-times are kept."""


def curves(evidence: Evidence) -> tuple[Curve, ...]:
    """Everything there is to draw of the holdout."""
    y, answers = evidence.holdout.target, evidence.answers
    found: list[Curve] = []
    if answers.ndim == 2:
        rng = np.random.default_rng(evidence.seed)
        for code in _classes(y, answers):
            of = evidence.schema.target.levels[code]
            found += ranking(y == code, answers[:, code], rng, of, evidence.together())
        found.append(calibration_curve(*stated_and_true(answers, y), evidence.together()))
    else:
        found.append(residuals(y, answers))
    if evidence.ordered:
        found += [curve for curve in [ageing(evidence)] if len(curve.x) > 1]
    if evidence.learning is not None:
        found.append(evidence.learning)
    return tuple(found)


def _classes(y: Array, answers: Array) -> list[int]:
    """The positive one of two, else the most frequent ones."""
    if answers.shape[1] == 2:
        return [1]
    counts = np.bincount(y, minlength=answers.shape[1])
    return [int(code) for code in np.argsort(-counts, kind="stable")[:MOST_CLASSES] if counts[code]]


def ranking(
    positive: Array,
    scores: Array,
    rng: np.random.Generator,
    of: str,
    clusters: Clusters = None,
) -> list[Curve]:
    """ROC and precision-recall curve with bands that hold 95 % at each point.

    The spread comes from resampled rows, or clusters of rows that vary together; of rows in order
    of time it is as much wider as the interval of the area below the curve. Where a share is
    near 0 or 1 resampled rows are all alike, so it is at least that of Agresti and Coull (1998),
    and the middle is theirs (Zhou and Qin 2005, for a ROC curve).
    """
    if positive.all() or not positive.any():
        return []
    order = np.argsort(-scores, kind="stable")
    hits, ordered = positive[order].astype(np.float64), scores[order]
    last = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])
    rows = len(hits)
    in_time = clusters is None or isinstance(clusters, InTime)
    together = np.arange(rows) if in_time else np.asarray(clusters)[order]
    count = int(together.max()) + 1
    whole = _on_grid(hits, np.ones(rows), last)
    drawn = [
        _on_grid(hits, np.bincount(rng.integers(0, count, count), minlength=count)[together], last)
        for _ in range(DRAWS)
    ]
    grid = np.linspace(0, 1, GRID + 1)
    behind = (np.full(len(grid), hits.sum()), np.maximum(grid * hits.sum(), 1) / whole[1])
    found = []
    for number, name in enumerate(("roc", "pr")):
        spread = np.std([draw[number] for draw in drawn], axis=0, ddof=1)
        times = wider_in_time(f"{name}_auc", positive, scores, clusters)
        low, high = _share_band(whole[number], behind[number] / times**2, spread * times)
        found.append(Curve(
            name, tuple(grid.tolist()), _plain(whole[number]), _plain(low), _plain(high), of=of
        ))  # fmt: skip
    return found


def _share_band(shares: Array, rows: Array, spread: Array) -> tuple[Array, Array]:
    """Ends of 95 % of shares with these rows behind each, and this spread of resampled ones."""
    z = float(stats.norm.ppf(0.975))
    enough = rows + z**2
    middle = (shares * rows + z**2 / 2) / enough
    error = np.sqrt(np.maximum((spread * rows / enough) ** 2, middle * (1 - middle) / enough))
    return np.maximum(middle - z * error, 0.0), np.minimum(middle + z * error, 1.0)


def _on_grid(hits: Array, weights: Array, last: Array) -> tuple[Array, Array]:
    """(true positive rate by false positive rate, precision by recall)."""
    up, down = np.cumsum(hits * weights)[last], np.cumsum((1 - hits) * weights)[last]
    grid = np.linspace(0, 1, GRID + 1)
    tpr, fpr = up / max(up[-1], 1e-12), down / max(down[-1], 1e-12)
    roc = np.interp(grid, np.r_[0.0, fpr], np.r_[0.0, tpr])
    precision = up / np.maximum(up + down, 1e-12)
    first = np.searchsorted(tpr, np.maximum(grid, 1e-9), "left").clip(0, len(tpr) - 1)
    return roc, precision[first]


def residuals(y: Array, answers: Array) -> Curve:
    """Truth less answer by answer: the mean of each tenth, and the range of the middle 90 %."""
    order = np.argsort(answers, kind="stable")
    parts = [part for part in np.array_split(order, BANDS) if len(part)]
    errors = y - answers
    return Curve(
        "residuals",
        _plain(np.array([answers[part].mean() for part in parts])),
        _plain(np.array([errors[part].mean() for part in parts])),
        _plain(np.array([np.quantile(errors[part], 0.05) for part in parts])),
        _plain(np.array([np.quantile(errors[part], 0.95) for part in parts])),
        tuple(len(part) for part in parts),
    )


def days_after_training(how: SplitSpec, train: Table, holdout: Table) -> Array | None:
    """Of a split by time: days from the last training row to each sealed one; None where the
    column of the split is no feature, and so was not kept, or holds no date-times."""
    if how.method != "time" or how.by is None or how.by not in holdout.feeds:
        return None
    moments = holdout.feeds[how.by]
    if moments.dtype != np.int64:  # a number may count anything
        return None
    return np.asarray((moments - train.feeds[how.by].max()) / DAY)


def ageing(evidence: Evidence) -> Curve:
    """The goal by how long after training a row came: the holdout in stretches of time, the first
    begins where training ends. What falls here is what a model loses by getting older. In days
    where times are known, else as a share of the holdout."""
    parts = np.array_split(np.arange(evidence.holdout.rows), AGES)
    ages = evidence.ages
    taken = [
        (
            float((number + 0.5) / AGES if ages is None else ages[part].mean()),
            evidence.interval(evidence.goal, 0.95, part),
            len(part),
        )
        for number, part in enumerate(parts)
        if len(part) > 1
    ]
    known = [one for one in taken if np.isfinite([one[1].value, one[1].low, one[1].high]).all()]
    value, low, high = (
        _plain(np.array([getattr(i, end) for _, i, _ in known])) for end in ("value", "low", "high")
    )
    x = _plain(np.array([age for age, _, _ in known]))
    sizes = tuple(size for _, _, size in known)
    return Curve("age", x, value, low, high, sizes, unit="" if ages is None else "days")


def steepness(curve: Curve) -> tuple[float, float]:
    """(slope of a curve over its whole width, p value of there being none), by least squares."""
    if len(curve.x) < 3:
        return 0.0, 1.0
    line = stats.linregress(curve.x, curve.y)
    return float(line.slope), float(line.pvalue)


def _plain(values: Array) -> tuple[float, ...]:
    """Six digits are enough to draw; JSON has no NaN."""
    return tuple(float(f"{value:.6g}") for value in np.nan_to_num(values, posinf=0, neginf=0))
