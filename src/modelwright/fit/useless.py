"""Columns that a candidate can do without: shuffled, they leave its out-of-fold score as it is.

Shuffling shows what the trained folds use (Breiman 2001), so it costs answers and no training.
Whether the score holds without the columns is then found by training again (`fit.made`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from modelwright.core.intake import Array
from modelwright.fit.features import NOT_READ
from modelwright.fit.finish import best_threshold
from modelwright.fit.ledger import Ledger
from modelwright.fit.noise import Scorecard, Scored, scored
from modelwright.fit.outputs import Outputs
from modelwright.fit.pipeline import Member, mixture
from modelwright.fit.score import LABEL_METRICS, decided
from modelwright.fit.trials import Candidate

MOST_ROWS, FEWEST_ROWS = 6_000, 500
"""Out-of-fold rows that are answered anew for each column; with fewer nothing is left out."""
SHARE_OF_BUDGET = 0.03
SURE = 3.0
"""Standard errors by which the score must fall for a column to be worth keeping; three, since early
stopping has looked at the same rows, which flatters what the model happens to use."""
TOGETHER = 8
"""Looks at several columns at a time, about; beside one for each column."""


def useless_columns(ledger: Ledger, candidate: Candidate) -> tuple[str, ...]:
    """Columns that do not pay: the score falls by no more than its noise when they are shuffled,
    each alone and all of them together.

    Twins that tell the same are found by the second part: shuffled alone, neither is missed.
    Columns that the spec speaks of (protected, monotone, of a slice's limit) stay.

    Args:
        ledger: its folds.
        candidate: complete; of a blend all members are asked.

    Returns:
        In the order of the table; empty where none can go, or where there is no time to tell.
    """
    names = _open_to_question(ledger, candidate)
    folds = _Folds.of(ledger, candidate, MOST_ROWS)
    if not names or folds is None:
        return ()
    started = time.monotonic()
    folds.loss([])
    seconds = (time.monotonic() - started) * (len(names) + TOGETHER)
    spare = SHARE_OF_BUDGET * ledger.budget.total
    if seconds > spare:
        rows = int(MOST_ROWS * spare / seconds)
        folds = _Folds.of(ledger, candidate, rows) if rows >= FEWEST_ROWS else None
    if folds is None:
        return ()
    losses = {name: folds.loss([name]) for name in names}
    idle = [name for name in names if not _is_sure(losses[name])]
    idle.sort(key=lambda name: losses[name][0])
    count = _largest(len(idle), lambda n: not _is_sure(folds.loss(idle[:n])))
    every = len(ledger.schema.without(candidate.left_out, NOT_READ).features)
    gone = set(idle[: min(count, every - 1)])
    return tuple(name for name in names if name in gone)


def _parts(candidate: Candidate) -> tuple[tuple[Candidate, float], ...]:
    return candidate.members or ((candidate, 1.0),)


def _open_to_question(ledger: Ledger, candidate: Candidate) -> list[str]:
    """Features that the candidate reads and the spec does not speak of."""
    kept = {limit.slice_column for limit in ledger.limits} | set(ledger.trainer.monotone)
    schema = ledger.schema.without(candidate.left_out, NOT_READ)
    return [c.name for c in schema.features if not c.protected and c.name not in kept]


def _is_sure(loss: tuple[float, float]) -> bool:
    value, error = loss
    return not value - SURE * error <= 0


def _largest(most: int, holds: Callable[[int], bool]) -> int:
    """The largest count up to `most` for which it holds, found by halving; 0 where none does.

    Example:
        >>> _largest(9, lambda count: count <= 5), _largest(9, lambda count: False)
        (5, 0)
    """
    if most == 0 or holds(most):
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


@dataclass(frozen=True)
class _Part:
    """A model of one fold and its encoded validation rows."""

    member: Member
    x: Array
    columns: tuple[str, ...]

    def answer(self, names: Collection[str], order: Array) -> Array:
        shuffled = np.array([column in names for column in self.columns], bool)
        x = self.x
        if shuffled.any():
            x = x.copy()
            x[:, shuffled] = self.x[order][:, shuffled]
        return self.member.transform.back(self.member.model.answer(x))


@dataclass(frozen=True)
class _Fold:
    y: Array
    clusters: Array | None
    parts: tuple[_Part, ...]
    order: Array


@dataclass(frozen=True)
class _Folds:
    """The folds whose models are still there, with some of their validation rows."""

    ledger: Ledger
    folds: tuple[_Fold, ...]
    weights: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, ledger: Ledger, candidate: Candidate, rows: int) -> _Folds | None:
        """With about so many rows in all; None where no fold kept its models."""
        parts, folds = _parts(candidate), ledger.folds
        known = [n for n in range(folds.count) if all(_member(part, n) for part, _ in parts)]
        if not known:
            return None
        every = math.ceil(sum(len(folds.valid(n)) for n in known) / rows)
        made = [_fold(ledger, [part for part, _ in parts], n, every) for n in known]
        weights = tuple(folds.weights[n] for n in known)
        return cls(ledger, tuple(made), weights, tuple(weight for _, weight in parts))

    def loss(self, names: Sequence[str]) -> tuple[float, float]:
        """(how much worse the score is with these columns shuffled, its standard error)."""
        entries = {0: self._as_it_is, 1: self._scored(names)}
        return Scorecard(self.ledger.goal, self.weights, entries=entries).lead(0, 1)

    @cached_property
    def _as_it_is(self) -> list[Scored]:
        return self._scored([])

    def _scored(self, names: Collection[str]) -> list[Scored]:
        goal, ledger = self.ledger.goal, self.ledger
        answers = [
            mixture([part.answer(names, fold.order) for part in fold.parts], self.shares)
            for fold in self.folds
        ]
        if goal in LABEL_METRICS and ledger.schema.target.task == "binary":
            y = np.concatenate([fold.y for fold in self.folds])
            p = np.concatenate([a[:, 1] for a in answers])
            threshold = best_threshold(goal, ledger.limits, ledger.costs, y, p)
            outputs = Outputs(threshold=threshold)
            answers = [decided(goal, a, outputs.labels(a)) for a in answers]
        return [scored(goal, f.y, a, f.clusters) for f, a in zip(self.folds, answers, strict=True)]


def _member(part: Candidate, number: int) -> Member | None:
    return part.outcomes[number].member if number < len(part.outcomes) else None


def _fold(ledger: Ledger, parts: Sequence[Candidate], number: int, every: int) -> _Fold:
    """Every so-manieth validation row of a fold, encoded for each model."""
    rows = ledger.folds.valid(number)[::every]
    clusters = ledger.folds.clusters(number)
    if clusters is not None:
        clusters = np.unique(clusters[::every], return_inverse=True)[1]
    feeds = ledger.folds.dataset.train.take(rows).feeds
    made = []
    for part in parts:
        member = _member(part, number)
        assert member is not None
        made.append(_Part(member, member.encoder.transform(feeds), member.encoder.columns))
    order = np.random.default_rng(ledger.trainer.seed + number).permutation(len(rows))
    return _Fold(ledger.folds.truth(number)[::every], clusters, tuple(made), order)
