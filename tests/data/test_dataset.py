"""Spec to Dataset on real and small tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from modelwright.core.errors import DataError
from modelwright.core.spec_file import read_spec
from modelwright.data.dataset import load
from projects import EXAMPLES, mixed_table, spec_for

REAL = {
    "income": ("binary", 14, "stratified"),
    "mammography": ("binary", 6, "stratified"),
    "wildlife": ("multiclass", 15, "stratified"),
    "cnae9": ("multiclass", 856, "stratified"),
    "ames": ("regression", 79, "random"),
    "beijing": ("regression", 8, "time by datetime"),
    "seoul_bike": ("regression", 13, "time by Date"),
}


@pytest.mark.parametrize("name", REAL)
def test_real_tables_open_right(name: str) -> None:
    task, features, split = REAL[name]
    found = load(read_spec(EXAMPLES / name / "modelwright.yaml"))
    assert found.schema.target.task == task
    assert len(found.schema.features) == features
    assert found.record.split.startswith(split)
    assert 0.12 < found.record.holdout_rows / found.record.rows < 0.22
    assert not [f for f in found.record.findings if f.severity == "error"]


def write(folder: Path, table: pl.DataFrame) -> None:
    table.write_csv(folder / "t.csv")


def test_a_few_rows_without_time_are_left_out_and_said(tmp_path: Path) -> None:
    """Each place is of the file; more than 2 % are no slips and refused."""
    at = np.arange(300) % 150
    for missing, said in ((4, ""), (9, "up to 2% of all")):
        holes = pl.when(pl.int_range(300) % 70 == 5).then(None).otherwise(pl.int_range(300))
        day = pl.when(pl.int_range(300) < missing - 5).then(None).otherwise(holes).alias("day")
        target = pl.when(pl.int_range(300) == 1).then(None).otherwise(pl.Series(at)).alias("y")
        write(tmp_path, pl.DataFrame({"x": np.arange(300) % 11}).with_columns(day, target))
        spec = spec_for(tmp_path, "t.csv", "y", "  split: {method: time, by: day}\n")
        if said:
            with pytest.raises(DataError, match="8 of 299 rows have no place in time") as error:
                load(spec)
            assert said in (error.value.hint or "")
            continue
        dataset = load(spec)
        found = next(f for f in dataset.record.findings if f.check == "rows without time")
        assert found.rows == (5, 75, 145, 215, 285) and found.subject == "day"
        assert not next(c for c in dataset.schema.features if c.name == "day").nullable
        assert dataset.record.rows == 294 and len(dataset.train.target) == 294 - 59


@pytest.mark.parametrize(
    ("target", "more", "said"),
    [
        ("boughtt", "", "id you mean 'bought'?"),
        ("bought", "  drop: colr\n", "data.drop names 'colr'"),
        ("bought", "  drop: bought\n", "names the target"),
        ("bought", "  kinds: {colur: number}\n", "data.kinds names 'colur'"),
        ("bought", "  positive: maybe\n", "data.positive is 'maybe'"),
        ("bought", "  task: regression\n", "wants numbers"),
        ("colour", "  task: binary\n", "wants two values, but 'colour' has 4"),
        ("bought", "  split: {method: time, by: colour}\n", "wanted a date-time or a number"),
        ("bought", "  split: {method: time, by: start}\n", "has no value in row"),
        ("bought", "  kinds: {colour: number}\n", "data.kinds.colour is number, but:"),
        ("bought", "  spellings: {big: {a: [b]}}\n", "data.spellings.big is for categories"),
        ("bought", "  spellings: {colour: {red: [x], blue: [x]}}\n", "a spelling of two"),
        ("bought", "  read: {dates: {big: '%Y'}}\n", "data.read.dates.big: the column is number"),
        ("bought", "  accept: {sentinel: [bigg]}\n", "data.accept names 'bigg'"),
        ("bought", "  accept: [leekage]\n", "id you mean 'leakage'?"),
        ("bought", "watch: {drift: {columns: {bigg: {ignore: true}}}}\n", "watch.drift.columns na"),
        ("bought", "watch: {canary: {key: custmer}}\n", "watch.canary.key names 'custmer'"),
        ("bought", "serve: {constant: Z}\n", "serve.constant is 'Z', which is no label of"),
        (
            "bought",
            "  drop: [colour]\nwatch: {canary: {key: colour}}\n",
            "does not read (data.drop",
        ),
        (
            "bought",
            "  private: [colour]\nserve: {key: colour}\nwatch: {canary: {key: colour}}\n",
            "'colour', which is private",
        ),
    ],
)
def test_wrong_specs_for_a_table(tmp_path: Path, target: str, more: str, said: str) -> None:
    write(tmp_path, mixed_table(200))
    with pytest.raises(DataError) as caught:
        load(spec_for(tmp_path, "t.csv", target, more))
    assert said in str(caught.value)


def test_callers_are_counted_by_what_the_journal_tells_apart(tmp_path: Path) -> None:
    write(tmp_path, mixed_table(200))
    for key, more in (
        ("colour", ""),
        ("colour", "  drop: [colour]\nserve: {key: colour}\n"),
        ("customer", "serve: {key: customer}\n"),  # who callers say they are, in no table
    ):
        spec = f"{more}watch: {{canary: {{key: {key}}}}}\n"
        assert load(spec_for(tmp_path, "t.csv", "bought", spec)).record.rows == 200


def test_answers_may_be_named_where_they_are_watched(tmp_path: Path) -> None:
    write(tmp_path, mixed_table(200))
    watch = "watch: {drift: {columns: {score: {ignore: true}, prediction: {distance: 0.1}}}}\n"
    assert load(spec_for(tmp_path, "t.csv", "bought", watch)).record.rows == 200


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["a"] * 50, "has one value ('a')"),
        ([None] * 50, "has no values"),
        ([f"t{i}" for i in range(50)], "50 distinct values"),
        (["a", "b"] * 5 + [None] * 40, "10 rows with a target"),
        (["(kg)"] + [str(i / 4) for i in range(49)], "the first in row 0: '(kg)'"),
    ],
)
def test_targets_that_cannot_be_learned(tmp_path: Path, values: list[object], said: str) -> None:
    write(tmp_path, pl.DataFrame({"x": np.arange(50) % 7, "y": pl.Series(values, dtype=pl.String)}))
    with pytest.raises(DataError) as caught:
        load(spec_for(tmp_path, "t.csv", "y"))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("values", "task", "kind", "levels"),
    [
        (["no", "yes"], "binary", "string", ("no", "yes")),
        (["good", "bad"], "binary", "string", ("good", "bad")),
        ([0, 1], "binary", "integer", ("0", "1")),
        ([True, False], "binary", "boolean", ("false", "true")),
        ([0.0, 1.0], "binary", "integer", ("0", "1")),
        ([3, 1, 2], "multiclass", "integer", ("1", "2", "3")),
        ([10, 9, 2], "multiclass", "integer", ("2", "9", "10")),
        (["x", "y", "z"], "multiclass", "string", ("x", "y", "z")),
        ([0.5, 1.25, 2.0], "regression", "number", ()),
    ],
)
def test_tasks_and_labels(
    tmp_path: Path, values: list[object], task: str, kind: str, levels: tuple[str, ...]
) -> None:
    write(tmp_path, pl.DataFrame({"x": np.arange(240) % 11, "y": (values * 240)[:240]}))
    target = load(spec_for(tmp_path, "t.csv", "y")).schema.target
    assert (target.task, target.label_type, target.levels) == (task, kind, levels)


def test_rows_without_target_are_left_out_and_said(tmp_path: Path) -> None:
    table = mixed_table(300).with_columns(
        pl.when(pl.int_range(300) < 7).then(None).otherwise(pl.col("bought")).alias("bought")
    )
    write(tmp_path, table)
    record = load(spec_for(tmp_path, "t.csv", "bought")).record
    assert record.rows == 293
    assert any(
        f.check == "rows without target" and "7 of 300" in f.measured for f in record.findings
    )


@pytest.mark.parametrize(
    "how", ["{method: random}", "{method: stratified}", "{method: time, by: when}"]
)
def test_rows_know_their_place_in_the_file(tmp_path: Path, how: str) -> None:
    place = list(range(300))
    y = [None if n % 50 == 7 else n % 2 for n in place]
    when = [f"2024-01-{1 + n * 7 % 28:02d}" for n in place]
    write(tmp_path, pl.DataFrame({"x": [n + 0.5 for n in place], "when": when, "y": y}))
    found = load(spec_for(tmp_path, "t.csv", "y", f"  split: {how}\n"))
    both = []
    for side in (found.train, found.holdout.features()):
        assert side.file_rows is not None
        np.testing.assert_array_equal(side.feeds["x"], side.file_rows + 0.5)
        both += side.file_rows.tolist()
    assert sorted(both) == [n for n in place if n % 50 != 7]


def test_the_schema_is_from_the_training_part_alone(tmp_path: Path) -> None:
    table = pl.DataFrame({"x": np.arange(400.0) + 0.5, "y": np.arange(400.0) * 1.5})
    write(tmp_path, table)
    found = load(spec_for(tmp_path, "t.csv", "y", "  split: {method: time, by: x}\n"))
    assert found.ordered
    assert found.schema.column("x").maximum == 319.5
    assert found.train.feeds["x"].max() < found.holdout.features().feeds["x"].min()


def test_uses_of_the_holdout_are_counted(tmp_path: Path) -> None:
    write(tmp_path, mixed_table(200))
    spec = spec_for(tmp_path, "t.csv", "bought")
    holdout = load(spec).holdout
    assert len(holdout.features().target) == 0
    assert [holdout.open("one")[1], load(spec).holdout.open("two")[1]] == [1, 2]
    ledger = tmp_path / ".modelwright" / "holdout-uses.jsonl"
    ledger.write_bytes(ledger.read_bytes() + b'{"holdout": "cut')
    assert load(spec).holdout.open("three")[1] == 3


@pytest.mark.parametrize("seed", range(4))
def test_a_table_of_few_combinations_still_has_two_sides(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = pl.DataFrame({"cls": rng.integers(1, 4, 2000), "sex": rng.choice(["f", "m"], 2000)})
    write(tmp_path, table.with_columns(y=pl.Series(rng.integers(0, 2, 2000))))
    record = load(spec_for(tmp_path, "t.csv", "y", f"  seed: {seed}\n")).record
    assert 0.15 < record.holdout_rows / record.rows < 0.25


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    table = mixed_table(100)
    table.write_csv(tmp_path / "a.csv")
    table.with_columns(pl.col("bought").replace({"yes": "x", "no": "w"})).write_csv(
        tmp_path / "b.csv"
    )
    one, other = (load(spec_for(tmp_path, n, "bought")).record for n in ("a.csv", "b.csv"))
    turned = load(spec_for(tmp_path, "a.csv", "bought", "  positive: 'no'\n")).record
    assert one.fingerprint == turned.fingerprint != other.fingerprint
    assert one.holdout_fingerprint == turned.holdout_fingerprint


def test_names_that_no_column_can_have(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i % 7},{i % 2}\n" for i in range(60))
    (tmp_path / "t.csv").write_text(",a,y\n" + rows)
    record = load(spec_for(tmp_path, "t.csv", "y")).record
    assert [c.name for c in record.schema.columns] == ["a"]
    assert any(f.check == "column without a name" for f in record.findings)
    (tmp_path / "t.csv").write_text("a,a,y\n" + rows)
    record = load(spec_for(tmp_path, "t.csv", "y")).record
    assert [c.name for c in record.schema.columns] == ["a", "a (2)"]


def test_private_values_stay_out_of_the_records(tmp_path: Path) -> None:
    write(tmp_path, mixed_table(200))
    record = load(spec_for(tmp_path, "t.csv", "bought", "  private: colour\n")).record
    assert "colour" not in record.baseline and "size, cm" in record.baseline
