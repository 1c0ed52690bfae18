"""Folds side by side, and what the last fit gets."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from fit.test_search import prepared, searched
from modelwright.core.spec import FitSpec
from modelwright.fit.families.dummy import Dummy
from modelwright.fit.family import FitJob, Fitted, Range
from modelwright.fit.folds import folds_for
from modelwright.fit.trials import Candidate, Task, Trainer


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


def test_a_fold_begins_as_soon_as_a_worker_is_free(tmp_path: Path) -> None:
    """In pairs, the third fold would wait for the first, which waits for it."""
    _, dataset = prepared(tmp_path, "{folds: 3, threads: 2}")
    spec = FitSpec(folds=3, threads=2)
    folds, candidate = folds_for(spec, dataset), Candidate(0, Queued(), "default", {})
    trainer = Trainer(dataset.schema, spec, 0, 1, 2, {})
    noted: list[int] = []
    tasks = [Task(candidate, fold) for fold in range(3)]
    trainer.run(tasks, folds, lambda c: noted.append(len(c.outcomes)))
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
