"""The open file of a journal: answers of one version, kept as columns until they are written.

Everything here runs in the journal's thread. What the graph took and gave is used as it is: a
column is one of a chunk's arrays, and texts are the graph's codes with another meaning.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from modelwright.core.intake import Array, column_feed
from modelwright.core.schema import MISSING_TIME, Column
from modelwright.pack.artefact import Answers
from modelwright.serve.engine import Engine
from modelwright.serve.journal_chunk import Taken, answered
from modelwright.serve.journal_words import LONGEST, LOOK, TextOf, Words
from modelwright.serve.live import LiveModel

FORMAT = 1
FEATURE = "f_"
"""Before the name of a column that the model reads, so that it meets no name of the journal's."""
PROBABILITY = "p_"
SHADOW = "shadow"
"""Arm of an answer that no caller got; who counts answers leaves it out."""


class Extra(NamedTuple):
    """What an answer has beside its rows, where it was not a part of the champion's usual run.

    Attributes:
        answers: its own.
        arm, fallback, cached: see `messages.Answered`.
    """

    answers: Answers
    arm: str
    fallback: str
    cached: bool


Entry = tuple[LiveModel, int, str, float, float, Any, Extra]
"""One answered request of the careful way, as the event loop hands it over: the version; how many
rows it had; its id; `time.perf_counter()` of the answer; seconds that it took; its feeds; then an
`Extra`. A tuple: an object with names takes four times as long to make."""
USUAL = ("champion", "", False)


class Segment:
    """Columns of one version that grow.

    Args:
        live: the version.

    Attributes:
        rows: so far.
        began: `time.perf_counter()` of the first answer.
    """

    def __init__(self, live: LiveModel) -> None:
        self.live = live
        self.rows = 0
        self.began = 0.0
        self._features = [c for c in live.schema.features if not c.private]
        self._place = live.reader.place
        self._words = {
            c.name: Words(c.levels) for c in self._features if c.kind in ("category", "list")
        }
        self._parts: dict[str, list[Array]] = {c.name: [] for c in self._features}
        self._outputs: dict[str, list[Array]] = {}
        self._ids: list[str] = []
        self._counts: list[int] = []
        self._ended: list[float] = []
        self._seconds: list[float] = []
        self._flags: list[tuple[tuple[str, str, bool], int]] = []  # of so many rows in a row
        self._read = self._readers(live.engine)

    def add(self, entry: Entry) -> None:
        """Take a request of the careful way, by its own feeds."""
        _, count, id, ended, seconds, feeds, extra = entry
        parts = {}
        for column in self._features:
            values = feeds[column.name]
            words = self._words.get(column.name)
            parts[column.name] = (
                np.array(values) if words is None else words.numbers(values.tolist())
            )
        self._commit(parts, answered(extra.answers))
        self._add_about((id,), (count,), (ended,), (seconds,), extra[1:])

    def take(self, taken: Taken, numbers: Sequence[int]) -> None:
        """Take requests of the fast way: rows of their runs.

        Args:
            taken: some requests of a chunk.
            numbers: which of their records; at least one.
        """
        chunk = taken.chunk
        records = [chunk.records[number] for number in numbers]
        ids, ended, seconds, firsts, counted = zip(*records, strict=True)
        given = [chunk.given.get(number) for number in numbers] if chunk.given else ()
        counts = np.array(counted)
        within = _within(counts)
        rows = _Rows(taken, np.repeat(np.array(firsts) - taken.first, counts) + within)
        parts = {}
        for column in self._features:
            found = self._read[column.name](rows)
            if found is None:
                found = self._from_rows(column, [row for rows in given for row in rows or ()])
            elif found.dtype == np.int32:
                self._look(column, found, given, counts, within)
            parts[column.name] = found
        outputs = {name: rows.of(values) for name, values in taken.outputs().items()}
        self._commit(parts, outputs)
        self._add_about(ids, counted, ended, seconds, USUAL)

    def _commit(self, parts: dict[str, Array], outputs: dict[str, Array]) -> None:
        """Take whole rows only: a fault before leaves all columns as long as they were."""
        for name, part in parts.items():
            self._parts[name].append(part)
        for name, part in outputs.items():
            self._outputs.setdefault(name, []).append(part)

    def _add_about(
        self,
        ids: Sequence[str],
        counts: Sequence[int],
        ended: Sequence[float],
        seconds: Sequence[float],
        flags: tuple[str, str, bool],
    ) -> None:
        if not self._ids:
            self.began = ended[0]
        if max(map(len, ids)) > LONGEST:
            ids = [id[:LONGEST] for id in ids]
        rows = sum(counts)
        self._ids += ids
        self._counts += counts
        self._ended += ended
        self._seconds += seconds
        self._flags.append((flags, rows))
        self.rows += rows

    def _readers(self, engine: Engine) -> dict[str, Callable[[_Rows], Array | None]]:
        """How each feature is found in the arrays of a run; None: only in the request."""
        found: dict[str, Callable[[_Rows], Array | None]] = {}
        lookups = engine.cut.lookups if engine.cut is not None else {}
        for tensor, columns in lookups.items():
            for place, lookup in enumerate(columns):
                words = self._words.get(lookup.column)
                if words is not None:
                    meaning = TextOf(words, lookup.rows, lookup.unknown)
                    found[lookup.column] = _coded(tensor, place, meaning)
        for tensor, names in engine.groups.items():
            for place, name in enumerate(names):
                if name in self._words:
                    found.setdefault(name, _texts(tensor, place, self._words[name]))
                else:
                    found.setdefault(name, _values(tensor, place))
        return {c.name: found.get(c.name, _nowhere) for c in self._features}

    def _look(
        self, column: Column, numbers: Array, given: Sequence[Any], counts: Array, within: Array
    ) -> None:
        """Replace what a code does not tell by the text of the request."""
        if int(numbers.min()) != LOOK:
            return
        unclear = np.flatnonzero(numbers == LOOK)
        owner = np.repeat(np.arange(len(counts)), counts)[unclear].tolist()
        places = within[unclear].tolist()
        rows = [given[one][at] for one, at in zip(owner, places, strict=True)]
        numbers[unclear] = self._from_rows(column, rows)

    def _from_rows(self, column: Column, rows: list[Any]) -> Array:
        given = list(map(attrgetter(self._place[column.name]), rows))
        values = column_feed(column, given, [])
        words = self._words.get(column.name)
        return values if words is None else words.numbers(values.tolist())

    # Once a file.

    def table(self, pa: Any, offset: float) -> Any:
        """Everything as a `pyarrow.Table`.

        Args:
            pa: the module.
            offset: Unix time less `time.perf_counter()`.
        """
        counts = np.array(self._counts)
        ended = np.repeat(np.array(self._ended) + offset, counts)
        kinds, rows = zip(*self._flags, strict=True)
        arms, fallbacks, cached = zip(*kinds, strict=True)
        columns: dict[str, Any] = {
            "request_id": _repeated(pa, self._ids, counts),
            "row": pa.array(_within(counts).astype(np.int32)),
            "time": pa.array((ended * 1e6).astype(np.int64)).cast(pa.timestamp("us", tz="UTC")),
            "model": _constant(pa, self.live.model, self.rows),
            "version": _constant(pa, self.live.version, self.rows),
            "arm": _few(pa, arms, rows),
            "fallback": _few(pa, fallbacks, rows),
            "cached": pa.array(np.repeat(np.array(cached, bool), rows)),
            "ms": pa.array(np.repeat(np.array(self._seconds) * 1e3, counts).astype(np.float32)),
        }
        columns |= self._answered(pa)
        for column in self._features:
            columns[FEATURE + column.name] = self._feature(pa, column)
        about = {
            "format": FORMAT, "model": self.live.model, "version": self.live.version,
            "digest": self.live.digest,
        }  # fmt: skip
        return pa.table(columns).replace_schema_metadata({"modelwright": json.dumps(about)})

    def span(self, offset: float) -> tuple[float, float]:
        """Unix times of the first and the last answer."""
        return min(self._ended) + offset, max(self._ended) + offset

    def _answered(self, pa: Any) -> dict[str, Any]:
        joined = {name: np.concatenate(parts) for name, parts in self._outputs.items()}
        target = self.live.schema.target
        if "values" in joined:
            found = {"prediction": pa.array(joined["values"]), "score": pa.array(joined["values"])}
            for name in ("low", "high"):
                if name in joined:
                    found[name] = pa.array(joined[name])
            return found
        shares = joined["probabilities"]
        score = shares[:, 1] if shares.shape[1] == 2 else shares.max(axis=1)
        codes = pa.array(joined["codes"].astype(np.int32))
        found = {
            "prediction": pa.DictionaryArray.from_arrays(codes, strings(pa, target.levels)),
            "score": pa.array(np.ascontiguousarray(score)),
        }
        for code, level in enumerate(target.levels):
            found[PROBABILITY + level] = pa.array(np.ascontiguousarray(shares[:, code]))
        return found

    def _feature(self, pa: Any, column: Column) -> Any:
        values = np.concatenate(self._parts[column.name])
        if column.name in self._words:
            known = self._words[column.name].texts
            used = np.zeros(len(known) + 1, bool)
            used[values] = True  # the last for missing ones, whose number is -1
            place = np.cumsum(used, dtype=np.int32) - 1
            found = pa.array(place[values], mask=values < 0)
            texts = [known[number] for number in np.flatnonzero(used[:-1]).tolist()]
            return pa.DictionaryArray.from_arrays(found, strings(pa, texts))
        if column.kind == "datetime":
            return pa.array(values, mask=values == MISSING_TIME).cast(pa.timestamp("us"))
        gaps = np.isnan(values)
        if column.kind == "boolean":
            return pa.array(values == 1.0, mask=gaps)
        return pa.array(values, mask=gaps)


class _Rows:
    """Those rows of taken runs that are wanted."""

    def __init__(self, taken: Taken, index: Array) -> None:
        self._taken = taken
        start, stop = int(index[0]), int(index[0]) + len(index)
        follows = bool((index == np.arange(start, stop)).all())
        self._index: slice | Array = slice(start, stop) if follows else index
        self._found: dict[str, Array | None] = {}

    def of(self, values: Array) -> Array:
        """The wanted rows of an array of the runs."""
        found: Array = values[self._index]
        return found

    def tensor(self, name: str) -> Array | None:
        """The same by its name; None where the graph does not take it."""
        if name not in self._found:
            values = self._taken.tensor(name)
            self._found[name] = None if values is None else self.of(values)
        return self._found[name]


def _coded(tensor: str, place: int, meaning: TextOf) -> Callable[[_Rows], Array | None]:
    def read(rows: _Rows) -> Array | None:
        codes = rows.tensor(tensor)
        return None if codes is None else meaning.numbers(codes[:, place])

    return read


def _texts(tensor: str, place: int, words: Words) -> Callable[[_Rows], Array | None]:
    def read(rows: _Rows) -> Array | None:
        texts = rows.tensor(tensor)
        return None if texts is None else words.numbers(texts[:, place].tolist())

    return read


def _values(tensor: str, place: int) -> Callable[[_Rows], Array | None]:
    def read(rows: _Rows) -> Array | None:
        values = rows.tensor(tensor)
        return None if values is None else values[:, place].copy()

    return read


def _nowhere(_rows: _Rows) -> None:
    return None


def _within(counts: Array) -> Array:
    """0, 1, ... inside each group of so many.

    Example:
        >>> _within(np.array([1, 3])).tolist()
        [0, 0, 1, 2]
    """
    ends = np.cumsum(counts)
    total = int(ends[-1])
    if total == len(counts):
        return np.zeros(total, np.int64)
    found: Array = np.arange(total) - np.repeat(ends - counts, counts)
    return found


def _repeated(pa: Any, values: Sequence[Any], counts: Array) -> Any:
    found = strings(pa, values)
    if len(counts) == int(counts.sum()):
        return found
    return found.take(pa.array(np.repeat(np.arange(len(counts)), counts)))


def strings(pa: Any, values: Sequence[str]) -> Any:
    """Texts as Arrow has them; halves of letters, which JSON can hold, become question marks."""
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        whole = [text.encode("utf-8", "replace").decode() for text in values]
        return pa.array(whole, pa.string())


def _few(pa: Any, texts: Sequence[str], rows: Sequence[int]) -> Any:
    """One of few texts for each row, given for so many rows in a row."""
    levels = list(dict.fromkeys(texts))
    codes = np.repeat(np.array([levels.index(text) for text in texts], np.int32), rows)
    return pa.DictionaryArray.from_arrays(pa.array(codes), strings(pa, levels))


def _constant(pa: Any, text: str, rows: int) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))
