"""A table counted over the edges of a reference, as the watcher's summaries do; for benchmarks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from modelwright.watch.counted import Counts, Frame, Joint, Reference, Spread, spread_of

BINS, LEVELS, SCALE = 64, 64, 1000


@dataclass
class Column:
    """How one column is counted: `score` is the bounded score of each bin, 0 for missing."""

    kind: str
    edges: np.ndarray
    far: tuple[float, float]
    codes: dict[object, int]
    score: np.ndarray

    def place(self, values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        """(number of the bin, -1 for missing and -2 for unseen; whether it is far out)."""
        if self.kind == "number":
            x = values.to_numpy(np.float64)
            at = np.searchsorted(self.edges, x)
            at[np.isnan(x)] = -1
            with np.errstate(invalid="ignore"):
                return at, (x < self.far[0]) | (x > self.far[1])
        codes, levels = pd.factorize(values)
        known = np.array([self.codes.get(level, -2) for level in levels] + [-1])
        return known[codes], np.zeros(len(codes), bool)


def learned(values: pd.Series, score: np.ndarray) -> Column:
    """Edges or levels, and scores by rank: of the value, or of the mean model score of a level."""
    if pd.api.types.is_numeric_dtype(values):
        x = values.dropna().to_numpy(np.float64)
        edges = np.unique(np.quantile(x, np.linspace(0, 1, BINS + 1)))
        reach = max(edges[-1] - edges[0], 1e-9)
        column = Column("number", edges, (edges[0] - reach, edges[-1] + reach), {}, np.zeros(0))
        counts = np.bincount(column.place(values)[0] + 1, minlength=len(edges) + 2)[1:]
    else:
        counted = values.value_counts()
        codes = {level: min(i, LEVELS) for i, level in enumerate(counted.index)}
        column = Column("category", np.zeros(0), (0, 0), codes, np.zeros(0))
        counts = np.bincount(column.place(values)[0] + 1, minlength=min(len(codes), LEVELS + 1) + 1)
        counts = counts[1:]
    order = np.arange(len(counts))
    if column.kind == "category":
        at = column.place(values)[0]
        sums = np.bincount(at[at >= 0], score[at >= 0], len(counts))
        order = np.argsort(sums / np.maximum(counts, 1), kind="stable")
    rank = np.empty(len(counts))
    inside = counts[order]
    rank[order] = (np.cumsum(inside) - inside / 2) / max(1, inside.sum())
    column.score = np.append(np.round(SCALE * (2 * rank - 1)), [0, 0]).astype(np.int64)
    return column


class Counter:
    """Learns a reference table, then counts windows over its edges."""

    def __init__(self, table: pd.DataFrame, score: str | None = None, block: int = 1000) -> None:
        made = table[score].to_numpy(float) if score else np.arange(len(table)) * 0.0
        self.columns = {name: learned(table[name], made) for name in table.columns}
        self.alone = {
            name: set((c := table[name].value_counts())[c == 1].index)
            for name, column in self.columns.items()
            if column.kind == "category"
        }
        many = max(1, len(table) // block)
        cuts = np.linspace(0, len(table), many + 1).astype(int)
        parts = [table.iloc[a:b] for a, b in itertools.pairwise(cuts)]
        spread: Spread = spread_of(self.scores(table))
        kinds = {name: column.kind for name, column in self.columns.items()}
        blocks = tuple(self.count(part, reference=True) for part in parts)
        self.reference = Reference(kinds, blocks, spread, (score,) if score else ())

    def scores(self, table: pd.DataFrame) -> np.ndarray:
        found = [c.score[c.place(table[name])[0]] for name, c in self.columns.items()]
        return np.stack(found, axis=1)

    def count(self, table: pd.DataFrame, *, reference: bool = False) -> Frame:
        columns, scores = {}, []
        for name, column in self.columns.items():
            at, far = column.place(table[name])
            size = len(column.score) - 2
            bins = np.bincount(at + 2, minlength=size + 2)
            alone = 0
            if reference and column.kind == "category":
                alone = int(table[name].isin(self.alone[name]).sum())
            columns[name] = Counts(bins[2:], int(bins[1]), int(far.sum()), int(bins[0]), alone)
            scores.append(column.score[at])
        z = np.stack(scores, axis=1).astype(np.float64)  # exact: sums stay below 2**53
        products = (z.T @ z).astype(np.int64)
        joint = Joint(tuple(columns), len(table), z.sum(axis=0).astype(np.int64), products)
        return Frame(columns, joint)
