"""What changed between two versions of a table."""

from __future__ import annotations

from pathlib import Path

import polars as pl

import modelwright as mw
from projects import mixed_table


def test_formats_and_order_are_no_change(tmp_path: Path) -> None:
    table = mixed_table(300)
    table.write_csv(tmp_path / "a.csv")
    table.sample(fraction=1, shuffle=True, seed=1).write_parquet(tmp_path / "b.parquet")
    found = mw.compare(tmp_path / "a.csv", tmp_path / "b.parquet")
    assert all(c.equal for c in found.columns)
    assert (found.both, found.only) == (300, (0, 0))
    assert found.fingerprints[0] == found.fingerprints[1]


def test_every_change_is_named(tmp_path: Path) -> None:
    old = mixed_table(1000)
    new = old.head(900).with_columns(
        (pl.col("size, cm") * 2).alias("size, cm"),
        pl.col("colour").replace({"blue": "violet"}),
        pl.lit("x").alias("fresh"),
        pl.when(pl.int_range(900) % 2 == 0).then("member").alias("member"),
    )
    old.write_csv(tmp_path / "a.csv")
    new.drop("start").write_csv(tmp_path / "b.csv")
    found = mw.compare(tmp_path / "a.csv", tmp_path / "b.csv")
    why = {c.name: c.why for c in found.columns if not c.equal}
    assert found.rows == (1000, 900)
    assert why["fresh"] == "new" and why["start"] == "gone"
    assert why["colour"] == "new levels violet; lost levels blue"
    assert why["size, cm"].startswith("median ")
    gaps = {c.name: c.missing for c in found.columns}
    assert gaps["member"] == (0.0, 0.5)


def test_added_rows_are_counted(tmp_path: Path) -> None:
    table = mixed_table(500)
    table.head(400).write_csv(tmp_path / "a.csv")
    table.write_csv(tmp_path / "b.csv")
    found = mw.compare(tmp_path / "a.csv", tmp_path / "b.csv")
    assert (found.both, found.only) == (400, (0, 100))
