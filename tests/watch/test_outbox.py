"""Real databases, real peers, a clock of our own: nothing is lost, and nothing is sent by two."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy

from modelwright.core.errors import SendError
from modelwright.core.spec_alerts import AlertSpec
from modelwright.watch.alerts import Alert, Target, targets_of
from modelwright.watch.database import Database
from modelwright.watch.episodes import Pace, Watched, Window, step
from modelwright.watch.outbox import (
    GIVE_UP_SECONDS,
    LEASE_SECONDS,
    Delivered,
    Outbox,
    Sent,
)
from watch.peers import FINDING, Peer, alert, peer


class Clock:
    """Unix time as we say."""

    def __init__(self) -> None:
        self.now = 1_795_700_000.0

    def __call__(self) -> float:
        return self.now


class Told:
    """Somebody's own sender: keeps keys, and fails as it is told."""

    def __init__(self, *fails: Exception | None) -> None:
        self.got: list[str] = []
        self.fails = list(fails)

    def send(self, alert: Alert) -> None:
        error = self.fails.pop(0) if self.fails else None
        if error is not None:
            raise error
        self.got.append(alert.key)


class Siren(Told):
    """Wants to hear it again."""

    repeats = 300.0


@pytest.fixture
def database(where: str) -> Iterator[Database]:
    found = Database(where)
    yield found
    found.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def queue(database: Database, outbox: Outbox, clock: Clock, *alerts: Alert) -> int:
    with database.engine.begin() as connection:
        return outbox.queue(connection, alerts, clock())


def hooks(*others: Peer) -> tuple[Target, ...]:
    specs = [
        AlertSpec(to="webhook", name=f"hook-{place}", url=other.url)
        for place, other in enumerate(others)
    ]
    return targets_of(specs, {})


def one(outbox: Outbox) -> Sent:
    [found] = outbox.sent()
    return found


def ids(other: Peer) -> list[str]:
    return [msgspec.json.decode(got.body)["id"] for got in other.got]


def test_each_target_gets_it_once(database: Database, clock: Clock) -> None:
    with peer() as first, peer() as second:
        outbox = Outbox(database, hooks(first, second))
        assert queue(database, outbox, clock, alert()) == 2
        assert queue(database, outbox, clock, alert()) == 0  # a window was gone over again
        assert outbox.next_due() == clock()
        assert outbox.deliver(clock) == Delivered(2, 0)
        assert outbox.deliver(clock) == Delivered(0, 0)
        assert ids(first) == ids(second) == [alert().key]
    found = outbox.sent("shop", since=clock() - 1)
    assert [(s.target, s.state, s.sent, s.tries) for s in found] == [
        ("hook-0", "sent", clock(), 1), ("hook-1", "sent", clock(), 1),
    ]  # fmt: skip
    assert (
        found[0].alert == alert() and outbox.sent("other") == outbox.sent(since=clock() + 1) == []
    )
    assert outbox.next_due() is None


def test_events_become_alerts(database: Database, clock: Clock) -> None:
    told = Told()
    outbox = Outbox(database, [Target("t", told)])
    bad = {"drift": FINDING}
    _, events = step(Watched("shop"), Window("1", frozenset(bad), bad), Pace(opens=1))
    with database.engine.begin() as connection:
        outbox.queue_events(connection, "shop", "3", events, clock())
    outbox.deliver(clock)
    assert told.got == ["shop/drift/1/opened"] and one(outbox).alert.finding == FINDING


def test_severity_chooses_the_targets(database: Database, clock: Clock) -> None:
    quiet, loud = Told(), Told()
    outbox = Outbox(database, [Target("quiet", quiet, "error"), Target("loud", loud)])
    warning = alert(cause="quality", severity="warning")
    assert queue(database, outbox, clock, alert(), warning) == 3
    outbox.deliver(clock)
    assert quiet.got == [alert().key] and set(loud.got) == {alert().key, warning.key}


def test_state_and_alert_are_written_together(database: Database, clock: Clock) -> None:
    outbox = Outbox(database, [Target("t", Told())])
    with pytest.raises(RuntimeError), database.engine.begin() as connection:
        assert outbox.queue(connection, [alert()], clock()) == 1
        raise RuntimeError("the state could not be written")
    assert outbox.sent() == []


def test_back_off_doubles_to_a_quarter_of_an_hour_and_ends_after_a_day(
    database: Database, clock: Clock
) -> None:
    with peer(*[503] * 500) as other:
        outbox = Outbox(database, hooks(other))
        queue(database, outbox, clock, alert())
        begin, pauses = clock(), []
        while one(outbox).state == "waiting":
            assert outbox.deliver(clock) == Delivered(0, 1)
            due = outbox.next_due()
            if due is not None:
                pauses.append(due - clock())
                assert outbox.deliver(clock) == Delivered(0, 0)  # not yet
                clock.now = due
    for place, pause in enumerate(pauses):
        longest = min(2.0**place, 900.0)
        assert longest / 2 <= pause <= longest
    assert len({round(pause / min(2.0**n, 900.0), 6) for n, pause in enumerate(pauses)}) > 5
    assert GIVE_UP_SECONDS - 900 <= clock() - begin <= GIVE_UP_SECONDS
    found = one(outbox)
    assert (found.state, found.sent, found.tries) == ("failed", None, len(other.got))
    assert "answered 503" in found.why and f"Given up after {found.tries} tries" in found.why


def test_a_refusal_is_final_and_a_target_may_say_when(database: Database, clock: Clock) -> None:
    with peer((429, {"Retry-After": "600"}, b""), 200, 404) as other:
        outbox = Outbox(database, hooks(other))
        queue(database, outbox, clock, alert())
        outbox.deliver(clock)
        assert outbox.next_due() == clock() + 600
        assert one(outbox).why.endswith("answered 429")
        clock.now += 600
        assert outbox.deliver(clock) == Delivered(1, 0)
        assert one(outbox) == Sent(alert(), "hook-0", "sent", clock() - 600, clock(), 2, "")
        queue(database, outbox, clock, alert(cause="quality"))
        assert outbox.deliver(clock) == Delivered(0, 1)
    [failed] = [found for found in outbox.sent() if found.state == "failed"]
    assert failed.alert.cause == "quality" and failed.tries == 1 and "404" in failed.why
    assert outbox.next_due() is None


def test_one_that_is_away_does_not_hold_up_the_others(database: Database, clock: Clock) -> None:
    away = Told(*[SendError("away", retry=True)] * 2)
    there = Told()
    outbox = Outbox(database, [Target("away", away), Target("there", there)])
    queue(database, outbox, clock, *(alert(cause=c) for c in ("a", "b", "c")))
    assert outbox.deliver(clock) == Delivered(3, 1)
    assert len(there.got) == 3 and away.got == []
    assert outbox.deliver(clock) == Delivered(0, 1)  # another one is tried in its place
    clock.now += 2
    assert outbox.deliver(clock) == Delivered(3, 0) and len(away.got) == 3


def test_that_it_is_over_comes_after_that_it_opened(database: Database, clock: Clock) -> None:
    sender = Told(SendError("away", retry=True))
    outbox = Outbox(database, [Target("t", sender)])
    queue(database, outbox, clock, alert("resolved"), alert())
    for _ in range(2):
        outbox.deliver(clock)
    assert sender.got == []
    clock.now += 1
    assert outbox.deliver(clock) == Delivered(2, 0)
    assert sender.got == [alert().key, alert("resolved").key]


def test_somebodys_own_sender_may_fail_in_any_way(database: Database, clock: Clock) -> None:
    outbox = Outbox(database, [Target("t", Told(KeyError("x")))])
    queue(database, outbox, clock, alert())
    assert outbox.deliver(clock) == Delivered(0, 1)
    assert one(outbox).why == "KeyError: 'x'" and one(outbox).state == "waiting"


def test_an_open_episode_is_repeated_to_who_forgets(database: Database, clock: Clock) -> None:
    siren, told = Siren(), Told()
    outbox = Outbox(database, [Target("siren", siren), Target("told", told)])
    queue(database, outbox, clock, alert())
    first = clock()
    outbox.deliver(clock)
    clock.now += 299
    assert outbox.deliver(clock) == Delivered(0, 0)
    clock.now += 1
    assert outbox.deliver(clock) == Delivered(1, 0)
    siren.fails = [SendError("refused", retry=False)]
    clock.now += 300
    assert outbox.deliver(clock) == Delivered(0, 1)  # still open: it goes on
    clock.now += 300
    assert outbox.deliver(clock) == Delivered(1, 0)
    queue(database, outbox, clock, alert("resolved"))
    outbox.deliver(clock)
    clock.now += 300
    assert outbox.deliver(clock) == Delivered(0, 0) and outbox.next_due() is None
    assert siren.got == [alert().key] * 3 + [alert("resolved").key]
    assert told.got == [alert().key, alert("resolved").key]
    assert {s.sent for s in outbox.sent() if s.alert.what == "opened"} == {first}


def test_a_target_that_is_gone_fails_after_a_day(database: Database, clock: Clock) -> None:
    queue(database, Outbox(database, [Target("old", Told())]), clock, alert())
    outbox = Outbox(database, [Target("new", Told())])
    clock.now += GIVE_UP_SECONDS
    assert outbox.deliver(clock) == Delivered(0, 0) and one(outbox).state == "waiting"
    clock.now += 1
    assert outbox.deliver(clock) == Delivered(0, 1)
    assert one(outbox).state == "failed" and "no such target" in one(outbox).why
    outbox.forget(clock())
    assert outbox.sent() == []


def test_what_waits_is_not_forgotten(database: Database, clock: Clock) -> None:
    outbox = Outbox(database, [Target("t", Told(SendError("away", retry=True)))])
    queue(database, outbox, clock, alert())
    outbox.deliver(clock)
    outbox.forget(clock() + 9)
    assert one(outbox).state == "waiting"
    clock.now += 2 * GIVE_UP_SECONDS  # nobody delivered meanwhile: it is still tried once
    assert outbox.deliver(clock) == Delivered(1, 0)


class Killing:
    """Ends the process: before anything is sent, or right after."""

    def __init__(self, url: str) -> None:
        self._inner = hooks(Peer(url))[0].sender if url else None

    def send(self, alert: Alert) -> None:
        if self._inner is not None:
            self._inner.send(alert)
        os.kill(os.getpid(), signal.SIGKILL)


def _die(where: str, url: str, now: float) -> None:
    Outbox(Database(where), [Target("hook-0", Killing(url))]).deliver(lambda: now)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_while_sending(database: Database, where: str, clock: Clock, after: bool) -> None:
    """The lease keeps others away, then it is sent again, under the same id."""
    with peer() as other:
        outbox = Outbox(database, hooks(other))
        queue(database, outbox, clock, alert())
        child = multiprocessing.get_context("spawn").Process(
            target=_die, args=(where, other.url if after else "", clock())
        )
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL
        clock.now += LEASE_SECONDS - 1
        assert outbox.deliver(clock) == Delivered(0, 0)
        clock.now += 1
        assert outbox.deliver(clock) == Delivered(1, 0)
        assert ids(other) == [alert().key] * (2 if after else 1)
    assert one(outbox).state == "sent"


def test_who_lost_the_lease_changes_nothing(database: Database, clock: Clock) -> None:
    second = Told()

    class Slow(Told):
        def send(self, alert: Alert) -> None:
            clock.now += LEASE_SECONDS
            assert Outbox(database, [Target("t", second)]).deliver(clock) == Delivered(1, 0)
            raise SendError("refused", retry=False)

    outbox = Outbox(database, [Target("t", Slow())])
    queue(database, outbox, clock, alert())
    outbox.deliver(clock)
    assert one(outbox).state == "sent" and second.got == [alert().key]


def _deliver(where: str, url: str) -> None:
    outbox = Outbox(Database(where), hooks(Peer(url)))
    while outbox.next_due() is not None:
        outbox.deliver()


def test_processes_at_the_same_time_send_each_once(
    database: Database, where: str, tmp_path: Path
) -> None:
    with peer() as other:
        outbox = Outbox(database, hooks(other))
        alerts = [alert(cause=f"c{n}") for n in range(40)]
        with database.engine.begin() as connection:
            outbox.queue(connection, alerts, 0.0)
        spawn = multiprocessing.get_context("spawn")
        both = [spawn.Process(target=_deliver, args=(where, other.url)) for _ in range(2)]
        for process in both:
            process.start()
        for process in both:
            process.join(120)
        assert [process.exitcode for process in both] == [0, 0]
        assert sorted(ids(other)) == sorted(a.key for a in alerts)
    assert all(found.state == "sent" and found.tries == 1 for found in outbox.sent())


def test_no_secret_is_in_the_database(database: Database, clock: Clock) -> None:
    with peer((404, {}, b"no /services/s3cr3t")) as other:
        spec = AlertSpec(to="slack", url_env="U")
        outbox = Outbox(database, targets_of([spec], {"U": f"{other.url}/services/s3cr3t"}))
        queue(database, outbox, clock, alert())
        outbox.deliver(clock)
    with database.engine.connect() as connection:
        rows: list[Any] = list(
            connection.execute(sqlalchemy.text("SELECT * FROM modelwright_alerts"))
        )
    assert len(rows) == 1 and "s3cr3t" not in repr(rows) and "404" in repr(rows)
