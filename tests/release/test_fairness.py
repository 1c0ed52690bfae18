"""Differences between groups, and calibration, on rows that vary together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evidences import known_model
from modelwright.core.schema import Column, Schema
from modelwright.core.table import Table
from modelwright.release.calibration import calibration_finding
from modelwright.release.fairness import fairness, rates_of


def test_rows_of_a_customer_count_together() -> None:
    """A calibrated model that treats both alike, on 15 rows of each of 60 customers, which vary
    together: without that half of these differences and calibration errors are called certain."""
    base = known_model(40)
    rng, alike, sound, tables = np.random.default_rng(1), 0, 0, 60
    deviations = np.linspace(-4, 4, 41)
    weights = np.exp(-(deviations**2) / 2)
    schema = Schema(
        (Column("sex", "category", levels=("f", "m"), protected=True),), base.schema.target
    )
    customer = np.repeat(np.arange(60), 15)
    sex = np.where(customer % 2, "f", "m").astype(object)
    for _ in range(tables):
        known, unknown = 1.5 * rng.normal(size=(2, 60))
        y = (rng.random(900) < 1 / (1 + np.exp(-(known + unknown)[customer]))) * 1
        p = (weights / (1 + np.exp(-(known[:, None] + 1.5 * deviations)))).sum(1) / weights.sum()
        answers = np.stack([1 - p, p], axis=1)[customer]
        made = replace(
            base, schema=schema, holdout=Table({"sex": sex}, y, groups=customer),
            answers=answers, labels=(answers[:, 1] > 0.5) * 1,
        )  # fmt: skip
        found = [f.interval for f in fairness(made)] + [calibration_finding(made).interval]
        alike += sum(i is not None and i.low == 0 for i in found[:2])
        sound += found[2] is not None and found[2].low == 0
    assert alike / tables / 2 > 0.88 and sound / tables > 0.85, (alike, sound)


def test_one_customer_alone_tells_nothing_of_a_group() -> None:
    said, place = np.array([1.0, 0, 1, 0]), np.array([0, 0, 1, 1])
    one, other = (rate.variance for rate in rates_of(said, place, np.array([0, 1, 2, 2])))
    assert np.isfinite(one) and np.isinf(other)
