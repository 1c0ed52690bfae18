"""What a server counted is found again from its pages, however often it is started again."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import pairwise

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from modelwright.serve.metrics import Counts
from modelwright.serve.metrics_door import write
from modelwright.watch.scrape import Samples, parse
from modelwright.watch.served_counts import (
    Counted,
    Seen,
    counted,
    growth,
    seen,
    standing,
    started_again,
    total,
)
from serve.made import served, traffic

EDGES = (0.1, 0.5, math.inf)


def page_of(counts: Counts) -> Samples:
    return parse(write(counts.book)[1].decode())


class Machine:
    """A server that counts, and may be started again; remembers all that really happened."""

    def __init__(self) -> None:
        self.clock = 1000.0
        self.really = Counted()
        self.start()

    def start(self) -> None:
        self.clock += 10.0
        self.since = Counted()
        self.began = self.clock

    def answer(self, seconds: list[float], lost: int) -> None:
        within = {edge: float(sum(s <= edge for s in seconds)) for edge in EDGES}
        more = Counted(asked=len(seconds) + lost, answered=len(seconds), failed=lost, rows=2.0,
                       within=within)  # fmt: skip
        self.since, self.really = self.since.plus(more), self.really.plus(more)

    def crash(self) -> None:
        """Its only worker ends and is started again; what was counted stays."""
        self.clock += 10.0
        self.began = self.clock
        more = Counted(restarts=1)
        self.since, self.really = self.since.plus(more), self.really.plus(more)

    def look(self) -> Seen:
        self.clock += 10.0
        return Seen(self.clock, "3", self.began, self.began, self.since)


answers = st.tuples(
    st.just("answer"), st.lists(st.sampled_from([0.05, 0.3, 2.0]), max_size=4), st.integers(0, 2)
)
events = st.lists(st.one_of(answers, st.sampled_from([("crash",), ("look",)])), max_size=40)


def play(machine: Machine, happened: list[tuple[object, ...]]) -> list[Seen]:
    looks = [machine.look()]
    for what, *more in happened:
        if what == "look":
            looks.append(machine.look())
        else:
            getattr(machine, str(what))(*more)
    return [*looks, machine.look()]


def grown(looks: list[Seen]) -> Counted:
    return total(growth(one, two) for one, two in pairwise(looks))


def plain(found: Counted) -> dict[str, float]:
    """As numbers; a histogram that is not there yet is one of zeros."""
    values = msgspec.structs.asdict(found)
    within = values.pop("within")
    return {**values, **{str(edge): within.get(edge, 0.0) for edge in EDGES}}


@given(events)
def test_without_restarts_nothing_is_lost_and_nothing_made_up(happened) -> None:  # type: ignore[no-untyped-def]
    machine = Machine()
    assert plain(grown(play(machine, happened))) == plain(machine.really)


@given(st.lists(events, min_size=2, max_size=4))
@example([[("answer", [0.05], 0), ("look",)], [("answer", [2.0, 2.0, 2.0], 0)]])
def test_after_a_restart_all_counters_begin_anew(lives) -> None:  # type: ignore[no-untyped-def]
    machine, looks = Machine(), list[Seen]()
    begins = []
    for happened in lives:
        begins.append(len(looks))
        looks += play(machine, happened)
        machine.start()
    found = grown(looks)
    assert plain(found) == plain(machine.really)  # a look at the end of each life: none is lost
    cumulative = [found.within.get(edge, 0.0) for edge in EDGES]
    assert cumulative == sorted(cumulative)
    again = [started_again(a, b) for a, b in pairwise(looks)]
    for place, told in enumerate(again, 1):
        if told:
            assert place in begins


@given(events, events, events)
def test_what_was_counted_between_a_look_and_the_end_is_lost_and_never_more(
    first, unseen, second  # type: ignore[no-untyped-def]
) -> None:  # fmt: skip
    machine = Machine()
    looks = play(machine, first)
    play(machine, unseen)  # these looks are not ours
    machine.start()
    looks += play(machine, second)
    found, really = plain(grown(looks)), plain(machine.really)
    assert all(0 <= found[name] <= really[name] for name in really)
    assert found["asked"] <= really["asked"]


def test_a_limit_that_moved_leaves_the_edges_that_both_have() -> None:
    one = Seen(0.0, "3", 5.0, 5.0, Counted(asked=10, within={0.1: 5, 0.2: 7, math.inf: 10}))
    two = Seen(9.0, "3", 5.0, 5.0, Counted(asked=30, within={0.1: 9, 0.3: 20, math.inf: 30}))
    assert growth(one, two).within == {0.1: 4, math.inf: 20}


def test_a_new_champion_brings_nothing_from_before() -> None:
    one = Seen(0.0, "3", 5.0, 5.0, Counted(asked=10, rows=5, within={0.1: 5, math.inf: 10}))
    two = Seen(9.0, "4", 5.0, 5.0, Counted(asked=15, rows=90, within={0.1: 90, math.inf: 90}))
    found = growth(one, two)
    assert (found.asked, found.rows, found.within) == (5, 0, {0.1: 0, math.inf: 0})
    sick = msgspec.structs.replace(two, counted=Counted(asked=15, not_finite=9))
    assert growth(one, sick).not_finite == 0
    restarted = msgspec.structs.replace(two, oldest=50.0, youngest=50.0)
    assert growth(one, restarted).asked == 15
    assert growth(one, restarted).within == {}


def test_the_page_of_a_server_is_counted() -> None:
    counts = Counts()
    traffic(counts)  # 5 answers, 422 by four doors, a 503, pages
    counts.failed("predict", 503)  # no room, before the model was looked up
    counts.failed("other", 500)
    counts.failed("shadow", 500, "model_failed", "shop", "4")
    counts.request("predict", 200, "another", "1")
    counts.counter("modelwright_journal_dropped_total", "queue")[0] += 2
    counts.counter("modelwright_journal_rows_total")[0] += 8
    for version, many in (("3", 7), ("4", 5)):
        counts.counter("modelwright_not_finite_total", "shop", version)[0] += many
    found = counted(page_of(counts), "shop", "3")
    assert found.not_finite == 7, "those of the champion"
    assert (found.asked, found.answered, found.failed, found.refused) == (11, 5, 2, 2)
    assert found.unfit == 4
    assert (found.stood_in, found.rows, found.kept, found.lost) == (1, 9, 8, 2)
    assert (found.within[0.007], found.within[math.inf]) == (4, 5)  # an edge exactly at the limit
    edges = sorted(found.within)
    assert edges[bisect_left(edges, 0.007)] == 0.007
    assert counted(page_of(counts), "shop", "9").within == {}


def test_the_state_of_a_server_is_read() -> None:
    counts = Counts()
    served(counts)
    served(counts, "2").breaker[0] = 2.0
    page = page_of(counts)
    found = standing(page, "shop", "3")
    assert found.has and not found.open and found.others == ("2", "3")
    assert (found.workers, found.versions, found.models) == (1, 2, 1)
    assert standing(page, "shop", "2").open
    assert not standing(page, "shop", "4").has and found.memory is None
    assert not standing(page, "cart", "3").has and standing(page, "cart", "3").others == ()


def test_memory_is_that_of_the_gate_where_the_server_tells_it() -> None:
    name = "process_resident_memory_bytes"
    text = f'{name}{{worker="0"}} 30\n{name}{{worker="1"}} 50\n'
    found = standing(parse(text), "shop", "3")
    assert found.memory == (80.0, 50.0, 80.0) and not found.shared_once
    found = standing(parse(text + "modelwright_memory_bytes 60\n"), "shop", "3")
    assert found.memory == (60.0, 60.0, 60.0) and found.shared_once


def test_seen_is_the_same_after_a_trip_through_json() -> None:
    counts = Counts()
    traffic(counts)
    found = seen(page_of(counts), "shop", "3", 9.0)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Seen) == found
