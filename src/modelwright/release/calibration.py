"""Whether probabilities mean what they say."""

from __future__ import annotations

import numpy as np
from scipy import stats

from modelwright.core.evaluation import Curve
from modelwright.core.intake import Array
from modelwright.core.records import Finding, Interval, Verdict
from modelwright.fit.certainty import Clusters, numbers
from modelwright.fit.in_time import InTime, spread_in_time, wider
from modelwright.release.evidence import Evidence
from modelwright.release.more_rows import WRONG_SIDE, rows_to_decide

BINS, FEWEST_IN_BIN = 15, 10


def stated_and_true(answers: Array, y: Array) -> tuple[Array, Array]:
    """What the model states a row, and whether it came true: the positive class, or with several
    classes the one that it finds most likely (Guo et al. 2017)."""
    if answers.shape[1] == 2:
        return answers[:, 1], (y == 1).astype(np.float64)
    top = answers.argmax(axis=1)
    return answers[np.arange(len(y)), top], (top == y).astype(np.float64)


def calibration_error(
    stated: Array, true: Array, confidence: float = 0.95, clusters: Clusters = None
) -> Interval:
    """Root mean squared calibration error over bins of equal size, free of what chance adds.

    The squared gap of a bin, less its variance, is an unbiased estimate (Kumar, Liang and Ma 2019).
    Its spread grows with the true error, so the interval holds every error from which this estimate
    would be no surprise, as Wilson's does for a share.

    Example:
        >>> off = calibration_error(np.full(1000, 0.2), np.arange(1000) % 2.0)
        >>> round(off.value, 2), round(off.low, 2), round(off.high, 2)
        (0.3, 0.27, 0.33)
    """
    gaps, spread, weights = _gaps(stated, true, clusters)
    mean = float((weights * (gaps**2 - spread.diagonal())).sum())
    z2 = float(stats.norm.ppf((1 + confidence) / 2)) ** 2
    chance = float(2 * weights @ spread**2 @ weights)
    growth = 4 * _of_a_sum(gaps, spread, weights) / float(weights.sum())
    middle = mean + z2 * growth / 2
    reach = np.sqrt(np.maximum(middle**2 - mean**2 + z2 * chance, 0.0))
    value, low, high = np.sqrt(np.maximum([mean, middle - reach, middle + reach], 0.0))
    return Interval(float(value), float(low), float(high), confidence)


def expected_error(stated: Array, true: Array) -> float:
    """Expected calibration error as everybody reports it, chance included (Naeini et al. 2015).

    Example:
        >>> expected_error(np.array([0.2] * 5), np.array([0.0, 0, 0, 0, 1]))
        0.0
    """
    gaps, _, weights = _gaps(stated, true)
    return float(np.round((weights * np.abs(gaps)).sum(), 15))


def expected_error_interval(
    stated: Array, true: Array, confidence: float, clusters: Clusters = None
) -> Interval:
    """The same with an interval that reaches down by what chance alone would add, so that it holds
    0 for a perfect model; wider than need be for one that is far off."""
    gaps, spread, weights = _gaps(stated, true, clusters)
    value = float((weights * np.abs(gaps)).sum())
    chance = float((weights * np.sqrt(2 * spread.diagonal() / np.pi)).sum())
    error = _of_a_sum(gaps, spread, weights) ** 0.5
    reach = float(stats.norm.ppf((1 + confidence) / 2)) * error
    return Interval(value, max(0.0, value - chance - reach), value + reach, confidence)


def _gaps(stated: Array, true: Array, clusters: Clusters = None) -> tuple[Array, Array, Array]:
    """(stated less true, how that varies and covaries, share of the rows) of each bin."""
    _, place, sizes = np.unique(_bins(stated), return_inverse=True, return_counts=True)
    apart = stated - true
    gaps = np.bincount(place, apart) / sizes
    squares = np.bincount(place, (apart - gaps[place]) ** 2)
    variances = np.where(sizes > 1, squares / np.maximum(sizes - 1, 1) / sizes, gaps**2)
    spread = np.diag(variances)
    if clusters is not None:  # rows of a cluster vary together, also those in several bins
        _, own = np.unique(numbers(clusters), return_inverse=True)
        pulls = np.zeros((int(own.max()) + 1, len(sizes)))
        np.add.at(pulls, (own, place), (apart - gaps[place]) / sizes[place])
        count = np.array([len(np.unique(own[place == number])) for number in range(len(sizes))])
        least = np.where(count > 1, variances, np.maximum(variances, gaps**2))
        if isinstance(clusters, InTime):
            spread, freedom = spread_in_time(pulls)
            spread *= wider(freedom) ** 2
        else:
            pulls *= np.sqrt(count / np.maximum(count - 1, 1))
            spread = pulls.T @ pulls
        np.fill_diagonal(spread, np.maximum(spread.diagonal(), least))
    return gaps, spread, sizes / len(stated)


def _of_a_sum(gaps: Array, spread: Array, weights: Array) -> float:
    """Variance of the weighted sum of gaps, each with the sign that it has."""
    signed = weights * np.where(gaps < 0, -1.0, 1.0)
    return float(max(signed @ spread @ signed, weights**2 @ spread.diagonal()))


def _bins(stated: Array) -> Array:
    """Number of the bin of each row; equal answers share one."""
    first = np.searchsorted(np.sort(stated), stated, "left")
    bins = max(1, min(BINS, len(stated) // FEWEST_IN_BIN))
    return np.asarray(first * bins // max(1, len(stated)))


def calibration_curve(stated: Array, true: Array, clusters: Clusters = None) -> Curve:
    """Share that came true against what was stated, with Wilson's intervals of 95 %, of as many
    rows as those of clusters that vary together are worth."""
    _, place = np.unique(_bins(stated), return_inverse=True)
    counts = sizes = np.bincount(place)
    x = np.bincount(place, weights=stated) / sizes
    share = np.bincount(place, weights=true) / sizes
    if clusters is not None:
        alone, together = (_gaps(stated, true, c)[1].diagonal() for c in (None, clusters))
        sizes = sizes * np.where(together > 0, alone / np.where(together > 0, together, 1), 1)
        sizes = np.maximum(sizes, 1.0)
    z = stats.norm.ppf(0.975)
    middle = (share + z**2 / (2 * sizes)) / (1 + z**2 / sizes)
    reach = z * np.sqrt(share * (1 - share) / sizes + z**2 / (4 * sizes**2)) / (1 + z**2 / sizes)
    return Curve(
        "calibration", tuple(x.tolist()), tuple(share.tolist()),
        tuple(np.maximum(middle - reach, 0).tolist()),
        tuple(np.minimum(middle + reach, 1).tolist()),
        tuple(counts.tolist()),
    )  # fmt: skip


def calibration_finding(evidence: Evidence) -> Finding:
    """Whether the error is within the spec's tolerance for certain."""
    stated, true = stated_and_true(evidence.answers, evidence.holdout.target)
    found = calibration_error(stated, true, evidence.confidence, evidence.together())
    wanted = evidence.policy.calibration_error
    verdict: Verdict = "undecided"
    if found.high <= wanted:
        verdict = "pass"
    elif found.low > wanted:
        verdict = "fail"
    advice = {
        "fail": "fit.calibrate: true, or more rows",
        "undecided": rows_to_decide(found, wanted, len(true))
        if found.value <= wanted
        else f"{WRONG_SIDE}: fit.calibrate: true, or more rows",
    }
    return Finding(
        "calibration", "probabilities", verdict,
        f"off by {found.value:.3f} ({found.confidence:.0%}: {found.low:.3f} to {found.high:.3f}); "
        f"expected calibration error {expected_error(stated, true):.3f}",
        f"at most {wanted:g}", f"root mean square over {BINS} bins of equal size, free of chance",
        advice.get(verdict, ""), "warning", found,
    )  # fmt: skip
