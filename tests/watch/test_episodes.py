"""Episodes: a stateful test against the rules in words, and the edges."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from modelwright.core.errors import DataError
from modelwright.core.records import Finding
from modelwright.watch.episodes import Event, Pace, Watched, Window, causes_of, step

BAD = Finding("drift", "age", "fail", "0.2")
CAUSES = ("drift", "missing")
outcome = st.sampled_from(["bad", "quiet", "unknown", "broken"])


class Rules(RuleBasedStateMachine):
    """Windows of two causes; the model of it is the list of all outcomes so far."""

    def __init__(self) -> None:
        super().__init__()
        self.state = Watched("m")
        self.past: dict[str, list[str]] = {cause: [] for cause in CAUSES}
        self.events: list[Event] = []
        self.number = 0
        self.last = Window("", frozenset())

    @rule(first=outcome, second=outcome)
    def window(self, first: str, second: str) -> None:
        found = dict(zip(CAUSES, (first, second), strict=True))
        self.number += 1
        self.last = Window(
            f"{self.number:06d}",
            frozenset(c for c, what in found.items() if what != "unknown"),
            {c: BAD for c, what in found.items() if what in ("bad", "broken")},
            frozenset(c for c, what in found.items() if what == "broken"),
        )
        self.state, events = step(self.state, self.last)
        self.events += events
        for cause, what in found.items():
            if what != "unknown":
                self.past[cause].append(what)

    @rule()
    def killed_and_read_again(self) -> None:
        self.state = msgspec.json.decode(msgspec.json.encode(self.state), type=Watched)
        if self.number:
            again, events = step(self.state, self.last)
            assert again == self.state
            assert events == []

    @invariant()
    def open_is_what_the_words_say(self) -> None:
        for cause, past in self.past.items():
            going, bad, quiet = False, 0, 0
            for what in past:
                bad, quiet = (0, quiet + 1) if what == "quiet" else (bad + 1, 0)
                going = (going or bad >= 2 or what == "broken") and quiet < 3
            assert (cause in self.state.open) == going

    @invariant()
    def each_page_is_one_of_a_pair(self) -> None:
        for cause in CAUSES:
            what = [event.what for event in self.events if event.cause == cause]
            assert what == (["opened", "resolved"] * len(what))[: len(what)]
            assert (cause in self.state.open) == (len(what) % 2 == 1)
        opened = [event.episode.id for event in self.events if event.what == "opened"]
        assert len(opened) == len(set(opened))


Rules.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestRules = Rules.TestCase


def test_the_episode_begins_with_its_first_bad_window() -> None:
    state = Watched("income")
    judged = frozenset({"drift"})
    for at in ("1", "2"):
        state, events = step(state, Window(at, judged, {"drift": BAD}))
    assert events[0].episode.id == "income/drift/1"
    assert (events[0].at, events[0].episode.bad) == ("2", 2)
    for at in ("3", "4", "5"):
        assert state.open
        state, events = step(state, Window(at, judged))
    assert [event.what for event in events] == ["resolved"]
    assert state == Watched("income", "5")


def test_another_pace() -> None:
    state, events = step(Watched("m"), Window("1", frozenset(), {"drift": BAD}), Pace(1, 1))
    assert [event.what for event in events] == ["opened"]
    assert step(state, Window("2", frozenset({"drift"})), Pace(1, 1))[1][0].what == "resolved"
    with pytest.raises(DataError, match="can not open"):
        Pace(0, 1)


def test_the_worst_finding_of_each_cause() -> None:
    fine = Finding("drift", "hours", "pass")
    assert causes_of({"drift": [fine, BAD], "missing": [fine], "joint": []}) == {"drift": BAD}
