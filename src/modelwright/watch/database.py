"""The watch database: SQLite on one machine, or PostgreSQL where a DSN is given.

Several modules keep their tables in it, so that what belongs together is written in one
transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import MetaData, Table

from modelwright.core.errors import UsageError

WAIT_SECONDS = 60
"""How long SQLite waits for another process that writes."""


class Database:
    """A place for tables.

    Args:
        where: a file for SQLite, or the DSN of a PostgreSQL (`postgresql+psycopg://...`).

    Attributes:
        engine: SQLAlchemy's.
        is_postgres: whether other machines may use it too.

    Example:
        database = Database("watch.db")
        outbox = Outbox(database, targets)
        with database.engine.begin() as connection:
            outbox.queue(connection, alerts, time.time())
    """

    def __init__(self, where: str | Path) -> None:
        text = str(where)
        more: dict[str, Any] = {}
        if "://" not in text:
            text, more = f"sqlite:///{text}", {"connect_args": {"timeout": WAIT_SECONDS}}
        self.engine = sqlalchemy.create_engine(text, **more)
        self.is_postgres = self.engine.dialect.name == "postgresql"

    def make(self, tables: MetaData) -> None:
        """Make the tables that are not there.

        Raises:
            sqlalchemy.exc.OperationalError: there is no such database.
        """
        with self.engine.begin() as connection:
            self.lock(connection, "tables")
            tables.create_all(connection)

    def lock(self, connection: Any, name: str) -> None:
        """One writer a name, to the transaction's end; SQLite has one for everything, from its
        first insertion on."""
        if self.is_postgres:
            text = "SELECT pg_advisory_xact_lock(hashtext(:name))"
            connection.execute(sqlalchemy.text(text), {"name": f"modelwright {name}"})

    def close(self) -> None:
        """End its connections."""
        self.engine.dispose()


class Sole:
    """One process at a time, whatever machine it is on: a lock of PostgreSQL that lasts as long as
    its connection, so that whoever dies lets go. With SQLite it says yes to everybody: who shares a
    file shares a machine, and locks another file.

    Args:
        database: where to be alone.
        name: as what.
        told, hint: of the error.
    """

    def __init__(self, database: Database, name: str, told: str, hint: str) -> None:
        self._database, self._name, self._told, self._hint = database, name, told, hint
        self._connection: Any = None

    def check(self) -> None:
        """Take the lock, or see that it is still held; call it before each thing that is done.

        Raises:
            UsageError: another process holds it; also where the connection was lost and another
                one was faster, or the server does not know yet that it was lost.
            sqlalchemy.exc.OperationalError: there is no such database.
        """
        if not self._database.is_postgres:
            return
        if self._connection is not None:
            try:
                self._connection.execute(sqlalchemy.text("SELECT 1"))
                return
            except sqlalchemy.exc.DBAPIError:
                self.close()
        engine = self._database.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._connection = engine.connect()
        text = "SELECT pg_try_advisory_lock(hashtext('modelwright alone'), hashtext(:name))"
        if not self._connection.scalar(sqlalchemy.text(text), {"name": self._name}):
            self.close()
            raise UsageError(self._told, hint=self._hint)

    def close(self) -> None:
        """Let go."""
        if self._connection is not None:
            self._connection.invalidate()  # back in the pool it would go on holding the lock
            self._connection.close()
            self._connection = None


def inserted(connection: Any, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row; False where its key is there already, and then nothing is changed."""
    names = ", ".join(values)
    places = ", ".join(f":{name}" for name in values)
    text = f"INSERT INTO {table.name} ({names}) VALUES ({places}) ON CONFLICT DO NOTHING"  # noqa: S608 - our names
    return bool(connection.execute(sqlalchemy.text(text), values).rowcount)
