"""How well the model does before labels are there, and whether that guess may be trusted.

Classification: the expected confusion matrix of calibrated probabilities (CBPE). A row that the
model gives 0.8 is a hit in 8 of 10 cases, so accuracy follows from scores alone; scores are
calibrated on rows of the reference that were not trained on. Regression: the mean loss that rows
with such a prediction had in the reference.

Both see that rows became harder. Neither sees that the same rows have other answers now (concept
drift): there they are worse than assuming that nothing changed. So an estimate is shown with its
back-test, and may alarm only while it beat "nothing changed" over the last labelled windows.

Source: Kivimäki, Białek, Kuberski, Nurminen (2025), "Performance estimation in binary
classification using calibrated confidence"; Zadrozny, Elkan (2002) for isotonic calibration.
Predicted loss is a plain histogram: less sharp than a second model, and nothing to train.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from scipy.optimize import isotonic_regression

from modelwright.core.errors import DataError
from modelwright.core.intake import Array
from modelwright.core.records import Finding, Interval

LOSS_BINS = 20
LABELLED = 8
"""Windows of the back-test."""
ENOUGH = 4
"""With fewer labelled windows nothing is trusted."""


class Calibrator(msgspec.Struct, frozen=True):
    """Score -> share of positives, a rising step function per class; the same after JSON.

    `scores` are the starts of its steps. One pair for two classes, else one a class.
    """

    scores: tuple[tuple[float, ...], ...]
    shares: tuple[tuple[float, ...], ...]

    def probabilities(self, scores: Array) -> Array:
        """Calibrated probabilities [n, classes] of scores: [n] of the positive class, or [n, k]."""
        columns = scores[:, None] if scores.ndim == 1 else scores
        if columns.shape[1] != len(self.scores):
            raise DataError(
                f"{columns.shape[1]} scores a row, and the calibrator is of {len(self.scores)}.",
                hint="Give the scores of the model it was made for.",
            )
        parts = zip(columns.T, self.scores, self.shares, strict=True)
        found = np.stack([np.interp(s, x, y) for s, x, y in parts], axis=1)
        if found.shape[1] == 1:
            return np.hstack([1 - found, found])
        several: Array = found / np.maximum(found.sum(axis=1, keepdims=True), 1e-12)
        return several


def calibrator(scores: Array, labels: Array) -> Calibrator:
    """Isotonic regression of labels on scores.

    Args:
        scores: [n] of the positive class or [n, classes], of rows that were not trained on.
        labels: [n] numbers of classes.

    Example:
        >>> made = calibrator(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1]))
        >>> made.probabilities(np.array([0.85]))[0].tolist()
        [0.0, 1.0]
    """
    columns = scores[:, None] if scores.ndim == 1 else scores
    first = 1 if columns.shape[1] == 1 else 0
    steps = [_isotonic(column, labels == first + i) for i, column in enumerate(columns.T)]
    return Calibrator(tuple(x for x, _ in steps), tuple(y for _, y in steps))


def _isotonic(scores: Array, hit: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    places, group = np.unique(scores, return_inverse=True)
    weights = np.bincount(group)
    shares = np.bincount(group, hit.astype(np.float64)) / weights
    fitted = isotonic_regression(shares, weights=weights).x
    change = np.flatnonzero(np.diff(fitted)) + 1
    ends = np.unique(np.concatenate([[0], change - 1, change, [len(places) - 1]]))
    return tuple(places[ends].tolist()), tuple(fitted[ends].tolist())


def expected_confusion(probabilities: Array, predicted: Array) -> Array:
    """[k, k] expected counts: rows are true classes, columns predicted ones.

    Example:
        >>> expected_confusion(np.array([[0.2, 0.8], [0.9, 0.1]]), np.array([1, 0])).tolist()
        [[0.9, 0.2], [0.1, 0.8]]
    """
    classes = probabilities.shape[1]
    found = [np.bincount(predicted, column, classes) for column in probabilities.T]
    return np.stack(found)


def from_confusion(confusion: Array, positive: int = 1) -> dict[str, float]:
    """Metrics of a confusion matrix, counted or expected, under scikit-learn's names.

    Two classes: accuracy, balanced_accuracy, precision, recall and f1 of the positive class; more:
    accuracy, balanced_accuracy and f1_macro. NaN where a denominator is 0.
    """
    hits = np.diag(confusion)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, precision = hits / confusion.sum(axis=1), hits / confusion.sum(axis=0)
        f1 = 2 * hits / (confusion.sum(axis=1) + confusion.sum(axis=0))
    found = {
        "accuracy": float(hits.sum() / max(confusion.sum(), 1e-12)),
        "balanced_accuracy": float(np.nanmean(recall)) if confusion.sum() else math.nan,
    }
    if len(confusion) > 2:
        return found | {"f1_macro": float(np.nanmean(f1))}
    parts = {"precision": precision, "recall": recall, "f1": f1}
    return found | {name: float(part[positive]) for name, part in parts.items()}


def estimate_accuracy(probabilities: Array, predicted: Array) -> Interval:
    """Expected accuracy, and what chance alone does to a window of this size.

    The interval takes the probabilities as right: whether they are is what the back-test says.

    Example:
        >>> estimate_accuracy(np.array([[0.2, 0.8], [1.0, 0.0]]), np.array([1, 0])).value
        0.9
    """
    return accuracy_of(*hits(probabilities, predicted))


def hits(probabilities: Array, predicted: Array) -> tuple[float, float, float]:
    """Rows, expected hits and their variance: sums, so that those of many parts add up.

    Example:
        >>> hits(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([1, 0]))
        (2.0, 1.5, 0.25)
    """
    hit = probabilities[np.arange(len(predicted)), predicted]
    return float(len(hit)), float(hit.sum()), float((hit * (1 - hit)).sum())


def accuracy_of(rows: float, hit: float, variance: float) -> Interval:
    """The expected accuracy of `hits`."""
    value, reach = hit / rows, 1.96 * math.sqrt(variance) / rows
    return Interval(value, max(0.0, value - reach), min(1.0, value + reach))


def expected_roc_auc(probabilities: Array) -> float:
    """ROC AUC if the calibrated probabilities of the positive class are right; NaN without them.

    Args:
        probabilities: [n] of the positive class.
    """
    levels, group = np.unique(probabilities, return_inverse=True)
    many = np.bincount(group)
    positive, negative = levels * many, (1 - levels) * many
    below = np.cumsum(negative) - negative / 2
    both = positive.sum() * negative.sum()
    return float((positive * below).sum() / both) if both else math.nan


class LossCurve(msgspec.Struct, frozen=True):
    """Regression: mean loss in the reference by prediction, its spread in a row, and the rows.

    `edges` has one more than the others.
    """

    edges: tuple[float, ...]
    losses: tuple[float, ...]
    spread: tuple[float, ...]
    rows: tuple[int, ...]

    def estimate(self, predictions: Array) -> Interval:
        """Mean loss that such predictions had; what chance does to the window and to the curve.

        Predictions beyond the reference count as those at its end.
        """
        return self.estimate_of(self.counts(predictions))

    def counts(self, predictions: Array) -> Array:
        """Rows in each step of the curve; those of many parts add up."""
        at = np.searchsorted(np.asarray(self.edges[1:-1]), predictions, side="right")
        return np.asarray(np.bincount(at, minlength=len(self.losses)))

    def estimate_of(self, counts: Array) -> Interval:
        """The estimate for rows that were counted."""
        share, rows = counts / counts.sum(), counts.sum()
        value = float(share @ np.asarray(self.losses))
        of_window, of_curve = share / rows, share**2 / np.asarray(self.rows)
        reach = 1.96 * math.sqrt(float((np.square(self.spread) * (of_window + of_curve)).sum()))
        return Interval(value, max(0.0, value - reach), value + reach)


def loss_curve(predictions: Array, losses: Array) -> LossCurve:
    """Mean loss of rows that were not trained on, in twentieths of the prediction.

    Args:
        predictions, losses: [n]; a loss a row, such as the absolute or the squared error.

    Example:
        >>> curve = loss_curve(np.arange(100.0), np.arange(100.0) / 10)
        >>> round(curve.estimate(np.array([97.0, 98.0])).value, 2)
        9.7
    """
    edges = np.unique(np.quantile(predictions, np.linspace(0, 1, LOSS_BINS + 1)))
    if len(edges) < 2:
        edges = np.array([edges[0], edges[0]])
    at = np.searchsorted(edges[1:-1], predictions, side="right")
    many = np.maximum(np.bincount(at, minlength=len(edges) - 1), 1)
    mean = np.bincount(at, losses, len(edges) - 1) / many
    square = np.bincount(at, losses**2, len(edges) - 1) / many
    spread = np.sqrt(np.maximum(square - mean**2, 0.0))
    parts = [tuple(part.tolist()) for part in (edges, mean, spread, many)]
    return LossCurve(parts[0], parts[1], parts[2], parts[3])


class Labelled(msgspec.Struct, frozen=True):
    """A window whose labels came: what was estimated, the reference's value, and what it was."""

    estimated: float
    constant: float
    realised: float


class BackTest(msgspec.Struct, frozen=True):
    """Mean absolute errors over the last labelled windows, of the estimate and of "no change"."""

    windows: int
    estimate: float
    constant: float

    @property
    def trusted(self) -> bool:
        """Whether the estimate may alarm."""
        return self.windows >= ENOUGH and self.estimate < self.constant


def back_test(past: Sequence[Labelled], last: int = LABELLED) -> BackTest:
    """Hold estimates against what labels said later.

    Args:
        past: labelled windows in order of time; those with a NaN are left out.
        last: so many of them count.

    Example:
        >>> back_test([Labelled(0.81, 0.85, 0.80)] * 5).trusted
        True
    """
    rows = np.array([[w.estimated, w.constant, w.realised] for w in past]).reshape(-1, 3)
    rows = rows[np.isfinite(rows).all(axis=1)][-last:]
    if not len(rows):
        return BackTest(0, math.nan, math.nan)
    errors = np.abs(rows[:, :2] - rows[:, 2:]).mean(axis=0)
    return BackTest(len(rows), float(errors[0]), float(errors[1]))


def judged(
    metric: str, estimated: Interval, wanted: float, test: BackTest, *, higher: bool = True
) -> Finding:
    """The estimate as a finding: it fails only where it is trusted and surely beyond `wanted`.

    Args:
        metric: its name.
        estimated: with its interval.
        wanted: the limit in the metric's own direction.
        test: the back-test, in the words of the finding.
        higher: whether more is better.
    """
    broken = estimated.high < wanted if higher else estimated.low > wanted
    if test.windows:
        tested = f"mean error {test.estimate:.4f}, with no change assumed {test.constant:.4f}"
        why = f"back-test over {test.windows} labelled windows: {tested}"
    else:
        why = "no labelled window to test it on"
    alarm = broken and test.trusted
    return Finding(
        check="estimate",
        subject=metric,
        verdict="fail" if alarm else "undecided" if broken else "pass",
        measured=f"{estimated.value:.4f} without labels",
        wanted=f"at {'least' if higher else 'most'} {wanted:.4g}",
        why=why if test.trusted else f"{why}; not trusted, so it does not alarm",
        advice="get labels of these rows soon" if broken else "",
        severity="warning" if alarm else "info",
        interval=estimated,
    )
