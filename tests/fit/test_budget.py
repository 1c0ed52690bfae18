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


def test_evidence_leaves_the_release_its_time() -> None:
    now = time.monotonic()
    assert Budget("60s", already=50.0).spare(9.0) == pytest.approx(1.75, abs=0.2)  # (10 - 6.5) / 2
    assert Budget("60s", already=55.0).spare(9.0) == 0.0
    assert Budget("20s", since=now).for_release == pytest.approx(2.4)
    assert Budget("40 trials").spare(9.0) == 9.0
