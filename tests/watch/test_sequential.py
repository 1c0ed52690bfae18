"""The e-detector: its rate of false alarms and its delay by simulation, and its state."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.errors import DataError
from modelwright.core.intake import Array
from modelwright.watch.sequential import STEPS, Detector, watch


def delay(detector: Detector, losses: Array) -> int:
    """Losses up to the first alarm, to the nearest 20."""
    for start in range(0, len(losses), 20):
        detector, found = watch(detector, losses[start : start + 20])
        if found:
            return start + 20
    return len(losses)


def test_false_alarms_are_rarer_than_stated_where_the_loss_is_just_at_the_bound() -> None:
    rng, alarms, alpha = np.random.default_rng(0), 0, 1e-3
    for law in (lambda: rng.random(20_000) < 0.2, lambda: rng.beta(1, 4, 20_000)):
        for _ in range(10):
            alarms += len(watch(Detector(0.2, alpha), law())[1])
    assert alarms <= 400_000 * alpha


@pytest.mark.parametrize(("before", "after", "most"), [(0.2, 0.3, 300), (0.05, 0.10, 500)])
def test_a_change_is_found_soon(before: float, after: float, most: int) -> None:
    rng, delays = np.random.default_rng(1), []
    for _ in range(20):
        state, found = watch(Detector(before + 0.01), rng.random(2000) < before)
        if not found:
            delays.append(delay(state, rng.random(5000) < after))
    assert np.median(delays) <= most


def test_the_finding_says_when_it_began() -> None:
    rng = np.random.default_rng(2)
    losses = np.concatenate([rng.random(5000) < 0.1, rng.random(400) < 0.5])
    found = watch(Detector(0.11), losses)[1][0]
    assert found.interval is not None
    assert found.interval.low < 0.5 < found.interval.high
    assert found.verdict == "fail"


def by_hand(bound: float, losses: list[float]) -> float:
    """The definition: every start, every stake."""
    total = 0.0
    for rise in STEPS:
        rise = min(rise, 0.9 * (1 - bound))
        stake = min(rise / (bound * (1 - bound)), 0.95 / bound)
        own = 0.0
        for loss in losses:
            own = (own + 1) * (1 + stake * (loss - bound))
        total += own / len(STEPS)
    return total


losses = st.lists(st.floats(0, 1), min_size=1, max_size=60)


@settings(max_examples=80, deadline=None)
@given(losses, st.floats(0.01, 0.95), st.integers(1, 59))
def test_it_is_its_definition_however_the_losses_are_cut(
    found: list[float], bound: float, cut: int
) -> None:
    start = Detector(bound, 1e-300)
    whole, _ = watch(start, found)
    parted, _ = watch(start, found[:cut])
    parted = msgspec.json.decode(msgspec.json.encode(parted), type=Detector)
    parted, _ = watch(parted, found[cut:])
    assert whole.evidence == pytest.approx(by_hand(bound, found), rel=1e-9)
    assert parted.evidence == pytest.approx(whole.evidence, rel=1e-9)
    assert (parted.seen, whole.seen) == (len(found), len(found))
    assert parted.ascent == pytest.approx(whole.ascent, abs=1e-9)


def test_after_an_alarm_it_starts_anew() -> None:
    state, found = watch(Detector(0.1), np.ones(7).tolist() * 3)
    assert len(found) == state.alarms > 1
    assert state.seen == 21
    assert state.evidence < 1e4


def test_no_losses_change_nothing() -> None:
    state = Detector(0.1)
    assert watch(state, []) == (state, ())
    assert state.evidence == 0


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.5])
def test_losses_out_of_range_are_refused(bad: float) -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        watch(Detector(0.1), [0.0, bad])


def test_impossible_detectors_are_refused() -> None:
    with pytest.raises(DataError, match="can not work"):
        Detector(0.0)
    with pytest.raises(DataError, match="not one of"):
        Detector(0.1, count=(1, 2))
