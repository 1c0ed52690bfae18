"""Assignment: in the shares that were asked for, and each key always to the same arm."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from modelwright.core.traffic import ABTest, Canary, Step, Traffic, traffic_path, write_traffic
from modelwright.serve.traffic import TrafficFile, arm_of, place_of

KEYS = [f"user-{number}" for number in range(20_000)]


def canary(weight: float, seed: int = 4, **more: object) -> Traffic:
    return Traffic("m", canary=Canary("4", weight, seed, **more))  # type: ignore[arg-type]


def versions(rule: Traffic | None, keys: list[str] = KEYS, now: float = 0.0) -> list[str]:
    return [arm_of(rule, "3", key, now, 0.5)[0] for key in keys]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shares", [[0.05, 0.95], [0.5, 0.5], [0.2, 0.3, 0.5], [0.125] * 8])
def test_keys_spread_as_asked(shares: list[float], seed: int) -> None:
    arms = {str(number): share for number, share in enumerate(shares)}
    found = versions(Traffic("m", test=ABTest(arms, seed)))
    counts = [found.count(arm) for arm in arms]
    assert chisquare(counts, [share * len(KEYS) for share in shares]).pvalue > 1e-4


@pytest.mark.parametrize("weight", [0.01, 0.05, 0.5, 0.9])
def test_a_canary_gets_its_share(weight: float) -> None:
    got = versions(canary(weight)).count("4")
    expected = [weight * len(KEYS), (1 - weight) * len(KEYS)]
    assert chisquare([got, len(KEYS) - got], expected).pvalue > 1e-4


def test_without_a_key_chance_decides_in_the_same_shares() -> None:
    draw = random.Random(1)
    chances = [draw.random() for _ in range(20_000)]
    test = Traffic("m", test=ABTest({"3": 0.3, "4": 0.7, "5": 0.0}))
    for rule, share in ((canary(0.1), 0.1), (test, 0.7)):
        got = [arm_of(rule, "3", None, 0.0, chance)[0] for chance in chances].count("4")
        expected = [share * len(chances), (1 - share) * len(chances)]
        assert chisquare([got, len(chances) - got], expected).pvalue > 1e-4
    assert arm_of(test, "3", None, 0.0, 0.999999999999)[0] == "4"


def test_two_seeds_are_two_draws() -> None:
    one, two = versions(canary(0.5, 1)), versions(canary(0.5, 2))
    both = sum(a == b == "4" for a, b in zip(one, two, strict=True))
    assert chisquare([both, len(KEYS) - both], [len(KEYS) / 4, len(KEYS) * 3 / 4]).pvalue > 1e-4


def test_a_rising_canary_takes_keys_and_gives_none_back() -> None:
    taken: set[str] = set()
    for weight in (0.0, 0.01, 0.05, 0.25, 0.5, 1.0):
        found = versions(canary(weight))
        now = {key for key, version in zip(KEYS, found, strict=True) if version == "4"}
        assert taken <= now
        taken = now
    assert taken == set(KEYS)


def test_steps_are_the_same_in_every_process_that_has_a_clock() -> None:
    rule = canary(0.05, steps=(Step(0.05, 10), Step(0.5, 10)), began=100.0)
    assert versions(rule, now=50.0) == versions(rule, now=109.9) == versions(canary(0.05))
    assert versions(rule, now=110.0) == versions(rule, now=1e9) == versions(canary(0.5))


@given(
    st.text(max_size=40),
    st.lists(st.integers(0, 100), min_size=3, max_size=8).filter(lambda w: sum(w) > 0),
    st.integers(0, 7),
    st.integers(1, 100),
)
def test_a_larger_share_only_draws_keys(key: str, raw: list[int], arm: int, more: int) -> None:
    """Whoever moves when one arm grows at the cost of the others moves to that arm."""
    arm %= len(raw)
    grown = [weight + (more if number == arm else 0) for number, weight in enumerate(raw)]
    before, after = (
        arm_of(Traffic("m", test=ABTest({str(n): w / sum(of) for n, w in enumerate(of)})),
               "3", key, 0.0, 0.0)[0]
        for of in (raw, grown)
    )  # fmt: skip
    assert after in (before, str(arm))


def test_arms_have_names() -> None:
    test = Traffic("m", test=ABTest({"3": 0.5, "4": 0.5}, 7))
    names = {arm_of(test, "9", key, 0.0, 0.0) for key in KEYS[:100]}
    assert names == {("3", "a"), ("4", "b")}
    assert arm_of(canary(1.0), "3", "x", 0.0, 0.0) == ("4", "canary")
    assert arm_of(canary(1.0), "4", "x", 0.0, 0.0) == ("4", "champion")
    assert arm_of(Traffic("m", shadow="4"), "3", "x", 0.0, 0.0) == ("3", "champion")
    assert place_of("\ud800 surrogate", 1) == place_of("\ud800 surrogate", 1)


def test_the_file_is_followed(tmp_path: Path) -> None:
    file = TrafficFile(tmp_path, "m")
    assert file.traffic is None and not file.changed()
    write_traffic(tmp_path, canary(0.05))
    assert file.changed() and file.traffic == canary(0.05) and not file.changed()
    write_traffic(tmp_path, canary(0.05))
    assert not file.changed()  # another file with the same rule
    traffic_path(tmp_path, "m").write_bytes(b"{")
    assert not file.changed() and file.traffic == canary(0.05) and "not a valid" in file.problem
    write_traffic(tmp_path, canary(0.5))
    assert file.changed() and file.traffic == canary(0.5) and not file.problem
    write_traffic(tmp_path, Traffic("m"))
    assert file.changed() and file.traffic is None
