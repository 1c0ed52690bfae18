"""The breaker, by a clock that the test holds."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from modelwright.serve.breaker import (
    BUCKETS,
    CLOSED,
    HALF_OPEN,
    LEAST_SLOW,
    OPEN,
    TRIALS,
    WINDOWS_APART,
    Breaker,
)
from modelwright.serve.curve import Curve
from modelwright.serve.settings import Breaking

START = 1000.0


def opens_at(
    breaker: Breaker, rate: float, healthy: float, *, sleeps: bool, within: float = 10.0
) -> float:
    """Seconds until a version is out that was healthy for a while and then fails, or sleeps."""
    now, end = START, START + healthy
    while now < end:
        breaker.record(True, 0.001, now)
        now += 1 / rate
    began, ask, look = now, now, now
    while now < began + within:
        now = min(ask, look)
        if now == look:
            look += 0.05
            breaker.overdue(now)
        if now == ask:
            ask += 1 / rate
            if breaker.allows(now):
                number = breaker.started(now)
                if not sleeps:
                    breaker.ended(number, False, now)
        if breaker.state == OPEN:
            return now - began
    return math.inf


@pytest.mark.parametrize("rate", [5.0, 7.3, 20.0, 100.0, 2000.0])
@pytest.mark.parametrize("healthy", [0.0, 0.5, 1.9, 30.0])
@pytest.mark.parametrize("sleeps", [False, True])
def test_a_version_that_fails_or_sleeps_is_out_within_two_seconds(
    rate: float, healthy: float, sleeps: bool
) -> None:
    assert opens_at(Breaker(Breaking(), 0.02), rate, healthy, sleeps=sleeps) <= 2.0


@pytest.mark.parametrize("rate", [10.0, 100.0])
@pytest.mark.parametrize("healthy", [0.0, 1.9, 30.0])
def test_without_a_limit_one_that_sleeps_is_out_as_well(rate: float, healthy: float) -> None:
    breaker = Breaker(Breaking(), None, expected=lambda rows: 0.007, most=10.0)
    assert breaker.slower_than == LEAST_SLOW
    assert opens_at(breaker, rate, healthy, sleeps=True) <= 2.0


def test_nothing_is_slow_only_after_the_deadline() -> None:
    for limit in (None, 4.0):
        slow = Breaker(Breaking(), limit, expected=lambda rows: 9.0, most=10.0)
        assert slow.slow_after(1) == 10.0
    by_hand = Breaker(Breaking(slower_than=60.0), 0.01, expected=lambda rows: 90.0, most=10.0)
    assert by_hand.slow_after(1) == 60.0


def test_what_is_slow_goes_by_the_rows_of_the_run() -> None:
    """Sizes that were not measured when it was loaded are a guess, and no measure for others."""
    curve = Curve((0.080, 0.085))
    breaker = Breaker(Breaking(), None, expected=curve.seconds, most=10.0)
    assert curve.seconds(1024) > 5.0
    assert breaker.slow_after(1024) == 10.0 and breaker.slow_after(16) == LEAST_SLOW
    breaker.record(True, 3.0, START, 1, 1024)
    assert breaker.counts(START) == (1, 0, 0)
    run = breaker.started(START, 16)
    assert not breaker.overdue(START + 1.0, 15) and not breaker.is_late(run)
    assert breaker.overdue(START + 1.1, 15) == 1 and breaker.is_late(run)
    breaker.ended(run, True, START + 3.0, 16)
    assert not breaker.is_late(run) and breaker.state == OPEN


def test_a_few_failures_do_not_open_it() -> None:
    breaker = Breaker(Breaking(), 0.01)
    for number in range(10_000):
        breaker.record(number % 5 not in (0, 3), 0.001, START + number / 1000)
    assert breaker.state == CLOSED and breaker.allows(START + 20)
    assert opens_at(Breaker(Breaking(), 0.01), 4.0, 0.0, sleeps=False) > 2.0  # under `least`


@pytest.mark.parametrize("healthy", [0.0, 30.0])
@pytest.mark.parametrize("sleeps", [False, True])
def test_one_that_few_ask_is_out_after_so_many_bad_answers_in_a_row(
    healthy: float, sleeps: bool
) -> None:
    took = opens_at(Breaker(Breaking(), 0.02), 0.2, healthy, sleeps=sleeps, within=100.0)
    assert 45.0 <= took <= 50.2  # ten of them
    now, rare, mixed = START, Breaker(Breaking(), 0.02), Breaker(Breaking(), 0.02)
    for number in range(50):
        now += WINDOWS_APART * 2.0 + 1.0
        rare.record(sleeps, 0.2, now)  # it begins cold each time
        mixed.record(number % 10 == 9 or sleeps, 0.001 if number % 10 == 9 else 0.2, now / 50)
    assert rare.state == CLOSED and mixed.state == CLOSED


def test_slow_answers_open_it_and_without_a_limit_nothing_is_slow() -> None:
    by_limit, by_setting = Breaker(Breaking(), 0.01), Breaker(Breaking(slower_than=0.2), 0.01)
    none = Breaker(Breaking(), None)
    for number in range(20):
        for breaker in (by_limit, by_setting, none):
            breaker.record(True, 0.06, START + number / 10)
    assert (by_limit.state, by_setting.state, none.state) == (OPEN, CLOSED, CLOSED)
    assert by_limit.why == "10 of 10 answers took over 0.05 s"
    number = none.started(START)
    assert none.overdue(START + 1e6) == 0 and len(none._flight) == 1
    none.ended(number, True, START + 1e6)
    assert not none._flight


def opened() -> Breaker:
    breaker = Breaker(Breaking(pause=5.0), 0.01)
    for number in range(10):
        breaker.record(False, 0.001, START + number / 100)
    assert breaker.state == OPEN and breaker.opened == 1
    return breaker


def test_it_is_tried_again_one_at_a_time() -> None:
    breaker = opened()
    assert not breaker.allows(START + 5.0)
    now = START + 6.0
    for trial in range(TRIALS):
        assert breaker.state == (HALF_OPEN if trial else OPEN)
        assert breaker.allows(now) and not breaker.allows(now + 0.01)
        breaker.record(True, 0.001, now + 0.02)
        now += 1.0
    assert breaker.state == CLOSED and breaker.allows(now)
    assert breaker.counts(now) == (0, 0, 0)
    for number in range(9):
        breaker.record(False, 0.001, now + number / 100)
    assert breaker.state == CLOSED  # it begins anew: nine are under `least`


@pytest.mark.parametrize("how", ["fails", "slow", "sleeps"])
def test_a_bad_trial_opens_it_again_for_a_pause(how: str) -> None:
    breaker = opened()
    now = START + 6.0
    assert breaker.allows(now)
    number = breaker.started(now)
    if how == "fails":
        breaker.ended(number, False, now + 0.01)
    elif how == "slow":
        breaker.ended(number, True, now + 1.0)
    else:
        assert breaker.overdue(now + 0.04) == 0 and breaker.overdue(now + 0.06) == 1
    assert breaker.state == OPEN and breaker.opened == 2
    assert not breaker.allows(now + 5.0) and breaker.allows(now + 6.1)


def test_late_answers_say_nothing_about_a_trial() -> None:
    breaker = opened()
    assert breaker.allows(START + 6.0)
    breaker.record(False, 5.9, START + 6.05)  # asked before it opened
    assert breaker.state == HALF_OPEN
    breaker.record(True, 0.01, START + 6.07)
    assert breaker.state == HALF_OPEN and breaker.allows(START + 6.1)


def test_a_trial_whose_caller_went_away_holds_nothing_up() -> None:
    breaker = opened()
    assert breaker.allows(START + 6.0)
    assert not breaker.allows(START + 10.9) and breaker.allows(START + 11.0)


def test_a_few_stalled_runs_open_it_whatever_they_hold_and_not_one() -> None:
    breaker = Breaker(Breaking(), 0.01)
    for number in range(3):
        assert breaker.state == CLOSED
        breaker.record(True, 0.06, START + number / 100, 64)
    assert breaker.state == OPEN and breaker.why == "12 of 12 answers took over 0.05 s"
    alone = Breaker(Breaking(least=1), 0.01)
    alone.record(True, 0.06, START, 64)
    assert alone.state == OPEN  # one is enough where that is asked for


@pytest.mark.parametrize("waiting", [0, 9, 64])
def test_one_that_sleeps_on_is_out_when_it_slept_half_of_the_window(waiting: int) -> None:
    breaker = Breaker(Breaking(), 0.01)
    breaker.started(START)
    now = START
    while breaker.state == CLOSED and now < START + 5:
        now += 0.05
        breaker.overdue(now, waiting)
    if not waiting:
        assert breaker.state == CLOSED  # nobody is harmed
        return
    assert 0.95 < now - START < 1.1, breaker.why
    assert breaker.why.startswith("runs of over 0.05 s took ")


def test_who_waits_for_a_slow_run_counts_up_to_a_few_a_run() -> None:
    breaker = Breaker(Breaking(window=60.0), 0.01)
    for number in range(3):
        at = START + number
        run = breaker.started(at)
        for waiting, counted in ((1, 1), (2, 2), (50, 4)):
            breaker.overdue(at + 0.1, waiting)
            assert breaker.counts(at + 0.1)[0] == min(10, 4 * number + counted)
        breaker.ended(run, True, at + 0.7, 3)
    assert breaker.why == "10 of 10 answers took over 0.05 s"


def test_long_runs_after_long_runs_are_told_by_their_time() -> None:
    """Good answers of before are many more, and half of a second later out of the window."""
    breaker, now = Breaker(Breaking(), 0.01), START
    for number in range(4000):
        breaker.record(True, 0.001, START + number / 2000)
    now = START + 2.0
    while breaker.state == CLOSED:
        now += 0.3
        breaker.record(True, 0.3, now, 64)
    assert now - (START + 2.0) <= 1.21


def test_what_a_late_run_slept_is_counted_when_it_is_back() -> None:
    breaker = Breaker(Breaking(least=2), 0.01)
    for at in (START, START + 1.0):
        number = breaker.started(at)
        assert breaker.overdue(at + 0.1) == 1
        breaker.ended(number, True, at + 0.55)
    assert breaker.state == OPEN and breaker.why.startswith("2 of 2")
    alone = Breaker(Breaking(least=3, slow=0.4), 0.01)
    alone.record(True, 0.001, START, 20)
    number = alone.started(START)
    alone.overdue(START + 0.1)
    alone.ended(number, True, START + 0.7)
    assert alone.state == CLOSED and sum(alone._window.slept) == pytest.approx(0.7)
    alone.record(True, 0.11, START + 0.9)
    assert alone.state == OPEN and "0.81 of the last 2 s" in alone.why


def test_a_run_is_counted_once() -> None:
    breaker = Breaker(Breaking(), 0.01)
    number = breaker.started(START)
    assert breaker.overdue(START + 1.0) == 1 and breaker.overdue(START + 1.1) == 0
    breaker.ended(number, False, START + 1.2)
    assert breaker.counts(START + 1.2) == (1, 0, 1)


def test_an_answer_at_the_edge_of_a_bucket_stays_in_the_window_for_as_long_as_its_bucket() -> None:
    breaker = Breaker(Breaking(least=5, window=2.0, pause=3.0, slower_than=0.5), None)
    now = START
    for wait, failed in ((0.05, 0), (0.1, 1), (0.7, 1), (0.05, 1), (2.0, 1)):
        now += wait
        breaker.record(not failed, 0.001, now)
    assert breaker.counts(now)[:2] == (2, 2)


class AgainstAList(RuleBasedStateMachine):
    """The ring of buckets against a list of everything that happened."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = Breaking(least=5, window=2.0, pause=3.0, slower_than=0.5)
        self.heaviest = 2
        self.slept: list[tuple[int, float]] = []
        self.breaker = Breaker(self.settings, None)
        self.now = START
        self.seen: list[tuple[int, bool, bool]] = []
        self.open_since = math.inf
        self.in_a_row, self.bad_at = 0, -math.inf

    def bucket(self) -> int:
        return math.floor(self.now / (self.settings.window / BUCKETS))

    @rule(seconds=st.sampled_from([0.001, 0.05, 0.1, 0.7, 2.0, 2.5, 100.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.breaker.state == CLOSED)
    @rule(ok=st.booleans(), seconds=st.sampled_from([0.001, 0.5, 0.6]), count=st.integers(1, 4))
    def answer(self, ok: bool, seconds: float, count: int) -> None:
        self.breaker.record(ok, seconds, self.now, count)
        is_slow = seconds > 0.5
        counted = min(count, self.heaviest) if is_slow and ok else count
        self.seen += [(self.bucket(), ok, is_slow)] * counted
        self.slept += [(self.bucket(), seconds)] * is_slow
        slept = sum(took for at, took in self.slept if at >= self.bucket() - BUCKETS)
        inside = [(fine, slow) for at, fine, slow in self.seen if at >= self.bucket() - BUCKETS]
        failed = sum(not fine for fine, _ in inside)
        slow = sum(slow for _, slow in inside)
        bad = not ok or seconds > 0.5
        much = max(failed, slow) / len(inside) >= 0.5 or slept >= 0.5 * 2.0
        if bad:
            near = self.now - seconds <= self.bad_at + WINDOWS_APART * 2.0
            self.in_a_row = counted + (self.in_a_row if near else 0)
            self.bad_at = self.now
        else:
            self.in_a_row = 0
        opens = (len(inside) >= 5 and much) or self.in_a_row >= 5
        assert (self.breaker.state == OPEN) == (bad and opens)
        if self.breaker.state == OPEN:
            self.open_since = self.now
        else:
            assert self.breaker.counts(self.now) == (len(inside), failed, slow)

    @precondition(lambda self: self.breaker.state != CLOSED)
    @rule(good=st.booleans())
    def trial(self, good: bool) -> None:
        state, early = self.breaker.state, self.now < self.open_since + 3.0
        allowed = self.breaker.allows(self.now)
        if state == OPEN:
            assert allowed == (not early)
        if not allowed:
            return
        assert not self.breaker.allows(self.now)
        self.breaker.record(good, 0.0, self.now)
        if not good:
            assert self.breaker.state == OPEN
            self.open_since = self.now
        if self.breaker.state == CLOSED:
            self.seen.clear()
            self.slept.clear()
            self.in_a_row = 0

    @invariant()
    def closed_lets_everything_through(self) -> None:
        if self.breaker.state == CLOSED:
            assert self.breaker.allows(self.now)


TestAgainstAList = AgainstAList.TestCase
TestAgainstAList.settings = hypothesis_settings(
    max_examples=100, stateful_step_count=40, deadline=None
)


def test_a_good_answer_costs_next_to_nothing() -> None:
    """Half a microsecond is wanted; ten times that is the bound, for machines that are busy."""
    breaker = Breaker(Breaking(), 0.01)
    best = math.inf
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(20_000):
            breaker.record(True, 0.001, START)
        best = min(best, (time.perf_counter() - started) / 20_000)
    assert best < 5e-6
