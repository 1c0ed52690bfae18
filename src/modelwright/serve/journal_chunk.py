"""Answers of the fast way, copied out of their runs as they come, until the journal's thread takes
them.

The event loop keeps the bytes of a run's arrays, and of each request its id and 24 bytes. So
nothing of a run outlives its answers, and little memory is touched that the next requests would
have used again, which costs more than the work. One thread writes and one reads, without a lock:
what is noted is never changed, and each count is raised after what it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple
from weakref import ref

import numpy as np

from modelwright.core.intake import Array, column_feed
from modelwright.core.schema import Column
from modelwright.pack.artefact import Answers
from modelwright.serve.journal_wire import RECORD, About, Block, Runs, Texts, Version
from modelwright.serve.journal_words import LONGEST
from modelwright.serve.live import LiveModel
from modelwright.serve.rows import told_by
from modelwright.serve.runs import Ran

ROWS = 2048
"""Rows after which another chunk is begun, or before, for wide tables,"""
NUMBERS = 2**18
"""after so many numbers: the last chunk of a version stays as long as that is loaded."""
OUTPUTS = ("values", "low", "high", "codes", "probabilities")
Unsure = tuple[Column, Callable[[Any], Any]]
"""A column that a run's arrays may not tell, and what finds its value in a typed row."""


class Recorded(NamedTuple):
    """A version whose answers are recorded. It holds nothing of the model itself.

    Attributes:
        number: what messages call it.
        told: what the journal's process is told of it, before its first answer.
        width: numbers that a row takes up in the queue.
        unsure: see `Unsure`.
    """

    number: int
    told: Version
    width: int
    unsure: tuple[Unsure, ...]

    @classmethod
    def of(cls, live: LiveModel, number: int) -> Recorded:
        """Of a version that has no number yet."""
        cut, told = live.engine.cut, told_by(live.engine)
        coded = {one.column for found in cut.lookups.values() for one in found} if cut else set()
        unsure = tuple(
            (column, attrgetter(live.reader.place[column.name]))
            for column in live.schema.features
            if not column.private and (column.name in coded or column.name not in told)
        )
        return cls(number, described(live, number), len(live.schema.features), unsure)


def described(live: LiveModel, number: int) -> Version:
    """A version, as its journal's process is told of it."""
    cut = live.engine.cut
    lookups = {} if cut is None else {
        tensor: tuple(Texts(one.column, one.rows, one.unknown) for one in found)
        for tensor, found in cut.lookups.items()
    }  # fmt: skip
    groups = {tensor: tuple(names) for tensor, names in live.engine.groups.items()}
    return Version(number, live.model, live.version, live.digest, live.schema, groups, lookups)


class Kept:
    """One array of every run of a chunk, row behind row: bytes, or texts."""

    __slots__ = ("_dtype", "_shape", "_size", "data", "is_text")

    def __init__(self, values: Array) -> None:
        self._dtype, self._shape = values.dtype, values.shape[1:]
        self.is_text = values.dtype.hasobject
        texts = int(np.prod(self._shape, dtype=int))
        self._size = texts if self.is_text else texts * self._dtype.itemsize
        self.data: Any = [] if self.is_text else bytearray()

    def block(self, begin: int, end: int) -> Block:
        """Rows from `begin` to before `end`."""
        part = self.data[begin * self._size : end * self._size]
        if self.is_text:
            return Block("text", self._shape, part)
        return Block(self._dtype.str, self._shape, bytes(part))


class Chunk:
    """Some runs of one version, and the requests that were parts of them.

    Args:
        live: the version; it may be unloaded while its answers wait here.
        version: the same.
        run: the first one, which is not in yet.

    Attributes:
        live: the version, while it is loaded.
        inputs, outputs: what runs took and gave, by name.
        ids: of the requests, in order, as ASCII, each with a line's end, which none has in it.
        records: `RECORD` of each, added after its id; `ended` is of `time.perf_counter()`, `first`
            a row of the chunk.
        given: number of a request -> its typed rows, where the run's arrays do not tell all.
        rows: how many are in.
        weight: of all that is in, in numbers.
        released: of the weight, what the journal's thread has taken.
        closed: whether a later chunk has taken its place.
    """

    __slots__ = (
        "_base", "_gave", "_most", "_read", "_since", "_taken", "_took", "closed", "given", "ids",
        "inputs", "live", "outputs", "records", "released", "rows", "version", "weight",
    )  # fmt: skip

    def __init__(self, live: LiveModel, version: Recorded, run: Ran) -> None:
        self.live, self.version = ref(live), version
        self.inputs = {name: Kept(values) for name, values in run.inputs.items()}
        self.outputs = {name: Kept(values) for name, values in answered(run.answers).items()}
        self.ids, self.records = bytearray(), bytearray()
        self.given: dict[int, list[Any]] = {}
        self.rows = self.weight = self.released = 0
        self.closed = False
        self._most = min(ROWS, NUMBERS // max(1, version.width))
        self._took = [(name, kept.data, kept.is_text) for name, kept in self.inputs.items()]
        self._gave = [(name, kept.data) for name, kept in self.outputs.items()]
        self._base = self._since = self._taken = self._read = 0

    def keep(self, run: Ran) -> bool:
        """Keep a run, and tell it where its rows begin here; False where it has no room, or is of
        other arrays."""
        inputs, answers, rows = run.inputs, run.answers, self.rows
        if rows >= self._most or inputs.keys() != self.inputs.keys():
            return False
        for name, data, is_text in self._took:
            data += inputs[name].ravel().tolist() if is_text else inputs[name].tobytes()
        for name, data in self._gave:
            data += getattr(answers, name).tobytes()
        run.kept, run.base = self, rows
        self._base = rows
        self.rows = rows + run.rows
        return True

    @property
    def is_over(self) -> bool:
        """Whether no further run comes."""
        return self.closed or self.live() is None

    @property
    def waits(self) -> bool:
        """Whether requests were noted that the journal's thread has not taken."""
        return len(self.records) > self._taken * RECORD.itemsize

    def take(self) -> Taken:
        """What was noted since the last call, for the journal's thread."""
        base, begin, size = self._base, self._taken, RECORD.itemsize
        since, end = self._since, len(self.records) // size
        # whatever is noted from now on is of the run that was the last one then, or of a later one
        records = np.frombuffer(self.records[begin * size : end * size], RECORD)
        records["first"] -= since
        *ids, _ = self.ids[self._read :].decode().split("\n", end - begin)
        self._read += sum(map(len, ids)) + len(ids)
        self._taken, self._since = end, base  # last: what fails before is taken by the next look
        return Taken(self, ids, records, begin, (since, self.rows))


class Taken(NamedTuple):
    """Some requests of a chunk.

    Attributes:
        ids: of each.
        records: of each; `first` counts from the first row of `among`.
        begin: number of the first of them in the chunk.
        among: the rows of the chunk that theirs are among: the first, and the one after the last.
    """

    chunk: Chunk
    ids: list[str]
    records: Array
    begin: int
    among: tuple[int, int]

    def rows(self, kept: Sequence[int]) -> int:
        """How many rows some of them have, by their places."""
        counts = self.records["rows"]
        return int(counts.sum() if len(kept) == len(counts) else counts[list(kept)].sum())

    def message(self, kept: Sequence[int], offset: float) -> Runs:
        """Those of these requests that are recorded, as the journal's process is told of them.

        Args:
            kept: their places among these, in order; at least one.
            offset: Unix time less `time.perf_counter()`.
        """
        ids, records, chunk = self.ids, self.records, self.chunk
        if len(kept) < len(ids):
            ids, records = [ids[place] for place in kept], records[list(kept)]
        records["ended"] += offset
        tellers, rows = list[int](), list[Any]()
        if chunk.given:
            for place, number in enumerate(kept):
                given = chunk.given.get(self.begin + number)
                if given is not None:
                    tellers.append(place)
                    rows += given
        return Runs(
            chunk.version.number,
            about(ids, records),
            {name: kept.block(*self.among) for name, kept in chunk.inputs.items()},
            {name: kept.block(*self.among) for name, kept in chunk.outputs.items()},
            {column.name: Block.of(column_feed(column, list(map(get, rows)), []))
             for column, get in chunk.version.unsure} if rows else {},
            tellers,
        )  # fmt: skip


def about(ids: Sequence[str], records: Array) -> About:
    """Requests, for a message.

    Args:
        records: `RECORD` of each; `ended` is Unix time.
    """
    if max(map(len, ids)) > LONGEST:
        ids = [id[:LONGEST] for id in ids]
    return About(list(ids), records.tobytes())


def answered(answers: Answers) -> dict[str, Array]:
    """The arrays of an answer that are there, by their names."""
    found = {name: getattr(answers, name) for name in OUTPUTS}
    return {name: values for name, values in found.items() if values is not None}
