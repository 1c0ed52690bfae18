"""A recorded fit, trained once more: the same members, rounds, weights and last touches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from modelwright.core.errors import UsageError
from modelwright.core.intake import Array
from modelwright.core.records import FitRecord, Trial
from modelwright.core.spec import Spec
from modelwright.data.dataset import Dataset
from modelwright.fit.blend import blended, lesson_of, out_of_fold
from modelwright.fit.family import Family, family_of
from modelwright.fit.folds import folds_for
from modelwright.fit.outputs import Outputs
from modelwright.fit.pipeline import Pipeline
from modelwright.fit.saved import restore
from modelwright.fit.search import monotone_signs
from modelwright.fit.trials import Candidate, Trainer


def fit_again(spec: Spec, dataset: Dataset, record: FitRecord, run: Path) -> Pipeline:
    """Train what a run chose, without searching for it.

    Args:
        spec: as the run had it.
        dataset: its table, loaded anew.
        record: `fit.json` of the run.
        run: the run's folder; a distilled model's lesson is in the kept trials.

    Returns:
        The pipeline; equal to the run's when data, libraries and threads are.

    Raises:
        UsageError: the record names trials that it does not hold.
    """
    families = {f.name: f for f in map(family_of, dict.fromkeys([*spec.fit.families]))}
    trials = {trial.number: trial for trial in record.trials}
    chosen = _trial(trials, record.best)
    parts = chosen.members or ((chosen.number, 1.0),)
    candidates = [
        _candidate(_trial(trials, number), trials, families, spec, dataset, run)
        for number, _ in parts
    ]
    signs = monotone_signs(spec.fit, dataset.schema)
    trainer = Trainer(dataset.schema, spec.fit, record.seed, record.threads, 1, signs)
    members = trainer.refit(candidates, dataset)
    trainer.close()
    outputs = msgspec.convert(record.outputs, Outputs)
    weights = tuple(weight for _, weight in parts)
    return Pipeline(dataset.schema, tuple(members), weights, outputs)


def _trial(trials: Mapping[int, Trial], number: int) -> Trial:
    if number not in trials:
        raise UsageError(f"The run's fit.json has no trial {number}.", hint="Was it edited?")
    return trials[number]


def _candidate(
    trial: Trial,
    trials: Mapping[int, Trial],
    families: Mapping[str, Family],
    spec: Spec,
    dataset: Dataset,
    run: Path,
) -> Candidate:
    family = families.get(trial.family) or family_of(trial.family)
    lesson = None
    if trial.teacher is not None:
        lesson = _lesson(_trial(trials, trial.teacher), families, spec, dataset, run)
    return Candidate(
        trial.number, family, trial.origin, dict(trial.params),
        lesson=lesson, fixed_rounds=trial.rounds or None,
    )  # fmt: skip


def _lesson(
    teacher: Trial, families: Mapping[str, Family], spec: Spec, dataset: Dataset, run: Path
) -> Array:
    """What a distilled model learned, from the out-of-fold answers that the run kept."""
    folds = folds_for(spec.fit, dataset)
    kept, _ = restore(run, families, folds.name)
    by_number = {candidate.number: candidate for candidate in kept}
    if any(number not in by_number for number, _ in teacher.members):
        raise UsageError(
            f"{run / 'trials'} lacks the answers that the distilled model learned.",
            hint="They are kept beside fit.json; without them the model cannot be made again.",
        )
    recipe = tuple((by_number[number], weight) for number, weight in teacher.members)
    answers = out_of_fold(blended(0, recipe), folds, dataset.train.rows)
    return lesson_of(answers, dataset.train.target)
