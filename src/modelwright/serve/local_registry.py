"""MLflow's SQLite file of a project, read only and without MLflow."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from modelwright.core.errors import RegistryError
from modelwright.serve.aliases import BASELINE, DIGEST, RUN, Known

BUSY_SECONDS = 2.0
"""How long a read waits for a writer; a look whether there is something new never waits."""
DELETED = "Deleted_Internal"
_ALIASES = "SELECT alias, version FROM registered_model_aliases WHERE name = ?"
_TAGS = (
    "SELECT t.version, t.key, t.value FROM model_version_tags t JOIN model_versions v "
    "ON v.name = t.name AND v.version = t.version{join} "
    "WHERE t.name = ? AND t.key IN (?, ?, ?) AND v.current_stage IS NOT ?"
)


class LocalRegistry:
    """One model in a SQLite store; see `follow.Follower`.

    Args:
        path: the database file.
        model: the registered model's name.
    """

    def __init__(self, path: Path, model: str) -> None:
        self._path, self._model = path, model
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._version: int | None = None
        self._workspaces = False

    def changed(self) -> bool:
        """Whether anybody has committed something since the last read; never waits."""
        if self._connection is None or self._identity() != self._file:
            return True
        try:
            return self._data_version(self._connection) != self._version
        except sqlite3.Error:
            return False  # a writer has it: soon enough

    def read(self, versions: Sequence[str]) -> Known:
        """Aliases, and the tags of these versions and of all aliased ones.

        Raises:
            RegistryError: there is no such file, or it cannot be read now.
        """
        try:
            connection = self._opened()
            connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1e3:.0f}")
            try:
                return self._read(connection, versions)
            finally:
                connection.execute("PRAGMA busy_timeout = 0")
        except sqlite3.Error as error:
            self.close()
            raise RegistryError(f"{self._path} cannot be read: {error}.") from error

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._version = None, None

    def _read(self, connection: sqlite3.Connection, versions: Sequence[str]) -> Known:
        """In one transaction, so that aliases and versions are of one moment."""
        connection.execute("BEGIN")
        try:
            version = self._data_version(connection)
            more, there = "", []
            if self._workspaces:
                more = " AND workspace = ?"
                there = [os.environ.get("MLFLOW_WORKSPACE", "").strip() or "default"]
            rows = connection.execute(_ALIASES + more, (self._model, *there)).fetchall()
            aliases = {str(alias): str(number) for alias, number in rows}
            join = " AND v.workspace = t.workspace" if self._workspaces else ""
            found = connection.execute(
                _TAGS.format(join=join) + more.replace("workspace", "t.workspace"),
                (self._model, DIGEST, RUN, BASELINE, DELETED, *there),
            ).fetchall()
        finally:
            connection.execute("COMMIT")
        wanted = {*aliases.values(), *versions}
        tags: dict[str, dict[str, str]] = {}
        for number, key, value in found:
            if str(number) in wanted:
                tags.setdefault(str(number), {})[key] = value or ""
        self._version = version
        return Known(aliases, tags)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and self._identity() == self._file:
            return self._connection
        self.close()
        self._file = self._identity()
        if self._file is None:
            raise RegistryError(
                f"There is no registry at {self._path}.",
                hint="Begin with modelwright run, or name the project's folder.",
            )
        uri = f"file:{quote(str(self._path.resolve()))}?mode=ro"
        # the caller uses it in one thread at a time, but not always in the same one
        connection = sqlite3.connect(
            uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
        self._connection = connection
        columns = connection.execute("PRAGMA table_info(registered_model_aliases)").fetchall()
        self._workspaces = any(column[1] == "workspace" for column in columns)
        return connection

    def _identity(self) -> tuple[int, int] | None:
        """The file behind the path: a restored backup is another one."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    @staticmethod
    def _data_version(connection: sqlite3.Connection) -> int:
        """Changes when another connection commits. Source: sqlite.org/pragma.html."""
        return int(connection.execute("PRAGMA data_version").fetchone()[0])
