"""A table that is read in batches is judged like one that is read at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from modelwright.core.progress import Silent
from modelwright.data.dataset import load
from modelwright.data.sources import open_file
from modelwright.data.survey import sampled, survey
from projects import mixed_table, spec_for


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_fingerprint_is_that_of_the_whole_table(tmp_path: Path, ending: str) -> None:
    table = mixed_table(70_000).with_columns(
        note=pl.Series([f"row {i}" for i in range(70_000)]), one=pl.lit(1.0),
        tags=pl.Series(np.random.default_rng(0).choice(["a|b", "b|c", "a|c", "c", "a"], 70_000)),
        bought=pl.when(pl.int_range(70_000) % 1000 == 7).then(None).otherwise("bought"),
    )  # fmt: skip
    path = tmp_path / f"t.{ending}"
    table.write_csv(path) if ending == "csv" else table.write_parquet(path)
    spec = spec_for(tmp_path, path.name, "bought")
    whole = load(spec).record
    found = survey(spec, open_file(path), Silent())
    assert found.fingerprint == whole.fingerprint
    assert found.column_fingerprints == whole.column_fingerprints
    assert found.rows == whole.rows == 69_930 and found.streamed and found.sampled == 50_000
    lost = [f.measured for f in found.findings if f.check == "rows without target"]
    assert lost == ["70 of 70,000"]


def test_rows_without_time_are_left_out_either_way(tmp_path: Path) -> None:
    """And what only the second half of the rows lacks is not seen before the second pass."""
    table = pl.DataFrame({"x": np.arange(60_000) % 101, "y": np.arange(60_000) % 7}).with_columns(
        day=pl.when(pl.int_range(60_000) % 999 == 5).then(None).otherwise(pl.int_range(60_000)),
        y=pl.when(pl.int_range(60_000) == 9).then(None).otherwise(pl.col("y")),
    )
    table.write_csv(tmp_path / "t.csv")
    spec = spec_for(tmp_path, "t.csv", "y", "  split: {method: time, by: day}\n")
    whole, found = load(spec).record, survey(spec, open_file(tmp_path / "t.csv"), Silent())
    assert found.fingerprint == whole.fingerprint and found.rows == whole.rows == 59_938
    lost = {f.check: f.measured for f in found.findings if f.check.startswith("rows without")}
    assert lost == {"rows without target": "1 of 60,000", "rows without time": "61 of 60,000"}


def test_a_german_export_has_one_fingerprint_either_way(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    price = [f"{v:,.2f}".translate(str.maketrans(",.", ".,")) for v in rng.normal(3e3, 900, 4000)]
    plain = [f"{v:.1f}" for v in rng.normal(0, 1, 4000)]
    table = pl.DataFrame(
        {
            "Nr": [f"{i:,}".replace(",", ".") for i in range(1000, 5000)],
            "Preis": price,
            "x": plain,
            "y": rng.normal(0, 1, 4000).round(3),
        }
    )
    table = table.with_columns(y=pl.col("y").cast(pl.String).str.replace(".", ",", literal=True))
    table.write_csv(tmp_path / "t.csv", separator=";")
    spec = spec_for(tmp_path, "t.csv", "y")
    whole = load(spec).record
    assert {c.name: c.format for c in whole.schema.columns} == {
        "Nr": None,
        "Preis": "1.234,5",
        "x": None,
    }
    found = survey(spec, open_file(tmp_path / "t.csv"), Silent())
    assert found.column_fingerprints == whole.column_fingerprints


def test_a_sample_is_uniform_and_in_the_order_of_the_file(tmp_path: Path) -> None:
    pl.DataFrame({"n": range(200_000)}).write_parquet(tmp_path / "t.parquet")
    frame, numbers, rows = sampled(open_file(tmp_path / "t.parquet"), 0, Silent())
    assert rows == 200_000 and frame["n"].to_list() == numbers.tolist()
    assert (np.diff(numbers) > 0).all()
    assert abs(numbers.mean() - 100_000) < 1_500


def test_values_that_the_sample_did_not_have_are_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = [str(v) for v in rng.normal(0, 1, 120_000).round(3).tolist()]
    odd = int(np.setdiff1d(np.arange(120_000), sampled_rows(tmp_path, 120_000))[5])
    values[odd] = "broken"
    pl.DataFrame({"x": values, "y": rng.normal(0, 1, 120_000)}).write_csv(tmp_path / "t.csv")
    spec = spec_for(tmp_path, "t.csv", "y")
    record = survey(spec, open_file(tmp_path / "t.csv"), Silent())
    [bad] = [f for f in record.findings if f.check == "bad values"]
    assert bad.rows == (odd,) and f"row {odd}: 'broken'" in bad.measured


def sampled_rows(folder: Path, rows: int) -> np.ndarray:
    """The rows that a survey of a CSV file of so many rows looks at."""
    width = "0.123"
    pl.DataFrame({"x": [width] * rows, "y": [0.123456789] * rows}).write_csv(folder / "s.csv")
    return sampled(open_file(folder / "s.csv"), 0, Silent())[1]
