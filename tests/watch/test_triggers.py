"""When a model is trained anew: never more often than allowed, never twice on the same."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.spec_retrain import RetrainSpec
from modelwright.watch.triggers import DAY, Facts, Past, plan

ALL = RetrainSpec(
    on=["quality", "score drift", "limit", "age", "schedule", "labels"],
    age=30 * DAY, every=7 * DAY, labels=1000,
)  # fmt: skip
QUIET = Facts(now=100 * DAY, champion="1", trained=99 * DAY)


def test_nothing_asks_for_it() -> None:
    found = plan(QUIET, ALL)
    assert not found.retrain and not found.stopped and not found.causes
    assert [f.subject for f in found.findings] == list(ALL.on)
    assert all(f.verdict == "pass" for f in found.findings)


def test_each_trigger_asks_by_itself() -> None:
    changes = {
        "quality": {"episodes": {"quality": "2026-01-01"}},
        "score drift": {"episodes": {"score drift": "2026-01-01"}},
        "limit": {"broken": ("accuracy",)},
        "age": {"trained": 70 * DAY},
        "schedule": {"trained": 93 * DAY},
        "labels": {"labels": 1000},
    }
    for trigger, change in changes.items():
        facts = msgspec.structs.replace(QUIET, **change)
        spec = ALL.model_copy(update={"on": [trigger]})
        found = plan(facts, spec)
        assert found.retrain and found.causes == (trigger,), trigger
        assert found.why.startswith(f"{trigger}: ")
        [finding] = found.findings
        assert finding.verdict == "fail" and "modelwright retrain" in finding.advice
        others = ALL.model_copy(update={"on": [one for one in ALL.on if one != trigger]})
        if trigger not in ("age", "schedule"):  # a model of 30 days is late for the schedule too
            assert not plan(facts, others).retrain, trigger


def test_drift_of_features_asks_for_nothing() -> None:
    facts = msgspec.structs.replace(QUIET, episodes={"feature drift": "2026-01-01"})
    assert not plan(facts, ALL).retrain


def test_a_cause_that_goes_on_waits_for_news() -> None:
    past = (Past(98 * DAY, "1"),)
    facts = msgspec.structs.replace(QUIET, episodes={"quality": "x"}, past=past)
    found = plan(facts, ALL)
    assert not found.retrain and found.stopped.startswith("no new labels")
    assert found.findings[0].advice == found.stopped
    assert plan(msgspec.structs.replace(facts, labels=1), ALL).retrain
    assert plan(msgspec.structs.replace(facts, champion="2"), ALL).retrain


def test_off_is_off() -> None:
    facts = msgspec.structs.replace(QUIET, broken=("accuracy",), labels=10**6)
    assert not plan(facts, RetrainSpec(on=[])).retrain
    never = plan(facts, RetrainSpec(most_a_day=0))
    assert not never.retrain and never.stopped.startswith("at most 0")


EVENTS = st.tuples(
    st.floats(60.0, 2 * DAY), st.booleans(), st.booleans(), st.integers(0, 3), st.booleans()
)


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=40), st.integers(0, 3))
def test_a_watcher_never_exceeds_the_cap_and_never_trains_twice_on_the_same(
    events: list[tuple[float, bool, bool, int, bool]], most: int
) -> None:
    """A watcher that does what the plan says, looking at any moments whatever happens."""
    spec = ALL.model_copy(update={"most_a_day": most, "labels": 5, "age": DAY, "every": 3 * DAY})
    now, champion, labels, past = 0.0, 1, 0, list[Past]()
    news = True
    for wait, bad, broken, more, promoted in events:
        now += wait
        labels += more
        champion += promoted
        news = news or more > 0 or promoted
        facts = Facts(
            now, str(champion), 0.0, {"quality": "x"} if bad else {},
            ("accuracy",) if broken else (), labels, tuple(past),
        )  # fmt: skip
        found = plan(facts, spec)
        assert not (found.retrain and found.stopped)
        if not found.retrain:
            continue
        assert news or set(found.causes) <= {"schedule", "labels"}
        if "schedule" in found.causes and past:
            assert now - past[-1].at >= 3 * DAY
        past.append(Past(now, str(champion)))
        labels, news = 0, False
    for begin in past:
        assert sum(begin.at <= one.at < begin.at + DAY for one in past) <= most


def test_a_clock_that_went_back_does_not_lift_the_cap() -> None:
    facts = msgspec.structs.replace(
        QUIET, broken=("accuracy",), labels=9, past=(Past(101 * DAY, "1"),)
    )
    assert "at most 1" in plan(facts, ALL).stopped
