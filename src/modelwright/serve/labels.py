"""Where truths are kept: small Parquet files beside the journal, to which nothing is ever changed.

A label says what an answered row really was. Labels come late, several times and in any order, so a
file is a set of statements, and what holds is a function of all of them: of one answer the label
with the latest time, among equal times the one that arrived last. Reading a statement twice changes
nothing. Hence files may be merged without a transaction: the merged one is written, then its
sources are removed, and a kill between leaves statements that are there twice.

`<to>/.labels/<model>/<day of arrival>/<begin>-<end>-<sender>-<batch>.labels.parquet`: no model's
folder begins with a dot, and no file of a journal has such a name.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from modelwright.core.errors import MissingExtra
from modelwright.serve.journal_segment import strings
from modelwright.serve.journal_store import File, Place, folder_name

FOLDER = ".labels"
"""Where labels are, below the journal."""
COLUMNS = ("request_id", "row", "label", "value", "time", "arrived", "sender", "batch")
"""`label`: the class, or a number as text that reads back exactly; `value`: the number. Times are
UTC in microseconds. `sender`, `batch`: the process that wrote the label first, and its count of
files; they stay when files are merged, so that who follows labels knows which he had."""
FEW = 8
"""Files of about the same size that are worth merging while their day lasts."""
LARGEST = 32 * 2**20
"""Bytes from which a file is not merged any more."""
LOOKS = 3
"""How often a reader looks again while files go on to arrive."""
_NAME = re.compile(r"/(\d{13})-(\d{13})-[0-9a-f]{12}-\d+\.labels\.parquet$")


@dataclass
class Labels:
    """Checked labels as columns of equal length.

    Attributes:
        ids, rows: which answered rows they are of.
        labels: the class, or the number as text.
        values: the number; None for classes.
        times: of the labels, microseconds since 1970.
        arrived: the server's time in the same unit.
    """

    ids: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    arrived: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, place: int) -> Labels:
        """One of them."""
        part = slice(place, place + 1)
        return Labels(
            self.ids[part], self.rows[part], self.labels[part], self.values[part],
            self.times[part], self.arrived[part],
        )  # fmt: skip

    def extend(self, other: Labels) -> None:
        """Take those of another."""
        self.ids += other.ids
        self.rows += other.rows
        self.labels += other.labels
        self.values += other.values
        self.times += other.times
        self.arrived += other.arrived


class Sender:
    """Writes labels, a file each time it is told.

    Use one thread: who follows labels trusts that its files appear in the order of their numbers.

    Args:
        place: of the journal.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._token, self._number = secrets.token_hex(6), 0

    def send(self, model: str, labels: Labels) -> str:
        """Write labels of a model; they are durable when this returns.

        Returns:
            The file's name.

        Raises:
            OSError: it cannot be written; then it is not known whether it was.
        """
        number, self._number = self._number, self._number + 1
        table = _table(labels, self._token, number)
        name = _file_name(model, table, self._token, number)
        try:
            self._place.put(name, _encoded(table))
        except OSError:
            # it may yet appear: then it must be the last of its sender
            self._token, self._number = secrets.token_hex(6), 0
            raise
        return name


def files(place: Place, model: str = "") -> list[File]:
    """Files of labels, the earliest arrivals first.

    Raises:
        OSError: the place cannot be read.
    """
    under = f"{FOLDER}/{folder_name(model)}" if model else FOLDER
    found = []
    for name, size in place.names(under):
        match = _NAME.search(name)
        if match is not None:
            found.append(File(name, int(match[1]) / 1e3, int(match[2]) / 1e3, size))
    return sorted(found, key=lambda file: (file.begin, file.name))


def models(place: Place) -> list[str]:
    """Names of the models that have labels."""
    return sorted({unquote(file.name.split("/")[1]) for file in files(place)})


def read(
    place: Place, model: str, since: float = float("-inf"), columns: Iterable[str] = COLUMNS
) -> Any:
    """Every statement as it was written, as one `pyarrow.Table`; some may be there twice.

    While it reads others may merge files: then a file has gone, and what was in it is in a new one.
    So it looks again until there is nothing that it has not read.

    Args:
        since: Unix time; files whose last label arrived before are left out.

    Raises:
        MissingExtra: pyarrow is not installed.
        OSError: the place cannot be read.
    """
    pa, parquet = arrow()
    wanted = list(columns)
    done: dict[str, Any] = {}
    looks, is_whole = 0, False
    while looks < LOOKS or not is_whole:
        new = [f for f in files(place, model) if f.name not in done and f.end >= since]
        looks, is_whole = looks + 1, True
        for file in new:
            try:
                done[file.name] = _decoded(pa, parquet, place.get(file.name), wanted)
            except FileNotFoundError:
                is_whole = False
        if not new:
            break
    tables = [done[name] for name in sorted(done)]
    return pa.concat_tables(tables) if tables else _schema(pa, wanted).empty_table()


def read_one(place: Place, name: str, columns: Iterable[str] = COLUMNS) -> Any:
    """Every statement of one file; see `read`.

    Raises:
        FileNotFoundError: it was merged into another one, or is too old.
    """
    pa, parquet = arrow()
    return _decoded(pa, parquet, place.get(name), list(columns))


def compact(place: Place, model: str, now: float) -> int:
    """Merge small files of a model: what they say stays the same, whatever is killed when.

    While a day lasts only many files of about the same size are merged, so that a label is written
    again a few times only; the files of a day that is over become one. Anybody may call it at any
    time, also several at once.

    Args:
        now: Unix time.

    Returns:
        How many files fewer there are.

    Raises:
        OSError: the place cannot be read or written; nothing is lost.
    """
    gone = 0
    for group in list(_groups(files(place, model), now)):
        gone += _merge(place, model, [file.name for file in group])
    return gone


def sweep(place: Place, now: float, keep: float, model: str = "") -> int:
    """Remove files whose last label arrived more than `keep` seconds ago; how many.

    A label arrives after its answer, so it stays at least as long. `model`: only its own.
    """
    old = [file for file in files(place, model) if file.end < now - keep]
    for file in old:
        place.remove(file.name)
    return len(old)


def _groups(found: list[File], now: float) -> Iterator[list[File]]:
    today = _day(now)
    tiers: dict[tuple[str, int], list[File]] = {}
    for file in found:
        day = file.name.split("/")[2]
        if file.size < LARGEST:
            tier = 0 if day < today else file.size.bit_length() // 3
            tiers.setdefault((day, tier), []).append(file)
    for (day, _), group in sorted(tiers.items()):
        if len(group) < (2 if day < today else FEW):
            continue
        part: list[File] = []
        for file in group:
            part.append(file)
            if sum(one.size for one in part) >= LARGEST:
                yield part
                part = []
        if len(part) > 1:
            yield part


def _merge(place: Place, model: str, names: list[str]) -> int:
    pa, parquet = arrow()
    try:
        tables = [_decoded(pa, parquet, place.get(name), list(COLUMNS)) for name in names]
    except FileNotFoundError:
        return 0  # somebody else merges them
    table = pa.concat_tables(tables)
    table = table.group_by(list(COLUMNS)).aggregate([]).select(list(COLUMNS))
    merged = _file_name(model, table, secrets.token_hex(6), len(names))
    day = names[0].rsplit("/", 1)[0]
    merged = f"{day}/{merged.rsplit('/', 1)[1]}"
    known = {name for name, _ in place.names(day)}
    if not known.issuperset(names):
        return 0  # the same: two that merge the same files would never end
    place.put(merged, _encoded(table.sort_by([("arrived", "ascending")])))
    for name in names:
        place.remove(name)
    return len(names) - 1


def _table(labels: Labels, token: str, number: int) -> Any:
    pa, _ = arrow()
    count = len(labels)
    moment = pa.timestamp("us", tz="UTC")
    columns = [
        strings(pa, labels.ids), pa.array(labels.rows, pa.int32()), strings(pa, labels.labels),
        pa.array(labels.values, pa.float64()), pa.array(labels.times, pa.int64()).cast(moment),
        pa.array(labels.arrived, pa.int64()).cast(moment), pa.repeat(token, count),
        pa.repeat(pa.scalar(number, pa.int64()), count),
    ]  # fmt: skip
    return pa.table(columns, schema=_schema(pa, COLUMNS))


def _schema(pa: Any, columns: Iterable[str]) -> Any:
    moment = pa.timestamp("us", tz="UTC")
    types: Mapping[str, Any] = {
        "request_id": pa.string(), "row": pa.int32(), "label": pa.string(), "value": pa.float64(),
        "time": moment, "arrived": moment, "sender": pa.string(), "batch": pa.int64(),
    }  # fmt: skip
    return pa.schema([(name, types[name]) for name in columns])


def _encoded(table: Any) -> bytes:
    pa, parquet = arrow()
    sink = pa.BufferOutputStream()
    parquet.write_table(
        table, sink, compression="zstd", use_dictionary=["label", "sender"], write_statistics=False
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _decoded(pa: Any, parquet: Any, data: bytes, columns: list[str]) -> Any:
    return parquet.ParquetFile(pa.BufferReader(data)).read(columns=columns).select(columns)


def _file_name(model: str, table: Any, token: str, number: int) -> str:
    arrived = table["arrived"].cast("int64").to_numpy()
    begin, end = int(arrived.min()), int(arrived.max())
    name = f"{begin // 1000:013d}-{end // 1000:013d}-{token}-{number}.labels.parquet"
    return f"{FOLDER}/{folder_name(model)}/{_day(begin / 1e6)}/{name}"


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))


def arrow() -> tuple[Any, Any]:
    """pyarrow and its Parquet.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("pyarrow, which keeps journal and labels,", "journal") from error
    return pyarrow, pyarrow.parquet
