"""The last touches of a chosen candidate, all found on out-of-fold answers: calibration, the
threshold of the label, the interval of a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec.structs import replace
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression

from modelwright.core.errors import UsageError
from modelwright.core.intake import Array
from modelwright.core.limits import METRICS, Limit
from modelwright.core.schema import Target
from modelwright.core.spec import FitSpec
from modelwright.fit.outputs import TINY, Calibration, Outputs, Reach, errors_at
from modelwright.fit.score import LABEL_METRICS

PARTS = 5
ROWS_FOR_ISOTONIC = 1000
GRID = 400
RANKED = ("roc_auc", "pr_auc")
"""Goals that the ties of an isotonic curve would cost."""


def outputs_for(
    spec: FitSpec, goal: str, limits: Sequence[Limit], target: Target, y: Array, answers: Array
) -> Outputs:
    """Choose what is done to a candidate's raw answers.

    Args:
        spec: interval, costs, calibration.
        goal: the metric to improve.
        limits: those on metrics of the label bound the choice of the threshold.
        target: its task and classes.
        y, answers: out of fold; rows without an answer left out.
    """
    if target.task == "regression":
        return Outputs(reach=reach_of(spec.interval, y, answers) if spec.interval else None)
    calibration = Calibration()
    if spec.calibrate:
        calibration = best_calibration(y, answers, curves=goal not in RANKED)
    p = calibration.apply(answers)
    costs = cost_matrix(spec.costs, target)
    if target.task == "multiclass":
        return Outputs(calibration, costs=_as_tuples(costs))
    return Outputs(calibration, threshold=best_threshold(goal, limits, costs, y, p[:, 1]))


def _as_tuples(costs: Array | None) -> tuple[tuple[float, ...], ...]:
    return () if costs is None else tuple(tuple(row) for row in costs.tolist())


def best_calibration(y: Array, p: Array, *, curves: bool, seed: int = 0) -> Calibration:
    """The calibration that lowers log loss on rows it was not fitted on by more than its noise.

    Args:
        y: class index a row.
        p: probabilities [rows, classes], out of fold.
        curves: whether an isotonic curve may be chosen.
        seed: of the parting of the rows.
    """
    makers: dict[str, Callable[[Array, Array], Calibration]] = {"temperature": _temperature}
    if curves and p.shape[1] == 2 and len(y) >= ROWS_FOR_ISOTONIC:
        makers["isotonic"] = _isotonic
    part = np.random.default_rng(seed).permutation(len(y)) % PARTS
    best, best_gain = Calibration(), 0.0
    before = _losses(y, p)
    for make in makers.values():
        after = np.empty(len(y))
        for number in range(PARTS):
            inside = part != number
            fitted = make(y[inside], p[inside])
            after[~inside] = _losses(y[~inside], fitted.apply(p[~inside]))
        gains = before - after
        noise = gains.std() / np.sqrt(len(y))
        if gains.mean() > max(best_gain, noise):
            best, best_gain = make(y, p), float(gains.mean())
    return best


def _losses(y: Array, p: Array) -> Array:
    return np.asarray(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-15)))


def _temperature(y: Array, p: Array) -> Calibration:
    """Guo et al. 2017: one number that makes all probabilities milder (above 1) or bolder."""

    def loss(log_temperature: float) -> float:
        made = Calibration("temperature", float(np.exp(log_temperature)))
        return float(_losses(y, made.apply(p)).mean())

    found = minimize_scalar(loss, bounds=(-1.5, 1.5), method="bounded", options={"xatol": 1e-4})
    return Calibration("temperature", round(float(np.exp(found.x)), 6))


def _isotonic(y: Array, p: Array) -> Calibration:
    curve = IsotonicRegression(out_of_bounds="clip").fit(p[:, 1], y)
    least = 1 / (len(y) + 2)
    knots = np.asarray(curve.X_thresholds_, np.float64)
    values = np.clip(np.asarray(curve.y_thresholds_, np.float64), least, 1 - least)
    apart = np.r_[True, np.diff(knots) > TINY]
    if apart.sum() < 2:
        return Calibration()
    return Calibration("isotonic", 1.0, tuple(knots[apart].tolist()), tuple(values[apart].tolist()))


def cost_matrix(given: Mapping[str, Mapping[str, float]], target: Target) -> Array | None:
    """``fit.costs`` as [actual][predicted]; pairs that are not named cost 0.

    Raises:
        UsageError: a label that the target does not have.
    """
    if not given:
        return None
    place = {level: code for code, level in enumerate(target.levels)}
    matrix = np.zeros((len(place), len(place)))
    for actual, row in given.items():
        for predicted, cost in row.items():
            for label in (actual, predicted):
                if label not in place:
                    known = ", ".join(target.levels[:20]) or "none, it is a number"
                    raise UsageError(f"fit.costs names {label!r}.", hint=f"Classes: {known}.")
            matrix[place[actual], place[predicted]] = cost
    return matrix


def best_threshold(
    goal: str, limits: Sequence[Limit], costs: Array | None, y: Array, p: Array
) -> float | None:
    """The least score of the positive class at which the label becomes positive.

    By the cost matrix where there is one, else by the goal when it is a metric of the label, else
    by the limits on such metrics; None where nothing asks for it. Limits bound the choice where
    they can be kept.
    """
    bounds = [
        limit
        for limit in limits
        if limit.metric in LABEL_METRICS and not limit.relative and not limit.slice_column
    ]
    lopsided = goal in ("precision", "recall") and not bounds
    if costs is None and (goal not in LABEL_METRICS or lopsided) and not bounds:
        return None
    tried = np.unique(np.quantile(p, np.linspace(0, 1, GRID + 1)))
    tried = np.unique((tried[1:] + tried[:-1]) / 2)
    if not len(tried):
        return None
    counts = Counts.at(tried, y, p)
    slack = np.zeros(len(tried))
    for limit in bounds:
        sign = 1.0 if limit.direction == "at_least" else -1.0
        slack += np.minimum(0.0, sign * (counts.metric(limit.metric) - limit.bound))
    if costs is not None:
        worth = -counts.cost(costs)
    elif goal in LABEL_METRICS:
        worth = counts.metric(goal) * (1 if METRICS[goal].better == "higher" else -1)
    else:
        worth = sum((counts.metric(limit.metric) for limit in bounds), np.zeros(len(tried)))
    kept = slack >= slack.max() - 1e-12
    return float(tried[np.flatnonzero(kept)[np.nanargmax(worth[kept])]])


class Counts:
    """True and false positives and negatives at many thresholds, each an array."""

    def __init__(self, tp: Array, fp: Array, fn: Array, tn: Array) -> None:
        self.tp, self.fp, self.fn, self.tn = tp, fp, fn, tn

    @classmethod
    def at(cls, thresholds: Array, y: Array, p: Array) -> Counts:
        """Count rows with ``p >= threshold`` for each threshold."""
        up, down = np.sort(p[y == 1]), np.sort(p[y == 0])
        tp = len(up) - np.searchsorted(up, thresholds, "left")
        fp = len(down) - np.searchsorted(down, thresholds, "left")
        return cls(tp * 1.0, fp * 1.0, (len(up) - tp) * 1.0, (len(down) - fp) * 1.0)

    def metric(self, name: str) -> Array:
        """A metric of the label at each threshold; 0 where it has no value."""
        tp, fp, fn, tn = self.tp, self.fp, self.fn, self.tn
        positive, negative = _share(2 * tp, 2 * tp + fp + fn), _share(2 * tn, 2 * tn + fp + fn)
        recall, precision = _share(tp, tp + fn), _share(tp, tp + fp)
        found = {
            "accuracy": _share(tp + tn, tp + tn + fp + fn),
            "balanced_accuracy": (recall + _share(tn, tn + fp)) / 2,
            "f1": positive,
            "f1_macro": (positive + negative) / 2,
            "precision": precision,
            "recall": recall,
            "mcc": _share(
                tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
            ),
        }
        return found[name]

    def cost(self, matrix: Array) -> Array:
        """Mean cost a row at each threshold."""
        total = self.tp + self.fp + self.fn + self.tn
        summed = (
            self.tn * matrix[0, 0] + self.fp * matrix[0, 1]
            + self.fn * matrix[1, 0] + self.tp * matrix[1, 1]
        )  # fmt: skip
        return np.asarray(summed / total)


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def reach_of(level: float, y: Array, values: Array) -> Reach:
    """The interval that holds a share `level` of out-of-fold truths; of the two forms (as wide
    everywhere, or in proportion to the value) the one that is narrower on average.

    Args:
        level: wanted coverage, 0 to 1.
        y, values: truths and out-of-fold answers.
    """
    floor = max(float(np.quantile(np.abs(values), 0.05)), TINY)
    found = []
    for form in (Reach(level, 0.0, False, floor), Reach(level, 0.0, True, floor)):
        sizes = form.sizes(values)
        amount = errors_at(level, np.abs(y - values) / sizes)
        found.append((amount * float(sizes.mean()), replace(form, amount=amount)))
    return min(found, key=lambda pair: pair[0])[1]
