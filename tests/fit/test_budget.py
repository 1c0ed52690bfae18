"""What a budget counts."""

from __future__ import annotations

import time

import pytest

from modelwright.fit.budget import Budget


def test_reading_counts_but_never_more_than_half() -> None:
    now = time.monotonic()
    assert Budget("60s").left == pytest.approx(60.0, abs=1.0)
    assert Budget("60s", since=now - 10.0).left == pytest.approx(50.0, abs=1.0)
    assert Budget("60s", since=now - 1000.0).left == pytest.approx(30.0, abs=1.0)
    assert Budget("60s", already=20.0, since=now - 10.0).left == pytest.approx(30.0, abs=1.0)
    assert Budget("60s", already=70.0).left == 0.0


def test_trials_have_all_the_time() -> None:
    budget = Budget("40 trials", since=time.monotonic() - 1000.0)
    assert budget.trials == 40 and budget.left == float("inf")
    assert budget.spent == pytest.approx(1000.0, abs=1.0)
