"""The canary's verdict: error rates by simulation, and the record it lives in."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.errors import DataError
from modelwright.watch.canary import (
    Arms,
    Decision,
    Plan,
    Rule,
    State,
    Stratum,
    decide,
    look,
)
from modelwright.watch.two_means import Losses, Sums

ERRORS = Plan((Rule("errors", ("errors",), budget=0.01),))


def watched(
    rates: tuple[float, float], seed: int, plan: Plan = ERRORS, *, ramp: bool = False
) -> Decision:
    """Both arms for at most an hour; with `ramp` the share grows while an incident comes."""
    rng, state = np.random.default_rng(seed), State()
    for minute in range(60):
        few = 50 * min(10, 1 + minute // 3) if ramp else 200
        more = 0.05 if ramp and 6 <= minute < 20 else 0.0
        base, worse = rates[0] + more, rates[1] + more
        arms = Arms(
            1000 - few,
            int(rng.binomial(1000 - few, base)),
            few,
            int(rng.binomial(few, worse)),
        )
        state = look(state, Stratum({"errors": arms}), plan)
        if state.call != "hold":
            break
    return decide(state, plan)


def test_a_worse_canary_is_rolled_back_in_minutes() -> None:
    found = [watched((0.005, 0.015), seed) for seed in range(60)]
    assert {d.call for d in found} == {"roll back"}
    assert np.median([d.minutes for d in found]) <= 8
    first = found[0].findings[0]
    assert (first.check, first.subject, first.verdict) == ("canary", "errors", "fail")
    assert "of the champion" in first.measured
    assert first.interval is not None
    assert first.interval.low > 1


@pytest.mark.parametrize("ramp", [False, True])
def test_an_equal_canary_is_not_rolled_back(ramp: bool) -> None:
    found = [watched((0.005, 0.005), seed, ramp=ramp) for seed in range(80)]
    assert (
        sum(d.call == "roll back" for d in found) <= 3
    )  # 1 % of 80, and two to three standard errors
    assert sum(d.call == "promote" for d in found) >= 55


def test_a_difference_within_tolerance_does_not_roll_back_however_much_is_seen() -> None:
    state = State()
    for _ in range(60):
        arms = Arms(800_000, 80_000, 200_000, 20_500)  # odds 1.028 of the champion's
        state = look(state, Stratum({"errors": arms}), Plan((Rule("errors", ("errors",)),)))
    assert state.call == "promote"


def test_a_decision_stays() -> None:
    bad = Stratum({"errors": Arms(800, 0, 200, 60)})
    state = look(State(), bad, ERRORS)
    assert state.call == "roll back"
    assert look(state, Stratum({"errors": Arms(800, 100, 200, 0)}), ERRORS) is state


def test_not_promoted_before_the_shortest_time_nor_without_needed_counts() -> None:
    good = Stratum({"errors": Arms(8000, 40, 2000, 1)})
    early = look(State(), good, ERRORS)
    assert early.call == "hold"
    state = State()
    for _ in range(130):
        state = look(state, good, Plan())
    decision = decide(state, Plan())
    assert (decision.call, decision.over) == ("hold", True)
    assert "a person decides" in decision.why
    latency = next(f for f in decision.findings if f.subject == "latency")
    assert latency.verdict == "undecided"
    assert "count them" in latency.advice


@pytest.mark.parametrize(("wrong", "call"), [(15, "promote"), (25, "hold")])
def test_labels_that_point_to_harm_delay_the_promotion(wrong: int, call: str) -> None:
    plan = Plan((Rule("errors", ("errors",)), Rule("labels", ("labels",), needed=False)))
    state = State()
    for minute in range(10):
        cells = {"errors": Arms(80_000, 400, 20_000, 100)}
        if minute == 8:
            cells["labels"] = Arms(400, 60, 100, wrong)
        state = look(state, Stratum(cells), plan)
    assert state.call == call


def test_slower_answers_are_seen_by_both_opinions() -> None:
    rng, state, plan = np.random.default_rng(3), State(), Plan()
    edges = {"over p50": 0.05, "over p95": 0.0965, "over p99": 0.127}
    for _ in range(12):
        old, new = (0.05 * np.exp(0.4 * rng.standard_normal(n)) for n in (800, 200))
        new = new * 1.2
        cells = {
            name: Arms(800, int((old > edge).sum()), 200, int((new > edge).sum()))
            for name, edge in edges.items()
        }
        sums = [(len(x), float(x.sum()), float((x**2).sum())) for x in (old, new)]
        undecided = state.call == "hold"
        state = look(state, Stratum(cells, Sums(sums[0], sums[1])), plan)
        assert undecided or state.call == "roll back"
    decision = decide(state, plan)
    assert decision.call == "roll back"
    assert decision.findings[0].subject == "latency"
    assert decision.findings[-1].check == "canary, second opinion"


def test_the_second_opinion_holds_its_level_at_any_look() -> None:
    rng, fired = np.random.default_rng(11), 0
    plan = Plan(rules=(Rule("errors", ("errors",)),), alpha=0.05)
    for _ in range(100):
        state, alarmed = State(), False
        for _ in range(40):
            old, new = (0.05 * np.exp(0.4 * rng.standard_normal(n)) for n in (800, 200))
            sums = [(len(x), float(x.sum()), float((x**2).sum())) for x in (old, new)]
            state = look(state, Stratum({}, Sums(sums[0], sums[1])), plan)
            alarmed |= decide(state, plan).findings[-1].verdict == "fail"
        fired += alarmed
    assert fired <= 8


counts = st.integers(0, 300).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(0, 200))
)


VALUES = Plan((Rule("errors", ("errors",), weight=3.0), Rule("labels", ("loss",), needed=False)))


def of_values(worse: float, seed: int, *, ramp: bool = False) -> State:
    """100 truths a minute for two hours, errors as of Student's t with 3 degrees of freedom, 1 at
    their p99; with `ramp` the share grows while all errors double for a while."""
    rng, state = np.random.default_rng(seed), State()
    for minute in range(120):
        few = 5 * min(10, 1 + minute // 5) if ramp else 20
        both = 2.0 if ramp and 10 <= minute < 40 else 1.0
        old, new = (
            np.minimum(np.abs(rng.standard_t(3, many)) * scale / 5.841, 1.0)
            for many, scale in ((100 - few, both), (few, both * worse))
        )
        state = look(state, Stratum({}, losses={"loss": Losses(old, new, 5.841)}), VALUES)
        if state.call != "hold":
            break
    return state


@pytest.mark.parametrize("ramp", [False, True])
def test_equal_errors_of_values_are_not_rolled_back(ramp: bool) -> None:
    found = [of_values(1.0, seed, ramp=ramp) for seed in range(40)]
    assert sum(state.call == "roll back" for state in found) <= 1


def test_half_as_large_again_errors_of_values_are_rolled_back() -> None:
    found = [of_values(1.5, seed) for seed in range(20)]
    assert {state.call for state in found} == {"roll back"}
    assert np.median([state.minutes for state in found]) <= 20
    first = decide(found[0], VALUES).findings[0]
    assert (first.subject, first.verdict) == ("labels", "fail")
    assert first.measured.startswith("a mean error of ") and first.interval is not None
    assert first.interval.low > 1.0
    same = msgspec.json.decode(msgspec.json.encode(found[0]), type=State)
    assert same == found[0]


def test_errors_of_another_shape_and_the_same_mean_are_no_harm() -> None:
    """Fewer large ones, more of middle size: counts beyond the median would call that worse."""
    rng, state = np.random.default_rng(5), State()
    for _ in range(200):
        old = rng.choice([0.1, 0.9], 800, p=[0.75, 0.25])
        new = np.full(200, 0.3)
        state = look(state, Stratum({}, losses={"loss": Losses(old, new)}), VALUES)
    assert state.call == "hold"


@settings(max_examples=30, deadline=None)
@given(st.lists(counts, max_size=6), st.integers(0, 6))
def test_the_state_survives_json_at_any_point(found: list[tuple[int, int, int]], cut: int) -> None:
    strata = [Stratum({"errors": Arms(n, k, few, few // 3)}) for n, k, few in found]
    whole = parted = State()
    for place, stratum in enumerate(strata):
        whole = look(whole, stratum, ERRORS)
        if place == cut:
            parted = msgspec.json.decode(msgspec.json.encode(parted), type=State)
        parted = look(parted, stratum, ERRORS)
    assert parted == whole
    decision = decide(whole, ERRORS)
    assert msgspec.json.decode(msgspec.json.encode(decision), type=Decision).call == whole.call


def test_wrong_counts_and_wrong_rules_are_refused() -> None:
    with pytest.raises(DataError, match="5 events in 3 trials"):
        look(State(), Stratum({"errors": Arms(3, 5, 1, 0)}), ERRORS)
    with pytest.raises(DataError, match="can not be decided"):
        Plan((Rule("errors", ("errors",), tolerance=0.5, margin=1.2),))
