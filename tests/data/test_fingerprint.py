"""Content only: not the order of rows or columns, not the file's format."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelwright.data.dataset import load
from modelwright.data.fingerprint import Digest, fingerprint, row_hashes
from modelwright.data.kinds import infer
from modelwright.data.sources import open_file
from projects import mixed_table, spec_for

FLOATS = hnp.arrays(np.float64, st.integers(1, 30))


@given(FLOATS, st.randoms())
def test_order_of_rows_does_not_count(values: np.ndarray, random: object) -> None:
    order = np.random.default_rng(0).permutation(len(values))
    text = np.array([str(v) for v in values], dtype=object)
    one = {"a": values, "b": text}
    assert fingerprint(one) == fingerprint({"b": text[order], "a": values[order]})


@given(FLOATS)
def test_any_change_counts(values: np.ndarray) -> None:
    changed = values.copy()
    changed[0] = 1.0 if values[0] != 1.0 else 2.0
    assert fingerprint({"a": values}) != fingerprint({"a": changed})
    assert fingerprint({"a": values}) != fingerprint({"b": values})
    assert fingerprint({"a": values}) != fingerprint({"a": np.append(values, 0.0)})


def test_signs_of_zero_and_kinds_of_nan_are_one() -> None:
    odd = np.array([np.uint64(0x7FF8000000000001)]).view(np.float64)
    assert fingerprint({"a": np.array([-0.0])}) == fingerprint({"a": np.array([0.0])})
    assert fingerprint({"a": odd}) == fingerprint({"a": np.array([np.nan])})


def test_salt_makes_independent_hashes() -> None:
    values = {"a": np.arange(1000.0)}
    one, two = row_hashes(values, salt="1"), row_hashes(values, salt="2")
    assert abs(np.corrcoef(one.astype(float), two.astype(float))[0, 1]) < 0.1


@pytest.mark.parametrize("shuffled", [False, True])
def test_csv_parquet_and_shuffled_rows_agree(tmp_path: Path, shuffled: bool) -> None:
    rng = np.random.default_rng(0)
    table = mixed_table(300).with_columns(bit=pl.Series(rng.integers(0, 2, 300)),
                                          ratio=pl.Series(rng.integers(0, 3, 300) / 2))  # fmt: skip
    table.write_csv(tmp_path / "a.csv")
    other = table.sample(fraction=1.0, shuffle=True, seed=1) if shuffled else table
    other.select(reversed(other.columns)).write_parquet(tmp_path / "b.parquet")
    one, two = (load(spec_for(tmp_path, name, "bought")) for name in ("a.csv", "b.parquet"))
    assert one.record.fingerprint == two.record.fingerprint
    assert one.record.holdout_fingerprint == two.record.holdout_fingerprint
    kinds = [{c.name: c.kind for c in found.schema.columns} for found in (one, two)]
    assert kinds[0] == kinds[1] and kinds[0]["bit"] == "number"


NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=9)
COLUMNS = {
    "whole": st.integers(-(2**53), 2**53),
    "broken": st.floats(-1e9, 1e9, allow_nan=False).filter(lambda x: x != int(x)),
    "flag": st.booleans(),
    "word": NAMES.map(lambda text: f"w{text}w"),
    "when": st.datetimes(dt.datetime(1800, 1, 1), dt.datetime(2200, 1, 1)).map(
        lambda moment: moment.replace(microsecond=0)),
}  # fmt: skip


@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.data(), st.integers(3, 40))
def test_any_table_is_the_same_in_every_format_and_order(
    tmp_path: Path, data: st.DataObject, rows: int
) -> None:
    columns = {
        name: data.draw(st.lists(st.none() | values, min_size=rows, max_size=rows), label=name)
        for name, values in COLUMNS.items()
    }
    types = {"whole": pl.Int64, "broken": pl.Float64, "flag": pl.Boolean, "word": pl.String,
             "when": pl.Datetime("us")}  # fmt: skip
    table = pl.DataFrame(columns, schema=types).with_columns(row=pl.Series([f"r{i}" for i in range(
        rows)]))  # fmt: skip
    order = np.random.default_rng(rows).permutation(rows)
    table.write_csv(tmp_path / "t.csv", quote_style="non_numeric")
    table[order].write_parquet(tmp_path / "t.parquet")
    table.reverse().write_ipc(tmp_path / "t.arrow")
    found = set()
    kinds = {"whole": "number", "broken": "number", "flag": "boolean", "word": "category",
             "when": "datetime", "row": "category"}  # fmt: skip
    for ending in ("csv", "parquet", "arrow"):
        frame = open_file(tmp_path / f"t.{ending}").frame()
        digest = Digest()
        digest.add({name: infer(frame[name], kind).values for name, kind in kinds.items()})
        found.add(digest.whole())
    assert len(found) == 1
