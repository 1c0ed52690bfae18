"""What was said of answers since somebody looked, and which files hold those answers.

With an index of ids a look reads the new files of labels, the files in which something else was
said of the same answers, and the files of the journal that have them: so it costs what is new.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from modelwright.serve import labels
from modelwright.serve.journal_files import segment
from modelwright.serve.journal_store import File, Place
from modelwright.watch.id_index import IdIndex, Read

AT_ONCE = 200
"""Files whose ids are kept in memory until they are written."""
_ALL = list(labels.COLUMNS)


class Followed(Protocol):
    """What is needed of a cursor, see `labels.Cursor`."""

    @property
    def senders(self) -> dict[str, int]:
        """Process that wrote labels -> number of its last file that was read."""

    @property
    def pending(self) -> tuple[tuple[str, int, int], ...]:
        """Labels whose answer is not there."""


@dataclass(frozen=True)
class News:
    """Statements of every answer of which something new was said, and of those that are awaited.

    Attributes:
        senders: process that wrote labels -> number of its last file.
        has_new: something was said since.
        has_awaited: statements of the answers that are awaited are among them.
        new_ids: of the answers of which it was; of `Remembered` only.
    """

    statements: Any
    senders: dict[str, int]
    has_new: bool
    has_awaited: bool
    new_ids: Any = None


class Remembered:
    """Indices of a model's answers and labels in a folder."""

    def __init__(self, folder: Path) -> None:
        self._answers, self._labels = IdIndex(folder / "answers"), IdIndex(folder / "labels")

    def news(self, place: Place, model: str, cursor: Followed, *, has_unseen: bool) -> News:
        """What is new since a cursor.

        Args:
            place, model: of the journal.
            cursor: of the last look.
            has_unseen: whether there are answers for which labels may have waited.

        Raises:
            FileNotFoundError: files were merged in each of some tries.
        """
        for tries_left in range(labels.LOOKS, 0, -1):
            try:
                return self._news(place, model, cursor, has_unseen)
            except FileNotFoundError:
                if tries_left == 1:
                    raise
        raise AssertionError  # the last try has returned or raised

    def answers(self, place: Place, found: list[File], ids: Any) -> list[File]:
        """Those of the files of a journal that have one of these ids."""
        if not len(ids):
            return []
        known, listed = self._answers.entries, {file.name for file in found}
        new = [file for file in found if file.name not in known]
        for start in range(0, len(new), AT_ONCE):
            self._answers.add(list(_of_answers(place, new[start : start + AT_ONCE])))
        self._answers.forget(known.keys() - listed)
        holding = self._answers.holding(ids)
        return [file for file in found if file.name in holding]

    def _news(self, place: Place, model: str, cursor: Followed, has_unseen: bool) -> News:
        fresh, senders = self._followed(place, model)
        senders_of = {name: senders[name] for name in sorted(senders)}
        new = [name for name, last in senders_of.items() if is_news(last, cursor.senders)]
        last = _joined(senders_of.values())
        waits = bool(cursor.pending) and has_unseen
        if not new and not waits:
            return News(_nothing(), cursor.senders, False, False, pa.array([], pa.string()))
        tables = {name: fresh.get(name) or labels.read_one(place, name) for name in new}
        new_ids = _new_ids(tables.values(), cursor.senders)
        asked = pa.array([id for id, _, _ in cursor.pending] if waits else [], pa.string())
        ids = pc.unique(pa.concat_arrays([new_ids, asked]))
        for name in sorted(self._labels.holding(ids) & senders.keys() - tables.keys()):
            tables[name] = fresh.get(name) or labels.read_one(place, name)
        said = pa.concat_tables([table.select(_ALL) for table in tables.values()] or [_nothing()])
        said = said.filter(pc.is_in(said["request_id"], value_set=ids))
        return News(said, last, bool(new), waits, new_ids)

    def _followed(
        self, place: Place, model: str
    ) -> tuple[dict[str, Any], dict[str, dict[str, int]]]:
        """(files of labels that were read now, every file -> its senders and their last batches).

        While it reads others may merge files: it looks again until there is nothing new."""
        read, listed = dict[str, Any](), set[str]()
        for _ in range(labels.LOOKS):
            found = {file.name for file in labels.files(place, model)}
            if found <= listed:
                break
            listed |= found
            new = sorted(found - self._labels.entries.keys())
            for start in range(0, len(new), AT_ONCE):
                read = {name: labels.read_one(place, name) for name in new[start : start + AT_ONCE]}
                self._labels.add(
                    [(name, Read(t["request_id"], last_of(t))) for name, t in read.items()]
                )
        entries = self._labels.entries
        self._labels.forget(entries.keys() - listed)
        return read, {name: entries[name].senders for name in listed if name in entries}


def last_of(statements: Any) -> dict[str, int]:
    """Process -> number of its last file."""
    found = statements.group_by("sender").aggregate([("batch", "max")])
    return dict(zip(found["sender"].to_pylist(), found["batch_max"].to_pylist(), strict=True))


def is_news(last: Mapping[str, int], seen: Mapping[str, int]) -> bool:
    """Whether a process wrote a file that was not read."""
    return any(number > seen.get(sender, -1) for sender, number in last.items())


def _joined(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    last: dict[str, int] = {}
    for part in parts:
        for sender, number in part.items():
            last[sender] = max(number, last.get(sender, -1))
    return last


def _new_ids(tables: Iterable[Any], seen: Mapping[str, int]) -> Any:
    """Of the statements that nobody has read."""
    found = [pa.array([], pa.string())]
    for table in tables:
        known = pa.array([seen.get(s, -1) for s in table["sender"].to_pylist()], pa.int64())
        new = table.filter(pc.greater(table["batch"], known))
        found += new["request_id"].chunks
    return pc.unique(pa.concat_arrays(found))


def _of_answers(place: Place, files: Iterable[File]) -> Iterable[tuple[str, Read]]:
    for file in files:
        try:
            table = segment(place, file, ["request_id"]).table
        except FileNotFoundError:
            continue  # retention was faster
        yield file.name, Read(table["request_id"], {})


def _nothing() -> Any:
    moment = pa.timestamp("us", tz="UTC")
    return pa.schema([
        ("request_id", pa.string()), ("row", pa.int32()), ("label", pa.string()),
        ("value", pa.float64()), ("time", moment), ("arrived", moment), ("sender", pa.string()),
        ("batch", pa.int64()),
    ]).empty_table()  # fmt: skip
