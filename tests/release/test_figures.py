"""What is said beside a figure, so that nobody reads it wrongly."""

from __future__ import annotations

import numpy as np
import pytest

from evidences import SCHEMA, evidence
from modelwright.core.schema import Schema, Target
from modelwright.core.table import Table
from modelwright.release.figures import figures

NUMBERS = Schema(SCHEMA.columns, Target("y", "regression"))


@pytest.mark.parametrize(("nearest", "said"), [(10.0, ""), (0.01, "50.0% of the true values")])
def test_a_relative_error_over_truths_near_zero_is_explained(nearest: float, said: str) -> None:
    y = np.where(np.arange(2000) % 2 == 0, 10.0, nearest)
    found = figures(evidence(schema=NUMBERS, goal="mape", holdout=Table({}, y), answers=y + 1))
    assert said in found[0].why and bool(said) == ("divided" in found[0].why)


@pytest.mark.parametrize("ordered", [False, True])
def test_intervals_of_rows_in_order_of_time_are_said_to_be(ordered: bool) -> None:
    y = np.arange(2000.0)
    goal = figures(evidence(
        schema=NUMBERS, goal="mae", holdout=Table({}, y), answers=y + 1, ordered=ordered
    ))[0]  # fmt: skip
    assert (goal.check, goal.subject) == ("goal", "mae")
    assert ("order of time" in goal.why) == ordered
