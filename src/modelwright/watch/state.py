"""What a watcher remembers from look to look, in the watch database: a record for each model and
part, and the events that came of it. A part's state and its events are written in one transaction,
so a kill leaves both or neither.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import BigInteger, Column, Float, Integer, LargeBinary, String, Table

from modelwright.core.records import Finding
from modelwright.watch.database import Database
from modelwright.watch.episodes import Event

LONGEST_NAME = 200
_TABLES = sqlalchemy.MetaData()
_STATES = Table(
    "modelwright_states", _TABLES,
    Column("model", String(100), primary_key=True),
    Column("part", String(100), primary_key=True),
    Column("at", Float, nullable=False),
    Column("data", LargeBinary, nullable=False),
)  # fmt: skip
_EVENTS = Table(
    "modelwright_events", _TABLES,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("model", String(100), nullable=False, index=True),
    Column("at", Float, nullable=False),
    Column("data", LargeBinary, nullable=False),
)  # fmt: skip
_SERIES = Table(
    "modelwright_series", _TABLES,
    Column("model", String(100), primary_key=True),
    Column("name", String(LONGEST_NAME), primary_key=True),
    Column("at", Float, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)  # fmt: skip


class Point(msgspec.Struct, frozen=True):
    """One value of a series that the report draws: `at` is Unix time of a window's end."""

    at: float
    value: float
    low: float | None = None
    high: float | None = None
    rows: int = 0
    version: str = ""


def _finite(point: Point) -> Point | None:
    """As JSON can hold it: without ends that are not known; None where the value is none.

    Example:
        >>> _finite(Point(1.0, 2.0, float("-inf"), 3.0))
        Point(at=1.0, value=2.0, low=None, high=3.0, rows=0, version='')
        >>> _finite(Point(1.0, float("nan")))
    """
    if not math.isfinite(point.value):
        return None
    low, high = (
        None if end is None or not math.isfinite(end) else end for end in (point.low, point.high)
    )
    return msgspec.structs.replace(point, low=low, high=high)


class Said(msgspec.Struct, frozen=True):
    """An event of a model, as it is kept: what opened or was resolved, or what was done."""

    at: float
    model: str
    event: Event | None = None
    done: str = ""
    finding: Finding | None = None


class Memory:
    """States, events and series of every watched model.

    Args:
        database: the watch database.
    """

    def __init__(self, database: Database) -> None:
        self._engine = database.engine
        database.make(_TABLES)

    @contextmanager
    def change(self) -> Iterator[Any]:
        """A transaction; nothing of it is kept when the block raises."""
        with self._engine.begin() as connection:
            yield connection

    def state(self, model: str, part: str) -> bytes | None:
        """What was remembered last."""
        query = sqlalchemy.select(_STATES.c.data).where(
            _STATES.c.model == model, _STATES.c.part == part
        )
        with self._engine.connect() as connection:
            found = connection.scalar(query)
            return None if found is None else bytes(found)

    def states(self, model: str) -> dict[str, bytes]:
        """part -> what was remembered last."""
        query = sqlalchemy.select(_STATES.c.part, _STATES.c.data).where(_STATES.c.model == model)
        with self._engine.connect() as connection:
            return {part: bytes(data) for part, data in connection.execute(query)}

    def models(self) -> list[str]:
        """Models that anything is remembered of."""
        with self._engine.connect() as connection:
            query = sqlalchemy.select(_STATES.c.model).distinct().order_by(_STATES.c.model)
            return list(connection.scalars(query))

    def remember(self, connection: Any, model: str, part: str, at: float, data: bytes) -> None:
        """Replace a part's state, in the caller's transaction."""
        key = sqlalchemy.and_(_STATES.c.model == model, _STATES.c.part == part)
        connection.execute(sqlalchemy.delete(_STATES).where(key))
        values = {"model": model, "part": part, "at": at, "data": data}
        connection.execute(sqlalchemy.insert(_STATES).values(values))

    def say(self, connection: Any, said: Sequence[Said]) -> None:
        """Add events, in the caller's transaction."""
        for one in said:
            values = {"model": one.model, "at": one.at, "data": msgspec.json.encode(one)}
            connection.execute(sqlalchemy.insert(_EVENTS).values(values))

    def said(self, model: str, since: float = float("-inf")) -> list[Said]:
        """Events of a model, oldest first."""
        query = (
            sqlalchemy.select(_EVENTS.c.data)
            .where(_EVENTS.c.model == model, _EVENTS.c.at >= max(since, -1e18))
            .order_by(_EVENTS.c.number)
        )
        with self._engine.connect() as connection:
            rows = connection.scalars(query)
            return [msgspec.json.decode(data, type=Said) for data in rows]

    def note(self, connection: Any, model: str, series: Mapping[str, Sequence[Point]]) -> None:
        """Add points; one of the same time takes the place of the one before, one without a value
        is left out. Names are cut at what the database holds."""
        for given, points in series.items():
            name = given[:LONGEST_NAME]
            for point in filter(None, map(_finite, points)):
                key = sqlalchemy.and_(
                    _SERIES.c.model == model, _SERIES.c.name == name, _SERIES.c.at == point.at
                )
                connection.execute(sqlalchemy.delete(_SERIES).where(key))
                values = {
                    "model": model, "name": name, "at": point.at,
                    "data": msgspec.json.encode(point),
                }  # fmt: skip
                connection.execute(sqlalchemy.insert(_SERIES).values(values))

    def series(self, model: str, since: float = float("-inf")) -> dict[str, list[Point]]:
        """name -> points, oldest first."""
        query = (
            sqlalchemy.select(_SERIES.c.name, _SERIES.c.data)
            .where(_SERIES.c.model == model, _SERIES.c.at >= max(since, -1e18))
            .order_by(_SERIES.c.name, _SERIES.c.at)
        )
        found: dict[str, list[Point]] = {}
        with self._engine.connect() as connection:
            for name, data in connection.execute(query):
                found.setdefault(name, []).append(msgspec.json.decode(data, type=Point))
        return found

    def forget(self, before: float, model: str = "") -> None:
        """Remove events and points of before a time, of one model or of all; states stay."""
        with self._engine.begin() as connection:
            for table in (_EVENTS, _SERIES):
                own = table.c.model == model if model else sqlalchemy.true()
                old = sqlalchemy.and_(table.c.at < before, own)
                connection.execute(sqlalchemy.delete(table).where(old))
