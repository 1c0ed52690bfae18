"""`expect:` says the same at training, at scoring and at the server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from modelwright.core.contract import row_breaches, table_breaches
from modelwright.core.errors import DataError, RowsError, SpecError
from modelwright.core.intake import feeds_from_rows
from modelwright.core.schema import Column, Expect
from modelwright.core.spec_file import SpecFile, parse_spec
from modelwright.data.dataset import load
from modelwright.data.scoring import scored_batches
from modelwright.data.sources import open_file
from modelwright.serve.protocol import column_type

N = 400
RULES = {
    "age: {range: [0, 120]}": ("age", 323.0, "323 is over 120, the most that is expected"),
    "age: {range: [18, null]}": ("age", 3.0, "3 is under 18, the least that is expected"),
    "age: {required: true}": ("age", None, "is missing, a value is expected"),
    "land: {levels: [Peru, Chile]}": ("land", "Chad", "'Chad' is not among Peru, Chile"),
    "code: {regex: '[A-Z]\\d'}": ("code", "A11", "'A11' does not match [A-Z]\\d"),
    "day: {range: ['2020-01-01', null]}": (
        "day", "2019-12-31", "2019-12-31 00:00:00 is under 2020-01-01 00:00:00"),
}  # fmt: skip


def table() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame({
        "age": rng.integers(18, 90, N).astype(float),
        "land": rng.choice(["Peru", "Chile"], N),
        "code": [f"{'ABC'[i % 3]}{i % 9}" for i in range(N)],
        "day": [f"2020-0{1 + i % 9}-1{i % 9}" for i in range(N)],
        "y": rng.choice(["a", "b"], N),
    })  # fmt: skip


def spec(folder: Path, rule: str) -> SpecFile:
    text = f"name: x\ndata: {{source: t.csv, target: y}}\nexpect:\n  {rule}\n"
    return parse_spec(text, folder / "modelwright.yaml")


@pytest.mark.parametrize("rule", RULES)
def test_one_rule_at_every_door(tmp_path: Path, rule: str) -> None:
    name, value, said = RULES[rule]
    good = table()
    good.write_csv(tmp_path / "t.csv")
    dataset = load(spec(tmp_path, rule))
    dataset.must_be_learnable()
    message = f"row 7, column {name!r}: {said}"

    rows = good.drop("y").to_dicts()[:20]
    feeds_from_rows(dataset.schema, rows)
    rows[7][name] = value
    with pytest.raises(RowsError) as served:
        feeds_from_rows(dataset.schema, rows)
    assert message in str(served.value)

    columns = good.to_dict(as_series=False)
    columns[name][7] = value
    bad = pl.DataFrame(columns)
    bad.write_csv(tmp_path / "bad.csv")
    with pytest.raises(RowsError) as scored:
        list(scored_batches(open_file(tmp_path / "bad.csv"), dataset.schema))
    assert message in str(scored.value)

    bad.write_csv(tmp_path / "t.csv")
    broken = load(spec(tmp_path, rule))
    [finding] = [f for f in broken.record.findings if f.check == "expect"]
    assert finding.severity == "error" and message in finding.measured and finding.rows == (7,)
    with pytest.raises(RowsError, match="breaks what the spec expects"):
        broken.must_be_learnable()


def test_uniqueness_and_missing_shares_are_of_tables() -> None:
    ids = Column("id", "category", expect=Expect(unique=True, max_missing=0.1))
    values = np.array(["a", "b", "a", "", ""], dtype=object)
    assert row_breaches(ids, values) == []
    twice, empty = table_breaches(ids, values)
    assert "1 values occur more than once, the first in row 0: a" in twice
    assert "40.0% is missing, at most 10.0% is expected" in empty


def test_a_scored_file_is_a_table(tmp_path: Path) -> None:
    table().write_csv(tmp_path / "t.csv")
    found = load(spec(tmp_path, "age: {max_missing: 1 %}"))
    table().with_columns(age=pl.when(pl.int_range(N) > 9).then("age")).write_csv(
        tmp_path / "new.csv"
    )
    with pytest.raises(RowsError, match=r"column 'age': 2.5% is missing, at most 1.0%"):
        list(scored_batches(open_file(tmp_path / "new.csv"), found.schema))


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("age: {kind: category}", "expect.age.kind is category, but the column is number"),
        ("agee: {required: true}", "expect names 'agee'"),
        ("age: {range: [9, 1]}", "begins above its end"),
        ("age: {range: [low, 1]}", "'low' is no number"),
        ("day: {range: [soon, null]}", "'soon' is no date-time"),
        ("day: {range: [2022, 2024]}", "wanted a date-time in ISO 8601, found 2022"),
        ("land: {range: [0, 5]}", "expect.land.range is for number and datetime columns"),
        ("age: {levels: [1, 2]}", "expect.age.levels is for category and list columns"),
        ("age: {regex: '[0-9]'}", "expect.age.regex is for"),
    ],
)
def test_rules_that_do_not_fit_the_table(tmp_path: Path, rule: str, said: str) -> None:
    table().write_csv(tmp_path / "t.csv")
    with pytest.raises(DataError) as caught:
        load(spec(tmp_path, rule))
    assert said in str(caught.value)


def test_rules_that_make_no_sense_are_refused_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"line 4.*no regular expression"):
        spec(tmp_path, "code: {regex: '['}")
    with pytest.raises(SpecError, match=r"line 4.*null is open"):
        spec(tmp_path, "age: {range: [.nan, 60]}")
    assert spec(tmp_path, "day: {range: [2023-01-31, null]}")
    with pytest.raises(SpecError, match=r"line 4.*max_missing"):
        spec(tmp_path, "code: {max_missing: 200 %}")


def test_the_contract_is_in_the_openapi() -> None:
    age = column_type(Column("age", "number", expect=Expect(minimum=0, maximum=120)))
    assert (age["minimum"], age["maximum"]) == (0, 120)
    land = Column("land", "category", True, expect=Expect(levels=("a", "b"), required=True))
    assert column_type(land)["enum"] == ["a", "b"] and column_type(land)["type"] == "string"
