"""What training without some columns costs: twins stand in for each other, noise costs nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import modelwright as mw
from fit.test_search import searched
from modelwright.core.evaluation import Evaluation
from modelwright.core.schema import Column, Schema, Target
from modelwright.data.dataset import load
from modelwright.fit import ablation
from modelwright.fit.ablation import MOST, related, sets_of_columns
from projects import spec_for

ROWS = 1200


def twins(folder: Path) -> None:
    """`first` and `second` tell the same, `other` tells something else, `noise` nothing."""
    rng = np.random.default_rng(4)
    first, other, noise = rng.normal(size=(3, ROWS))
    second = first + 0.01 * rng.normal(size=ROWS)
    target = 2 * first + other + 0.3 * rng.normal(size=ROWS)
    table = {"first": first, "second": second, "other": other, "noise": noise, "y": target}
    pl.DataFrame(table).write_csv(folder / "t.csv")


FIT = "fit: {budget: 2 trials, families: [linear]}\n"


def test_twins_are_lost_together_and_not_alone(tmp_path: Path) -> None:
    twins(tmp_path)
    file = spec_for(tmp_path, "t.csv", "y", FIT)
    found = searched(file, load(file))
    chosen = next(c for c in found.ledger.candidates if c.name == "linear")
    lost = {one.columns: one.loss for one in ablation.ablation(found.ledger, chosen)}
    found.ledger.trainer.close()
    assert next(iter(lost)) == ("first", "second") and lost["first", "second"].low > 1.0
    assert lost["other",].low > 0.5
    for name in ("first", "second", "noise"):
        assert abs(lost[name,].value) < 0.05, name


@pytest.mark.parametrize(("folds_of_time", "least", "most"), [(0.1, 0, 0), (3.1, 2, 4)])
def test_as_many_as_there_is_time_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folds_of_time: float, least: int, most: int
) -> None:
    twins(tmp_path)
    file = spec_for(tmp_path, "t.csv", "y", FIT)
    found = searched(file, load(file))
    chosen = next(c for c in found.ledger.candidates if c.name == "linear")
    monkeypatch.setattr(ablation, "WITHOUT_LIMIT", folds_of_time * chosen.seconds_a_fold)
    lost = ablation.ablation(found.ledger, chosen)
    found.ledger.trainer.close()
    assert least <= len(lost) <= most


@pytest.mark.slow
def test_a_run_records_it_and_the_report_shows_it(tmp_path: Path) -> None:
    twins(tmp_path)
    spec = tmp_path / "modelwright.yaml"
    spec.write_text(f"name: twins\ndata:\n  source: t.csv\n  target: y\n{FIT}")
    done = mw.run(spec)
    written = (done.run / "evaluation.json").read_bytes()
    kept = msgspec.json.decode(written, type=Evaluation).ablation
    assert {one.columns for one in kept} >= {("first", "second"), ("other",)}
    assert "Left out, and trained again" in (done.run / "report.html").read_text()


def schema_of(**kinds: str) -> Schema:
    levels = {"category": ("a", "b", "c")}
    columns = (Column(name, kind, levels=levels.get(kind, ())) for name, kind in kinds.items())
    return Schema(tuple(columns), Target("y", "regression"))


def test_a_category_goes_with_what_it_tells() -> None:
    rng = np.random.default_rng(2)
    city, free = rng.integers(0, 3, (2, 600))
    words = np.array(["a", "b", "c"])
    feeds = {
        "city": words[city], "region": words[(city + 1) % 3], "free": words[free],
        "height": city * 10.0 + rng.normal(size=600), "age": rng.normal(size=600),
    }  # fmt: skip
    schema = schema_of(
        city="category", region="category", free="category", height="number", age="number"
    )
    assert [sorted(group) for group in related(schema, feeds)] == [["city", "height", "region"]]


@given(columns=st.integers(1, 30), copies=st.integers(0, 30), seed=st.integers(0, 9))
def test_sets_are_few_different_and_leave_something(columns: int, copies: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"c{number}" for number in range(columns)]
    values = rng.normal(size=(columns, 50))
    values[: min(copies, columns)] = values[0]
    found = sets_of_columns(
        schema_of(**dict.fromkeys(names, "number")), dict(zip(names, values, strict=True))
    )
    assert len(found) <= MOST and len(set(found)) == len(found)
    assert all(0 < len(one) < columns and set(one) <= set(names) for one in found)
