"""Requests that a version failed and nobody answered in its place, on record beside the journal.

Only while there is a canary: its verdict counts them, each in its minute. They have no answer, so
they are no rows of the journal, and whoever reads that does not see them:
`<to>/.unanswered/<model>/<version>/<day>/<begin>-<end>-<process>-<number>.unanswered.parquet`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from modelwright.core.intake import Feeds
from modelwright.serve.journal_segment import CALLER, strings
from modelwright.serve.journal_store import Place, file_name
from modelwright.serve.journal_wire import Failure
from modelwright.serve.journal_words import LONGEST
from modelwright.serve.labels import arrow

if TYPE_CHECKING:
    from modelwright.serve.live import LiveModel

FOLDER = ".unanswered"
_NAME = re.compile(r"/(\d{13})-(\d{13})-[0-9a-f]{12}-\d+\.unanswered\.parquet$")


class Unanswered(NamedTuple):
    """One request.

    Attributes:
        live: the version that should have answered.
        arm: champion or canary.
        ended: `time.perf_counter()` of the error.
        status: the HTTP code that its caller got.
        feeds: its rows; features of the first one are kept, those that are not private.
        caller: see `messages.Answered`.
    """

    live: LiveModel
    arm: str
    id: str
    ended: float
    status: int
    feeds: Feeds
    caller: str = ""


def failure(one: Unanswered, offset: float) -> Failure:
    """It, as the journal's process is told of it.

    Args:
        one: the request.
        offset: Unix time less `time.perf_counter()`.
    """
    live = one.live
    return Failure(
        live.model, live.version, one.arm, one.id[:LONGEST], one.ended + offset, one.status,
        json.dumps(_first(one)), one.caller,
    )  # fmt: skip


def encoded(found: Sequence[Failure], token: str, number: int) -> tuple[str, bytes]:
    """(name, bytes) of a file.

    Args:
        found: of one model; not empty.
        token, number: see `journal_store.file_name`.
    """
    pa, parquet = arrow()
    times = np.array([one.ended for one in found])
    table = pa.table({
        "request_id": strings(pa, [one.id for one in found]),
        "time": pa.array((times * 1e6).astype(np.int64)).cast(pa.timestamp("us", tz="UTC")),
        "version": pa.array([one.version for one in found]),
        "arm": pa.array([one.arm for one in found]),
        "status": pa.array([one.status for one in found], pa.int32()),
        "features": strings(pa, [one.features for one in found]),
        CALLER: pa.array([one.caller or None for one in found], pa.string()),
    })  # fmt: skip
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd")
    begin, end = float(times.min()), float(times.max())
    first = found[0]
    name = file_name(first.model, first.version, begin, end, token, number)
    name = f"{FOLDER}/{name.removesuffix('.parquet')}.unanswered.parquet"
    return name, sink.getvalue().to_pybytes()


def read(place: Place, folder: str, begin: float, end: float) -> Any:
    """Those of a time as one `pyarrow.Table`: request_id, time, version, arm, status, features (a
    JSON object of texts), caller; None for none.

    Args:
        place: of the journal.
        folder: `journal_store.folder_name` of the model.
        begin, end: Unix times, the end not included.

    Raises:
        OSError: the place cannot be read.
    """
    pa, parquet = arrow()
    tables = []
    for name, first, last in _files(place, folder):
        if last < begin or first >= end:
            continue
        try:
            tables.append(parquet.read_table(pa.BufferReader(place.get(name))))
        except FileNotFoundError:
            continue  # retention was faster
    if not tables:
        return None
    table = pa.concat_tables(tables, promote_options="default")
    times = table["time"].cast("int64").to_numpy() / 1e6
    return table.filter(pa.array((times >= begin) & (times < end)))


def sweep(place: Place, now: float, keep: float) -> None:
    """Remove files that are older than `keep` seconds."""
    for name, _, last in list(_files(place, "")):
        if last < now - keep:
            place.remove(name)


def _files(place: Place, folder: str) -> list[tuple[str, float, float]]:
    under = f"{FOLDER}/{folder}".rstrip("/")
    found = [(name, _NAME.search(name)) for name, _ in place.names(under)]
    return sorted((name, int(m[1]) / 1e3, int(m[2]) / 1e3) for name, m in found if m is not None)


def _first(one: Unanswered) -> dict[str, str]:
    """Features of the first row, as texts that equal those of the journal's values."""
    found = {}
    for column in one.live.schema.features:
        values = one.feeds.get(column.name)
        if values is None or column.private or column.kind == "datetime":
            continue
        value = values[:1].tolist()[0]
        if value == "" or value != value:
            continue  # missing: in the journal it is null
        found[column.name] = str(value == 1.0) if column.kind == "boolean" else str(value)
    return found
