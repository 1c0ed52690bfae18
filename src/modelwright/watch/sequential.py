"""An alarm on losses in order of arrival: an e-detector, with a stated rate of false alarms.

Each loss between 0 and 1 is bet on: with a stake s, wealth is multiplied by 1 + s (loss - bound),
whose mean is at most 1 while the mean loss is at most `bound`. A new bettor starts with 1 at each
loss; the detector is the sum of what all of them own (the e-SR procedure), averaged over several
stakes. It alarms at 1 / alpha, and until then at least 1 / alpha losses pass on average as long as
each has, given those before it, a mean of at most the bound: no other assumption.

Prefer it where labels come one by one and an alarm must be trusted: two to five times sooner than
ADWIN with a guarantee that ADWIN has not. Switch it off where losses are so dependent that their
mean given the past swings around the bound by itself (a season): there, watch windows.

Source: Shin, Ramdas, Rinaldo (2024), "E-detectors: a nonparametric framework for sequential change
detection".
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from modelwright.core.errors import DataError
from modelwright.core.intake import Array
from modelwright.core.records import Finding, Interval

STEPS = (0.01, 0.025, 0.06, 0.12, 0.25)
"""Rises of the mean loss that one stake each is made for."""
CHUNK = 1000
"""Losses that are counted at once: after an alarm the rest of them is counted again."""


class Detector(msgspec.Struct, frozen=True):
    """A detector and its state, 20 numbers; the same after a trip through JSON.

    Attributes:
        bound: mean loss that is still well; the reference's and a margin of, say, one point.
        alpha: one false alarm in at least 1 / alpha losses.
        log_wealth: of each stake; None before the first loss.
        ascent, count, total: of each stake since its own wealth was lowest: how far the logarithm
            rose, over how many losses, and their sum. This tells when the change began.
        seen: losses so far.
        alarms: how often it alarmed.
        alarmed: how many it had seen at the last alarm.
    """

    bound: float
    alpha: float = 1e-4
    log_wealth: tuple[float | None, ...] = (None,) * len(STEPS)
    ascent: tuple[float, ...] = (0.0,) * len(STEPS)
    count: tuple[int, ...] = (0,) * len(STEPS)
    total: tuple[float, ...] = (0.0,) * len(STEPS)
    seen: int = 0
    alarms: int = 0
    alarmed: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.bound < 1 and 0 < self.alpha < 1):
            raise DataError(
                f"A detector with bound {self.bound} and alpha {self.alpha} can not work.",
                hint="Both are between 0 and 1: scale the loss by its largest value.",
            )
        parts = (self.log_wealth, self.ascent, self.count, self.total)
        if any(len(part) != len(STEPS) for part in parts):
            raise DataError(
                f"This state of a detector is not one of {len(STEPS)} stakes.",
                hint="It is of another version: start a new one.",
            )

    @property
    def evidence(self) -> float:
        """The e-detector's value: an alarm at 1 / alpha."""
        logs = [-math.inf if log is None else log for log in self.log_wealth]
        return math.exp(min(float(np.logaddexp.reduce(logs)) - math.log(len(logs)), 700.0))


def watch(detector: Detector, losses: npt.ArrayLike) -> tuple[Detector, tuple[Finding, ...]]:
    """Take losses in the order in which they arrived; after an alarm it starts anew.

    Args:
        detector: the state; how losses are cut into calls makes no difference.
        losses: [n] between 0 and 1: 1 for a wrong label, 0 for a right one, or a scaled loss.

    Returns:
        (the new state, a finding for each alarm).

    Raises:
        DataError: a loss that is not between 0 and 1.

    Example:
        >>> state, found = watch(Detector(bound=0.1), [0, 1] * 40)
        >>> found[0].measured
        'a mean loss of 0.524 over the last 21'
    """
    values: Array = np.asarray(losses, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise DataError("Losses are between 0 and 1.", hint="Divide them by the largest possible.")
    found: list[Finding] = []
    while len(values):
        detector, used = _until_alarm(detector, values)
        values = values[used:]
        if detector.evidence >= 1 / detector.alpha:
            found.append(_finding(detector))
            detector = Detector(
                detector.bound, detector.alpha, seen=detector.seen, alarms=detector.alarms + 1,
                alarmed=detector.seen,
            )  # fmt: skip
    return detector, tuple(found)


def _stakes(bound: float) -> Array:
    """The best stake for losses of 0 or 1 after each rise; below 1 / bound wealth is positive."""
    rises = np.minimum(STEPS, 0.9 * (1 - bound))
    return np.minimum(rises / (bound * (1 - bound)), 0.95 / bound)


def _until_alarm(detector: Detector, values: Array) -> tuple[Detector, int]:
    """Up to the first alarm or the end: (state, losses used)."""
    values = values[:CHUNK]
    gains = np.log1p(_stakes(detector.bound) * (values[:, None] - detector.bound))
    sums = np.cumsum(gains, axis=0)
    before = [-math.inf if log is None else log for log in detector.log_wealth]
    starts = np.vstack([before, np.concatenate([np.zeros((1, len(before))), -sums[:-1]])])
    # wealth after t: exp(sums[t]) times (what was owned before, and 1 for each start up to t)
    logs = sums + np.logaddexp.accumulate(starts, axis=0)[1:]
    alarm = np.logaddexp.reduce(logs, axis=1) - math.log(logs.shape[1]) >= -math.log(detector.alpha)
    used = int(alarm.argmax()) + 1 if alarm.any() else len(values)
    ascent, count, total = _since_lowest(detector, sums[:used], values[:used])
    after = msgspec.structs.replace(
        detector,
        log_wealth=tuple(logs[used - 1].tolist()),
        ascent=tuple(ascent.tolist()),
        count=tuple(count.tolist()),
        total=tuple(total.tolist()),
        seen=detector.seen + used,
    )
    return after, used


def _since_lowest(detector: Detector, sums: Array, values: Array) -> tuple[Array, Array, Array]:
    """Rise, number and sum of losses since each stake's wealth was lowest."""
    path = np.vstack([np.zeros((1, sums.shape[1])), sums])
    lowest = len(path) - 1 - path[::-1].argmin(axis=0)
    through = np.concatenate([[0.0], np.cumsum(values)])
    older = path.min(axis=0) + np.array(detector.ascent) > 0  # the lowest is before these values
    ascent = np.where(older, np.array(detector.ascent), -path.min(axis=0)) + path[-1]
    count = np.where(older, np.array(detector.count) + len(values), len(values) - lowest)
    total = np.where(older, np.array(detector.total) + through[-1], through[-1] - through[lowest])
    return ascent, count, total


def _finding(detector: Detector) -> Finding:
    best = int(np.argmax(detector.ascent))
    count, total = detector.count[best], detector.total[best]
    mean = total / count
    reach = 1.96 * math.sqrt(max(mean * (1 - mean), 1 / count) / count)
    return Finding(
        check="quality",
        subject="loss",
        verdict="fail",
        measured=f"a mean loss of {mean:.3f} over the last {count:,}",
        wanted=f"at most {detector.bound:.3f}",
        why=f"an alarm that is false once in {1 / detector.alpha:,.0f} labels or less often",
        advice="look at the worst slices since then; retrain, or roll back after a release",
        interval=Interval(mean, max(0.0, mean - reach), min(1.0, mean + reach)),
    )
