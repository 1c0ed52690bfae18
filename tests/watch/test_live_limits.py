"""Windows are judged as the gate judges, and noise is not taken for news."""

from __future__ import annotations

import math
from bisect import bisect_left

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from modelwright.core.limits import Limit
from modelwright.core.spec_watch import LiveLimitsSpec
from modelwright.serve.metrics import EDGES
from modelwright.watch.live_limits import (
    CONFIDENCE,
    Ruling,
    Tally,
    interval,
    quantile_p95,
    rulings,
    share_beyond,
    take,
)
from modelwright.watch.served_counts import Counted, Standing
from serve.made import LIMITS

SPEC = LiveLimitsSpec()
P95 = 0.007
WITH_LIMIT = tuple(sorted({*EDGES, P95, math.inf}))
HERE = Standing(has=True)


def histogram(seconds: np.ndarray, edges: tuple[float, ...] = WITH_LIMIT) -> dict[float, float]:
    return {edge: float((seconds <= edge).sum()) for edge in edges}


def of(found: list[Ruling]) -> dict[str, Ruling]:
    return {one.cause: one for one in found}


def window(*looks: Counted, standing: Standing = HERE, seconds: float = 60.0) -> Tally:
    tally = Tally(0.0, 0.0)
    for number, grown in enumerate(looks, 1):
        tally = take(tally, grown, [standing], number * seconds, SPEC)
    return tally


def asked(answered: float, refused: float = 0, *, stood_in: float = 0, slow: float = 0) -> Counted:
    within = {0.005: answered - slow, P95: answered - slow, 10.0: answered, math.inf: answered}
    return Counted(
        asked=answered + refused, answered=answered, failed=refused, refused=refused,
        stood_in=stood_in, rows=answered, within=within,
    )  # fmt: skip


@given(st.integers(1, 5000), st.floats(0, 1))
def test_the_interval_is_that_of_the_binomial_test(trials: int, part: float) -> None:
    events = round(part * trials)
    found = interval(events, trials)
    wanted = stats.binomtest(events, trials).proportion_ci(CONFIDENCE, "exact")
    assert found.low == pytest.approx(wanted.low) and found.high == pytest.approx(wanted.high)


@given(st.lists(st.floats(1e-5, 20), min_size=1, max_size=300), st.booleans())
def test_the_p95_is_where_it_is_said_to_be(seconds: list[float], exact: bool) -> None:
    taken = np.array(seconds)
    within = histogram(taken, WITH_LIMIT if exact else (*EDGES, math.inf))
    found = quantile_p95(within)
    true = float(np.quantile(taken, 0.95, method="inverted_cdf"))
    assert found.low <= true <= found.high and found.low <= found.value <= found.high
    edges = sorted(within)
    own = bisect_left(edges, true)
    assert (0.0, *edges)[own] <= found.value <= edges[own]
    beyond = share_beyond(within, P95)
    assert beyond.low <= float((taken > P95).mean()) <= beyond.high
    if exact:
        assert beyond.value == pytest.approx(float((taken > P95).mean()))


def test_slow_answers_break_the_limit_and_a_few_do_not() -> None:
    slow = of(rulings(window(asked(1000, slow=100)), LIMITS, SPEC))["latency"]
    assert slow.finding.verdict == "fail" and slow.finding.subject == "latency_p95"
    assert slow.finding.interval is not None and slow.finding.interval.low >= P95
    assert "10 % (7." in slow.finding.measured and slow.finding.wanted == "latency_p95 <= 7 ms"
    some = of(rulings(window(asked(1000, slow=60)), LIMITS, SPEC))["latency"]
    assert some.finding.verdict == "undecided" and not some.judged
    few = of(rulings(window(asked(1000, slow=20)), LIMITS, SPEC))["latency"]
    assert few.finding.verdict == "pass" and few.judged
    quiet = of(rulings(window(asked(10, slow=2)), LIMITS, SPEC))["latency"]
    assert quiet.finding.verdict == "undecided" and not quiet.judged
    dead = of(rulings(window(asked(20, slow=20)), LIMITS, SPEC))["latency"]
    assert dead.finding.verdict == "fail"  # few, but certain
    none = of(rulings(window(Counted()), LIMITS, SPEC))["latency"]
    assert none.finding.verdict == "undecided" and not none.judged


@pytest.mark.parametrize("requests", [100, 1000, 30_000])
def test_a_healthy_server_is_not_paged_for(requests: int) -> None:
    rng = np.random.default_rng(7)
    bad = {"latency": 0, "errors": 0, "contract": 0, "fallback": 0, "journal": 0}
    for _ in range(400):  # just within its bounds
        slow, failed = rng.binomial(requests, 0.045), rng.binomial(requests, 0.009)
        counted = asked(
            requests - failed, failed, stood_in=rng.binomial(requests, 0.045), slow=slow
        )
        lost, unfit = rng.binomial(requests, 0.0009), rng.binomial(requests, 0.009)
        tally = window(counted.plus(Counted(kept=requests - lost, lost=lost, unfit=unfit)))
        for one in rulings(tally, LIMITS, SPEC):
            if one.cause in bad:
                bad[one.cause] += one.finding.verdict == "fail"
    assert max(bad.values()) <= 1, bad


def test_shares_beyond_their_bounds_are_seen() -> None:
    counted = asked(900, 100, stood_in=100).plus(Counted(kept=990, lost=10, unfit=40))
    found = of(rulings(window(counted), (), SPEC))
    assert {name for name, one in found.items() if one.finding.verdict == "fail"} == {
        "errors", "contract", "fallback", "journal"
    }  # fmt: skip
    assert (
        found["errors"].finding.measured == "10 % (7.1 to 13.5 %) of 1,000 requests failed with 5xx"
    )
    assert found["errors"].finding.wanted == "at most 1 % (watch.limits.errors)"
    assert {found[n].finding.severity for n in ("fallback", "journal")} == {"warning"}
    assert found["contract"].finding.measured.startswith("4 % (")
    other = LiveLimitsSpec(errors=0.2, contract=0.1, fallback=0.2, journal=0.05)
    assert {one.finding.verdict for one in rulings(window(counted), (), other)} == {"pass"}
    assert "journal" not in of(rulings(window(asked(900)), (), SPEC))


def test_throughput_is_judged_under_load_only() -> None:
    def judged(*looks: Counted, **more: bool) -> Ruling:
        standing = Standing(has=True, **more)
        found = of(rulings(window(*looks, standing=standing), LIMITS, SPEC))
        return found["throughput"]

    idle = judged(asked(6000), asked(6000))  # 100 /s, nothing refused; the limit is 500 /s
    assert (idle.finding.verdict, idle.finding.severity, idle.judged) == ("undecided", "info", True)
    assert "not loaded" in idle.finding.why and "100 /s answered" in idle.finding.measured
    weak = judged(asked(6000, 6000), asked(6000, 6000))
    assert weak.finding.verdict == "fail" and "200 /s asked" in weak.finding.measured
    burst = judged(asked(6000), asked(6000, 6000))
    assert burst.finding.verdict == "undecided" and not burst.judged
    one = judged(asked(6000, 6000))
    assert one.finding.verdict == "undecided" and not one.judged
    flood = judged(asked(6000, 40_000), asked(6000, 40_000))
    assert flood.finding.verdict == "undecided" and "more was asked" in flood.finding.why
    strong = judged(asked(40_000, 6000), asked(40_000, 6000))
    assert strong.finding.verdict == "pass"
    broken = judged(asked(6000, 6000), asked(6000, 6000), open=True)
    assert broken.finding.verdict == "undecided" and "breaker" in broken.finding.why


def test_throughput_is_of_one_server() -> None:
    tally = Tally(0.0, 0.0)
    for now in (60.0, 120.0):
        tally = take(tally, asked(40_000, 10_000), [HERE, HERE], now, SPEC)
    finding = of(rulings(tally, LIMITS, SPEC))["throughput"].finding
    assert finding.verdict == "fail" and finding.measured.startswith("333 /s answered, 417 /s")


@pytest.mark.parametrize(
    ("standings", "verdict", "why"),
    [
        ([Standing(True, memory=(6e8, 6e8, 6e8))] * 2, "fail", "as at the gate"),
        ([Standing(True, memory=(6e8, 6e8, 6e8)), Standing(True, memory=(4e8, 4e8, 4e8))],
         "undecided", "as at the gate"),
        ([Standing(True, memory=(4e8, 4e8, 4e8))] * 2, "pass", "as at the gate"),
        ([Standing(True, memory=(9e8, 9e8, 9e8), workers=2)] * 2, "pass", "divided by 2"),
        ([Standing(True, memory=(9e8, 9e8, 9e8), models=2)] * 2, "undecided", "2 models"),
        ([Standing(True, memory=(6e8, 3e8, 6e8), shared_once=False)], "undecided", "unlike"),
        ([Standing(True, memory=(6e8, 6e8, 6e8), shared_once=False)], "fail", "unlike"),
    ],
)  # fmt: skip
def test_memory_is_over_the_limit_at_every_look(
    standings: list[Standing], verdict: str, why: str
) -> None:
    tally = Tally(0.0, 0.0)
    for number, one in enumerate(standings, 1):
        tally = take(tally, asked(100), [one], 60.0 * number, SPEC)
    found = of(rulings(tally, LIMITS, SPEC))["memory"]
    assert found.finding.verdict == verdict and why in found.finding.why
    assert found.judged is (verdict != "undecided")


def test_limits_of_slices_and_of_quality_are_not_judged_here() -> None:
    limits = (
        Limit("latency_p95", "at_most", 0.1, relative=True),
        Limit("recall", "at_least", 0.9, "sex"),
        Limit("size", "at_most", 1.0),
    )
    found = [one.cause for one in rulings(window(asked(900)), limits, SPEC)]
    assert found == ["errors", "not_finite", "contract", "fallback"]


@pytest.mark.parametrize(
    ("seconds", "requests", "over"),
    [(299, 10_000, False), (300, 99, False), (300, 100, True), (3599, 0, False), (3600, 0, True)],
)
def test_a_window_is_long_and_full_or_has_waited(seconds: float, requests: int, over: bool) -> None:
    assert Tally(0.0, seconds, Counted(asked=requests)).is_over(SPEC) is over


@pytest.mark.parametrize(("many", "verdict"), [(0, "pass"), (1, "undecided"), (30, "fail")])
def test_answers_that_are_no_finite_number_have_a_cause_of_their_own(
    many: int, verdict: str
) -> None:
    grown = msgspec.structs.replace(asked(1000), not_finite=float(many))
    found = of(rulings(window(grown, grown, grown), (), SPEC))["not_finite"]
    assert found.finding.verdict == verdict
    assert "no finite number" in found.finding.measured
    assert ("modelwright rollback" in found.finding.advice) == (verdict == "fail")
