"""Intervals of what was measured hold what is shown."""

from __future__ import annotations

import numpy as np
import pytest

from modelwright.core.errors import PackError
from modelwright.pack.bench import _blocks


def p95(values: np.ndarray) -> float:
    return float(np.quantile(values, 0.95))


def test_a_quiet_machine_has_a_narrow_interval() -> None:
    found = _blocks(np.random.default_rng(0).gamma(50, 1e-5, 5000), p95)
    assert found.low <= found.value <= found.high < 1.1 * found.low


def test_one_bad_block_widens_the_interval_to_what_is_shown() -> None:
    latencies = np.random.default_rng(0).gamma(50, 1e-5, 5000)
    latencies[2000:2500] += 0.05
    found = _blocks(latencies, p95)
    assert found.value > 0.01, "a tenth of all requests was slow"
    assert found.low < 0.001 and found.high == found.value


def test_no_answer_is_no_figure() -> None:
    with pytest.raises(PackError, match="No request was answered"):
        _blocks(np.empty(0), p95)
