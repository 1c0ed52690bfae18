"""A new file held against a released model: its schema, its contract, its distributions."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import polars as pl

from modelwright.core.contract import missing_in, row_breaches, table_breaches
from modelwright.core.errors import did_you_mean
from modelwright.core.intake import Array
from modelwright.core.progress import Progress
from modelwright.core.records import ColumnBaseline, Finding, Judgement
from modelwright.core.schema import Column, Schema
from modelwright.data.scoring import style_of_rows
from modelwright.data.sources import Source
from modelwright.data.survey import sampled
from modelwright.data.typed import Typing

MOVED = 0.1
"""Distance (0 to 1) from which a column is said to have moved, on top of what chance gives."""
UNSEEN = 0.01


def judge_rows(
    source: Source,
    schema: Schema,
    baseline: Mapping[str, ColumnBaseline],
    model: str,
    progress: Progress,
) -> Judgement:
    """Say what a model would have to complain about in a file.

    Args:
        source: the opened file.
        schema: the model's.
        baseline: the model's reference distributions.
        model: its name, for the record.
        progress: told how far it is.

    Returns:
        Findings: severity error for what the model refuses, warning for what has moved.
    """
    frame, numbers, rows = sampled(source, 0, progress)
    found = _of_names(frame, schema)
    typing = Typing(schema.features, frozenset(), style_of_rows(frame, schema))
    feeds = typing.feeds(frame)
    for column in schema.features:
        if column.name not in frame.columns:
            continue
        values = feeds[column.name]
        found += _of_values(column, values, typing, numbers)
        if column.name in baseline and column.name not in typing.wrong:
            found += _moved(column, values, baseline[column.name])
    if frame.height < rows:
        found.append(Finding("sample", source.name, "pass", f"{frame.height:,} of {rows:,} rows",
                             why="were looked at", severity="info"))  # fmt: skip
    order = {"error": 0, "warning": 1, "info": 2}
    found.sort(key=lambda f: order[f.severity])
    return Judgement(source.name, model, rows, (*found, *source.findings()))


def _of_names(frame: pl.DataFrame, schema: Schema) -> list[Finding]:
    known = {column.name for column in schema.features}
    found = []
    for column in schema.features:
        if column.name not in frame.columns and not column.nullable:
            hint = did_you_mean(column.name, [n for n in frame.columns if n not in known])
            found.append(_error("column", column.name, "is missing", hint or "add it"))
    for name in frame.columns:
        if name not in known and name not in schema.tolerated:
            hint = did_you_mean(name, [k for k in known if k not in frame.columns])
            found.append(_error("column", name, "is unknown to the model", hint or "leave it out"))
    return found


def _of_values(column: Column, values: Array, typing: Typing, numbers: Array) -> list[Finding]:
    found = []
    wrong = typing.wrong.get(column.name)
    if wrong:
        rows = [int(numbers[row]) for row, _ in wrong.shown]
        shown = "; ".join(f"row {row}: {text!r}" for row, (_, text) in
                          list(zip(rows, wrong.shown, strict=True))[:4])  # fmt: skip
        measured = f"{wrong.count:,} are no {column.kind}: {shown}"
        found.append(_error("bad values", column.name, measured, "mend them", tuple(rows)))
    lines = [*row_breaches(column, values), *table_breaches(column, values)]
    if lines:
        named = [int(line.split(",")[0][4:]) for line in lines if line.startswith("row ")]
        rows = [int(numbers[row]) for row in named]
        shown = "; ".join(lines[:3])
        for row, real in zip(named, rows, strict=True):
            shown = re.sub(rf"\brow {row}\b", f"row {real}", shown)
        found.append(_error("expect", column.name, shown, "mend the rows", tuple(rows)))
    missing = missing_in(values)
    if column.kind == "category":
        unseen = ~missing & ~np.isin(values.astype(str), column.levels)
        share = float(unseen.mean())
        if share > UNSEEN:
            levels = sorted(set(values[unseen].tolist()))[:4]
            listed = ", ".join(map(repr, levels)) if not column.private else "(private)"
            found.append(_warning("unseen categories", column.name, f"{share:.1%}: {listed}",
                                  "training had none of these"))  # fmt: skip
    elif column.kind == "number" and column.minimum is not None and column.maximum is not None:
        outside = ~missing & ((values < column.minimum) | (values > column.maximum))
        share = float(outside.mean())
        if share > UNSEEN:
            ends = "(private)" if column.private else f"{column.minimum:g} to {column.maximum:g}"
            found.append(_warning("outside the training range", column.name, f"{share:.1%}",
                                  f"training had {ends}"))  # fmt: skip
    return found


def _moved(column: Column, values: Array, base: ColumnBaseline) -> list[Finding]:
    missing = missing_in(values)
    share = float(missing.mean()) if len(missing) else 0.0
    chance = 1.63 / np.sqrt(max(1, len(values)))
    found = []
    if abs(share - base.missing) > max(0.05, chance):
        measured = f"{share:.1%}, in training {base.missing:.1%}"
        found.append(_warning("missing values", column.name, measured, "it has moved"))
    present = values[~missing]
    if not len(present) or column.kind == "datetime":
        return found  # a later file has later dates
    far = _distance(present, base)
    if far > MOVED + chance:
        found.append(_warning("distribution", column.name, f"distance {far:.2f} of 0 to 1",
                              "the values are distributed otherwise than in training"))  # fmt: skip
    return found


def _distance(present: Array, base: ColumnBaseline) -> float:
    """Kolmogorov-Smirnov on the reference's quantiles, or total variation over its levels."""
    if base.levels:
        counts = dict.fromkeys(base.levels, 0)
        other = 0
        for name, count in pl.Series("t", present, dtype=pl.String).value_counts(name="n").rows():
            if name in counts:
                counts[name] = count
            else:
                other += count
        held = 1 - base.missing
        wanted = np.array([*base.shares, max(0.0, held - sum(base.shares))]) / max(held, 1e-9)
        shares = np.array([*counts.values(), other]) / len(present)
        return float(0.5 * np.abs(wanted - shares).sum())
    if not base.edges:
        return 0.0
    edges = np.array(base.edges)
    numbers = np.sort(present.astype(np.float64))
    upto = np.searchsorted(numbers, edges, side="right") / len(numbers)
    below = np.searchsorted(numbers, edges, side="left") / len(numbers)
    wanted = np.linspace(0, 1, len(edges))
    last = {edge: place for place, edge in enumerate(edges.tolist())}
    first = {edge: place for place, edge in reversed(list(enumerate(edges.tolist())))}
    high = np.array([wanted[last[e]] for e in edges.tolist()])
    low = np.array([wanted[first[e]] for e in edges.tolist()])
    return float(max(np.maximum(upto - high, 0).max(), np.maximum(low - upto, 0).max(),
                     np.maximum(below - high, 0).max()))  # fmt: skip


def _error(
    check: str, subject: str, measured: str, advice: str, rows: tuple[int, ...] = ()
) -> Finding:
    why = "the model would refuse these rows"
    return Finding(check, subject, "fail", measured, "", why, advice, "error", rows=rows)


def _warning(check: str, subject: str, measured: str, why: str) -> Finding:
    advice = "is the file right? if the world has changed, train again"
    return Finding(check, subject, "fail", measured, "", why, advice, "warning")
