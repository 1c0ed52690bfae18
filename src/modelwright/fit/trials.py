"""One candidate after the other over the same folds, within the budget."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from modelwright.core.errors import DataError, UsageError
from modelwright.core.intake import Array
from modelwright.core.records import Trial
from modelwright.core.schema import Schema
from modelwright.core.spec import FitSpec
from modelwright.data.dataset import Dataset
from modelwright.data.split import folds
from modelwright.fit.family import Family, FitJob, Fitted, split_params
from modelwright.fit.features import Encoding, fit_encoder
from modelwright.fit.pipeline import Pipeline
from modelwright.fit.score import better, gain, score

MANY_ROWS = 100_000
CACHE_BYTES = 1_000_000_000
Origin = Literal["default", "search"]


@dataclass(frozen=True)
class Fold:
    """One fold, encoded."""

    x: Array
    y: Array
    x_valid: Array
    y_valid: Array


class Budget:
    """Time or trials, counted from now; the time includes what is reserved for the last fit."""

    def __init__(self, text: str) -> None:
        trials = re.match(r"^(\d+) trials$", text)
        self.text = text
        self.trials = int(trials[1]) if trials else None
        self.total = float("inf") if trials else float(text.removesuffix("s"))
        self.start = time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    @property
    def left(self) -> float:
        """Seconds until the end; infinite for a budget of trials."""
        return max(0.0, self.total - self.spent)

    def allows(self, seconds: float) -> bool:
        """Whether something of that length still fits."""
        return self.spent + seconds <= self.total


@dataclass
class Folds:
    """The training table cut into folds, encoded when first asked for and then kept."""

    dataset: Dataset
    count: int
    cache: dict[tuple[int, Encoding], Fold] = field(default_factory=dict)

    def __post_init__(self) -> None:
        train = self.dataset.train
        classes = train.target if self.dataset.schema.target.levels else None
        if train.groups is not None:
            self.count = min(self.count, len(np.unique(train.groups)))
        cuts = folds(
            self.count,
            train.rows,
            self.dataset.record.seed,
            classes=classes,
            groups=train.groups,
            ordered=self.dataset.ordered,
        )
        self._cuts = [cut for cut in cuts if classes is None or _can_teach(classes, *cut)]
        self.count = len(self._cuts)
        if self.count == 0 or (train.groups is not None and self.count < 2):
            raise DataError(
                "The training rows cannot be cut into folds that each hold two classes or groups.",
                hint="Choose another data.split, or a smaller fit.folds.",
            )

    def get(self, number: int, encoding: Encoding) -> Fold:
        """Fold `number` under an encoding."""
        key = (number, encoding)
        if key not in self.cache:
            fold = self._encoded(number, encoding)
            if sum(f.x.nbytes for f in self.cache.values()) + fold.x.nbytes > CACHE_BYTES:
                self.cache.clear()
            self.cache[key] = fold
        return self.cache[key]

    def _encoded(self, number: int, encoding: Encoding) -> Fold:
        train_rows, valid_rows = self._cuts[number]
        table, valid = self.dataset.train.take(train_rows), self.dataset.train.take(valid_rows)
        encoder, x = fit_encoder(self.dataset.schema, table, encoding, self.dataset.record.seed)
        return Fold(x, table.target, encoder.transform(valid.feeds), valid.target)

    @property
    def name(self) -> str:
        """For the record: how the folds were cut."""
        how = "expanding in time" if self.dataset.ordered else "shuffled"
        how = "by group" if self.dataset.train.groups is not None else how
        return f"{self.count} folds, {how}"


def _can_teach(classes: Array, train_rows: Array, valid_rows: Array) -> bool:
    """Whether both sides of a fold have more than one class."""
    sides = (train_rows, valid_rows)
    return all(len(np.unique(classes[rows])) > 1 for rows in sides)


def fold_count(spec: FitSpec, rows: int) -> int:
    """How many folds: the spec's number, else 5, or 3 on many rows."""
    return spec.folds or (3 if rows > MANY_ROWS else 5)


@dataclass
class Candidate:
    """A trial under way; `freeze` gives its record.

    `fold_rounds` holds what early stopping chose in each fold.
    """

    number: int
    family: Family
    origin: Origin
    params: dict[str, Any]
    scores: list[float] = field(default_factory=list)
    fold_rounds: list[int] = field(default_factory=list)
    settled: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    outcome: Literal["complete", "pruned", "failed", "stopped"] = "stopped"
    note: str = ""

    @property
    def rounds(self) -> int:
        """Boosting rounds for the last fit: the mean over the folds."""
        return round(float(np.mean(self.fold_rounds))) if self.fold_rounds else 0

    @property
    def seconds_a_fold(self) -> float:
        """Mean cost of a fold so far."""
        return self.seconds / max(1, len(self.scores))

    def freeze(self) -> Trial:
        """The record of this trial."""
        return Trial(
            self.number,
            self.family.name,
            self.origin,
            {**self.params, **self.settled},
            tuple(self.scores),
            round(self.seconds, 3),
            self.outcome,
            self.rounds,
            self.note,
        )


@dataclass
class Trainer:
    """Trains one candidate on one fold, or on everything."""

    schema: Schema
    spec: FitSpec
    seed: int
    threads: int
    goal: str

    def run_fold(self, candidate: Candidate, folds: Folds, seconds: float) -> None:
        """Fit and score the candidate's next fold, in about `seconds` at most.

        Raises:
            UsageError: a parameter that the library does not know.
        """
        started = time.monotonic()
        settings = split_params(candidate.params)
        encoding = candidate.family.encoding.changed(settings.encoding)
        fold = folds.get(len(candidate.scores), encoding)
        job = self._job(settings.library, fold.x, fold.y)
        valid = replace(job, x_valid=fold.x_valid, y_valid=fold.y_valid, seconds=seconds)
        fitted = _fit(candidate.family, valid)
        candidate.scores.append(score(self.goal, fold.y_valid, fitted.answer(fold.x_valid)))
        candidate.fold_rounds.append(fitted.rounds)
        candidate.settled.update(fitted.settled)
        candidate.seconds += time.monotonic() - started

    def refit(self, candidate: Candidate, dataset: Dataset) -> Pipeline:
        """Train the candidate on all training rows, with the rounds that its folds chose."""
        settings = split_params({**candidate.params, **candidate.settled})
        encoding = candidate.family.encoding.changed(settings.encoding)
        encoder, x = fit_encoder(self.schema, dataset.train, encoding, self.seed)
        job = self._job(settings.library, x, dataset.train.target)
        fitted = _fit(candidate.family, replace(job, rounds=candidate.rounds or None))
        return Pipeline(self.schema, candidate.family.name, encoder, fitted)

    def _job(self, params: Mapping[str, Any], x: Array, y: Array) -> FitJob:
        return FitJob(
            x=x,
            y=y,
            task=self.schema.target.task,
            classes=max(1, len(self.schema.target.levels)),
            params=params,
            seed=self.seed,
            threads=self.threads,
            patience=self.spec.patience,
        )


def _fit(family: Family, job: FitJob) -> Fitted:
    try:
        return family.fit(job)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"Family {family.name} could not be trained: {error}.",
            hint=f"Look at fit.params.{family.name}.",
        ) from error


def is_better(goal: str, challenger: Candidate, incumbent: Candidate) -> bool:
    """Whether a candidate's mean is better on the folds that both have run.

    Folds differ, most of all in time, so a searched candidate must have run as many as the one it
    replaces.
    """
    if challenger.origin == "search" and len(challenger.scores) < len(incumbent.scores):
        return False
    common = min(len(challenger.scores), len(incumbent.scores))
    if common == 0:
        return bool(challenger.scores) and not incumbent.scores
    return better(
        goal,
        float(np.mean(challenger.scores[:common])),
        float(np.mean(incumbent.scores[:common])),
    )


def is_hopeless(goal: str, candidate: Candidate, best: Candidate, *, spreads: float = 1.0) -> bool:
    """Whether the folds run so far already show that a candidate cannot win.

    One fold must be behind by more than twice the spread of the best one's folds; several by
    more than the standard deviation of the paired differences; `spreads` times as much.
    """
    common = min(len(candidate.scores), len(best.scores))
    if common == 0:
        return False
    behind = [gain(goal, b, c) for b, c in zip(best.scores, candidate.scores, strict=False)]
    if common == 1:
        return behind[0] > 2 * spreads * float(np.std(best.scores)) > 0
    return float(np.mean(behind)) > spreads * float(np.std(behind))


def leader_of(goal: str, candidates: list[Candidate]) -> Candidate | None:
    """The best of all, found anew: the next fold of a leader may cost it the lead."""
    best: Candidate | None = None
    for candidate in candidates:
        if candidate.scores and (best is None or is_better(goal, candidate, best)):
            best = candidate
    return best


def default_of(candidates: list[Candidate], family: Family) -> Candidate:
    """The untuned candidate of a family."""
    return next(c for c in candidates if c.family is family and c.origin == "default")
