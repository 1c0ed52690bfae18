"""What is known of a judged model beyond its gates: curves, slices, importance, failures."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from modelwright.core.records import Finding, Interval


class Curve(msgspec.Struct, frozen=True):
    """A line to draw, with a band where it is not certain.

    `name`: roc, pr, calibration, residuals, learning, age. `of`: the class, where there is one
    curve for each. `low` and `high` are empty without a band; `sizes`: rows behind each point.
    `unit`: of the lower axis, where the name does not say it: days, of an age with known times.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    sizes: tuple[int, ...] = ()
    of: str = ""
    unit: str = ""


class Importance(msgspec.Struct, frozen=True):
    """What the goal metric loses when columns are shuffled together, or left out of training.

    `contribution`: mean absolute Shapley value, on the scale of the answer; single columns only.
    """

    subject: str
    columns: tuple[str, ...]
    loss: Interval
    contribution: float | None = None


class Slice(msgspec.Struct, frozen=True):
    """Rows that share something, and how the model does on them.

    `value`: the metric there (None where it cannot be taken); `excess`: what a row costs above the
    other rows, with an interval of 95 % for all slices at once; `p`: of that excess being chance,
    corrected for all slices that were looked at. `metric`: that of the spec's quality limit, where
    it is a mean over rows, else the loss; `cost`: what a row costs, in words.
    """

    where: str
    columns: tuple[str, ...]
    rows: int
    value: float | None
    excess: Interval
    p: float
    metric: str = ""
    cost: str = "loss"


class Failure(msgspec.Struct, frozen=True):
    """A holdout row that the model got very wrong, beside the training row that is most like it.

    `chance`: what the model gave the true class; None for a number. Values of private columns are
    left out. `file_row`: its number in the table that was read, from 0, as findings give it.
    """

    row: int
    truth: str
    answer: str
    loss: float
    values: dict[str, Any]
    chance: float | None = None
    nearest: dict[str, Any] = {}
    nearest_truth: str = ""
    file_row: int | None = None


class Confusion(msgspec.Struct, frozen=True):
    """Rows by true class (first index) and predicted class."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


class ConfusedPair(msgspec.Struct, frozen=True):
    """Rows of one class that the model takes for another; `share`: of the true class's rows."""

    truth: str
    answer: str
    rows: int
    share: float


class Evaluation(msgspec.Struct, frozen=True):
    """`evaluation.json`: everything about one model on its sealed holdout that is worth a look.

    `importance`: a column each, the most important first; `groups`: columns shuffled together.
    `ablation`: columns (groups, or single ones) without which the model was trained again, and what
    that costs on the validation rows of the first fold.
    `slices`: searched ones, the weakest first. `confused`: pairs of classes, most rows first.
    `findings`: verdicts that came out of all this, as
    the gates have them (fairness, robustness, calibration, weak slices). `notes`: what was not done
    and why.
    """

    goal: str
    rows: int
    curves: tuple[Curve, ...] = ()
    importance: tuple[Importance, ...] = ()
    groups: tuple[Importance, ...] = ()
    ablation: tuple[Importance, ...] = ()
    slices: tuple[Slice, ...] = ()
    failures: tuple[Failure, ...] = ()
    confusion: Confusion | None = None
    confused: tuple[ConfusedPair, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    def curve(self, name: str) -> Curve | None:
        """The first curve of that name."""
        return next((curve for curve in self.curves if curve.name == name), None)


Kind = Literal["computed", "declared", "people"]


class Practice(msgspec.Struct, frozen=True):
    """One test of the ML Test Score (Breck et al. 2017).

    `score`: 0, .5 (done by hand and documented) or 1 (automated and repeated). `kind`: whether it
    is computed, asks for a declaration in the spec, or needs people. `why`: the evidence, or what
    is missing.
    """

    code: str
    section: str
    name: str
    kind: Kind
    score: float
    why: str


class PracticeScore(msgspec.Struct, frozen=True):
    """All 28 tests, the sum of each section, and their minimum, which is the score."""

    practices: tuple[Practice, ...]
    sections: dict[str, float]
    score: float
