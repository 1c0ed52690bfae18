"""Answered rows of the champion with the truths that came for them, in columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from modelwright.core.intake import Array
from modelwright.serve.journal_files import segments
from modelwright.serve.journal_segment import FEATURE, PROBABILITY
from modelwright.watch.labels import joined
from modelwright.watch.subject import Subject


@dataclass(frozen=True)
class Answered:
    """Answered rows of a version, in columns.

    Attributes:
        answers: probabilities [rows, classes] or values [rows].
        codes: class index that was said; None for values.
        truth: class index or value; -1 or NaN where there is none.
        delay: seconds from answer to truth.
    """

    table: Any
    time: Array
    answers: Array
    codes: Array | None
    truth: Array
    delay: Array

    @property
    def known(self) -> Array:
        """Which rows have a truth."""
        return self.truth >= 0 if self.codes is not None else ~np.isnan(self.truth)

    def take(self, rows: Array) -> Answered:
        """Some of the rows, by a mask or by their places."""
        codes = None if self.codes is None else self.codes[rows]
        chosen = pa.array(rows)
        table = self.table.filter(chosen) if rows.dtype == bool else self.table.take(chosen)
        return Answered(
            table, self.time[rows], self.answers[rows], codes, self.truth[rows], self.delay[rows]
        )


def answered(subject: Subject, begin: float, end: float, *, labelled: bool = False) -> Answered:
    """What the champion answered in a time, with the truths that came, in order of time.

    Args:
        begin, end: Unix times, the end not included.
        labelled: only rows that have a truth: memory is theirs, however many others there are.
    """
    version, manifest = subject.champion.version.number, subject.champion.manifest
    sliced = {one.slice_column for one in manifest.limits if one.slice_column is not None}
    columns = [*_columns(subject), *(FEATURE + name for name in sorted(sliced))]
    journal, name = subject.journal, subject.name
    table = joined(journal, name, version, begin, end, columns, labelled=labelled)
    found = of_champion(table, subject)
    return found.take(np.argsort(found.time, kind="stable"))


def said(subject: Subject, begin: float, end: float) -> Iterator[tuple[Array, Array, Array | None]]:
    """Times, answers and class codes of what the champion answered in a time; no label is read.

    Files come one by one, so that memory is that of one.

    Args:
        begin, end: Unix times, the end not included.
    """
    version, columns = subject.champion.version.number, _columns(subject)
    for one in segments(subject.journal, subject.name, version, begin, end, columns):
        table = one.table
        own = np.array([text == "" for text in table["fallback"].to_pylist()], bool)
        time = table["time"].cast("int64").to_numpy() / 1e6
        table = table.filter(pa.array(own & (time >= begin) & (time < end)))
        if one.digest == subject.champion.digest and len(table):
            yield table["time"].cast("int64").to_numpy() / 1e6, *_answers(table, subject)


def _columns(subject: Subject) -> list[str]:
    levels = subject.champion.manifest.schema.target.levels
    return ["time", "version", "fallback", "prediction", *(PROBABILITY + one for one in levels)]


def of_champion(table: Any, subject: Subject) -> Answered:
    """Rows that the champion itself answered, in the order of the table.

    Args:
        table: of `labels.joined` or `labels.arrived_since`, with the column `fallback`.
    """
    number, target = subject.champion.version.number, subject.champion.manifest.schema.target
    if len(table):
        own = np.array([v == number for v in table["version"].to_pylist()])
        own &= np.array([text == "" for text in table["fallback"].to_pylist()])
        table = table.filter(pa.array(own))
    time = table["time"].cast("int64").to_numpy() / 1e6
    late = table["label_arrived"].cast("int64").cast("float64")
    delay = late.to_numpy(zero_copy_only=False) / 1e6 - time
    answers, codes = _answers(table, subject)
    if codes is None:
        return Answered(table, time, answers, None, _values(table["label"]), delay)
    return Answered(table, time, answers, codes, _codes(table["label"], target.levels), delay)


def _answers(table: Any, subject: Subject) -> tuple[Array, Array | None]:
    """What was said: values, or probabilities and class codes."""
    levels = subject.champion.manifest.schema.target.levels
    if not levels:
        return table["prediction"].to_numpy().astype(np.float64), None
    scores = [table[PROBABILITY + level].to_numpy() for level in levels] if len(table) else []
    answers = np.stack(scores, axis=1) if scores else np.zeros((0, len(levels)))
    return answers, _codes(table["prediction"], levels)


def _codes(column: Any, levels: Sequence[str]) -> Array:
    place = {level: code for code, level in enumerate(levels)}
    return np.array([place.get(text, -1) for text in column.to_pylist()], np.int64)


def _values(column: Any) -> Array:
    return np.array([np.nan if v is None else float(v) for v in column.to_pylist()], np.float64)
