"""Tables of arrays counted over fixed edges, for the tests of drift."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modelwright.core.intake import Array
from modelwright.watch.counted import Counts, Frame, Joint, Reference, spread_of

EDGES = np.linspace(-3, 3, 31)
LEVELS = 6
Table = dict[str, Array]


def drawn(rng: np.random.Generator, rows: int) -> Table:
    """Three numbers, two of which go together, and a category; a twentieth of one is missing."""
    a = rng.standard_normal(rows)
    b = 0.7 * a + np.sqrt(1 - 0.49) * rng.standard_normal(rows)
    c = np.where(rng.random(rows) < 0.05, np.nan, rng.standard_normal(rows))
    level = rng.choice(LEVELS, rows, p=[0.4, 0.3, 0.15, 0.1, 0.04, 0.01]).astype(float)
    return {"a": a, "b": b, "c": c, "level": level}


def scores(table: Table) -> Array:
    parts = [np.clip(np.nan_to_num(values), -3, 3) for values in table.values()]
    return np.round(100 * np.stack(parts, axis=1)).astype(np.int64)


def counted(table: Table) -> Frame:
    """Levels from `LEVELS` up are unseen, numbers beyond 10 far out."""
    columns = {}
    for name, values in table.items():
        missing = np.isnan(values)
        present = values[~missing]
        if name == "level":
            bins = np.bincount(present.astype(int), minlength=LEVELS)
            columns[name] = Counts(bins[:LEVELS], int(missing.sum()), 0, int(bins[LEVELS:].sum()))
        else:
            bins = np.bincount(np.searchsorted(EDGES, present), minlength=len(EDGES) + 1)
            columns[name] = Counts(bins, int(missing.sum()), int((np.abs(present) > 10).sum()))
    z = scores(table)
    return Frame(columns, Joint(tuple(table), len(z), z.sum(axis=0), z.T @ z))


def cut(table: Table, rows: int) -> list[Table]:
    """Contiguous stretches of so many rows."""
    many = len(next(iter(table.values())))
    return [{k: v[i : i + rows] for k, v in table.items()} for i in range(0, many, rows)]


def referenced(table: Table, rows: int = 1000, first: tuple[str, ...] = ()) -> Reference:
    kinds = {name: "category" if name == "level" else "number" for name in table}
    blocks = tuple(counted(part) for part in cut(table, rows))
    return Reference(kinds, blocks, spread_of(scores(table)), first, {"level": tuple("abcdef")})  # type: ignore[arg-type]


Change = Callable[[Table, np.random.Generator], None]


def shifted(table: Table, rng: np.random.Generator) -> None:
    table["a"] += 0.3


def emptied(table: Table, rng: np.random.Generator) -> None:
    table["b"][rng.random(len(table["b"])) < 0.05] = np.nan


def unit(table: Table, rng: np.random.Generator) -> None:
    table["c"][:10] = 1000.0


def moved(table: Table, rng: np.random.Generator) -> None:
    table["level"][rng.random(len(table["level"])) < 0.15] = 2


def unseen(table: Table, rng: np.random.Generator) -> None:
    table["level"][:8] = LEVELS


def rotated(table: Table, rng: np.random.Generator) -> None:
    table["b"] = rng.permutation(table["b"])
