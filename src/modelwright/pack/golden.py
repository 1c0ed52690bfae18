"""Golden rows: made-up rows with the answers that the model gave where it was packed.

Whoever loads a model answers them first: another processor, another ONNX Runtime or a faster form
of the graph must say the same before it serves. The rows are nobody's: each column walks by itself
over quantiles, levels, missing and odd values of the training distribution.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from modelwright.core.errors import ArtefactError
from modelwright.core.intake import Array, Feeds
from modelwright.core.records import ColumnBaseline, Manifest
from modelwright.core.schema import MISSING_TIME, Column, Schema
from modelwright.core.store import from_json
from modelwright.pack.artefact import Answers

GOLDEN = "golden.json"
TOLERANCE = 1e-6
ROWS, CELLS = 64, 20_000
"""Rows that are recorded; fewer where a table is so wide that the file would grow."""
_ODD = (np.nan, 0.0, -1.0, 1e6)
UNSEEN = "never seen before"


class Golden(msgspec.Struct, frozen=True):
    """`golden.json`: columns of rows (missing as null) and probabilities or values, row by row."""

    columns: dict[str, list[float | int | str | None]]
    answers: list[list[float | None]]


def probe_rows(schema: Schema, baseline: Mapping[str, ColumnBaseline], count: int) -> Feeds:
    """Rows that walk over what each column can be; the same ones every time.

    Args:
        schema: the model's.
        baseline: training distribution of each column, as far as it is known.
        count: how many rows.

    Example:
        >>> from modelwright.core.schema import Target
        >>> one = Schema((Column("a", "category", levels=("x",)),), Target("y", "regression"))
        >>> probe_rows(one, {}, 4)["a"].tolist()
        ['x', '', 'never seen before', 'x']
    """
    found = {}
    for place, column in enumerate(schema.features):
        values = _walk(column, baseline.get(column.name, ColumnBaseline(0.0)))
        step = place + 1 if np.gcd(place + 1, len(values)) == 1 else 1
        order = (place + step * np.arange(count)) % len(values) if place else np.arange(count)
        found[column.name] = values[order % len(values)]
    return found


def record(schema: Schema, feeds: Feeds, answers: Answers) -> Golden:
    """What goes into the model folder."""
    columns = {c.name: [_plain(v) for v in feeds[c.name].tolist()] for c in schema.features}
    found: list[list[float | None]] = np.atleast_2d(answers.raw.T).T.tolist()
    return Golden(columns, found)


def rows_of(schema: Schema) -> int:
    """How many rows are recorded for a model."""
    return int(np.clip(CELLS // max(1, len(schema.features)), 8, ROWS))


def likely_size(manifest: Manifest) -> int:
    """Bytes that `golden.json` will take, before there are answers."""
    schema = manifest.schema
    rows = probe_rows(schema, manifest.baseline, rows_of(schema))
    width = max(1, len(schema.target.levels))
    answers: list[list[float | None]] = [[0.1234567890123456] * width] * rows_of(schema)
    columns = {c.name: [_plain(v) for v in rows[c.name].tolist()] for c in schema.features}
    return len(msgspec.json.encode(Golden(columns, answers)))


def read(folder: Path, manifest: Manifest) -> tuple[Feeds, Array] | None:
    """Recorded rows and answers of a verified folder; None in folders of before they existed."""
    if GOLDEN not in manifest.files:
        return None
    found = from_json((folder / GOLDEN).read_bytes(), Golden, where=str(folder / GOLDEN))
    feeds = {c.name: _feed(c, found.columns.get(c.name, [])) for c in manifest.schema.features}
    return feeds, np.array(found.answers, np.float64)


def check(wanted: Array, answers: Answers, where: object) -> None:
    """Hold answers against the recorded ones.

    Raises:
        ArtefactError: one is off by more than 1e-6 (values: of their size).
    """
    given = np.atleast_2d(answers.raw.T).T
    if given.shape != wanted.shape:
        raise ArtefactError(f"{where} answers its golden rows in another shape.")
    scale = np.maximum(1.0, np.abs(wanted)) if answers.values is not None else 1.0
    with np.errstate(invalid="ignore"):
        off = np.abs(given - wanted) / scale
    wrong = ~((off <= TOLERANCE) | (np.isnan(given) & np.isnan(wanted)) | (given == wanted))
    if wrong.any():
        row = int(np.flatnonzero(wrong.any(axis=1))[0])
        raise ArtefactError(
            f"{where} answers golden row {row} with {given[row][:3].tolist()}; where it was packed "
            f"it said {wanted[row][:3].tolist()}.",
            hint="Another processor or ONNX Runtime counts differently here: do not serve it.",
        )


def same(one: Answers, two: Answers) -> bool:
    """Whether two forms of a graph said the same, to the last bit."""
    pairs = ((one.raw, two.raw), (one.codes, two.codes), (one.low, two.low), (one.high, two.high))
    return all(_equal(a, b) for a, b in pairs)


def _equal(one: Array | None, two: Array | None) -> bool:
    if one is None or two is None:
        return one is two
    return np.array_equal(one, two, equal_nan=one.dtype.kind == "f")


def _walk(column: Column, baseline: ColumnBaseline) -> Array:
    if column.kind in ("category", "list"):
        levels = list(column.levels or baseline.levels)
        if column.kind == "list":
            levels += [(column.format or "|").join(levels[:2])]
        return np.array([*levels, "", UNSEEN], object)
    if column.kind == "boolean":
        return np.array([0.0, 1.0, np.nan])
    if column.kind == "datetime":
        moments = [int(edge) for edge in baseline.edges] or [0]
        return np.array([*moments, MISSING_TIME], np.int64)
    edges = np.array(baseline.edges or (0.0, 1.0))
    between = (edges[1:] + edges[:-1]) / 2
    return np.concatenate([edges, np.rint(between) if column.integer else between, _ODD])


def _plain(value: float | int | str) -> float | int | str | None:
    return None if value in ("", MISSING_TIME) or value != value else value


def _feed(column: Column, values: list[float | int | str | None]) -> Array:
    if column.kind in ("category", "list"):
        return np.array([v or "" for v in values], object)
    if column.kind == "datetime":
        return np.array([MISSING_TIME if v is None else v for v in values], np.int64)
    return np.array(values, np.float64)
