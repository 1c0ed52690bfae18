"""A pandas table counted as the watcher counts a file of the journal; for benchmarks.

Edges and levels come from `data.dataset.baseline_of`, cells from `watch.summaries.Plan.count`, and
what is judged from `watch.reference.frame_of`: the code that runs in production. Only the way from
pandas to Arrow is the benchmark's own.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from modelwright.data.dataset import baseline_of
from modelwright.watch.counted import Frame, Reference, spread_of
from modelwright.watch.reference import _alone, frame_of
from modelwright.watch.summaries import BINS, MINUTE, Bins, Plan, Summary, _number_bins


def arrow(table: pd.DataFrame, block: np.ndarray | int = 0) -> pa.Table:
    """Columns as the journal has them; `block`: the minute of each row."""
    columns = {}
    for name in table.columns:
        if pd.api.types.is_numeric_dtype(table[name]):
            columns[name] = pa.array(table[name].to_numpy(np.float64), from_pandas=True)
        else:
            texts = pa.array(table[name], pa.string(), from_pandas=True)
            columns[name] = texts.dictionary_encode()
    times = np.broadcast_to(np.asarray(block, np.int64) * MINUTE * 1_000_000, len(table))
    return pa.table({**columns, "time": pa.array(np.ascontiguousarray(times))})


def plan_of(table: pd.DataFrame) -> Plan:
    """How tables like this one are counted: by what it holds, as by a model's training rows."""
    bins, known = [], {}
    for name in table.columns:
        values = table[name]
        if pd.api.types.is_numeric_dtype(values):
            bins.append(_number_bins(name, baseline_of(values.to_numpy(np.float64))))
        else:
            base = baseline_of(values.fillna("").to_numpy(object))
            bins.append(Bins(name, "text", levels=base.levels[:BINS], shares=base.shares))
            known[name] = frozenset(values.dropna().unique())
    return Plan(bins, known)


class Counter:
    """Learns a reference table, then counts windows over its edges."""

    def __init__(self, table: pd.DataFrame, score: str | None = None, block: int = 1000) -> None:
        self.plan = plan_of(table)
        rows, many = len(table), max(1, len(table) // block)
        place = np.minimum(np.arange(rows) * many // rows, many - 1)
        timed = arrow(table, place)
        blocks = tuple(
            frame_of(summary, _alone(self.plan, timed, place == minute // MINUTE))
            for minute, summary in self.plan.count(timed).items()
        )
        kinds = {b.name: "number" if b.kind == "number" else "category" for b in self.plan.bins}
        levels = {b.name: b.levels for b in self.plan.bins if b.kind == "text"}
        first = (score,) if score else ()
        spread = spread_of(self.plan.scores(timed))
        self.reference = Reference(kinds, blocks, spread, first, levels)

    def summary(self, table: pa.Table) -> Summary:
        """All minutes of a table together."""
        found = self.plan.empty()
        for one in self.plan.count(table).values():
            found += one
        return found

    def count(self, table: pd.DataFrame) -> Frame:
        """A window."""
        return frame_of(self.summary(arrow(table)))
