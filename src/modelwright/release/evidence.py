"""All that the gates and the evaluation look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from modelwright.core.evaluation import Curve, Importance
from modelwright.core.intake import Array, Feeds
from modelwright.core.limits import METRICS, QUALITY, Limit, show
from modelwright.core.records import Finding, Interval, Measured, Parity
from modelwright.core.schema import Schema
from modelwright.core.spec_release import ReleaseSpec
from modelwright.core.table import Table
from modelwright.fit.certainty import Clusters, interval, paired_gain
from modelwright.fit.in_time import InTime
from modelwright.fit.score import decided


@dataclass(frozen=True)
class Evidence:
    """The sealed rows, and everybody's answers to them.

    Attributes:
        holdout: the sealed rows with their target; in time order where `ordered`.
        train: the rows that it learned from.
        answers: of the packed model; `labels` its classes, `ends` its intervals.
        answer: the packed model itself: its answers to any rows.
        baselines: name -> answers of each baseline.
        champion: answers of the champion, or None without one it can be compared with.
        champion_problem: why a champion that exists cannot be compared with; empty otherwise.
        sized_by: rows whose errors are the width of the intervals.
        out_of_fold: answers on training rows by models that had not seen them.
        ages: days from the last training row to each holdout row, where times are known.
        data: what was found in the table; `search`: what the search has to say.
        learning: score against training rows, where it was measured.
        ablation: what training without some columns loses, where it was measured.
    """

    schema: Schema
    goal: str
    limits: tuple[Limit, ...]
    policy: ReleaseSpec
    holdout: Table
    train: Table
    answers: Array
    answer: Callable[[Feeds], Array]
    baselines: Mapping[str, Array]
    champion: Array | None
    champion_version: str
    champion_problem: str
    parity: Parity
    measured: Measured
    seed: int
    ordered: bool = False
    ages: Array | None = None
    data: tuple[Finding, ...] = ()
    labels: Array | None = None
    champion_labels: Array | None = None
    ends: tuple[Array, Array] | None = None
    out_of_fold: Array | None = None
    search: tuple[Finding, ...] = ()
    learning: Curve | None = None
    ablation: tuple[Importance, ...] = ()
    sized_by: int = 0

    @property
    def confidence(self) -> float:
        """Of two-sided intervals whose one end holds with the policy's alpha."""
        return 1 - 2 * self.policy.alpha

    @property
    def shared_confidence(self) -> float:
        """The same, with alpha shared by all quality limits (Bonferroni)."""
        count = sum(limit.metric in QUALITY and not limit.relative for limit in self.limits)
        return 1 - 2 * self.policy.alpha / max(1, count)

    def together(self, rows: Array | None = None) -> Clusters:
        """Which holdout rows vary together: those of a group, or neighbours in order of time.

        Args:
            rows: places or mask of some of the holdout's, in their order; None for all.
        """
        groups = self._groups
        if groups is not None:
            return groups if rows is None else np.unique(groups[rows], return_inverse=True)[1]
        if not self.ordered:
            return None
        target = self.holdout.target
        return InTime.of(len(target if rows is None else target[rows]))

    @cached_property
    def _groups(self) -> Array | None:
        groups = self.holdout.groups
        return None if groups is None else np.unique(groups, return_inverse=True)[1]

    def of(self, metric: str) -> Array:
        """What a metric is taken of: the answers, or the labels for a metric of the label."""
        return decided(metric, self.answers, self.labels)

    def interval(self, metric: str, confidence: float, rows: Array | None = None) -> Interval:
        """A metric of some rows, or of all."""
        where: Array | slice = slice(None) if rows is None else rows
        y, answers = self.holdout.target[where], self.of(metric)[where]
        return interval(metric, y, answers, confidence=confidence, clusters=self.together(rows))

    def lead(self, metric: str, other: Array) -> Interval:
        """How much better the model is than other answers to the same rows."""
        y, own = self.holdout.target, self.of(metric)
        return paired_gain(
            metric, y, own, other, confidence=self.confidence, clusters=self.together()
        )

    def metrics(self) -> list[str]:
        """The task's quality metrics, the goal first."""
        task = self.schema.target.task
        names = [n for n in METRICS if n in QUALITY and task in METRICS[n].tasks]
        return [self.goal, *(name for name in names if name != self.goal)]


def led(metric: str, found: Interval) -> str:
    """A lead as a person reads it.

    Example:
        >>> led("accuracy", Interval(-0.1, -0.12, -0.08, 0.9))
        'accuracy worse by 0.1000 (90%: 0.0800 to 0.1200)'
    """
    if found.value < 0:
        turned = Interval(-found.value, -found.high, -found.low, found.confidence)
        return f"{metric} worse by {written(metric, turned)}"
    return f"{metric} better by {written(metric, found)}"


def written(metric: str, found: Interval) -> str:
    """An interval as a person reads it.

    Example:
        >>> written("accuracy", Interval(0.9, 0.88, 0.92, 0.9))
        '0.9000 (90%: 0.8800 to 0.9200)'
    """
    value, low, high = (show(metric, v) for v in (found.value, found.low, found.high))
    if found.value != found.value:
        return "cannot be measured on these rows"
    if low == high:
        return value
    return f"{value} ({100 * found.confidence:.3g}%: {low} to {high})"
