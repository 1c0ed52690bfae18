"""Planted leaks are found, real clean columns are not called leaks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from modelwright.core.records import DatasetRecord, Finding
from modelwright.core.spec_file import read_spec
from modelwright.data.dataset import load
from projects import EXAMPLES, spec_for

Plant = Callable[[pl.DataFrame, np.ndarray, np.random.Generator], pl.DataFrame]


def found(folder: Path, table: pl.DataFrame, target: str, more: str = "") -> DatasetRecord:
    table.write_parquet(folder / "t.parquet")
    return load(spec_for(folder, "t.parquet", target, more)).record


def of(record: DatasetRecord, check: str) -> list[Finding]:
    return [f for f in record.findings if f.check == check]


@pytest.fixture(scope="module")
def adult() -> pl.DataFrame:
    return pl.read_csv(EXAMPLES / "income" / "adult.csv.gz").head(12_000)


@pytest.fixture(scope="module")
def ames() -> pl.DataFrame:
    return pl.read_csv(EXAMPLES / "ames" / "ames.csv.gz", infer_schema_length=None)


def flipped(y: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(len(y)) < share, 1 - y, y)


CLASSES: dict[str, Plant] = {
    "a copy": lambda t, y, _: t.with_columns(k=pl.Series(y)),
    "a copy in words": lambda t, y, _: t.with_columns(k=pl.Series(np.where(y == 1, "hi", "lo"))),
    "a copy with 3 % mistakes": lambda t, y, r: t.with_columns(k=pl.Series(flipped(y, 0.03, r))),
    "a number that follows it": lambda t, y, r: t.with_columns(
        k=pl.Series(y * 10 + r.normal(0, 3, len(y)))),
    "filled in only afterwards": lambda t, y, r: t.with_columns(
        k=pl.Series(np.where(y == 1, r.choice(["a", "b"], len(y)), ""))),
    "missing in step": lambda t, y, r: t.with_columns(
        k=pl.when(pl.Series(y == 1)).then(pl.Series(r.normal(0, 1, len(y))))),
    "of two, each hides the other": lambda t, y, r: t.with_columns(
        k=pl.Series(y + r.normal(0, 0.3, len(y))), k2=pl.Series(y + r.normal(0, 0.3, len(y)))),
}  # fmt: skip


@pytest.mark.parametrize("plant", CLASSES)
def test_leaks_of_a_class(tmp_path: Path, adult: pl.DataFrame, plant: str) -> None:
    rng = np.random.default_rng(0)
    y = (adult["income"] == ">50K").to_numpy().astype(int)
    record = found(tmp_path, CLASSES[plant](adult, y, rng), "income")
    errors = {f.subject for f in record.findings if f.severity == "error"}
    assert errors == {"k", "k2"} & {c.name for c in record.schema.columns}
    [first, *_] = of(record, "leakage")
    assert "data.drop: [k" in first.advice and "data.accept: {leakage: [k" in first.advice


NUMBERS: dict[str, tuple[Plant, set[str]]] = {
    "a copy": (lambda t, y, _: t.with_columns(k=pl.Series(y)), {"k"}),
    "in another unit": (lambda t, y, _: t.with_columns(k=pl.Series(y / 1.17).round(2)), {"k"}),
    "its logarithm": (lambda t, y, _: t.with_columns(k=pl.Series(np.log(y)).round(3)), {"k"}),
    "a total of which it is a part": (
        lambda t, y, r: t.with_columns(fee=pl.Series(r.integers(1000, 9000, len(y)))).with_columns(
            total=pl.col("SalePrice") + pl.col("fee")), {"total", "fee"}),
    "price times amount": (
        lambda t, y, _: t.with_columns(k=pl.col("SalePrice") / pl.col("area")), {"k", "area"}),
    "a sum of three parts": (
        lambda t, y, r: t.with_columns(a=pl.Series(y * 0.2 + r.normal(0, 9e3, len(y))),
                                       b=pl.Series(y * 0.1 + r.normal(0, 9e3, len(y))))
        .with_columns(c=pl.col("SalePrice") - pl.col("a") - pl.col("b")), {"a", "b", "c"}),
    "a rounded price an area": (
        lambda t, y, _: t.with_columns(k=(pl.col("SalePrice") / pl.col("area")).round(1)),
        {"k", "area"}),
    "high and low": (
        lambda t, y, _: t.with_columns(k=pl.Series(np.where(y > 160_000, "high", "low"))), {"k"}),
    "bands in words": (
        lambda t, y, _: t.with_columns(k=pl.Series(np.digitize(y, [1e5, 1.6e5, 2.2e5]))
                                       .cast(pl.String)), {"k"}),
    "bands in numbers": (
        lambda t, y, _: t.with_columns(k=pl.Series(np.digitize(y, [1e5, 1.6e5, 2.2e5]))), {"k"}),
}  # fmt: skip


@pytest.mark.parametrize("plant", NUMBERS)
def test_leaks_of_a_number(tmp_path: Path, ames: pl.DataFrame, plant: str) -> None:
    change, wanted = NUMBERS[plant]
    y = ames["SalePrice"].to_numpy().astype(float)
    record = found(tmp_path, change(ames, y, np.random.default_rng(0)), "SalePrice")
    named = {c for f in of(record, "leakage") for c in f.columns}
    assert named == wanted
    assert all(f.severity == "error" for f in of(record, "leakage"))


def test_a_grade_binned_from_a_column(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    points = rng.integers(0, 100, 3000)
    table = pl.DataFrame({"points": points, "noise": rng.normal(0, 1, 3000)})
    table = table.with_columns(grade=pl.Series([f"g{p // 25}" for p in points.tolist()]))
    assert [f.subject for f in of(found(tmp_path, table, "grade"), "leakage")] == ["points"]


def test_a_class_that_is_a_rest(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    due, y = rng.integers(1, 9, 900), rng.integers(0, 2, 900)
    table = pl.DataFrame({"due": due, "paid": due - y, "z": rng.normal(0, 1, 900), "y": y})
    [leak] = of(found(tmp_path, table, "y"), "leakage")
    assert leak.measured == "target = due - paid"


def test_a_part_that_is_dropped_leaks_no_more(tmp_path: Path, ames: pl.DataFrame) -> None:
    fee = pl.Series(np.random.default_rng(0).integers(1000, 99_000, ames.height))
    table = ames.with_columns(fee=fee).with_columns(total=pl.col("SalePrice") + pl.col("fee"))
    assert of(found(tmp_path, table, "SalePrice"), "leakage")
    assert not of(found(tmp_path, table, "SalePrice", "  drop: total\n"), "leakage")


def test_few_columns_are_no_measure_of_what_is_too_good(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, 2000)
    table = pl.DataFrame({"x": x, "z": rng.normal(0, 1, 2000),
                          "y": np.where(x + rng.normal(0, 0.3, 2000) > 0, "a", "b")})  # fmt: skip
    assert not [f for f in found(tmp_path, table, "y").findings if f.severity == "error"]


def test_what_is_known_only_afterwards_is_asked(tmp_path: Path, adult: pl.DataFrame) -> None:
    rng = np.random.default_rng(0)
    y = (adult["income"] == ">50K").to_numpy()
    table = adult.with_columns(callDuration=pl.Series(rng.exponential(100, len(y)) * (1 + 2 * y)))
    [asked] = of(found(tmp_path, table, "income"), "known in time?")
    assert (asked.subject, asked.severity) == ("callDuration", "warning")


def test_ids_that_order_the_target(tmp_path: Path, adult: pl.DataFrame) -> None:
    table = adult.sort("income").with_row_index("row_id")
    [told] = of(found(tmp_path, table, "income"), "id orders the target")
    assert told.subject == "row_id"


def test_accepted_findings_become_notes(tmp_path: Path, ames: pl.DataFrame) -> None:
    table = ames.with_columns(k=pl.col("SalePrice"))
    record = found(tmp_path, table, "SalePrice", "  accept: {leakage: [k]}\n")
    [leak] = of(record, "leakage")
    assert (leak.verdict, leak.severity) == ("pass", "info") and "accepted" in leak.why


@pytest.mark.slow
@pytest.mark.parametrize("name", ["income", "mammography", "wildlife", "ames", "beijing"])
def test_clean_tables_raise_no_error(name: str) -> None:
    record = load(read_spec(EXAMPLES / name / "modelwright.yaml")).record
    assert [f for f in record.findings if f.severity == "error"] == []
    assert not of(record, "leakage") and not of(record, "strong column")


def test_one_strong_honest_column_is_no_error(tmp_path: Path) -> None:
    """Two like measures, as in iris: each tells much, and so does the other."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 600)
    length = np.array([1.46, 4.26, 5.55])[kind] + rng.normal(0, [0.17, 0.47, 0.55], (600, 3))[
        np.arange(600), kind]  # fmt: skip
    width = np.array([0.25, 1.33, 2.03])[kind] + rng.normal(0, [0.1, 0.2, 0.27], (600, 3))[
        np.arange(600), kind]  # fmt: skip
    sepal = kind * 0.5 + rng.normal(0, 0.5, 600)
    table = pl.DataFrame({"petal length": length, "petal width": width, "sepal": sepal,
                          "kind": [f"k{k}" for k in kind.tolist()]})  # fmt: skip
    assert not of(found(tmp_path, table, "kind"), "leakage")
