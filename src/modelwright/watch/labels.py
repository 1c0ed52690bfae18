"""Answers and what was true of them: the journal joined with its labels, by DuckDB.

Files on this machine DuckDB reads itself; those of a URL come through pyarrow. What a label says
and which one holds: see `serve.labels`. The extra `watch` is needed here.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import msgspec
import pyarrow as pa

from modelwright.serve.journal import is_sampled
from modelwright.serve.journal_files import files, plain, segment
from modelwright.serve.journal_segment import PROBABILITY, strings
from modelwright.serve.journal_store import File, Folder, Place, place_of
from modelwright.serve.labels import read
from modelwright.watch.label_news import News, Remembered, is_news, last_of

ALWAYS, NEVER = float("-inf"), float("inf")
MOST_PENDING = 100_000
"""Labels without an answer that a cursor remembers; beyond that the oldest are given up."""
PATIENCE = 86_400.0
"""Seconds for which they are remembered: an answer is on record within a minute or so."""
SLACK = 86_400.0
"""Seconds by which a file of labels may appear late, or the clocks of servers differ."""
_KEY = ("request_id", "row", "time", "version", "prediction")
_DELIVERED = (*_KEY, "arm", "score")
_SAID = ("request_id", "row", "label", "value", "time", "arrived")
_NO_ANSWERS = pa.schema(
    [("request_id", pa.string()), ("row", pa.int32()), ("time", pa.timestamp("us", tz="UTC")),
     ("version", pa.string()), ("arm", pa.string()), ("prediction", pa.string()),
     ("score", pa.float64())]
)  # fmt: skip
_TRIES = 5
Found = TypeVar("Found")


_HOLDS = """
    CREATE MACRO holds(statements) AS TABLE
    SELECT request_id, row, unnest(arg_max({'label': label, 'value': value,
        'label_time': first_time, 'label_arrived': first_arrived, 'said': last.time}, last))
    FROM (
        SELECT request_id, row, label, any_value(value) AS value, min(time) AS first_time,
            min(arrived) AS first_arrived,
            max({'time': time, 'arrived': arrived, 'label': label}) AS last
        FROM query_table(statements) GROUP BY request_id, row, label
    ) GROUP BY request_id, row
"""
"""Of each answer the label that was said last, and since when. Maxima and minima are the same when
a statement is read twice, or in another order."""
_FRESH = """
    CREATE TEMP TABLE marked AS
        SELECT s.*, batch > coalesce(seen, -1) AS is_new
        FROM statements s LEFT JOIN seen USING (sender);
    CREATE TEMP TABLE touched AS
        SELECT * FROM marked SEMI JOIN (SELECT * FROM marked WHERE is_new) USING (request_id, row);
    CREATE TEMP TABLE earlier AS SELECT * FROM touched WHERE NOT is_new;
    CREATE TEMP TABLE fresh AS
        SELECT l.*, CASE WHEN p.row IS NULL THEN b.label END AS label_before,
            CASE WHEN p.row IS NULL THEN b.value END AS value_before
        FROM holds('touched') l LEFT JOIN holds('earlier') b USING (request_id, row)
        LEFT JOIN pending p USING (request_id, row)
        WHERE b.label IS DISTINCT FROM l.label;
    CREATE TEMP TABLE awaited AS
        SELECT s.* FROM statements s SEMI JOIN pending USING (request_id, row);
    CREATE TEMP TABLE waiting AS
        SELECT *, NULL::VARCHAR AS label_before, NULL::DOUBLE AS value_before
        FROM holds('awaited') ANTI JOIN fresh USING (request_id, row)
"""
"""Labels that say something new, and those whose answer was not there."""
_MATCHED = """
    SELECT * FROM (
        SELECT * FROM answers JOIN fresh USING (request_id, row)
        UNION ALL BY NAME
        SELECT * FROM unseen JOIN waiting USING (request_id, row)
    ) QUALIFY row_number() OVER (PARTITION BY request_id, row
        ORDER BY arm = 'shadow', time DESC, version DESC) = 1
"""


_LABELLED = """
    SELECT a.*, l.* EXCLUDE (request_id, row)
    FROM answers a JOIN holds('statements') l USING (request_id, row)
"""
_ANSWERED = _LABELLED.replace(" JOIN ", " LEFT JOIN ")


class Cursor(msgspec.Struct, frozen=True):
    """How far somebody has followed the labels of a model; the same after a trip through JSON.

    Attributes:
        senders: process that wrote labels -> number of its last file that was read.
        journals: process that answered -> number of its last file that was searched.
        pending: (request id, row, arrival in microseconds) of labels whose answer is not there.
        looked: Unix time of the last look.
        given_up: labels whose answer never came.
    """

    senders: dict[str, int] = {}
    journals: dict[str, int] = {}
    pending: tuple[tuple[str, int, int], ...] = ()
    looked: float = ALWAYS
    given_up: int = 0


def joined(
    to: str | Path,
    model: str,
    version: str = "",
    begin: float = ALWAYS,
    end: float = NEVER,
    columns: Sequence[str] | None = None,
    *,
    labelled: bool = False,
) -> pa.Table:
    """Every answered row of a time, with its label where there is one; those of a shadow are among
    them, by their `arm`.

    Args:
        to: the journal's folder or URL.
        model, version: an empty version for all.
        begin, end: Unix times of the answers, the end not included.
        columns: of the journal; None for all. Those that no file has are left out.
        labelled: only those that have a label.

    Returns:
        These columns, then `label` (text, or a number where the prediction is one; null for none
        yet), `label_time` and `label_arrived`: when this label was first said, and known here.

    Raises:
        OSError: the journal cannot be read. A folder that is not there yet has no rows.
    """

    def work() -> pa.Table:
        place = place_of(str(to))
        statements = read(place, model, columns=_SAID)
        found = files(to, model, version, begin, end)
        with _opened(place, {"answers": found}, columns, statements=statements) as database:
            known = database.table("answers").columns
            shown = known if columns is None else [name for name in columns if name in known]
            pairs = database.sql(_LABELLED if labelled else _ANSWERED)
            given = [*map(_quoted, shown), _label(database), "label_time", "label_arrived"]
            return _table(pairs.filter(_within("time", begin, end)).project(", ".join(given)))

    return _tried(work)


def orphans(to: str | Path, model: str, begin: float = ALWAYS, end: float = NEVER) -> int:
    """How many rows have a label that became known in a time, but no answer in the journal."""

    def work() -> int:
        place = place_of(str(to))
        statements = read(place, model, columns=_SAID)
        with _opened(place, {"answers": files(to, model)}, (), statements=statements) as database:
            found = database.sql(
                "SELECT l.* FROM holds('statements') l ANTI JOIN answers USING (request_id, row)"
            )
            [[count]] = found.filter(_within("label_arrived", begin, end)).count("*").fetchall()
            return int(count)

    return _tried(work)


def held(place: Place, model: str, ids: Sequence[str]) -> dict[tuple[str, int], tuple[str, int]]:
    """(request id, row) -> (label, time in microseconds) of the labels that hold, of these ids."""
    statements = read(place, model, columns=_SAID)
    wanted = pa.table({"request_id": strings(pa, list(set(ids)))})
    with _opened(place, {}, (), statements=statements, wanted=wanted) as database:
        database.execute(
            "CREATE TEMP TABLE chosen AS SELECT * FROM statements SEMI JOIN wanted "
            "USING (request_id)"
        )
        found = database.sql(
            "SELECT request_id, row, label, epoch_us(said) FROM holds('chosen')"
        ).fetchall()
    return {(id, row): (label, moment) for id, row, label, moment in found}


def arrived_since(
    to: str | Path,
    model: str,
    cursor: Cursor | None = None,
    *,
    columns: Sequence[str] = (),
    sample: float = 1.0,
    now: float | None = None,
    remembered: Path | None = None,
) -> tuple[pa.Table, Cursor]:
    """Labels that have become known since the last call, each once, beside its answer.

    A label that says what was known already is not delivered again; one that corrects it is, with
    what it was before in `label_before`. A label whose answer is not on record is delivered when
    that appears, if it does so within a day. Of answers with the same id the last one counts.

    Args:
        to, model: see `joined`.
        cursor: of the last call; None for everything there is. Store it together with what was
            made of the labels: then each is counted once, whatever is killed.
        columns: of the journal, beside the usual ones.
        sample: `serve.journal.sample`: who was never recorded is not waited for.
        now: Unix time.
        remembered: a folder in which it is kept what files have which ids: then a call costs what
            is new, else it reads all files again once a label is. One process at a time.

    Returns:
        (request_id, row, time, version, prediction, arm, score, each `p_...`, the named columns,
        label, label_time, label_arrived, label_before; in the order of arrival, those that came
        together in the order of their answers), the new cursor.

    Raises:
        OSError: the journal cannot be read.
    """
    before, moment = cursor or Cursor(), time.time() if now is None else now
    known = None if remembered is None else Remembered(remembered)
    return _tried(lambda: _look(str(to), model, before, columns, sample, moment, known))


def _look(
    to: str,
    model: str,
    cursor: Cursor,
    columns: Sequence[str],
    sample: float,
    now: float,
    remembered: Remembered | None,
) -> tuple[pa.Table, Cursor]:
    place = place_of(to)
    found = files(to, model)  # before the labels: an answer that comes later is searched next time
    unseen = [one for one in found if _number(one)[1] > cursor.journals.get(_number(one)[0], -1)]
    if remembered is None:
        news = _read_anew(place, model, cursor, has_unseen=bool(unseen))
        answers = found if news.has_new else unseen or found[-1:]
    else:
        news = remembered.news(place, model, cursor, has_unseen=bool(unseen))
        answers = remembered.answers(place, found, news.new_ids) or unseen or found[-1:]
    seen = {"sender": list(cursor.senders), "seen": list(cursor.senders.values())}
    tables = {
        "statements": news.statements,
        "seen": pa.table(seen, schema=pa.schema([("sender", pa.string()), ("seen", pa.int64())])),
        "pending": _pending(cursor.pending),
    }
    wanted = (*_DELIVERED, *columns)
    with _opened(place, {"answers": answers, "unseen": unseen}, wanted, **tables) as database:
        table, pending = _delivered(database, columns)
    if not news.has_awaited:  # no answer came for which a label waited
        known = {(id, row) for id, row, _ in pending}
        pending = [*pending, *(one for one in cursor.pending if one[:2] not in known)]
        pending.sort(key=lambda one: one[2])
    awaited = [one for one in pending if is_sampled(one[0], sample)]
    kept = [one for one in awaited if one[2] / 1e6 > now - PATIENCE][-MOST_PENDING:]
    return table, Cursor(
        senders=news.senders,
        journals=_searched(found),
        pending=tuple(kept),
        looked=now,
        given_up=cursor.given_up + len(awaited) - len(kept),
    )


def _read_anew(place: Place, model: str, cursor: Cursor, *, has_unseen: bool) -> News:
    """Everything that was ever said, where anything is new."""
    recent = last_of(read(place, model, cursor.looked - SLACK, ("sender", "batch")))
    is_idle = not is_news(recent, cursor.senders) and not (cursor.pending and has_unseen)
    statements = read(place, model, NEVER if is_idle else ALWAYS)
    last = last_of(statements)
    has_new = is_news(last, cursor.senders)
    return News(statements, cursor.senders if is_idle else last, has_new, not is_idle)


def _delivered(
    database: Any, columns: Sequence[str]
) -> tuple[pa.Table, list[tuple[str, int, int]]]:
    database.execute(_FRESH)
    names = database.table("answers").columns
    shown = [name for name in _DELIVERED if name in names]
    shown += [name for name in names if name.startswith(PROBABILITY)]
    shown += [name for name in columns if name in names and name not in shown]
    labels = [_label(database), _label(database, "value_before", "label_before")]
    given = [*map(_quoted, shown), labels[0], "label_time", "label_arrived", labels[1]]
    database.sql(_MATCHED).project(", ".join(given)).create("matched")
    table = _table(database.table("matched").order("label_arrived, time, request_id, row"))
    pending = database.sql("""
        SELECT request_id, row, epoch_us(label_arrived) AS arrived
        FROM (SELECT * FROM fresh UNION ALL SELECT * FROM waiting)
        ANTI JOIN matched USING (request_id, row) ORDER BY arrived, request_id, row
    """).fetchall()
    return table, list(pending)


@contextlib.contextmanager
def _opened(
    place: Place,
    answers: Mapping[str, list[File]],
    columns: Iterable[str] | None,
    **tables: pa.Table,
) -> Iterator[Any]:
    """A database of its own, with views over files of the journal, and tables."""
    settings: dict[str, Any] = {
        "autoinstall_known_extensions": False,
        "temp_directory": tempfile.gettempdir(),
    }
    with duckdb.connect(":memory:", config=settings) as database:
        database.execute("SET TimeZone = 'UTC'")
        database.execute(_HOLDS)
        for name, table in tables.items():
            database.register(name, table)
        for name, found in answers.items():
            paths = _paths(place, found)
            if paths:
                database.read_parquet(paths, union_by_name=True).create_view(name)
            elif not found and name != "answers":  # of the same types
                database.sql("SELECT * FROM answers LIMIT 0").create_view(name)
            else:
                database.register(name, _fetched(place, found, columns))
        yield database


def _paths(place: Place, found: list[File]) -> list[str]:
    """Where DuckDB finds files by itself; nothing where it would not, or would see a pattern."""
    if not isinstance(place, Folder) or any(letter in str(place.root) for letter in "*?[]{}"):
        return []
    return [str(place.root / file.name) for file in found]


def _fetched(place: Place, found: list[File], columns: Iterable[str] | None) -> pa.Table:
    wanted = None if columns is None else {*columns, *_KEY}
    tables = [_NO_ANSWERS.empty_table()]
    for file in found:
        with contextlib.suppress(FileNotFoundError):  # retention was faster
            table = plain(pa, segment(place, file).table)
            if wanted is not None:
                names = table.column_names
                table = table.select([n for n in names if n in wanted or n.startswith(PROBABILITY)])
            tables.append(table)
    if len(tables) > 1:
        tables = tables[1:]
    return pa.concat_tables(tables, promote_options="default")


def _label(database: Any, value: str = "value", label: str = "label") -> str:
    """The label in the type of the prediction."""
    types = dict(zip(*(getattr(database.table("answers"), n) for n in ("columns", "types")),
                     strict=True))  # fmt: skip
    is_number = "VARCHAR" not in str(types["prediction"])
    return f"{value} AS {label}" if is_number else label


def _table(relation: Any) -> pa.Table:
    return relation.to_arrow_table()


def _within(column: str, begin: float, end: float) -> str:
    parts = [f"epoch_us({column}) >= {int(begin * 1e6)}"] if begin > ALWAYS else []
    parts += [f"epoch_us({column}) < {int(end * 1e6)}"] if end < NEVER else []
    return " AND ".join(parts) or "true"


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _pending(pending: Sequence[tuple[str, int, int]]) -> pa.Table:
    ids, rows, _ = zip(*pending, strict=True) if pending else ((), (), ())
    schema = pa.schema([("request_id", pa.string()), ("row", pa.int32())])
    return pa.table([pa.array(ids, pa.string()), pa.array(rows, pa.int32())], schema=schema)


def _searched(found: Iterable[File]) -> dict[str, int]:
    """Process -> number of its last file of the journal."""
    last: dict[str, int] = {}
    for token, number in map(_number, found):
        last[token] = max(number, last.get(token, -1))
    return last


def _number(file: File) -> tuple[str, int]:
    """The process that wrote a file of the journal, and how many it had written before."""
    _, _, token, number = file.name.rsplit("/", 1)[1].removesuffix(".parquet").split("-")
    return token, int(number)


def _tried(work: Callable[[], Found]) -> Found:
    """Again where retention removed a file between the list and its reading."""
    for tries_left in range(_TRIES, 0, -1):
        try:
            return work()
        except duckdb.IOException as error:
            if tries_left == 1:
                raise OSError(str(error)) from error
    raise AssertionError  # the last try has returned or raised
