"""All candidates of a search, what they scored, and whether the budget has room for more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.core.limits import Limit
from modelwright.core.progress import Progress
from modelwright.core.records import Origin
from modelwright.core.schema import Schema
from modelwright.fit.budget import Budget
from modelwright.fit.choose import COSTS, Chooser
from modelwright.fit.family import BASELINES, Family
from modelwright.fit.fold_scores import FoldScores
from modelwright.fit.folds import Folds
from modelwright.fit.noise import Scorecard
from modelwright.fit.pipeline import Member, Pipeline, Pricing
from modelwright.fit.saved import save
from modelwright.fit.score import gain
from modelwright.fit.telling import tell
from modelwright.fit.trials import Candidate, NotTrained, Task, Trainer

AFTER_SHARE, AFTER_MOST = 0.3, 14.5
"""Part of the budget, and most seconds, kept for packing, measuring and the report."""
REFIT_COST = 1.4
"""A last fit sees K/(K-1) of a fold's rows and needs an encoder: time of a fold times this."""
BLEND_MEMBERS = 3
"""Last fits that are kept room for."""
MODELS_KEPT = 5
"""Best candidates whose models of every fold are kept, to teach."""
MADE = ("blend", "distilled", "shortened", "quantised", "narrowed")
"""Origins of candidates that are made of others; a budget of trials does not count them."""


@dataclass
class Ledger:
    """The state of a search.

    Attributes:
        goal: the metric to improve.
        candidates: in the order of their numbers.
        run_folder: keeps every candidate, so that a killed search goes on; None keeps nothing.
        first_feasible: seconds until a candidate was seen that keeps all limits on cost.
        later: training seconds that phases still to come need.
    """

    schema: Schema
    goal: str
    limits: tuple[Limit, ...]
    costs: np.ndarray | None
    fixed: Mapping[str, Mapping[str, Any]]
    folds: Folds
    trainer: Trainer
    budget: Budget
    pricing: Pricing
    progress: Progress
    run_folder: Path | None = None
    candidates: list[Candidate] = field(default_factory=list)
    first_feasible: float | None = None
    later: Callable[[], float] = float

    def __post_init__(self) -> None:
        self.scorecard = Scorecard(self.goal, self.folds.weights, self.folds.repeats)
        self.scores = FoldScores(
            self.scorecard, self.schema.target.task, self.limits, self.costs, self.folds
        )
        self.chooser = Chooser(self.scorecard, self.limits, {})
        self.bounded = any(limit.metric in COSTS for limit in self.limits)
        for candidate in self.candidates:
            _take_in(self, candidate)

    # -- candidates

    def open(self, family: Family, origin: Origin, params: Mapping[str, Any]) -> Candidate:
        """A new single candidate: the family's defaults, `params`, then what the spec fixes."""
        chosen = {**family.defaults, **params, **self.fixed[family.name]}
        return self.add(Candidate(len(self.candidates), family, origin, chosen))

    def add(self, candidate: Candidate) -> Candidate:
        """Take a candidate in; its number must be the next one."""
        assert candidate.number == len(self.candidates)
        self.candidates.append(candidate)
        _take_in(self, candidate)
        return candidate

    def complete(self) -> list[Candidate]:
        """Those that ran all folds of the first cut and may become the result, the dummy not."""
        count = self.folds.count
        return [
            c
            for c in self.candidates
            if len(c.outcomes) >= count and c.name != "dummy" and self.may_win(c)
        ]

    def may_win(self, candidate: Candidate) -> bool:
        """Whether a candidate can be the result: its families keep the monotone constraints."""
        if not self.trainer.monotone:
            return True
        families = [m.family for m, _ in candidate.members] or [candidate.family]
        return all(getattr(family, "monotone", False) for family in families)

    @property
    def leader(self) -> Candidate | None:
        """The best of those that have run most folds, within the limits on cost if one is."""
        ran = [c for c in self.candidates if c.outcomes and self.may_win(c)]
        ran = [c for c in ran if c.name != "dummy"] or ran
        if not ran:
            return None
        most = max(min(len(c.outcomes), self.folds.count) for c in ran)
        ran = [c for c in ran if len(c.outcomes) >= most]
        return self.chooser.ranked([c for c in ran if not c.broken] or ran)[0]

    def is_hopeless(
        self, candidate: Candidate, *, spreads: float = 1.0, beside: Candidate | None = None
    ) -> bool:
        """Whether the folds run so far already show that a candidate cannot win.

        One fold must be behind by more than twice the spread of the leader's folds; several by
        more than the standard deviation of the paired differences; `spreads` times as much. The
        leader is the best of all, or the one that is given (`beside`).
        """
        leader = beside or self.leader
        if leader is None or leader is candidate:
            return False
        best = [fold.score for fold in self.scorecard.entries[leader.number]]
        own = [fold.score for fold in self.scorecard.entries[candidate.number]]
        behind = [gain(self.goal, b, c) for b, c in zip(best, own, strict=False)]
        if not behind:
            return False
        if len(behind) == 1:
            return bool(behind[0] > 2 * spreads * float(np.std(best)) > 0)
        return float(np.mean(behind)) > spreads * float(np.std(behind))

    # -- running

    def advance(
        self, candidates: Sequence[Candidate], until: int, *, whatever: bool = False
    ) -> None:
        """Run the candidates' folds up to number `until`, those of the first before those of the
        next, as many at a time as there are workers.

        What the budget has no room for is left out, unless it must run `whatever` it costs.
        """
        tasks = _tasks(self, candidates, until, whatever=whatever)
        try:
            self.trainer.run(tasks, self.folds, partial(_noted, self), partial(_failed, self))
        except KeyboardInterrupt:
            for candidate in candidates:  # the folds that they have run are kept for --resume
                _keep(self, candidate)
            raise
        tell(self)
        for candidate in candidates:
            self._settle(candidate)
        ranked = self.chooser.ranked([c for c in self.candidates if not c.members])
        for candidate in ranked[MODELS_KEPT:]:  # fell behind: the first fold's model is enough
            candidate.outcomes[1:] = [replace(o, member=None) for o in candidate.outcomes[1:]]

    def _settle(self, candidate: Candidate) -> None:
        if len(candidate.outcomes) >= self.folds.count:
            candidate.outcome = "complete"
        if self.first_feasible is None and candidate.outcomes and candidate.name != "dummy":
            self._first_look(candidate)
        elif self.bounded and candidate.outcome == "complete":
            self.price(candidate)
        _keep(self, candidate)

    def _first_look(self, candidate: Candidate) -> None:
        """Note when the first candidate was seen that keeps all limits on cost."""
        if self.bounded:
            self.price(candidate)
        if not candidate.broken:
            self.first_feasible = round(self.budget.spent, 2)

    def price(self, candidate: Candidate) -> None:
        """Find out what a candidate is expected to cost, from its first fold's model."""
        if candidate.price is None:
            pipeline, ratio = self._of_one_fold(candidate)
            candidate.price = self.pricing.price(pipeline, ratio)
        else:  # of a killed search, whose server was another
            candidate.price = self.pricing.foretold(candidate.price)
        candidate.broken = tuple(limit.metric for limit in self.chooser.broken(candidate))

    def _of_one_fold(self, candidate: Candidate) -> tuple[Pipeline, float]:
        """(the pipeline as one fold trained it, how many times as large the last fit will be).

        That one has other rounds, and trees that grow with the rows have more leaves.

        The fold is the one whose rounds are nearest to the mean; a restored candidate is trained
        again on its first.
        """
        parts = candidate.members or ((candidate, 1.0),)
        members: list[Member] = []
        wanted, had = 0.0, 0
        for part, _ in parts:
            kept = [(n, o) for n, o in enumerate(part.outcomes) if o.member is not None]
            if not kept:
                kept = [(0, self.trainer.first_fold(part, self.folds))]
            fold, nearest = min(kept, key=lambda pair: abs(pair[1].rounds - part.rounds))
            assert nearest.member is not None
            members.append(nearest.member)
            grown = getattr(nearest.member.model, "grown", None)
            larger = grown(self.folds.more_rows(fold)) if grown is not None else 1.0
            wanted, had = wanted + larger * part.rounds, had + nearest.rounds
        weights = tuple(weight for _, weight in parts)
        return Pipeline(self.schema, tuple(members), weights), wanted / had if had else 1.0

    # -- the budget

    def fits(self, candidate: Candidate) -> bool:
        """Whether the candidate's next fold and all that must come after the search still fit."""
        siblings = [c for c in self.candidates if c.name == candidate.name and c.outcomes]
        fold = max((c.seconds_a_fold for c in siblings), default=0.0)
        return self.budget.spent + fold + self.reserve <= self.budget.total

    @property
    def reserve(self) -> float:
        """Seconds that the last fits, packing, measuring and the report are expected to need."""
        singles = [c for c in self.complete() if not c.members]
        best = self.chooser.ranked(singles)[:BLEND_MEMBERS]
        best += [c for c in self.candidates if c.name in BASELINES and c.origin == "default"]
        refits = sum(c.seconds_a_fold for c in {c.number: c for c in best}.values())
        after = min(AFTER_MOST, AFTER_SHARE * self.budget.total)
        return after + (REFIT_COST * refits + self.later()) / self.trainer.workers

    def seconds_a_fold(self) -> float:
        """Most time for one fold: what is left, shared with the families that have not run yet."""
        if self.budget.trials is not None:
            return float("inf")
        waiting = sum(not c.outcomes for c in self.candidates)
        return max(0.5, (self.budget.left - self.reserve) / max(1, waiting))


def _take_in(ledger: Ledger, candidate: Candidate) -> None:
    boosted = getattr(candidate.family, "boosted", False) and candidate.fixed_rounds is None
    if boosted and ledger.schema.target.task != "multiclass":  # more rounds did not help there
        candidate.growth = ledger.folds.growth
    ledger.scores.note(candidate)


def _keep(ledger: Ledger, candidate: Candidate) -> None:
    """Write down what a candidate has run, for a run that is taken up again."""
    if ledger.run_folder is not None and candidate.origin not in MADE:
        save(ledger.run_folder, candidate, ledger.budget.spent, ledger.folds.name)


def _tasks(
    ledger: Ledger, candidates: Sequence[Candidate], until: int, *, whatever: bool
) -> Iterator[Task]:
    """Each is thought about when its turn comes; after the first fold that does not fit, or that
    failed, the candidate's others would leave a gap."""
    for candidate in candidates:
        for fold in range(len(candidate.outcomes), until):
            fits = whatever or ledger.fits(candidate)
            if candidate.outcome == "failed" or not fits:
                break
            yield Task(candidate, fold, ledger.seconds_a_fold())


def _noted(ledger: Ledger, candidate: Candidate) -> None:
    ledger.scores.note(candidate)
    tell(ledger)


def _failed(ledger: Ledger, candidate: Candidate, error: NotTrained) -> None:
    """Go on without a candidate that could not be trained.

    Raises:
        NotTrained: with the parameters that the spec fixes, or of the dummy.
    """
    asked = candidate.origin == "default" and ledger.fixed[candidate.name]
    if asked or candidate.name == "dummy":
        raise error
    known = candidate.outcome == "failed"  # by a fold that ran beside this one
    candidate.outcome, candidate.note = "failed", error.why
    if candidate.origin == "default" and not known:
        ledger.progress.say(f"! {candidate.name} is left out: {error.why}")
