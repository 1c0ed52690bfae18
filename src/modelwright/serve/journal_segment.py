"""The open file of a journal: answers of one version, kept as columns until they are written.

Everything here runs in the journal's thread. What the graph took and gave is used as it is: a
column is a slice of the batch's own arrays, and texts are the graph's codes with another meaning.
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
from modelwright.serve.journal_words import LONGEST, LOOK, TextOf, Words
from modelwright.serve.live import LiveModel
from modelwright.serve.runs import Ran

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


Entry = tuple[LiveModel, Ran | None, int, int, str, float, float, Any, Extra | None]
"""One answered request, as the event loop hands it over: the version; the run that it was a part
of, or None; its first row in it; how many it had; its id; `time.perf_counter()` of the answer;
seconds that it took; its typed rows, None where the run tells all, or its feeds where there is no
run; then an `Extra`. A tuple: an object with names takes four times as long to make."""
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
        self._flags: list[tuple[str, str, bool]] = []
        self._read = self._readers(live.engine)

    def add(self, entries: Sequence[Entry]) -> None:
        """Take answered requests."""
        if not self._ids:
            self.began = entries[0][5]
        if None not in [entry[1] for entry in entries]:
            self._add_ran(entries)
            return
        ran = [entry for entry in entries if entry[1] is not None]
        if ran:
            self._add_ran(ran)
        for entry in entries:
            if entry[1] is None:
                self._add_one(entry)

    def _add_ran(self, entries: Sequence[Entry]) -> None:
        """Those that took the fast way: their runs' arrays one behind the other."""
        _, rans, starts, counted, ids, ended, seconds, given, _ = zip(*entries, strict=True)
        runs: dict[Ran, int] = {}
        firsts, total, first, last = [], 0, 0, None
        for ran, start in zip(rans, starts, strict=True):
            if ran is not last:
                last = ran
                first = runs.setdefault(ran, total)
                if first == total:
                    total += ran.rows
            firsts.append(first + start)
        counts = np.array(counted)
        within = _within(counts)
        index = np.repeat(firsts, counts) + within
        whole = len(index) == total and bool((index == np.arange(total)).all())
        taken = _Taken(list(runs), None if whole else index)
        parts = {}
        for column in self._features:
            found = self._read[column.name](taken)
            if found is None:
                found = self._from_rows(column, [row for rows in given for row in rows])
            elif found.dtype == np.int32:
                self._look(column, found, given, counts, within)
            parts[column.name] = found
        self._commit(parts, _joined([ran.answers for ran in taken.runs], taken.index))
        self._add_about(ids, counted, ended, seconds, [USUAL] * len(ids))

    def _add_one(self, entry: Entry) -> None:
        """One that took the careful way: its own feeds."""
        _, _, _, count, id, ended, seconds, feeds, extra = entry
        assert extra is not None
        parts = {}
        for column in self._features:
            values = feeds[column.name]
            words = self._words.get(column.name)
            parts[column.name] = (
                np.array(values) if words is None else words.numbers(values.tolist())
            )
        self._commit(parts, _joined([extra.answers], None))
        self._add_about((id,), (count,), (ended,), (seconds,), [extra[1:]])

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
        flags: Sequence[tuple[str, str, bool]],
    ) -> None:
        self._ids += [id[:LONGEST] for id in ids]
        self._counts += counts
        self._ended += ended
        self._seconds += seconds
        self._flags += flags
        self.rows += sum(counts)

    def _readers(self, engine: Engine) -> dict[str, Callable[[_Taken], Array | None]]:
        """How each feature is found in the arrays of a run; None: only in the request."""
        found: dict[str, Callable[[_Taken], Array | None]] = {}
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
        arm, fallback, cached = zip(*self._flags, strict=True)
        columns: dict[str, Any] = {
            "request_id": _repeated(pa, self._ids, counts),
            "row": pa.array(_within(counts).astype(np.int32)),
            "time": pa.array((ended * 1e6).astype(np.int64)).cast(pa.timestamp("us", tz="UTC")),
            "model": _constant(pa, self.live.model, self.rows),
            "version": _constant(pa, self.live.version, self.rows),
            "arm": _repeated(pa, arm, counts).dictionary_encode(),
            "fallback": _repeated(pa, fallback, counts).dictionary_encode(),
            "cached": pa.array(np.repeat(np.array(cached, bool), counts)),
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
            used, numbers = np.unique(values, return_inverse=True)
            kept = used >= 0
            texts = [self._words[column.name].texts[n] for n in used[kept].tolist()]
            numbers = (numbers - int(len(used) - kept.sum())).astype(np.int32)
            found = pa.array(numbers, mask=numbers < 0)
            return pa.DictionaryArray.from_arrays(found, strings(pa, texts))
        if column.kind == "datetime":
            return pa.array(values, mask=values == MISSING_TIME).cast(pa.timestamp("us"))
        gaps = np.isnan(values)
        if column.kind == "boolean":
            return pa.array(values == 1.0, mask=gaps)
        return pa.array(values, mask=gaps)


class _Taken:
    """Arrays of some runs, joined when they are first asked for."""

    def __init__(self, runs: list[Ran], index: Array | None) -> None:
        self.runs, self.index = runs, index
        self._joined: dict[str, Array | None] = {}

    def tensor(self, name: str) -> Array | None:
        """The rows that are wanted; None where the graph does not take it."""
        if name not in self._joined:
            parts = [run.inputs[name] for run in self.runs if name in run.inputs]
            if len(parts) < len(self.runs):
                self._joined[name] = None
            else:
                joined = parts[0] if len(parts) == 1 else np.concatenate(parts)
                self._joined[name] = joined if self.index is None else joined[self.index]
        return self._joined[name]


def _coded(tensor: str, place: int, meaning: TextOf) -> Callable[[_Taken], Array | None]:
    def read(taken: _Taken) -> Array | None:
        codes = taken.tensor(tensor)
        return None if codes is None else meaning.numbers(codes[:, place])

    return read


def _texts(tensor: str, place: int, words: Words) -> Callable[[_Taken], Array | None]:
    def read(taken: _Taken) -> Array | None:
        texts = taken.tensor(tensor)
        return None if texts is None else words.numbers(texts[:, place].tolist())

    return read


def _values(tensor: str, place: int) -> Callable[[_Taken], Array | None]:
    def read(taken: _Taken) -> Array | None:
        values = taken.tensor(tensor)
        return None if values is None else values[:, place].copy()

    return read


def _nowhere(_taken: _Taken) -> None:
    return None


def _joined(answers: list[Answers], index: Array | None) -> dict[str, Array]:
    found = {}
    for name in ("values", "low", "high", "codes", "probabilities"):
        parts = [getattr(one, name) for one in answers]
        if parts[0] is not None:
            whole = np.concatenate(parts)
            found[name] = whole if index is None else whole[index]
    return found


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


def _constant(pa: Any, text: str, rows: int) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))
