"""What a search found: which candidates are worth packing, their pipelines, and the choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import msgspec
import numpy as np

from modelwright.core.evaluation import Curve, Importance
from modelwright.core.intake import Array
from modelwright.core.records import Finding, FitRecord, Measured, Trial, not_looked_at
from modelwright.core.spec import Spec
from modelwright.core.table import Table
from modelwright.data.dataset import Dataset
from modelwright.fit.ablation import ablation
from modelwright.fit.aside import Aside
from modelwright.fit.blend import out_of_fold
from modelwright.fit.choose import Chooser, excess
from modelwright.fit.family import BASELINES
from modelwright.fit.finish import outputs_for
from modelwright.fit.learning import learning_curve
from modelwright.fit.ledger import MADE, Ledger
from modelwright.fit.lessons import lesson_of
from modelwright.fit.outputs import Outputs
from modelwright.fit.pipeline import Fit, Member, Pipeline
from modelwright.fit.remarks import remarks
from modelwright.fit.trials import Candidate

StoppedBy = Literal["budget", "trials", "interrupt", "done"]
PRICED = 6
"""Best candidates whose costs are looked at; beside them the best of each family and all blends."""
FINALISTS = 3
BOUNDED_FINALISTS = 5
DOUBT = 0.35
"""Logarithm of how far over a limit an estimate may be before it is believed."""
CONSIDERED_FOR_BIAS = 30


@dataclass
class Found:
    """All candidates of a search that is over.

    Attributes:
        dataset: what they learned from.
        aside: training rows that none of them learned from.
    """

    spec: Spec
    dataset: Dataset
    ledger: Ledger
    stopped_by: StoppedBy
    aside: Aside | None = None
    _members: dict[int, Member] = field(default_factory=dict)
    _outputs: dict[int, Outputs] = field(default_factory=dict)

    def finalists(self) -> list[Candidate]:
        """The candidates worth packing and measuring, the expected choice first.

        After it: the best whatever it costs, the best single model, and where limits on cost bind
        those that would win if one of them were given up or turned out harder to keep.
        """
        complete = self.contenders()
        chooser = self.chooser({})
        for candidate in self._worth_pricing(complete):
            self.ledger.price(candidate)
        priced = [c for c in complete if c.price is not None] or complete
        ranked = chooser.ranked(priced)
        singles = [c for c in ranked if not c.members]
        expected = [*self._doubtful(priced), chooser.choice(priced), *_sure(self, priced)]
        chosen = [*expected, ranked[0], *singles[:1]]
        if self.ledger.bounded:
            for limit in self.ledger.limits:
                chosen += [c for c in ranked if not chooser.broken(c, without=limit)][:1]
            front = chooser.pareto(priced)
            chosen += [c for c in ranked if c.number in front and not c.broken]
        most = BOUNDED_FINALISTS if self.ledger.bounded else FINALISTS
        return list({c.number: c for c in chosen}.values())[:most]

    def _doubtful(self, priced: Sequence[Candidate]) -> list[Candidate]:
        """The one that would be chosen if estimates over a limit by a little were wrong."""
        near = [
            c for c in priced
            if c.price is not None and excess(self.ledger.limits, c.price) < DOUBT
        ]  # fmt: skip
        if not any(c.broken for c in near):
            return []
        free = Chooser(self.ledger.scorecard, (), {}, self.bias)
        best = free.best_within_noise(near)
        return [best] if best.broken else []

    def decided(self, measured: Mapping[int, Measured]) -> bool:
        """Whether one of the measured keeps all limits on cost, or nothing else is expected to."""
        chooser = self.chooser(measured)
        complete = self.contenders()
        if any(not chooser.broken(c) for c in complete if c.number in measured):
            return True
        return all(c.broken or c.price is None for c in complete if c.number not in measured)

    def contenders(self) -> list[Candidate]:
        """Those that may be chosen: complete ones; the leader alone where none is, or where all of
        those are plainly behind one that had no time for all folds."""
        leader = self.ledger.leader
        assert leader is not None
        complete = self.ledger.complete()
        best = self.ledger.chooser.ranked(complete)[0] if complete else leader
        plain = _best_on_shared_folds(self.ledger, best)
        return [plain] if plain not in complete else complete

    def _worth_pricing(self, complete: Sequence[Candidate]) -> list[Candidate]:
        ranked = self.ledger.chooser.ranked(complete)
        firsts = {c.name: c for c in reversed(ranked)}
        made = [c for c in ranked if c.origin in MADE]
        return list({c.number: c for c in [*ranked[:PRICED], *firsts.values(), *made]}.values())

    def pipeline(self, candidate: Candidate) -> Pipeline:
        """A candidate trained on all rows it may learn from, with its calibration and the like."""
        parts = candidate.members or ((candidate, 1.0),)
        self._train([part for part, _ in parts])
        members = tuple(self._members[part.number] for part, _ in parts)
        weights = tuple(weight for _, weight in parts)
        made = Pipeline(self.dataset.schema, members, weights, self._touches(candidate))
        return made if self.aside is None else _resized(made, self.aside.table)

    def _train(self, candidates: Sequence[Candidate]) -> None:
        """Last fits, side by side; each model once, however many blends it is in."""
        missing = [c for c in candidates if c.number not in self._members]
        for student in missing:
            if student.teacher is not None and student.lesson is None:
                teacher = replace(self.pipeline(student.teacher), outputs=Outputs())
                student.lesson = lesson_of(teacher.answer(self.dataset.train.feeds))
        made = self.ledger.trainer.refit(missing, self.dataset)
        self._members |= {c.number: m for c, m in zip(missing, made, strict=True)}

    def _touches(self, candidate: Candidate) -> Outputs:
        if candidate.number not in self._outputs:
            answers = self.out_of_fold(candidate)
            known = ~np.isnan(answers if answers.ndim == 1 else answers[:, 0])
            y, answers = self.dataset.train.target[known], answers[known]
            self._outputs[candidate.number] = outputs_for(
                self.spec.fit, self.ledger.goal, self.ledger.limits,
                self.dataset.schema.target, y, answers,
            )  # fmt: skip
        return self._outputs[candidate.number]

    def out_of_fold(self, candidate: Candidate) -> Array:
        """A candidate's raw answers on the training rows; NaN where no fold has the row."""
        return out_of_fold(candidate, self.ledger.folds, self.dataset.train.rows)

    def decide(self, measured: Mapping[int, Measured]) -> Candidate:
        """The choice among the candidates that were packed and measured."""
        return self.chooser(measured).choice([c for c in self.contenders() if c.number in measured])

    def chooser(self, measured: Mapping[int, Measured]) -> Chooser:
        """Ranks candidates, with what was measured of them."""
        given_up = self.spec.pack.drop_at_most or 0.0
        return Chooser(self.ledger.scorecard, self.ledger.limits, measured, self.bias, given_up)

    @cached_property
    def bias(self) -> float:
        """How much the best score is flattered by being the best of many."""
        numbers = [c.number for c in self.considered]
        return self.ledger.scorecard.selection_bias(numbers, self.ledger.trainer.seed)

    @property
    def considered(self) -> list[Candidate]:
        """The candidates among which the best was picked, as far as they had a chance."""
        return self.ledger.chooser.ranked(self.contenders())[:CONSIDERED_FOR_BIAS]

    def fit(
        self,
        chosen: Candidate,
        measured: Mapping[int, Measured],
        pressed: Callable[[], bool] = bool,
    ) -> Fit:
        """The search as a record, with the chosen pipeline and the baselines beside it.

        Args:
            pressed: whether Ctrl-C was pressed: what no gate needs is left out from then on, and
                the record says so.
        """
        ledger = self.ledger
        defaults = [c for c in ledger.candidates if c.origin == "default" and c.outcomes]
        defaults = [c for c in defaults if c.outcome != "failed"]
        firsts = {c.name: c for c in reversed(defaults) if c.name in BASELINES}
        self._train(list(firsts.values()))
        baselines = {
            name: Pipeline(self.dataset.schema, (self._members[c.number],))
            for name, c in firsts.items()
        }
        pipeline = self.pipeline(chosen)
        own = self.trial(chosen, measured)
        record = FitRecord(
            goal=ledger.goal,
            family=chosen.name,
            params=own.params,
            best=chosen.number,
            rounds=own.rounds,
            folds=ledger.folds.name,
            seed=ledger.trainer.seed,
            budget=ledger.budget.text,
            seconds=round(ledger.budget.spent, 2),
            trials=tuple(self.trial(c, measured) for c in self.ledger.candidates),
            stopped_by=self.stopped_by,
            threads=ledger.trainer.threads,
            outputs=msgspec.to_builtins(pipeline.outputs),
            findings=tuple(remarks(self, chosen, measured)),
            first_feasible=ledger.first_feasible,
        )
        learning, lost, left_out = _more_evidence(self, chosen, pressed)
        record = msgspec.structs.replace(record, findings=(*record.findings, *left_out))
        ledger.trainer.close()
        answers = pipeline.outputs.calibration.apply(self.out_of_fold(chosen))
        if self.aside is not None:
            answers = self.aside.among(pipeline.answer(self.aside.table.feeds), answers)
        return Fit(record, pipeline, baselines, answers, learning, lost)

    def trial(self, candidate: Candidate, measured: Mapping[int, Measured]) -> Trial:
        """A candidate's record, with what was measured of it."""
        card, chooser = self.ledger.scorecard, self.chooser(measured)
        trial = candidate.freeze(
            [fold.score for fold in card.entries[candidate.number]],
            card.mean(candidate.number),
            card.error(candidate.number),
        )
        return msgspec.structs.replace(
            trial,
            measured=measured.get(candidate.number),
            broken=tuple(limit.metric for limit in chooser.broken(candidate)),
            pareto=candidate.number in chooser.pareto(self.contenders()),
        )


def _resized(pipeline: Pipeline, aside: Table) -> Pipeline:
    """With the interval that the rows set aside ask for."""
    outputs = pipeline.outputs
    assert outputs.reach is not None
    reach = outputs.reach.resized(aside.target, pipeline.answer(aside.feeds))
    return replace(pipeline, outputs=msgspec.structs.replace(outputs, reach=reach))


def _more_evidence(
    found: Found, chosen: Candidate, pressed: Callable[[], bool]
) -> tuple[Curve | None, tuple[Importance, ...], list[Finding]]:
    """(learning curve, ablation, a note for each that Ctrl-C left out). A training that it ended
    has too few rounds: what was made of that is left out too."""

    def hurried() -> bool:
        return found.stopped_by == "interrupt" or pressed()

    learning = None if hurried() else learning_curve(found.ledger, chosen)
    left_out = ["learning curve"] if hurried() else []
    lost = () if hurried() else ablation(found.ledger, chosen)
    left_out += ["ablation"] if hurried() else []
    kept = None if "learning curve" in left_out else learning
    return kept, () if left_out else lost, not_looked_at(left_out)


def _best_on_shared_folds(ledger: Ledger, leader: Candidate) -> Candidate:
    """One that had no time for all folds may be plainly better on those that both have run."""
    count = ledger.folds.count
    for other in [c for c in ledger.candidates if c.outcomes and ledger.may_win(c)]:
        lead, error = ledger.scorecard.lead(other.number, leader.number)
        if len(other.outcomes) < count and lead > 2 * error:
            leader = other
    return leader


def _sure(found: Found, priced: Sequence[Candidate]) -> list[Candidate]:
    """The one that would be chosen if estimates within a limit by a little were wrong."""
    limits = found.ledger.limits
    room = [c for c in priced if c.price is not None and excess(limits, c.price) < -DOUBT / 2]
    return [found.chooser({}).choice(room)] if room else []
