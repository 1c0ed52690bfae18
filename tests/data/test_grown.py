"""Tables that grow by answered rows: what was sealed stays sealed, all is read as before."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from modelwright.core.errors import DataError
from modelwright.core.intake import Array, Feeds
from modelwright.core.spec_file import SpecFile
from modelwright.data.answered import label_values, labelled_of
from modelwright.data.dataset import Dataset, load
from modelwright.data.grown import Grown, grow, judging, labelled_hashes, matched
from projects import mixed_table, spec_for

START = dt.datetime(2026, 1, 1)


@dataclass
class Before:
    """A project whose table was split once."""

    spec_file: SpecFile
    dataset: Dataset

    @property
    def sealed(self) -> Array:
        holdout = self.dataset.holdout
        labelled, _ = holdout.open("test")
        return labelled_hashes(labelled.feeds, labelled.target, list(labelled.feeds))

    def grown(self, rows: pl.DataFrame) -> tuple[Grown, Dataset]:
        """After answered rows came; the newest 60 judge, see `watch.retrain.recent`."""
        schema = self.dataset.schema
        labelled = labelled_of(rows, schema)
        judges = judging(labelled.times, self.spec_file.spec.watch.retrain, 0.0)
        found = grow(self.spec_file, schema, self.sealed, labelled, judges)
        path = self.spec_file.folder / "grown.parquet"
        found.table.write_parquet(path)
        data = found.spec.data.model_copy(update={"source": path.name})
        spec = found.spec.model_copy(update={"data": data})
        return found, load(SpecFile(spec, self.spec_file.path))


def project(folder: Path, table: pl.DataFrame, target: str, more: str = "") -> Before:
    table.write_csv(folder / "t.csv")
    text = f"{more}watch: {{retrain: {{recent: 60 rows}}}}\n"
    spec_file = spec_for(folder, "t.csv", target, text)
    return Before(spec_file, load(spec_file))


def numbers(rows: int, seed: int) -> dict[str, Array]:
    """Rows that are told apart by `a`."""
    rng = np.random.default_rng(seed)
    return {
        "a": rng.normal(size=rows).round(9),
        "b": rng.normal(size=rows).round(9),
        "club": np.array([f"c{i}" for i in rng.integers(0, 60, rows)], object),
        "at": np.array([f"2025-01-{1 + i % 28:02d} {i % 24:02d}:{i % 60:02d}"
                        for i in range(rows)]),
        "y": np.where(rng.random(rows) < 0.4, "yes", "no"),
    }  # fmt: skip


def journal(values: dict[str, Any], rows: int) -> pl.DataFrame:
    features = {f"f_{name}": v for name, v in values.items() if name not in ("y", "at")}
    times = [START + dt.timedelta(seconds=i) for i in range(rows)]
    at = {"f_at": [dt.datetime.fromisoformat(v) for v in values["at"]]} if "at" in values else {}
    return pl.DataFrame({**features, **at, "label": values["y"], "time": times})


def test_rows_are_matched_as_often_as_they_are_wanted() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        hashes = rng.integers(0, 6, rng.integers(1, 20)).astype(np.uint64)
        wanted = rng.integers(0, 8, rng.integers(0, 12)).astype(np.uint64)
        mask = matched(hashes, wanted)
        for value in range(8):
            have, want = (hashes == value).sum(), (wanted == value).sum()
            assert mask[hashes == value].sum() == min(have, want)
            where = mask[hashes == value]
            assert not (where[:-1] & ~where[1:]).any()  # the last ones


SPLITS = ("", "  split: random\n", "  split: {method: group, by: club}\n",
          "  split: {method: time, by: at}\n", "  split: time\n")  # fmt: skip


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("extra", ["none", "appended"])
def test_sealed_learned_and_judging_rows_never_meet(split: str, extra: str, tmp_path: Path) -> None:
    old = numbers(400, 1)
    task = "  task: regression\n" if split.endswith("random\n") else ""
    if task:
        old["y"] = old["b"] * 2
    before = project(tmp_path, pl.DataFrame(old), "y", split + task)
    sealed_ids = set(before.dataset.holdout.features().feeds["a"].tolist())
    fresh = numbers(300, 2)
    if task:
        fresh["y"] = fresh["b"] * 2
    if "time" in split:
        fresh["at"] = np.array([f"2026-02-{1 + i % 28:02d} 10:00" for i in range(300)])
    # somebody asks for rows of the table, sealed ones among them, and for some rows twice
    asked = {name: np.r_[values, old[name][:100], values[:20]] for name, values in fresh.items()}
    is_sealed = np.isin(asked["a"], list(sealed_ids))
    turned = -asked["y"] if task else np.where(asked["y"] == "yes", "no", "yes")
    asked["y"] = np.where(is_sealed, turned, asked["y"])  # the truth of a sealed row is another now
    if extra == "appended":  # the source grew by rows that were answered, the newest ones too
        grown_source = {n: np.r_[old[n], v[:50], asked[n][-10:]] for n, v in fresh.items()}
        pl.DataFrame(grown_source).write_csv(tmp_path / "t.csv")
    found, dataset = before.grown(journal(asked, 420))
    train = dataset.train.feeds["a"].tolist()
    judges = set(found.judging.feeds["a"].tolist())
    assert set(dataset.holdout.features().feeds["a"].tolist()) == sealed_ids
    assert dataset.record.holdout_rows == len(sealed_ids) == found.sealed_rows
    assert not set(train) & sealed_ids and not set(train) & judges
    assert len(set(train)) == len(train), "a row that is in both is learned from once"
    assert judges == set(asked["a"][-60:].tolist())
    assert found.learned > 150 and found.table.height == found.source_rows + found.learned
    assert sum(found.left_out.values()) > 0
    if "group" in split:
        clubs = set(before.dataset.holdout.features().feeds["club"].tolist())
        assert not clubs & set(dataset.train.feeds["club"].tolist())
    assert dataset.ordered == ("time" in split)


def test_the_sealed_rows_have_the_same_fingerprint_so_that_uses_are_counted_on(
    tmp_path: Path,
) -> None:
    before = project(tmp_path, pl.DataFrame(numbers(300, 1)), "y")
    _, dataset = before.grown(journal(numbers(200, 2), 200))
    assert dataset.record.holdout_fingerprint == before.dataset.record.holdout_fingerprint
    assert dataset.record.split == "stratified, sealed rows given"
    by = {column.name: column.unused for column in dataset.schema.columns}
    assert by["sealed_by_champion"] == "data.split.sealed names it"


def test_a_source_without_the_sealed_rows_is_refused(tmp_path: Path) -> None:
    before = project(tmp_path, pl.DataFrame(numbers(300, 1)), "y")
    sealed = before.sealed
    pl.DataFrame(numbers(300, 3)).write_csv(tmp_path / "t.csv")
    labelled = labelled_of(journal(numbers(100, 2), 100), before.dataset.schema)
    with pytest.raises(DataError, match=r"does not hold .* of the .* rows any more") as caught:
        grow(before.spec_file, before.dataset.schema, sealed, labelled, np.zeros(100, bool))
    assert "modelwright run" in caught.value.hint


def test_a_small_domain_is_no_reason_to_leave_every_row_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def few(rows: int) -> dict[str, Any]:
        a, b = rng.integers(0, 3, (2, rows)).astype(str)
        return {"a": a, "b": b, "y": np.where(rng.random(rows) < 0.5, "yes", "no")}  # fmt: skip

    before = project(tmp_path, pl.DataFrame(few(500)), "y", "  kinds: {a: category, b: category}\n")
    rows = few(300)
    found, _ = before.grown(journal(rows, 300))
    assert found.learned == 240 and not found.left_out


def messy(rows: int, seed: int) -> pl.DataFrame:
    """A German export with each kind of column."""
    rng = np.random.default_rng(seed)
    price = rng.normal(3000, 900, rows).round(2).tolist()
    return pl.DataFrame({
        "Preis": [f"{p:,.2f} \u20ac".translate(str.maketrans(",.", ".,")) for p in price],
        "Tags": rng.choice(["a|b", "b|c", "a|c", "c", "b|a|c", ""], rows),
        "Stufe": rng.choice(["low", "Low ", "high"], rows),
        "Sensor": [str(s).replace(".", ",") if s > 12 else "-200"
                   for s in rng.normal(20, 5, rows).round(1).tolist()],
        "Kunde": rng.choice(["Ja", "Nein"], rows),
        "Tag": [f"{1 + i % 28}.{1 + i % 12}.2024" for i in range(rows)],
        "Notiz": [f"eine lange Notiz Nummer {i} von vielen" for i in range(rows)],
        "teuer": [("ja" if p > 3100 else "nein") for p in price],
    })  # fmt: skip


MESSY = "  positive: ja\n  read: {missing: {Sensor: [-200]}}\n  spellings: {Stufe: {low: [Low]}}\n"


def as_journal(feeds: Feeds, labels: list[Any], schema: Any) -> pl.DataFrame:
    """What the server's journal would hold for typed rows."""
    columns: dict[str, Any] = {}
    for column in schema.features:
        values = feeds[column.name]
        if column.kind == "datetime":
            columns[f"f_{column.name}"] = pl.Series(values).cast(pl.Datetime("us", "UTC"))
        elif column.kind == "boolean":
            columns[f"f_{column.name}"] = values == 1
        elif column.kind == "number":
            columns[f"f_{column.name}"] = pl.Series(values).fill_nan(None)
        else:
            columns[f"f_{column.name}"] = [text or None for text in values.tolist()]
    times = [START + dt.timedelta(seconds=i) for i in range(len(labels))]
    return pl.DataFrame({**columns, "label": labels, "time": times})


@pytest.mark.parametrize("case", ["csv", "parquet"])
def test_answered_rows_are_read_like_the_source(case: str, tmp_path: Path) -> None:
    """Typed rows, written in the source's way and read again, are the same typed rows."""
    if case == "csv":
        (tmp_path / "t.csv").write_text(messy(500, 0).write_csv(separator=";"))
        spec_file = spec_for(tmp_path, "t.csv", "teuer", MESSY)
    else:
        mixed_table(500).write_parquet(tmp_path / "t.parquet")
        spec_file = spec_for(tmp_path, "t.parquet", "bought")
    dataset = load(spec_file)
    before = Before(spec_file, dataset)
    train = dataset.train
    changed = {name: values[::-1].copy() for name, values in train.feeds.items()}
    number = {"csv": "Preis", "parquet": "big"}[case]
    changed[number] = changed[number] + 0.125  # rows that the table does not have
    levels = dataset.schema.target.levels
    labels = [levels[code] for code in train.target.tolist()]
    rows = as_journal(changed, labels, dataset.schema)
    labelled = labelled_of(rows, dataset.schema)
    assert not labelled.left_out
    judges = np.zeros(train.rows, bool)
    found = grow(spec_file, dataset.schema, before.sealed, labelled, judges)
    assert found.learned == train.rows and not found.left_out
    found.table.write_parquet(tmp_path / "grown.parquet")
    data = found.spec.data.model_copy(update={"source": "grown.parquet"})
    again = load(SpecFile(found.spec.model_copy(update={"data": data}), spec_file.path))
    kinds = {c.name: (c.kind, c.format, c.missing, c.spellings) for c in dataset.schema.features}
    assert {c.name: (c.kind, c.format, c.missing, c.spellings)
            for c in again.schema.features} == kinds  # fmt: skip
    assert again.schema.target.levels == levels
    assert again.schema.target.label_type == dataset.schema.target.label_type
    for name, values in train.feeds.items():
        both = np.concatenate([values, changed[name]])
        np.testing.assert_array_equal(again.train.feeds[name], both, err_msg=name)
    np.testing.assert_array_equal(again.train.target, np.r_[train.target, train.target])


@pytest.mark.parametrize(
    ("dtype", "labels"),
    [(pl.String, ["0", "1"]), (pl.Int64, [0, 1]), (pl.Float64, [0.0, 1.0]),
     (pl.Boolean, [False, True]), (pl.String, ["False", "True"])],
)  # fmt: skip
def test_labels_of_every_type_find_their_class(
    dtype: Any, labels: list[Any], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, 300)
    table = pl.DataFrame({"a": rng.normal(size=300), "y": [labels[c] for c in codes.tolist()]})
    table = table.with_columns(pl.col("y").cast(dtype))
    table.write_parquet(tmp_path / "t.parquet")
    spec_file = spec_for(tmp_path, "t.parquet", "y")
    before = Before(spec_file, load(spec_file))
    said = before.dataset.schema.target.levels
    fresh = rng.normal(size=200)
    times = [START + dt.timedelta(seconds=i) for i in range(200)]
    rows = pl.DataFrame({"f_a": fresh, "label": [said[i % 2] for i in range(200)], "time": times})
    _, dataset = before.grown(rows)
    assert dataset.schema.target.label_type == before.dataset.schema.target.label_type
    assert dataset.schema.target.levels == said
    place = {value: i for i, value in enumerate(fresh.tolist())}
    met = [
        (place[a], y)
        for a, y in zip(
            dataset.train.feeds["a"].tolist(), dataset.train.target.tolist(), strict=True
        )
        if a in place
    ]
    assert len(met) == 100 and all(i % 2 == y for i, y in met)


def test_labels_that_are_no_class_and_values_that_do_not_fit_are_counted(tmp_path: Path) -> None:
    before = project(tmp_path, pl.DataFrame(numbers(300, 1)), "y")
    rows = journal(numbers(100, 2), 100).with_columns(
        pl.when(pl.int_range(100) < 7).then(pl.lit("perhaps")).otherwise("label").alias("label"),
        pl.col("f_a").cast(pl.String),
    )
    rows = rows.with_columns(
        pl.when(pl.int_range(100) == 50).then(pl.lit("x")).otherwise(None).alias("f_a")
    )
    found = labelled_of(rows, before.dataset.schema)
    assert found.left_out == {
        "their label is none of the model's classes": 7,
        "a value does not fit its column any more": 1,
    }
    assert len(found.target) == 92 == found.rows.height


def test_what_the_journal_lacks_is_said(tmp_path: Path) -> None:
    before = project(tmp_path, pl.DataFrame(numbers(300, 1)), "y", "  private: [b]\n")
    rows = journal(numbers(100, 2), 100).drop("f_b")
    with pytest.raises(DataError, match="has no b: private columns") as caught:
        labelled_of(rows, before.dataset.schema)
    assert "data: source" in caught.value.hint


def test_regression_labels_are_numbers() -> None:
    from modelwright.core.schema import Target

    found = label_values(pl.Series(["1.5", "x", None]), Target("y", "regression"))
    np.testing.assert_array_equal(found, [1.5, np.nan, np.nan])


def test_a_column_says_which_rows_are_sealed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pl.DataFrame(numbers(200, 1)).with_columns(pl.Series("held", rng.random(200) < 0.3))
    table.write_csv(tmp_path / "t.csv")
    more = "  split: {method: group, by: club, sealed: held}\n"
    dataset = load(spec_for(tmp_path, "t.csv", "y", more))
    held = set(table.filter("held")["a"])
    assert set(dataset.holdout.features().feeds["a"].tolist()) == held
    assert dataset.train.groups is not None and "held" not in dataset.train.feeds
    bad = table.with_columns(
        pl.when(pl.int_range(200) == 3).then(None).otherwise("held").alias("held")
    )
    bad.write_csv(tmp_path / "t.csv")
    with pytest.raises(DataError, match="does not say true or false in every row"):
        load(spec_for(tmp_path, "t.csv", "y", more))
    with pytest.raises(DataError, match=r"data\.split\.sealed names 'help'") as caught:
        load(spec_for(tmp_path, "t.csv", "y", "  split: {sealed: help}\n"))
    assert "held" in caught.value.hint
