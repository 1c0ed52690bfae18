"""Being alone: with a real PostgreSQL."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from modelwright.core.errors import UsageError
from modelwright.watch.database import Database, Sole
from serve.running import until

ELSEWHERE = """
import sys, time
from modelwright.watch.database import Database, Sole
Sole(Database(sys.argv[1]), sys.argv[2], "told", "hint").check()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def name() -> str:
    return f"watch {secrets.token_hex(4)}"


@pytest.fixture
def database(postgres: str) -> Iterator[Database]:
    found = Database(postgres)
    yield found
    found.close()


def sole(database: Database, name: str) -> Sole:
    return Sole(database, name, "It is watched already.", "End the other one.")


def is_free(database: Database, name: str) -> bool:
    other = sole(database, name)
    try:
        other.check()
    except UsageError:
        return False
    other.close()
    return True


def test_one_at_a_time(database: Database, name: str) -> None:
    first = sole(database, name)
    first.check()
    first.check()
    with pytest.raises(UsageError, match="It is watched already"):
        sole(database, name).check()
    assert is_free(database, f"{name} and another")
    first.close()
    assert is_free(database, name)


def test_whoever_is_killed_lets_go(database: Database, name: str, postgres: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE, postgres, name], stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    assert not is_free(database, name)
    process.kill()
    process.wait(10)
    until(lambda: is_free(database, name), "the lock", 10)


def test_a_lost_connection_is_seen_and_the_lock_taken_again(database: Database, name: str) -> None:
    first = sole(database, name)

    def cut() -> None:
        query = (
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
            "AND classid::int4 = hashtext('modelwright alone') AND objid::int4 = hashtext(:name)"
        )
        with database.engine.begin() as connection:
            assert connection.execute(sqlalchemy.text(query), {"name": name}).scalar()

    first.check()
    cut()
    until(lambda: is_free(database, name), "the lock", 10)
    first.check()
    assert not is_free(database, name), "it is held again"
    cut()
    until(lambda: is_free(database, name), "the lock", 10)
    second = sole(database, name)
    second.check()
    with pytest.raises(UsageError, match="watched already"):
        first.check()
    second.close()
    first.check()
    first.close()


def test_with_sqlite_everybody_may(tmp_path: Path) -> None:
    database = Database(tmp_path / "watch.db")
    sole(database, "x").check()
    assert is_free(database, "x")
    database.close()
