"""One look: what a part gives is written whole or not at all, and a fault in one is its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import modelwright as mw
from modelwright.core.errors import UsageError
from modelwright.core.records import Finding
from modelwright.watch.database import Database
from modelwright.watch.episodes import Event, Window
from modelwright.watch.look import Advice, Looked
from modelwright.watch.loop import look
from modelwright.watch.part_drift import DriftPart
from modelwright.watch.state import LONGEST_NAME, Memory, Point, Said
from modelwright.watch.subject import Subject
from modelwright.watch.times import iso
from watch.live import BEGIN, END, Live, Nobody, copied, with_drift

LONG = 400.0
"""Seconds a process may take to import everything where all cores are busy; it ends by itself."""
BAD = Finding("test", "a column", "fail", "much", severity="error")


@pytest.fixture
def live(released: mw.Released, tmp_path: Path) -> Iterator[Live]:
    found = copied(released, tmp_path / "project")
    yield found
    found.close()


@dataclass
class Bad:
    """A part that has a bad window at each look, and counts them."""

    name: str = "bad"
    causes: tuple[str, ...] = ("bad",)
    seen: list[bytes | None] = field(default_factory=list)

    def look(self, subject: Subject, state: bytes | None) -> Looked:
        self.seen.append(state)
        count = int(state or b"0") + 1
        at_once = frozenset({self.name})
        window = Window(iso(subject.now), at_once, {self.name: BAD}, at_once)
        points = {"series": [Point(subject.now, count)]}
        return Looked(str(count).encode(), (window,), (BAD,), points)


@dataclass
class Fails:
    """A part that meets something odd."""

    error: Exception
    name: str = "fails"
    causes: tuple[str, ...] = ()

    def look(self, subject: Subject, state: bytes | None) -> Looked:
        raise self.error


@dataclass
class Says:
    """A part that advises."""

    act: Any
    causes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return str(self.act)

    def look(self, subject: Subject, state: bytes | None) -> Looked:
        return Looked(b"", advice=Advice(self.act, "2", "so"))


class Told:
    """Counts alerts; ends the look or the process in the middle of the transaction."""

    def __init__(self, end: str = "") -> None:
        self.end, self.keys = end, list[str]()

    def queue_events(
        self, connection: Any, model: str, version: str, events: Sequence[Event], now: float
    ) -> None:
        if self.end == "raise":
            raise OSError("the disk is full")
        if self.end == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        self.keys += [f"{event.what} {event.episode.id}" for event in events]


@pytest.mark.parametrize(
    ("error", "said"),
    [(UsageError("no such key."), "no such key."), (KeyError("ms"), "KeyError: 'ms'")],
)
def test_a_part_that_fails_is_shown_and_stops_no_other(
    live: Live, error: Exception, said: str
) -> None:
    found = live.look(BEGIN, Fails(error), Bad())
    failed, bad = found.parts
    assert failed.failed.startswith(said) and bad.findings == (BAD,)
    assert [event.what for event in found.events] == ["opened"]
    assert said.encode() in live.memory.states("shop")["fails/shown"]
    again = live.look(BEGIN + 60, Fails(error), Bad())
    assert [(one.what, one.cause) for one in again.events] == [("opened", "fails cannot look")]
    assert "bad" in again.open


def test_what_failed_once_keeps_its_state_and_its_episodes(live: Live) -> None:
    part = Bad()
    live.look(BEGIN, part)
    found = live.look(BEGIN + 60, Fails(OSError("away"), name="bad", causes=("bad",)))
    assert found.parts[0].failed == "OSError: away" and "bad" in found.open
    live.look(BEGIN + 120, part)
    assert part.seen == [None, b"1"]


def test_a_fault_while_it_is_written_leaves_nothing(live: Live) -> None:
    with pytest.raises(OSError, match="full"):
        look(live.subject(BEGIN), [Bad()], live.memory, Told("raise"))
    assert nothing(live.memory)
    told = Told()
    look(live.subject(BEGIN), [Bad()], live.memory, told)
    assert len(told.keys) == 1 and live.memory.state("shop", "bad") == b"1"


def nothing(memory: Memory) -> bool:
    return not memory.states("shop") and not memory.said("shop") and not memory.series("shop")


def _killed(folder: Path) -> None:
    database = Database(folder / "watch.db")
    found = Live.opened(folder, database)
    look(found.subject(BEGIN), [Bad()], found.memory, Told("kill"))


@pytest.mark.slow
def test_a_kill_while_it_is_written_leaves_nothing(live: Live) -> None:
    live.database.close()
    process = multiprocessing.get_context("spawn").Process(target=_killed, args=(live.folder,))
    process.start()
    try:
        process.join(LONG)
    finally:
        process.kill()
    assert process.exitcode == -signal.SIGKILL
    assert nothing(live.memory)
    told = Told()
    look(live.subject(BEGIN), [Bad()], live.memory, told)
    assert [one.event.what for one in live.memory.said("shop") if one.event] == ["opened"]


def test_the_same_answers_again_say_nothing_twice(live: Live) -> None:
    with_drift(live)
    before = live.memory.said("shop"), live.memory.series("shop")
    assert before[0]
    with live.memory.change() as connection:  # as if the watcher forgot where it was
        live.memory.remember(connection, "shop", "drift", END, b"")
    told = Told()
    look(live.subject(END + 1), [DriftPart()], live.memory, told)
    assert told.keys == [] and live.memory.said("shop") == before[0]
    assert live.memory.series("shop") == before[1]


def test_advice_comes_by_urgency(live: Live) -> None:
    parts = [Says("retrain"), Says("canary"), Says("roll back"), Says("promote")]
    found = look(live.subject(BEGIN), parts, live.memory, Nobody())
    assert [one.act for one in found.advice] == ["roll back", "promote", "canary", "retrain"]


def test_memory_is_the_same_in_both_databases(where: str) -> None:
    database = Database(where)
    memory = Memory(database)
    long = "quality accuracy where name is " + "x" * 500
    with memory.change() as connection:
        memory.remember(connection, "shop", "drift", 1.0, b"\x00\xff")
        memory.remember(connection, "shop", "drift", 2.0, b"")
        memory.say(connection, [Said(3.0, "shop", done="this"), Said(4.0, "shop", done="that")])
        memory.note(connection, "shop", {long: [Point(1.0, 1.0), Point(1.0, 2.0)]})
    assert memory.state("shop", "drift") == b"" and memory.models() == ["shop"]
    assert [one.done for one in memory.said("shop", 3.5)] == ["that"]
    assert memory.series("shop") == {long[:LONGEST_NAME]: [Point(1.0, 2.0)]}
    with pytest.raises(ZeroDivisionError), memory.change() as connection:
        memory.remember(connection, "shop", "drift", 5.0, b"new")
        raise ZeroDivisionError
    assert memory.state("shop", "drift") == b""
    memory.forget(4.5)
    assert memory.said("shop") == [] and memory.series("shop") == {}
    assert memory.state("shop", "drift") == b""
    database.close()


def test_a_part_that_fails_twice_is_told_and_so_is_its_return(live: Live) -> None:
    class Sometimes:
        name, causes = "sometimes", ()
        fails = True

        def look(self, subject: Subject, state: bytes | None) -> Looked:
            if self.fails:
                raise OSError("away")
            return Looked(b"")

    part, now, seen = Sometimes(), END, []
    for number in range(6):
        part.fails = number < 3
        found = live.look(now + 60 * number, part)
        seen.append([(event.what, event.cause) for event in found.events])
        assert ("sometimes cannot look" in found.open) == (1 <= number < 5)
    cause = "sometimes cannot look"
    assert seen == [[], [("opened", cause)], [], [], [], [("resolved", cause)]]
