"""A manifest with a reference, and journal tables to be counted against it."""

from __future__ import annotations

import datetime as dt

import msgspec
import numpy as np
import pyarrow as pa

from modelwright.core.records import ColumnBaseline, Manifest
from modelwright.core.schema import Column, Schema, Target
from serve.made import manifest as made

BEGIN = dt.datetime(2026, 11, 26, tzinfo=dt.UTC)
LEVELS = tuple(f"l{number}" for number in range(80))


def manifest(*private: str) -> Manifest:
    """A number, a boolean, a date, a category of 80 levels; a private one where named."""
    columns = (
        Column("age", "number", minimum=0.0, maximum=64.0),
        Column("member", "boolean"),
        Column("start", "datetime"),
        Column("colour", "category", levels=LEVELS),
    )
    columns = tuple(msgspec.structs.replace(c, private=c.name in private) for c in columns)
    shares = tuple([1 / 80] * 64)
    baseline = {
        "age": ColumnBaseline(0.0, edges=tuple(float(n) for n in range(65))),
        "member": ColumnBaseline(0.0, edges=(0.0,) * 32 + (1.0,) * 33),
        "start": ColumnBaseline(0.0, edges=tuple(1.6e15 + 1e10 * n for n in range(65))),
        "colour": ColumnBaseline(0.0, levels=LEVELS[:64], shares=shares),
    }
    kept = {name: base for name, base in baseline.items() if name not in private}
    schema = Schema(columns, Target("bought", "binary", "string", ("no", "yes")))
    return msgspec.structs.replace(made(), schema=schema, baseline=kept)


def table(rows: int, seed: int = 0, minutes: int = 3) -> pa.Table:
    """Answers of some minutes, as the journal has them."""
    rng = np.random.default_rng(seed)
    score = rng.random(rows)
    time = BEGIN.timestamp() + rng.random(rows) * 60 * minutes
    gaps = rng.random(rows) < 0.1
    texts = rng.choice([*LEVELS, "new"], rows)
    return pa.table(
        {
            "time": pa.array((time * 1e6).astype(np.int64)).cast(pa.timestamp("us", tz="UTC")),
            "prediction": pa.array(np.where(score > 0.5, "yes", "no")).dictionary_encode(),
            "score": pa.array(score),
            "f_age": pa.array(rng.normal(32, 30, rows), mask=gaps),
            "f_member": pa.array(rng.random(rows) < 0.3, mask=gaps),
            "f_start": pa.array((1.6e15 + rng.random(rows) * 64e10).astype(np.int64)).cast(
                pa.timestamp("us")
            ),
            "f_colour": pa.array(texts, mask=gaps).dictionary_encode(),
        }
    )
