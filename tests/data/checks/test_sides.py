"""Time, groups, shift and duplicates: what the split should have known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from modelwright.core.records import DatasetRecord, Finding
from modelwright.core.spec_file import parse_spec, read_spec
from modelwright.data.checks.fairness import protected
from modelwright.data.checks.sides import distance
from modelwright.data.dataset import load
from projects import EXAMPLES, spec_for

RNG = np.random.default_rng(0)


def found(folder: Path, table: pl.DataFrame, more: str = "") -> DatasetRecord:
    table.write_parquet(folder / "t.parquet")
    return load(spec_for(folder, "t.parquet", "y", more)).record


def of(record: DatasetRecord, check: str) -> list[Finding]:
    return [f for f in record.findings if f.check == check]


def drifting(rows: int = 3000) -> pl.DataFrame:
    """A level that wanders: neighbours are alike, the future is not."""
    level = np.cumsum(RNG.normal(0, 1, rows))
    return pl.DataFrame({"x": RNG.normal(0, 1, rows), "lag": level + RNG.normal(0, 4, rows),
                         "y": level})  # fmt: skip


def test_a_date_proposes_the_time_split_with_both_scores(tmp_path: Path) -> None:
    days = np.datetime64("2020-01-01") + np.arange(3000).astype("timedelta64[h]")
    table = drifting().with_columns(at=pl.Series(days.astype("datetime64[us]")))
    [order] = of(found(tmp_path, table), "time order")
    assert "{method: time, by: at}" in order.advice
    random, ordered = [float(part.split("ranks ")[1][:5]) for part in order.measured.split(", ")]
    assert random > 0.8 and ordered < random - 0.2
    pinned = found(tmp_path, table, "  split: {method: time, by: at}\n")
    assert not of(pinned, "time order")


def test_an_autocorrelated_target_without_a_date(tmp_path: Path) -> None:
    [order] = of(found(tmp_path, drifting()), "time order")
    assert order.severity == "warning" and "data.split: {method: time}" in order.advice
    record = found(tmp_path, drifting(), "  split: time\n")
    assert record.split == "time by row order, 20% sealed"


def test_the_last_rows_are_sealed_under_row_order(tmp_path: Path) -> None:
    table = pl.DataFrame({"x": RNG.normal(0, 1, 500), "y": np.arange(500.0)})
    table.write_parquet(tmp_path / "t.parquet")
    dataset = load(spec_for(tmp_path, "t.parquet", "y", "  split: time\n"))
    assert dataset.ordered and dataset.train.target.max() == 399


def test_shuffled_rows_have_no_order(tmp_path: Path) -> None:
    assert not of(
        found(tmp_path, drifting().sample(fraction=1, shuffle=True, seed=1)), "time order"
    )


@pytest.mark.parametrize("name", ["patient_id", "Customer", "machine no"])
def test_groups_on_both_sides(tmp_path: Path, name: str) -> None:
    patient = RNG.integers(0, 300, 3000)
    sick = RNG.normal(0, 2, 300)
    table = pl.DataFrame({"patient_id": patient, "x": RNG.normal(0, 1, 3000), "y": np.where(
        sick[patient] + RNG.normal(0, 1, 3000) > 0, "a", "b")})  # fmt: skip
    table = table.rename({"patient_id": name})
    [group] = of(found(tmp_path, table), "groups across the split")
    assert group.subject == name and f"{{method: group, by: {name}}}" in group.advice
    record = found(tmp_path, table, f"  split: {{method: group, by: {name}}}\n")
    assert not of(record, "groups across the split")


def test_shift_between_the_sides(tmp_path: Path) -> None:
    rows = np.arange(2000)
    table = pl.DataFrame({"x": RNG.normal(0, 1, 2000) + (rows > 1600) * 2, "z": RNG.normal(
        0, 1, 2000), "c": np.where(rows > 1500, "new", "old"), "y": RNG.normal(
        0, 1, 2000)})  # fmt: skip
    [moved] = of(found(tmp_path, table, "  split: time\n"), "shift")
    assert set(moved.columns) == {"x", "c"}
    assert not of(found(tmp_path, table), "shift")


def test_duplicates_across_a_split_by_time(tmp_path: Path) -> None:
    half = pl.DataFrame({"x": RNG.normal(0, 1, 300), "y": RNG.normal(0, 1, 300)})
    record = found(tmp_path, pl.concat([half, half]), "  split: time\n")
    [twice] = of(record, "duplicates across the split")
    assert twice.measured == "120 of 120 sealed rows" and twice.rows[0] == 480


def test_distance_is_zero_for_equal_and_one_for_disjoint() -> None:
    a = np.array(["x", "y"] * 50, dtype=object)
    assert distance(a, a) <= 0 and distance(a, np.array(["z"] * 90, dtype=object)) > 0.8
    assert distance(np.arange(9.0), np.full(9, np.nan)) == 1.0


def test_label_noise_is_found_where_it_was_planted(tmp_path: Path) -> None:
    x = RNG.normal(0, 1, (4000, 3))
    y = (x[:, 0] + x[:, 1] * 0.5 > 0).astype(int)
    flipped = RNG.choice(4000, 200, replace=False)
    y[flipped] = 1 - y[flipped]
    table = pl.DataFrame({f"x{i}": x[:, i] for i in range(3)} | {"y": y})
    [noise] = of(found(tmp_path, table), "label noise")
    assert noise.severity == "warning"
    assert len(set(noise.rows) & set(flipped.tolist())) >= 8


def test_a_wrong_number_in_a_regression_target(tmp_path: Path) -> None:
    x = RNG.normal(0, 1, 1000)
    y = 3 * x + RNG.normal(0, 0.1, 1000)
    y[[17, 400]] = 500
    record = found(tmp_path, pl.DataFrame({"x": x, "z": RNG.normal(0, 1, 1000), "y": y}))
    seen = {row for f in of(record, "label noise") for row in f.rows}
    assert seen and seen <= {17, 400}


def test_proxies_of_protected_columns() -> None:
    record = load(read_spec(EXAMPLES / "income" / "modelwright.yaml")).record
    assert [(f.subject, f.columns) for f in of(record, "proxy")] == [
        ("relationship", ("relationship", "sex"))
    ]


def test_columns_that_look_protected_are_named() -> None:
    spec = parse_spec("name: x\ndata: {source: adult.csv.gz, target: income}\n",
                      EXAMPLES / "income" / "modelwright.yaml")  # fmt: skip
    [note] = of(load(spec, thorough=False).record, "protected columns")
    assert {"age", "sex", "race"} <= set(note.columns) and note.severity == "info"
    assert protected.__doc__
