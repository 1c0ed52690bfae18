"""What is said of the choice."""

from __future__ import annotations

import pytest

from modelwright.core.records import Interval, Measured, Price
from modelwright.fit.remarks import agreement
from modelwright.fit.trials import Candidate


def candidate(number: int, expected: float) -> Candidate:
    return Candidate(number, None, "default", {}, price=Price(expected, 1000, 10))


def real(p95: float) -> Measured:
    return Measured("here", 1e-5, 1000, 0.1, latency_p95=Interval(p95, p95, p95))


@pytest.mark.parametrize(
    ("p95", "said"),
    [
        ((1e-3, 2e-3, 4e-3), "correlation 1.00 of 3"),
        ((4e-3, 2e-3, 1e-3), "correlation -1.00 of 3"),
        ((2e-3, 1e-3, 4e-3), "correlation 0.50 of 3"),
    ],
)
def test_estimates_are_held_against_the_real_server(p95: tuple[float, ...], said: str) -> None:
    """In powers: each is twice the one before."""
    expected = [candidate(n, 1e-5 * 2**n) for n in range(4)]
    found = agreement(expected, {n: real(seconds) for n, seconds in enumerate(p95)})
    assert found is not None and found.measured.startswith(said), found


def test_of_two_or_of_equal_ones_there_is_no_correlation() -> None:
    expected = [candidate(n, 1e-5 * 2**n) for n in range(3)]
    assert agreement(expected, {0: real(1e-3), 1: real(2e-3)}) is None
    assert agreement(expected, {n: real(1e-3) for n in range(3)}) is None
    alike = [candidate(n, 1e-5) for n in range(3)]
    assert agreement(alike, {n: real(1e-3 * (1 + n)) for n in range(3)}) is None
