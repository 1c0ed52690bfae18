"""A recorded fit, trained once more: the same members, rounds, weights and last touches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from modelwright.core.errors import UsageError
from modelwright.core.records import FitRecord, Trial
from modelwright.core.spec import Spec
from modelwright.data.dataset import Dataset
from modelwright.fit.aside import set_aside
from modelwright.fit.family import family_of
from modelwright.fit.lessons import lesson_of
from modelwright.fit.outputs import Outputs
from modelwright.fit.pipeline import Pipeline
from modelwright.fit.settings import monotone_signs
from modelwright.fit.trials import Candidate, Trainer


def fit_again(spec: Spec, dataset: Dataset, record: FitRecord) -> Pipeline:
    """Train what a run chose, without searching for it.

    Args:
        spec: as the run had it.
        dataset: its table, loaded anew.
        record: `fit.json` of the run.

    Returns:
        The pipeline; equal to the run's when data, libraries and threads are.

    Raises:
        UsageError: the record names trials that it does not hold.
    """
    signs = monotone_signs(spec.fit, dataset.schema)
    trainer = Trainer(dataset.schema, spec.fit, record.seed, record.threads, 1, signs)
    named = {family_of(name).name: name for name in spec.fit.families}
    learned, _ = set_aside(spec.fit, dataset)
    again = _Again(learned, trainer, {t.number: t for t in record.trials}, named)
    pipeline = again.pipeline(record.best)
    trainer.close()
    return replace(pipeline, outputs=msgspec.convert(record.outputs, Outputs))


@dataclass(frozen=True)
class _Again:
    dataset: Dataset
    trainer: Trainer
    trials: dict[int, Trial]
    named: dict[str, str]

    def pipeline(self, number: int) -> Pipeline:
        chosen = self._trial(number)
        parts = chosen.members or ((number, 1.0),)
        candidates = [self._candidate(self._trial(part)) for part, _ in parts]
        members = self.trainer.refit(candidates, self.dataset)
        weights = tuple(weight for _, weight in parts)
        return Pipeline(self.dataset.schema, tuple(members), weights)

    def _candidate(self, trial: Trial) -> Candidate:
        family = family_of(self.named.get(trial.family, trial.family))
        made = Candidate(
            trial.number, family, trial.origin, dict(trial.params),
            fixed_rounds=trial.rounds or None,
        )  # fmt: skip
        if trial.teacher is not None:
            teacher = self.pipeline(trial.teacher)
            made.lesson = lesson_of(teacher.answer(self.dataset.train.feeds))
        return made

    def _trial(self, number: int) -> Trial:
        if number not in self.trials:
            raise UsageError(f"The run's fit.json has no trial {number}.", hint="Was it edited?")
        return self.trials[number]
