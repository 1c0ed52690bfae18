"""Every built-in family sits the exam; wrong ones are refused with a message."""

from __future__ import annotations

import numpy as np
import pytest

from fit import exam
from modelwright.core.errors import UsageError
from modelwright.fit.family import FAMILIES, FitJob, family_of


@pytest.mark.parametrize("task", exam.TASKS)
@pytest.mark.parametrize("name", FAMILIES)
def test_the_exam(name: str, task: str) -> None:
    exam.sit(family_of(name), task)


def test_early_stopping_stops() -> None:
    for name in ("lightgbm", "catboost", "xgboost"):
        pipeline, _ = exam.train(family_of(name), "binary")
        assert 0 < pipeline.members[0].model.rounds < 900


@pytest.mark.parametrize("name", ["lightgbm", "catboost", "xgboost"])
def test_a_booster_stops_when_it_is_asked_to(name: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3000, 30)), rng.integers(0, 2, 3000)
    job = FitJob(x=x, y=y, task="binary", classes=2, params={"learning_rate": 0.001}, seed=0,
                 threads=1, x_valid=x, y_valid=y, stop=lambda: True)  # fmt: skip
    assert family_of(name).fit(job).rounds < 50


@pytest.mark.parametrize("name", ["os:path", "collections:OrderedDict"])
def test_an_object_that_is_no_family(name: str) -> None:
    with pytest.raises(UsageError, match=r"is no family: it lacks .*fit"):
        family_of(name)


def test_unknown_family() -> None:
    with pytest.raises(UsageError, match="did you mean 'catboost'"):
        family_of("catbost")
