"""What changed between two versions of a table: rows, columns, distributions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from modelwright.core.contract import missing_in
from modelwright.core.intake import Array, Feeds
from modelwright.core.progress import Progress
from modelwright.core.records import ColumnChange, DataChange
from modelwright.core.schema import Column
from modelwright.data import cells
from modelwright.data.checks.sides import distance
from modelwright.data.fingerprint import Digest, row_hashes
from modelwright.data.hints import Hints
from modelwright.data.kinds import infer
from modelwright.data.sources import Source
from modelwright.data.survey import is_large, sampled

SAMPLE = 200_000
MOVED = 0.05


@dataclass(frozen=True)
class _Side:
    name: str
    rows: int
    columns: dict[str, Column]
    values: Feeds
    whole: bool


def compare(one: Source, two: Source, progress: Progress) -> DataChange:
    """Compare two tables by content, whatever their formats and the order of their rows.

    Args:
        one: the older.
        two: the newer.
        progress: told how far it is.
    """
    a = _side(one, progress)
    b = _side(two, progress)
    digests = [Digest(), Digest()]
    for digest, side in zip(digests, (a, b), strict=True):
        digest.add(side.values)
    whole = a.whole and b.whole
    names = list(dict.fromkeys([*a.columns, *b.columns]))
    changes = tuple(_column(name, a, b, digests) for name in names)
    only_a, only_b, both = _rows(a, b) if whole else (-1, -1, -1)
    return DataChange(
        sources=(a.name, b.name),
        rows=(a.rows, b.rows),
        fingerprints=(digests[0].whole(), digests[1].whole()) if whole else ("", ""),
        only=(only_a, only_b),
        both=both,
        columns=changes,
        sampled=0 if whole else max(len(next(iter(s.values.values()))) for s in (a, b)),
    )


def _side(source: Source, progress: Progress) -> _Side:
    whole = not is_large(source)
    if whole:
        frame = source.frame()
        rows = frame.height
    else:
        frame, _, rows = sampled(source, 0, progress)
    texts = [cells.stripped(frame[n].head(5000)) for n, d in frame.schema.items() if d == pl.String]
    style, _ = cells.number_style(texts, str(source.detected.get("delimiter", ",")))
    found = {name: infer(frame[name], None, Hints(style)) for name in frame.columns}
    return _Side(
        source.name,
        rows,
        {name: inferred.column for name, inferred in found.items()},
        {name: inferred.values for name, inferred in found.items()},
        whole,
    )


def _column(name: str, a: _Side, b: _Side, digests: list[Digest]) -> ColumnChange:
    kinds = (_kind(name, a), _kind(name, b))
    missing = (_missing(name, a), _missing(name, b))
    equal, far = False, None
    if name not in a.columns:
        why = "new"
    elif name not in b.columns:
        why = "gone"
    elif a.values[name].dtype != b.values[name].dtype:
        why = f"was {kinds[0]}, is {kinds[1]}"
    else:
        equal = a.whole and b.whole and digests[0].columns()[name] == digests[1].columns()[name]
        far = 0.0 if equal else distance(a.values[name], b.values[name])
        why = "" if equal else _what_moved(a, b, name, far)
    return ColumnChange(name, kinds, missing, far, equal, why)


def _kind(name: str, side: _Side) -> str:
    return side.columns[name].kind if name in side.columns else ""


def _missing(name: str, side: _Side) -> float | None:
    return float(missing_in(side.values[name]).mean()) if name in side.values else None


def _what_moved(a: _Side, b: _Side, name: str, far: float) -> str:
    said = []
    one, two = a.values[name], b.values[name]
    if a.columns[name].kind != b.columns[name].kind:
        said.append(f"was {a.columns[name].kind}, is {b.columns[name].kind}")
    if one.dtype == object:
        fresh = sorted(set(two.tolist()) - set(one.tolist()) - {""})
        lost = sorted(set(one.tolist()) - set(two.tolist()) - {""})
        few = len(set(one.tolist())) <= 1000
        said += [f"new levels {', '.join(fresh[:3])}"] if fresh and few else []
        said += [f"lost levels {', '.join(lost[:3])}"] if lost and few else []
    elif one.dtype == np.float64:
        said += _means(one, two) if far > MOVED else []
    if far > MOVED and not said:
        said.append("distributed otherwise")
    whole = a.whole and b.whole
    return "; ".join(said) or ("some values differ" if whole else "alike in the samples")


def _means(one: Array, two: Array) -> list[str]:
    if np.isnan(one).all() or np.isnan(two).all():
        return []
    return [f"median {np.nanmedian(one):g} to {np.nanmedian(two):g}"]


def _rows(a: _Side, b: _Side) -> tuple[int, int, int]:
    """(rows only in a, only in b, in both), duplicates counted, by the columns of both."""
    names = [n for n in a.values if n in b.values and a.values[n].dtype == b.values[n].dtype]
    if not names:
        return a.rows, b.rows, 0
    first, second = (row_hashes({n: side.values[n] for n in names}) for side in (a, b))
    unique, counts = np.unique(first, return_counts=True)
    other, more = np.unique(second, return_counts=True)
    _, at, to = np.intersect1d(unique, other, assume_unique=True, return_indices=True)
    both = int(np.minimum(counts[at], more[to]).sum())
    return a.rows - both, b.rows - both, both
