"""Folds side by side, what the last fit gets, and families that cannot be trained."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from fit.test_search import prepared, searched
from modelwright.core.errors import FitError, UsageError
from modelwright.core.intake import Array
from modelwright.core.progress import Silent
from modelwright.core.spec import FitSpec
from modelwright.fit.families.dummy import Dummy
from modelwright.fit.families.linear import Linear
from modelwright.fit.family import FitJob, Fitted, Range
from modelwright.fit.folds import folds_for
from modelwright.fit.saved import restore
from modelwright.fit.trials import Candidate, NotTrained, Task, Trainer


class Queued:
    """A family whose first fold ends only after two others of it have: both workers are needed all
    the time."""

    name, encoding = "queued", Dummy.encoding
    defaults: ClassVar[dict[str, float]] = {}
    space: ClassVar[dict[str, Range]] = {}
    begun = 0
    others = threading.Semaphore(0)
    order: ClassVar[list[bool]] = []

    def fit(self, job: FitJob) -> Fitted:
        Queued.begun += 1
        if Queued.begun == 1:
            for _ in range(2):
                Queued.order.append(Queued.others.acquire(timeout=60.0))
        else:
            Queued.others.release()
        return Dummy().fit(job)


def _raise(_: Candidate, error: NotTrained) -> None:
    raise error


def test_a_fold_begins_as_soon_as_a_worker_is_free(tmp_path: Path) -> None:
    """In pairs, the third fold would wait for the first, which waits for it."""
    _, dataset = prepared(tmp_path, "{folds: 3, threads: 2}")
    spec = FitSpec(folds=3, threads=2)
    folds, candidate = folds_for(spec, dataset), Candidate(0, Queued(), "default", {})
    trainer = Trainer(dataset.schema, spec, 0, 1, 2, {})
    noted: list[int] = []
    tasks = [Task(candidate, fold) for fold in range(3)]
    trainer.run(tasks, folds, lambda c: noted.append(len(c.outcomes)), _raise)
    trainer.close()
    assert Queued.order == [True, True] and noted == [1, 2, 3]
    sizes = [len(folds.valid(fold)) for fold in range(3)]
    assert [len(o.answers) for o in candidate.outcomes] == sizes


def test_last_fits_have_rounds_for_their_rows(tmp_path: Path) -> None:
    found = searched(*prepared(tmp_path, "{budget: 4 trials, folds: 3, families: [lightgbm]}"))
    boosted = next(c for c in found.ledger.candidates if c.name == "lightgbm")
    mean = np.mean([o.rounds for o in boosted.outcomes])
    assert boosted.rounds == round(mean * found.ledger.folds.growth) > mean
    assert found.ledger.folds.growth == pytest.approx(1.5, abs=0.01)
    assert next(c for c in found.ledger.candidates if c.name == "linear").growth == 1.0


class Strict(Exception):
    """An error that is no ValueError, as those of CatBoost and LightGBM are none."""


class Breaks:
    name, encoding = "breaks", Linear.encoding
    defaults: ClassVar[dict[str, float]] = {"C": 1.0}
    space: ClassVar[dict[str, Range]] = {"C": Range(0.1, 10.0, log=True)}

    def fit(self, job: FitJob) -> Fitted:
        raise Strict("no such feature")


class BreaksWhenTuned(Breaks):
    """Trains with its defaults only."""

    name = "breaks_when_tuned"

    def fit(self, job: FitJob) -> Fitted:
        if job.params["C"] != 1.0:
            raise Strict("this C is odd")
        return Linear().fit(job)


class BreaksLater(Breaks):
    """Trains on one fold, and no more."""

    name = "breaks_later"
    folds = 0

    def fit(self, job: FitJob) -> Fitted:
        BreaksLater.folds += 1
        if BreaksLater.folds > 1:
            raise Strict("out of luck")
        return Linear().fit(job)


class AnswersNaN(Breaks):
    name = "answers_nan"

    def fit(self, job: FitJob) -> Fitted:
        return _Lost(Linear().fit(job))


class _Lost:
    def __init__(self, fitted: Fitted) -> None:
        self.fitted, self.rounds, self.settled = fitted, fitted.rounds, fitted.settled
        self.decision = fitted.decision

    def answer(self, x: Array) -> Array:
        return self.fitted.answer(x) * np.nan


class Listens(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


@pytest.mark.parametrize(
    ("family", "why"),
    [("Breaks", "no such feature"), ("BreaksLater", "out of luck"), ("AnswersNaN", "NaN")],
)
def test_the_others_go_on(tmp_path: Path, family: str, why: str) -> None:
    BreaksLater.folds, hears = 0, Listens()
    more = f"{{budget: 12 trials, folds: 3, families: ['fit.test_trials:{family}', lightgbm]}}"
    found = searched(*prepared(tmp_path, more), hears, tmp_path)
    fit = found.fit(found.finalists()[0], {})
    name = globals()[family].name
    own = [t for t in fit.record.trials if t.family == name]
    assert [(t.origin, t.outcome) for t in own] == [("default", "failed")]
    assert why in own[0].note
    [line] = [line for line in hears.said if line.startswith(f"! {name} is left out:")]
    assert why in line
    assert sum(t.family == "lightgbm" for t in fit.record.trials) > 3
    families = {c.name: c.family for c in found.ledger.candidates if c.family}
    kept, _ = restore(tmp_path, families, found.ledger.folds.name)
    assert next(c for c in kept if c.name == name).outcome == "failed"


def test_settings_that_fail_are_one_candidate_lost(tmp_path: Path) -> None:
    hears = Listens()
    more = "{budget: 9 trials, folds: 2, families: ['fit.test_trials:BreaksWhenTuned']}"
    found = searched(*prepared(tmp_path, more), hears)
    own = [c for c in found.ledger.candidates if c.name == "breaks_when_tuned"]
    assert own[0].outcome == "complete" and own[0].note == ""
    tuned = [c for c in own if c.origin == "search"]
    assert tuned and all(c.outcome == "failed" and "this C is odd" in c.note for c in tuned)
    assert not [line for line in hears.said if "left out" in line]


def test_no_family_at_all_is_an_error(tmp_path: Path) -> None:
    more = "{budget: 9 trials, folds: 2, families: ['fit.test_trials:Breaks']}"
    with pytest.raises(FitError, match=r"No family of fit\.families.*breaks: Strict: no such"):
        searched(*prepared(tmp_path, more))


def test_parameters_of_the_spec_are_not_passed_over(tmp_path: Path) -> None:
    more = (
        "{budget: 9 trials, folds: 2, families: ['fit.test_trials:Breaks', linear], "
        "params: {breaks: {C: 3.0}}}"
    )
    with pytest.raises(UsageError, match=r"breaks could not be trained: .*fit\.params\.breaks"):
        searched(*prepared(tmp_path, more))
