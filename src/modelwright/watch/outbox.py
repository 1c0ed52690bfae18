"""Alerts that wait to be sent, and what became of them.

An alert is queued in the transaction that changes the state it is about, so a kill leaves both or
neither. It is then sent at least once to each target: a row a target, a lease while somebody sends
it, back-off where it did not arrive. A kill between sending and recording it sends it once more,
when the lease is over; `Alert.key` is by what a receiver knows it.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec
import sqlalchemy
from sqlalchemy import Boolean, Column, Double, Integer, String, Table, Text

from modelwright.core.errors import SendError
from modelwright.watch.alerts import Alert, Target
from modelwright.watch.database import Database, inserted
from modelwright.watch.episodes import Event

LEASE_SECONDS = 120.0
"""How long a sender has an alert to itself; the built-in ones need at most 40 seconds."""
FIRST_SECONDS, MOST_SECONDS = 1.0, 900.0
GIVE_UP_SECONDS = 86_400.0
_LEAST_REPEAT = 10.0
_MOST_WHY = 500
_CHANCE = random.SystemRandom()
_TABLES = sqlalchemy.MetaData()
_ALERTS = Table(
    "modelwright_alerts", _TABLES,
    Column("episode", String(400), primary_key=True),
    Column("what", String(10), primary_key=True),
    Column("target", String(64), primary_key=True),
    Column("model", String(100), nullable=False),
    Column("alert", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("queued", Double, nullable=False),
    Column("due", Double, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("sent", Double),
    Column("repeats", Boolean, nullable=False),
    Column("why", Text, nullable=False),
    Column("lease", String(32), nullable=False),
    Column("leased", Double, nullable=False),
)  # fmt: skip
_OTHER = _ALERTS.alias("other")
_SAME = sqlalchemy.and_(_OTHER.c.episode == _ALERTS.c.episode, _OTHER.c.target == _ALERTS.c.target)

State = Literal["waiting", "sent", "failed"]


class Sent(msgspec.Struct, frozen=True):
    """What became of an alert at one target.

    Attributes:
        state: failed means that it was refused, or given up after a day.
        queued, sent: unix time; `sent` is None where it never arrived.
        tries: how often it was tried.
        why: the last error; empty for none.
    """

    alert: Alert
    target: str
    state: State
    queued: float
    sent: float | None
    tries: int
    why: str


class Delivered(msgspec.Struct, frozen=True):
    """What one round of `Outbox.deliver` did, in alerts at a target."""

    delivered: int = 0
    failed: int = 0


class _Taken(msgspec.Struct, frozen=True):
    key: dict[str, str]
    alert: Alert
    state: State
    queued: float
    tries: int
    lease: str


class Outbox:
    """Alerts on their way.

    Args:
        database: where they are kept.
        targets: where they go; what waits for a target that is no longer there fails after a day.
        model: whose alerts; empty for all that the database has.

    Example:
        outbox = Outbox(database, targets_of(spec.watch.alerts))
        with database.engine.begin() as connection:
            ...  # the state of the episodes
            outbox.queue(connection, alerts, time.time())
        outbox.deliver()
    """

    def __init__(self, database: Database, targets: Iterable[Target], model: str = "") -> None:
        self._engine, self._model = database.engine, model
        self._targets = {target.name: target for target in targets}
        database.make(_TABLES)

    def queue(self, connection: Any, alerts: Iterable[Alert], now: float) -> int:
        """Take alerts, in the caller's transaction; one that was taken before is left out.

        Args:
            connection: of `database.engine.begin()`.
            alerts: for every target that they are severe enough for.
            now: unix time.

        Returns:
            How many messages are new, over all targets.
        """
        return sum(
            inserted(connection, _ALERTS, _row(alert, target.name, now))
            for alert in alerts
            for target in self._targets.values()
            if alert.reaches(target.least)
        )

    def queue_events(
        self, connection: Any, model: str, version: str, events: Iterable[Event], now: float
    ) -> None:
        """Take events of `episodes.step` as alerts; see `queue`."""
        self.queue(connection, (Alert.of(event, model, version) for event in events), now)

    def deliver(self, clock: Callable[[], float] = time.time) -> Delivered:
        """Send what is due, each target's in the order in which it became due.

        After an error that may pass, a target rests until the next round: one that is away does
        not hold up the others. That an episode is over is told after that it opened. Call it
        every few seconds, from as many processes as there are.

        Args:
            clock: unix time.
        """
        delivered = failed = 0
        resting: set[str] = set()
        while (taken := self._take(clock(), resting)) is not None:
            name = taken.key["target"]
            try:
                self._send(taken)
            except SendError as error:
                failed += 1
                if error.retry:
                    resting.add(name)
                self._missed(taken, error, clock())
            else:
                delivered += 1
                self._arrived(taken, clock())
        return Delivered(delivered, failed + self._without_target(clock()))

    def next_due(self) -> float | None:
        """When the next alert is due; None where none waits."""
        query = sqlalchemy.select(sqlalchemy.func.min(_ALERTS.c.due)).where(_open(), self._own())
        with self._engine.connect() as connection:
            found: float | None = connection.scalar(query)
        return found

    def sent(self, model: str = "", since: float = 0.0) -> list[Sent]:
        """What became of the alerts that were queued since then, the newest first.

        Args:
            model: only of this one; empty for all.
            since: unix time.
        """
        query = sqlalchemy.select(_ALERTS).where(_ALERTS.c.queued >= since)
        if model:
            query = query.where(_ALERTS.c.model == model)
        query = query.order_by(_ALERTS.c.queued.desc(), _ALERTS.c.episode, _ALERTS.c.what)
        with self._engine.connect() as connection:
            return [
                Sent(msgspec.json.decode(row.alert, type=Alert), row.target, row.state,
                     row.queued, row.sent, row.tries, row.why)
                for row in connection.execute(query)
            ]  # fmt: skip

    def forget(self, before: float) -> None:
        """Remove what was queued before and does not wait; keep it as long as windows may be gone
        over again, or an alert would be sent anew."""
        old = sqlalchemy.and_(_ALERTS.c.queued < before, _ALERTS.c.state != "waiting", self._own())
        with self._engine.begin() as connection:
            connection.execute(sqlalchemy.delete(_ALERTS).where(old))

    def _own(self) -> Any:
        return _ALERTS.c.model == self._model if self._model else sqlalchemy.true()

    def _take(self, now: float, resting: set[str]) -> _Taken | None:
        """Lease the alert that is due first. Who comes second finds the row changed, and looks
        for another."""
        names = [name for name in self._targets if name not in resting]
        query = (
            sqlalchemy.select(_ALERTS)
            .where(_open(), _ALERTS.c.due <= now, _ALERTS.c.leased <= now)
            .where(_ALERTS.c.target.in_(names), self._own())
            .order_by(_ALERTS.c.due, _ALERTS.c.queued, _ALERTS.c.what)
            .limit(1)
        )
        while True:
            with self._engine.begin() as connection:
                row = connection.execute(query).first()
                if row is None:
                    return None
                key = {"episode": row.episode, "what": row.what, "target": row.target}
                lease = uuid.uuid4().hex
                unchanged = sqlalchemy.and_(_is(key), _ALERTS.c.lease == row.lease,
                                            _ALERTS.c.tries == row.tries)  # fmt: skip
                values = {"lease": lease, "leased": now + LEASE_SECONDS}
                changed = sqlalchemy.update(_ALERTS).where(unchanged).values(values)
                if connection.execute(changed).rowcount:
                    alert = msgspec.json.decode(row.alert, type=Alert)
                    return _Taken(key, alert, row.state, row.queued, row.tries, lease)

    def _send(self, taken: _Taken) -> None:
        target = self._targets[taken.key["target"]]
        try:
            target.sender.send(taken.alert)
        except SendError:
            raise
        except Exception as error:  # somebody's own sender
            raise SendError(f"{type(error).__name__}: {error}", retry=True) from error

    def _arrived(self, taken: _Taken, now: float) -> None:
        values = {"state": "sent", "why": "", **self._again(taken, now)}
        if taken.state == "waiting":
            values["sent"] = now
        self._record(taken, values)

    def _again(self, taken: _Taken, now: float) -> dict[str, Any]:
        """Whether and when it is to be repeated, for receivers that forget."""
        sender = self._targets[taken.key["target"]].sender
        every = getattr(sender, "repeats", None)
        if not every or taken.key["what"] == "resolved":
            return {"repeats": False}
        return {"repeats": True, "due": now + max(every, _LEAST_REPEAT)}

    def _missed(self, taken: _Taken, error: SendError, now: float) -> None:
        wait = max(error.after, _pause(taken.tries))
        why = str(error)[:_MOST_WHY]
        over = now + wait - taken.queued > GIVE_UP_SECONDS
        if taken.state == "sent":  # a repetition: it is known there, unless they forgot
            self._record(taken, {"why": why, **self._again(taken, now + error.after)})
        elif error.retry and not over:
            self._record(taken, {"due": now + wait, "why": why})
        else:
            more = f" Given up after {taken.tries + 1} tries." if error.retry else ""
            self._record(taken, {"state": "failed", "why": why + more})

    def _record(self, taken: _Taken, values: dict[str, Any]) -> None:
        """Write it down, unless the lease was over and another took the alert meanwhile."""
        values = {**values, "tries": taken.tries + 1, "lease": "", "leased": 0.0}
        ours = sqlalchemy.and_(_is(taken.key), _ALERTS.c.lease == taken.lease)
        with self._engine.begin() as connection:
            connection.execute(sqlalchemy.update(_ALERTS).where(ours).values(values))

    def _without_target(self, now: float) -> int:
        """Give up what waited for a day for a target that the spec no longer has."""
        lost = sqlalchemy.and_(
            _ALERTS.c.state == "waiting", _ALERTS.c.queued < now - GIVE_UP_SECONDS,
            _ALERTS.c.target.not_in(list(self._targets)), self._own(),
        )  # fmt: skip
        query = sqlalchemy.select(_ALERTS.c.episode).where(lost).limit(1)
        with self._engine.connect() as connection:
            if connection.execute(query).first() is None:
                return 0  # mostly: no need to keep other writers waiting
        values = {"state": "failed", "why": "The spec has no such target any more."}
        with self._engine.begin() as connection:
            done = connection.execute(sqlalchemy.update(_ALERTS).where(lost).values(values))
        return int(done.rowcount)


def _row(alert: Alert, target: str, now: float) -> dict[str, Any]:
    return {
        "episode": alert.episode, "what": alert.what, "target": target, "model": alert.model,
        "alert": msgspec.json.encode(alert).decode(), "state": "waiting", "queued": now,
        "due": now, "tries": 0, "sent": None, "why": "", "lease": "", "leased": 0.0,
        "repeats": False,
    }  # fmt: skip


def _is(key: dict[str, str]) -> Any:
    return sqlalchemy.and_(*[_ALERTS.c[name] == value for name, value in key.items()])


def _open() -> Any:
    """Waiting, and not before that the episode opened; or to be repeated while it is open."""
    before = sqlalchemy.exists().where(
        _SAME, _OTHER.c.what == "opened", _OTHER.c.state == "waiting", _ALERTS.c.what == "resolved"
    )
    over = sqlalchemy.exists().where(_SAME, _OTHER.c.what == "resolved")
    return sqlalchemy.or_(
        sqlalchemy.and_(_ALERTS.c.state == "waiting", ~before),
        sqlalchemy.and_(_ALERTS.c.repeats, ~over),
    )


def _pause(tries: int) -> float:
    """Twice as long each time, and by chance up to half shorter, so that not all come at once."""
    longest = min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(tries, 20))
    return longest * (1.0 - _CHANCE.random() / 2.0)
