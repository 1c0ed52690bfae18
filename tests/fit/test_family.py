"""Every built-in family sits the exam; wrong ones are refused with a message."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

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


def a_job(**settings: Any) -> FitJob:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3000, 30)), rng.integers(0, 2, 3000)
    return FitJob(x=x, y=y, task="binary", classes=2, seed=0, threads=1, x_valid=x, y_valid=y,
                  **settings)  # fmt: skip


@pytest.mark.parametrize("name", ["lightgbm", "catboost", "xgboost"])
def test_a_booster_stops_when_it_is_asked_to(name: str) -> None:
    job = a_job(params={"learning_rate": 0.001}, stop=lambda: True)
    assert family_of(name).fit(job).rounds < 50


@pytest.mark.parametrize(
    ("name", "alias"),
    [("lightgbm", "n_estimators"), ("catboost", "iterations"), ("xgboost", "n_estimators")],
)
def test_rounds_that_the_spec_gives_are_the_most_of_every_training(name: str, alias: str) -> None:
    params = {"learning_rate": 0.001, alias: 12}
    family, valid = family_of(name), {"x_valid": None, "y_valid": None}
    assert family.fit(a_job(params=params)).rounds <= 12
    assert family.fit(replace(a_job(params=params), **valid)).rounds == 12
    assert family.fit(replace(a_job(params=params, rounds=5), **valid)).rounds == 5
    assert family.fit(replace(a_job(params=params, rounds=20), **valid)).rounds == 12
    with pytest.raises(ValueError, match=f"{alias}: wanted a whole number of rounds above 0"):
        family.fit(a_job(params={alias: "many"}))


@pytest.mark.parametrize("name", ["extra_trees", "random_forest"])
def test_a_forest_stops_when_it_is_asked_to_with_the_trees_it_has(name: str) -> None:
    family, params = family_of(name), {"n_estimators": 30, "max_leaf_nodes": 50}
    stopped = family.fit(a_job(params=params, stop=lambda: True))
    assert 0 < stopped.rounds < 30
    as_many = {**params, "n_estimators": stopped.rounds}
    x = a_job(params={}).x
    np.testing.assert_array_equal(stopped.answer(x), family.fit(a_job(params=as_many)).answer(x))
    whole = family.fit(a_job(params=params))
    assert whole.rounds == 30
    theirs = family.classifier(random_state=0, **params).fit(x, a_job(params={}).y)
    np.testing.assert_allclose(whole.answer(x), theirs.predict_proba(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["os:path", "collections:OrderedDict"])
def test_an_object_that_is_no_family(name: str) -> None:
    with pytest.raises(UsageError, match=r"is no family: it lacks .*fit"):
        family_of(name)


def test_unknown_family() -> None:
    with pytest.raises(UsageError, match="did you mean 'catboost'"):
        family_of("catbost")


def test_a_rare_class_does_not_run_away() -> None:
    """LightGBM without any `lambda_l2`: leaves of a class of few rows grow without end."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 12))
    raw = np.stack([2 * x[:, 0], 2 * x[:, 1] - 1, x[:, 2] - 5, x[:, 3] - 5], axis=1)
    y = (raw + rng.gumbel(size=raw.shape)).argmax(axis=1)

    def loss(**params: float) -> float:
        job = FitJob(x[:3000], y[:3000], "multiclass", 4, params, seed=0, threads=1, rounds=150)
        p = family_of("lightgbm").fit(job).answer(x[3000:])
        return float(-np.log(np.maximum(p[np.arange(1000), y[3000:]], 1e-15)).mean())

    assert loss() < loss(lambda_l2=0.0) - 0.1


LOADS_BOOSTERS = """
import subprocess, sys
from modelwright.fit.family import family_of
for name in ("xgboost", "lightgbm", "extra_trees"):
    family_of(name)
child = "import os; print('child', os.environ['OMP_WAIT_POLICY'])"
subprocess.run([sys.executable, "-c", child], check=True)
"""


@pytest.mark.slow
def test_openmp_waits_without_spinning_in_every_process() -> None:
    """As the OpenMP runtimes say it themselves, of which each library may bring its own."""
    env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", LOADS_BOOSTERS],
        env={**env, "OMP_DISPLAY_ENV": "TRUE"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = re.findall(r"OMP_WAIT_POLICY\s*=\s*'(\w+)'", done.stderr)
    assert told and set(told) == {"PASSIVE"}, done.stderr[:2000]
    assert "child PASSIVE" in done.stdout
