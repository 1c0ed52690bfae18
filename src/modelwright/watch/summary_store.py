"""Summaries of minutes, kept in SQLite on one machine, or in PostgreSQL where a DSN is given.

A file of the journal is counted once: its name and its minutes are written in one transaction, so a
kill leaves both or neither, and whoever tries again finds the name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.compute as pc
import sqlalchemy
from sqlalchemy import BigInteger, Column, LargeBinary, String, Table

from modelwright.core.records import Manifest
from modelwright.serve.journal_files import files, segment
from modelwright.serve.journal_segment import SHADOW
from modelwright.serve.journal_store import folder_name, place_of
from modelwright.watch.database import Database, inserted
from modelwright.watch.summaries import MINUTE, Plan, Summary

_MOST_NAMES = 500
_LOG = logging.getLogger("modelwright.watch")
_TABLES = sqlalchemy.MetaData()
_COUNTED = Table(
    "modelwright_counted", _TABLES,
    Column("segment", String(400), primary_key=True),
    Column("minute", BigInteger, nullable=False),
)  # fmt: skip
_PASSED = Table(
    "modelwright_passed", _TABLES,
    Column("segment", String(400), primary_key=True),
    Column("minute", BigInteger, nullable=False),
    Column("model", String(100), nullable=False),
    Column("version", String(100), nullable=False),
    Column("digest", String(64), nullable=False),
)  # fmt: skip
"""Files that were read and not counted: of a version that nobody knows, or damaged (no digest)."""
_MINUTES = Table(
    "modelwright_minutes", _TABLES,
    Column("model", String(100), primary_key=True),
    Column("version", String(100), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("minute", BigInteger, primary_key=True),
    Column("rows", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)  # fmt: skip


class Passed(msgspec.Struct, frozen=True):
    """Whose answers are in a file that could not be counted."""

    model: str
    version: str
    digest: str


DAMAGED = Passed("", "", "")


class SummaryStore:
    """Minutes of every version.

    Args:
        where: a file for SQLite, the DSN of a PostgreSQL (`postgresql+psycopg://...`), or a
            database that others use as well.

    Raises:
        sqlalchemy.exc.OperationalError: there is no such database.

    Example:
        store = SummaryStore("watch.db")
        count_journal(store, "journal", manifest_of)
        store.window(Plan.of(manifest), "shop", "3", digest, begin, end)
    """

    def __init__(self, where: str | Path | Database) -> None:
        self._database = where if isinstance(where, Database) else Database(where)
        self._engine = self._database.engine
        self._known: set[str] = set()
        self._database.make(_TABLES)

    def close(self) -> None:
        """End its connections."""
        self._database.close()

    def counted(self, names: Iterable[str]) -> set[str]:
        """Which of these files of the journal were counted already; of one that was the database
        is not asked again."""
        wanted = set(names)
        found = wanted & self._known
        asked = sorted(wanted - found)
        with self._engine.connect() as connection:
            for start in range(0, len(asked), _MOST_NAMES):
                part = asked[start : start + _MOST_NAMES]
                query = sqlalchemy.select(_COUNTED.c.segment).where(_COUNTED.c.segment.in_(part))
                found.update(connection.scalars(query))
        self._known = set(found)
        return found

    def passed(self) -> dict[str, Passed]:
        """Files that were read once and could not be counted -> whose they are."""
        with self._engine.connect() as connection:
            found = connection.execute(sqlalchemy.select(_PASSED))
            return {r.segment: Passed(r.model, r.version, r.digest) for r in found}

    def pass_over(self, name: str, minute: int, whose: Passed) -> None:
        """Remember that a file was read and cannot be counted."""
        values = {"segment": name, "minute": minute, **msgspec.structs.asdict(whose)}
        with self._engine.begin() as connection:
            inserted(connection, _PASSED, values)

    def add(
        self, name: str, model: str, version: str, digest: str, minutes: Mapping[int, Summary]
    ) -> bool:
        """Add a file's minutes to those that are there, once.

        Args:
            name: of the file, below the journal.
            model, version, digest: whose answers they are; the digest is of its manifest.
            minutes: of `Plan.count`.

        Returns:
            False where the file was counted before: then nothing is changed.
        """
        with self._engine.begin() as connection:
            self._database.lock(connection, f"{model}/{version}")
            last = max(minutes, default=0)
            new = inserted(connection, _COUNTED, {"segment": name, "minute": last})
            if not new:
                return False
            connection.execute(sqlalchemy.delete(_PASSED).where(_PASSED.c.segment == name))
            key = {"model": model, "version": version, "digest": digest}
            for minute, summary in sorted(minutes.items()):
                self._add_minute(connection, {**key, "minute": minute}, summary)
        return True

    def minutes(
        self, plan: Plan, model: str, version: str, digest: str, begin: int, end: int
    ) -> dict[int, Summary]:
        """Unix time of a minute's begin -> its summary, of those that have answers, from `begin`
        to before `end`."""
        query = (
            sqlalchemy.select(_MINUTES.c.minute, _MINUTES.c.data)
            .where(_MINUTES.c.model == model, _MINUTES.c.version == version)
            .where(_MINUTES.c.digest == digest)
            .where(_MINUTES.c.minute >= begin, _MINUTES.c.minute < end)
            .order_by(_MINUTES.c.minute)
        )
        with self._engine.connect() as connection:
            return {minute: plan.decoded(data) for minute, data in connection.execute(query)}

    def window(
        self, plan: Plan, model: str, version: str, digest: str, begin: int, end: int
    ) -> Summary:
        """The sum of those minutes."""
        found = plan.empty()
        for summary in self.minutes(plan, model, version, digest, begin, end).values():
            found += summary
        return found

    def rows(self, model: str, version: str, digest: str, since: int = 0) -> dict[int, int]:
        """Unix time of a minute's begin -> answered rows, by which a window is closed; no summary
        is decoded."""
        query = (
            sqlalchemy.select(_MINUTES.c.minute, _MINUTES.c.rows)
            .where(_MINUTES.c.model == model, _MINUTES.c.version == version)
            .where(_MINUTES.c.digest == digest, _MINUTES.c.minute >= since)
            .order_by(_MINUTES.c.minute)
        )
        with self._engine.connect() as connection:
            return {row.minute: row.rows for row in connection.execute(query)}

    def answers(self, model: str, version: str, digest: str, begin: int, end: int) -> int:
        """Answered rows of a time in whole minutes."""
        query = (
            sqlalchemy.select(sqlalchemy.func.coalesce(sqlalchemy.func.sum(_MINUTES.c.rows), 0))
            .where(_MINUTES.c.model == model, _MINUTES.c.version == version)
            .where(_MINUTES.c.digest == digest)
            .where(_MINUTES.c.minute >= begin, _MINUTES.c.minute < end)
        )
        with self._engine.connect() as connection:
            return int(connection.scalar(query) or 0)

    def versions(self) -> list[tuple[str, str, str]]:
        """(model, version, digest) of all that have minutes."""
        query = sqlalchemy.select(_MINUTES.c.model, _MINUTES.c.version, _MINUTES.c.digest)
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query.distinct())]

    def forget(self, before: int, model: str = "") -> None:
        """Remove minutes, and names of files that ended, before a Unix time.

        Keep more than the journal keeps: a file whose name is forgotten would be counted again.

        Args:
            model: only its own; empty for all.
        """
        self._known = set()
        with self._engine.begin() as connection:
            for table in (_MINUTES, _COUNTED, _PASSED):
                old = table.c.minute < before
                if model and table is _MINUTES:
                    old = sqlalchemy.and_(old, table.c.model == model)
                elif model:
                    own = table.c.segment.startswith(f"{folder_name(model)}/", autoescape=True)
                    old = sqlalchemy.and_(old, own)
                connection.execute(sqlalchemy.delete(table).where(old))

    def _add_minute(self, connection: Any, key: dict[str, Any], summary: Summary) -> None:
        same = sqlalchemy.and_(*[_MINUTES.c[name] == value for name, value in key.items()])
        known = connection.scalar(sqlalchemy.select(_MINUTES.c.data).where(same))
        if known is None:
            values = {**key, "rows": summary.rows, "data": summary.encoded()}
            connection.execute(sqlalchemy.insert(_MINUTES).values(values))
            return
        joined = summary.plan.decoded(known) + summary
        values = {"rows": joined.rows, "data": joined.encoded()}
        connection.execute(sqlalchemy.update(_MINUTES).where(same).values(values))


def count_journal(
    store: SummaryStore,
    to: str | Path,
    manifest_of: Callable[[str, str, str], Manifest | None],
    model: str = "",
    grain: int = MINUTE,
) -> int:
    """Count every file of a journal that was not counted yet.

    Args:
        store: of the summaries.
        to: the journal's folder or URL.
        manifest_of: (model, version, digest) -> the manifest, or None for a model that is not
            known here: its files are read once, and once more when it is known.
        model: only this one; empty for all.
        grain: seconds that a summary covers.

    Returns:
        How many files were counted.

    Raises:
        OSError: the journal cannot be read.
    """
    place = place_of(str(to))
    found = files(to, model)
    done = store.counted(file.name for file in found)
    passed = store.passed()
    plans: dict[Passed, Plan | None] = {DAMAGED: None}

    def plan_of(whose: Passed) -> Plan | None:
        if whose not in plans:
            manifest = manifest_of(whose.model, whose.version, whose.digest)
            plans[whose] = None if manifest is None else Plan.of(manifest)
        return plans[whose]

    count = 0
    for file in found:
        before = passed.get(file.name)
        if file.name in done or (before is not None and plan_of(before) is None):
            continue
        try:
            one = segment(place, file)
        except FileNotFoundError:
            continue  # retention was faster
        except (ValueError, KeyError) as error:
            _LOG.warning("%s of the journal is damaged and passed over: %s", file.name, error)
            store.pass_over(file.name, int(file.end), DAMAGED)
            continue
        plan = plan_of(whose := Passed(one.model, one.version, one.digest))
        if plan is None:
            store.pass_over(file.name, int(file.end), whose)
            continue
        minutes = plan.count(of_callers(one.table), grain)
        count += store.add(file.name, one.model, one.version, one.digest, minutes)
    return count


def of_callers(table: Any) -> Any:
    """Without what a shadow said, which no caller got."""
    if "arm" not in table.column_names:
        return table
    return table.filter(pc.not_equal(table["arm"].cast("string"), SHADOW))
