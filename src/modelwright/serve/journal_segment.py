"""The open file of a journal: answers of one version, kept as columns until they are written.

Everything here runs in the journal's process. What the graph took and gave is used as it is: a
column is one of a message's arrays, and texts are the graph's codes with another meaning.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from modelwright.core.intake import Array
from modelwright.core.schema import MISSING_TIME, Column
from modelwright.serve.journal_wire import About, Asked, Block, Runs, Version
from modelwright.serve.journal_words import LOOK, TextOf, Words

FORMAT = 1
FEATURE = "f_"
"""Before the name of a column that the model reads, so that it meets no name of the journal's."""
PROBABILITY = "p_"
SHADOW = "shadow"
"""Arm of an answer that no caller got; who counts answers leaves it out."""
USUAL = ("champion", "", False)
CALLER = "caller"
"""The column that tells callers apart; see `keys.recorded`."""


class Segment:
    """Columns of one version that grow.

    Args:
        version: whose answers these are.

    Attributes:
        rows: so far.
        began: `time.perf_counter()` when the first answers came.
    """

    def __init__(self, version: Version) -> None:
        self.version = version
        self.rows = 0
        self.began = 0.0
        self._features = version.features
        self._words = {
            c.name: Words(c.levels) for c in self._features if c.kind in ("category", "list")
        }
        self._parts: dict[str, list[Array]] = {c.name: [] for c in self._features}
        self._outputs: dict[str, list[Array]] = {}
        self._ids: list[str] = []
        self._callers: list[str | None] = []
        self._records: list[Array] = []
        self._flags: list[tuple[tuple[str, str, bool], int]] = []  # of so many rows in a row
        self._read = self._readers()

    def add(self, asked: Asked) -> None:
        """Take requests of the careful way, by their own values."""
        parts = {c.name: self._said(c.name, asked.feeds[c.name]) for c in self._features}
        self._commit(parts, {name: block.array() for name, block in asked.outputs.items()})
        flags = asked.arm, asked.fallback, asked.cached
        self._add_about(asked.about, flags, [caller or None for caller in asked.callers])

    def take(self, runs: Runs) -> None:
        """Take requests of the fast way: rows of their runs."""
        records = runs.about.table()
        counts = records["rows"]
        within = _within(counts)
        rows = _Rows(runs, np.repeat(records["first"], counts) + within)
        parts = {}
        for column in self._features:
            found = self._read[column.name](rows)
            if found is None:
                found = self._said(column.name, runs.told[column.name])
            elif found.dtype == np.int32:
                self._look(column.name, found, runs, counts, within)
            parts[column.name] = found
        outputs = {name: rows.of(block.array()) for name, block in runs.outputs.items()}
        self._commit(parts, outputs)
        self._add_about(runs.about, USUAL)

    def _commit(self, parts: dict[str, Array], outputs: dict[str, Array]) -> None:
        """Take whole rows only: a fault before leaves all columns as long as they were."""
        for name, part in parts.items():
            self._parts[name].append(part)
        for name, part in outputs.items():
            self._outputs.setdefault(name, []).append(part)

    def _add_about(
        self, about: About, flags: tuple[str, str, bool], callers: Sequence[str | None] = ()
    ) -> None:
        if not self._ids:
            self.began = time.perf_counter()
        records = about.table()
        rows = int(records["rows"].sum())
        self._ids += about.ids
        self._callers += callers or [None] * len(about.ids)
        self._records.append(records)
        self._flags.append((flags, rows))
        self.rows += rows

    def _readers(self) -> dict[str, Callable[[_Rows], Array | None]]:
        """How each feature is found in the arrays of a run; None: only in the request."""
        found: dict[str, Callable[[_Rows], Array | None]] = {}
        for tensor, columns in self.version.lookups.items():
            for place, lookup in enumerate(columns):
                words = self._words.get(lookup.column)
                if words is not None:
                    meaning = TextOf(words, lookup.rows, lookup.unknown)
                    found[lookup.column] = _coded(tensor, place, meaning)
        for tensor, names in self.version.groups.items():
            for place, name in enumerate(names):
                if name in self._words:
                    found.setdefault(name, _texts(tensor, place, self._words[name]))
                else:
                    found.setdefault(name, _values(tensor, place))
        return {c.name: found.get(c.name, _nowhere) for c in self._features}

    def _said(self, column: str, block: Block) -> Array:
        """Values as requests had them."""
        words = self._words.get(column)
        return block.array() if words is None else words.numbers(block.array().tolist())

    def _look(self, column: str, numbers: Array, runs: Runs, counts: Array, within: Array) -> None:
        """Replace what a code does not tell by the text of the request."""
        if int(numbers.min()) != LOOK:
            return
        unclear = np.flatnonzero(numbers == LOOK)
        told = self._said(column, runs.told[column])
        tellers = np.array(runs.tellers)
        before = np.zeros(len(counts), np.int64)  # rows that were told of, before those of each
        before[tellers] = np.cumsum(counts[tellers]) - counts[tellers]
        owner = np.repeat(np.arange(len(counts)), counts)[unclear]
        numbers[unclear] = told[before[owner] + within[unclear]]

    # Once a file.

    def table(self, pa: Any) -> Any:
        """Everything as a `pyarrow.Table`; `pa` is the module."""
        records = np.concatenate(self._records)
        counts = records["rows"]
        ended = np.repeat(records["ended"], counts)
        kinds, rows = zip(*self._flags, strict=True)
        arms, fallbacks, cached = zip(*kinds, strict=True)
        columns: dict[str, Any] = {
            "request_id": _repeated(pa, strings(pa, self._ids), counts),
            "row": pa.array(_within(counts).astype(np.int32)),
            "time": pa.array((ended * 1e6).astype(np.int64)).cast(pa.timestamp("us", tz="UTC")),
            "model": _constant(pa, self.version.model, self.rows),
            "version": _constant(pa, self.version.version, self.rows),
            "arm": _few(pa, arms, rows),
            "fallback": _few(pa, fallbacks, rows),
            CALLER: _repeated(pa, pa.array(self._callers, pa.string()), counts),
            "cached": pa.array(np.repeat(np.array(cached, bool), rows)),
            "ms": pa.array(np.repeat(records["seconds"] * 1e3, counts).astype(np.float32)),
        }
        columns |= self._answered(pa)
        for column in self._features:
            columns[FEATURE + column.name] = self._feature(pa, column)
        about = {
            "format": FORMAT, "model": self.version.model, "version": self.version.version,
            "digest": self.version.digest,
        }  # fmt: skip
        return pa.table(columns).replace_schema_metadata({"modelwright": json.dumps(about)})

    def span(self) -> tuple[float, float]:
        """Unix times of the first and the last answer."""
        ended = np.concatenate(self._records)["ended"]
        return float(ended.min()), float(ended.max())

    def _answered(self, pa: Any) -> dict[str, Any]:
        joined = {name: np.concatenate(parts) for name, parts in self._outputs.items()}
        target = self.version.schema.target
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
    """Those rows of a message's arrays that are its requests'."""

    def __init__(self, runs: Runs, index: Array) -> None:
        self._runs = runs
        start, stop = int(index[0]), int(index[0]) + len(index)
        follows = bool((index == np.arange(start, stop)).all())
        self._index: slice | Array = slice(start, stop) if follows else index
        self._found: dict[str, Array | None] = {}

    def of(self, values: Array) -> Array:
        """The wanted rows of an array."""
        found: Array = values[self._index]
        return found

    def tensor(self, name: str) -> Array | None:
        """The same of what the graph took; None where it takes no such thing."""
        if name not in self._found:
            block = self._runs.inputs.get(name)
            self._found[name] = None if block is None else self.of(block.array())
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


def _repeated(pa: Any, values: Any, counts: Array) -> Any:
    if len(counts) == int(counts.sum()):
        return values
    return values.take(pa.array(np.repeat(np.arange(len(counts)), counts)))


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
