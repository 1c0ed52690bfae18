"""Answers of the fast way, copied out of their runs as they come, until the journal's thread takes
them.

The event loop keeps the bytes of a run's arrays, and notes a tuple a request. So nothing of a run
outlives its answers: whoever keeps thousands of runs keeps the memory that the next requests would
use again, and gives the collector something to walk over. One thread writes and one reads, without
a lock: what is noted is never changed, and each count is raised after what it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from modelwright.core.intake import Array, column_feed
from modelwright.core.schema import Column
from modelwright.pack.artefact import Answers
from modelwright.serve.journal_wire import About, Block, Runs
from modelwright.serve.journal_words import LONGEST
from modelwright.serve.live import LiveModel
from modelwright.serve.runs import Ran

ROWS = 2048
"""Rows after which another chunk is begun."""
OUTPUTS = ("values", "low", "high", "codes", "probabilities")
Record = tuple[str, float, float, int, int]
"""A request: id, `time.perf_counter()` of its answer, seconds that it took, its first row in the
chunk, and how many it had."""
Unsure = tuple[Column, Callable[[Any], Any]]
"""A column that a run's arrays may not tell, and what finds its value in a typed row."""


class Kept:
    """One array of every run of a chunk, as bytes; texts as they are."""

    __slots__ = ("_dtype", "_parts", "_shape", "add", "is_text")

    def __init__(self, values: Array) -> None:
        self._dtype, self._shape = values.dtype, values.shape[1:]
        self.is_text = values.dtype.hasobject
        self._parts: list[Any] = []
        self.add = self._parts.append

    def joined(self, begin: int, end: int) -> Block:
        """Rows of the runs from `begin` to before `end`."""
        parts = self._parts[begin:end]
        if self.is_text:
            return Block.joined(parts)
        return Block(self._dtype.str, self._shape, b"".join(parts))


class Chunk:
    """Some runs of one version, and the requests that were parts of them.

    Args:
        live: the version.
        run: the first one, which is not in yet.
        width: numbers that a row takes up in the queue.

    Attributes:
        inputs, outputs: what runs took and gave, by name.
        records: of the requests, in order.
        given: number of a record -> its typed rows, where the run's arrays do not tell all.
        run: the last run; `base` is its first row here.
        runs, rows: how many are in.
        taken: records that the journal's thread has taken.
        listed: whether the journal's thread has it on its list.
    """

    __slots__ = (
        "_first", "_gave", "_since", "_took", "base", "given", "inputs", "listed", "live",
        "outputs", "records", "rows", "run", "runs", "taken", "width",
    )  # fmt: skip

    def __init__(self, live: LiveModel, run: Ran, width: int) -> None:
        self.live, self.width = live, width
        self.inputs = {name: Kept(values) for name, values in run.inputs.items()}
        self.outputs = {name: Kept(values) for name, values in answered(run.answers).items()}
        self.records: list[Record] = []
        self.given: dict[int, list[Any]] = {}
        self.run: Ran | None = None
        self.base = self.rows = self.runs = self.taken = 0
        self._took = [(name, kept.add, kept.is_text) for name, kept in self.inputs.items()]
        self._gave = [(name, kept.add) for name, kept in self.outputs.items()]
        self._first: list[int] = []
        self._since = 0
        self.listed = False

    def keep(self, run: Ran) -> bool:
        """Keep a run; False where it has no room, or is of other arrays."""
        inputs, answers = run.inputs, run.answers
        if self.rows >= ROWS or inputs.keys() != self.inputs.keys():
            return False
        for name, add, is_text in self._took:
            add(inputs[name] if is_text else inputs[name].tobytes())
        for name, add in self._gave:
            add(getattr(answers, name).tobytes())
        self._first.append(self.rows)
        self.run, self.base = run, self.rows
        self.rows += run.rows
        self.runs += 1
        return True

    def take(self) -> Taken:
        """What was noted since the last call, for the journal's thread."""
        then, begin = self.runs, self.taken
        self.taken = len(self.records)
        since, runs = self._since, self.runs
        # whatever is noted from now on is of the run that was the last one then, or of a later one
        self._since = max(since, then - 1)
        first = self._first[since] if runs else 0
        return Taken(self, range(begin, self.taken), (since, runs), first)


class Taken(NamedTuple):
    """Some requests of a chunk.

    Attributes:
        numbers: of their records.
        runs: the first of those that they are of, and the one after the last.
        first: row of the chunk with which these begin.
    """

    chunk: Chunk
    numbers: range
    runs: tuple[int, int]
    first: int

    def message(
        self, version: int, numbers: Sequence[int], offset: float, unsure: Sequence[Unsure]
    ) -> Runs:
        """Those of these requests that are recorded, as the journal's process is told of them.

        Args:
            version: its number.
            numbers: of their records; at least one.
            offset: Unix time less `time.perf_counter()`.
            unsure: columns that the arrays may not tell.
        """
        chunk = self.chunk
        records = [chunk.records[number] for number in numbers]
        ids, ended, seconds, firsts, counts = zip(*records, strict=True)
        tellers, rows = list[int](), list[Any]()
        if chunk.given:
            for place, number in enumerate(numbers):
                given = chunk.given.get(number)
                if given is not None:
                    tellers.append(place)
                    rows += given
        return Runs(
            version,
            about(ids, counts, np.array(ended) + offset, seconds),
            Block.of(np.array(firsts, np.int64) - self.first),
            {name: kept.joined(*self.runs) for name, kept in chunk.inputs.items()},
            {name: kept.joined(*self.runs) for name, kept in chunk.outputs.items()},
            {column.name: Block.of(column_feed(column, list(map(get, rows)), []))
             for column, get in unsure} if rows else {},
            tellers,
        )  # fmt: skip


def about(
    ids: Sequence[str], counts: Sequence[int], ended: Array, seconds: Sequence[float]
) -> About:
    """The same of each request, for a message."""
    if max(map(len, ids)) > LONGEST:
        ids = [id[:LONGEST] for id in ids]
    return About(
        list(ids), Block.of(np.array(counts, np.int64)), Block.of(ended),
        Block.of(np.array(seconds, float)),
    )  # fmt: skip


def answered(answers: Answers) -> dict[str, Array]:
    """The arrays of an answer that are there, by their names."""
    found = {name: getattr(answers, name) for name in OUTPUTS}
    return {name: values for name, values in found.items() if values is not None}
