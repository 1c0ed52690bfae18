"""Agents do not get answers for sealed rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import modelwright as mw
from modelwright.core.errors import Refused
from modelwright.core.principal import Principal, acting_as
from modelwright.core.runs import DATASET, SEALED_FEATURES
from modelwright.core.spec_file import read_spec
from modelwright.core.store import to_json, write_atomic
from modelwright.data.dataset import load
from modelwright.release.sealed import keep_sealed
from modelwright.release.unsealed import is_source, refuse_sealed_file, refuse_sealed_rows
from projects import mixed_table

AGENT = Principal("agent ada", "agent")


@pytest.fixture
def parts(project: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The project's rows: those that are sealed, and the others."""
    table = pl.read_csv(project / "shop.csv", try_parse_dates=True)
    dataset = load(read_spec(project / "modelwright.yaml"), thorough=False)
    sealed = dataset.holdout.features().feeds["big"]
    mask = pl.Series(np.isin(table["big"].to_numpy(), sealed))
    assert 0 < int(mask.sum()) < table.height
    return table.filter(mask), table.filter(~mask)


def test_a_file_with_sealed_rows_is_refused(
    project: Path, parts: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    sealed, others = parts
    one = sealed.head(1).drop("bought")
    pl.concat([others.head(20).drop("bought"), one]).write_csv(project / "some.csv")
    sealed.head(3).write_csv(project / "labelled.csv")
    others.head(20).write_csv(project / "others.csv")
    mixed_table(30, seed=9).drop("bought").write_csv(project / "new.csv")
    with acting_as(AGENT):
        for name in ("some.csv", "labelled.csv", "shop.csv"):
            with pytest.raises(Refused) as refused:
                mw.predict_file("shop", name, "out.csv")
            assert refused.value.rule == "test_sealed"
            assert not (project / "out.csv").exists()
        assert mw.predict_file("shop", "new.csv", "out.csv") == 30
        assert mw.predict_file("shop", "others.csv", "out.csv") == 20
    assert mw.predict_file("shop", "shop.csv", "out.csv") == 600  # a person's own


def test_rows_in_a_call_are_refused(
    project: Path, parts: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    sealed, others = (
        part.head(2).drop("bought").with_columns(pl.col("start").dt.to_string("iso")).to_dicts()
        for part in parts
    )
    with acting_as(AGENT):
        with pytest.raises(Refused, match="sealed"):
            mw.predict_rows("shop", sealed)
        assert len(mw.predict_rows("shop", others)) == 2
    assert len(mw.predict_rows("shop", sealed)) == 2


def test_a_row_without_its_target_is_known_by_its_features(shop: Path) -> None:
    """A regression, whose targets cannot be tried out; and with a wrong target beside it."""
    spec = shop / "modelwright.yaml"
    spec.write_text("name: shop\ndata: {source: shop.csv, target: big, drop: ['size, cm']}\n")
    dataset = load(read_spec(spec), thorough=False)
    holdout, _ = dataset.holdout.open("r")
    run = shop / "runs" / "r"
    run.mkdir(parents=True)
    keep_sealed(run, holdout)
    write_atomic(run / DATASET, to_json(dataset.record))
    schema = dataset.schema
    assert schema.target.task == "regression"
    names = [column.name for column in schema.features]
    table = pl.read_csv(shop / "shop.csv", schema_overrides={"start": pl.String})
    mask = np.isin(table["big"].to_numpy(), holdout.target)
    rows = table.filter(pl.Series(mask)).select(names).head(3)
    refuse_sealed_rows(shop, [dict(rows.to_dicts()[0], colour="violet")], schema)
    with pytest.raises(Refused, match="sealed"):
        refuse_sealed_rows(shop, rows.to_dicts(), schema)
    for name, told in (("bare.csv", rows), ("wrong.csv", rows.with_columns(big=1))):
        told.write_csv(shop / name)
        with pytest.raises(Refused, match="sealed"):
            refuse_sealed_file(shop, shop / name, schema)
    (run / SEALED_FEATURES).unlink()  # a run of an earlier version
    refuse_sealed_rows(shop, rows.to_dicts(), schema)


def test_runs_of_earlier_versions_are_looked_through(
    project: Path, parts: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    for path in (project / "runs").glob(f"*/{SEALED_FEATURES}"):
        path.unlink()
    parts[0].head(1).drop("bought").write_csv(project / "one.csv")
    with acting_as(AGENT), pytest.raises(Refused, match="sealed"):
        mw.predict_file("shop", "one.csv", "out.csv")


def test_the_source_is_known_under_other_names(shop: Path) -> None:
    (shop / "again.csv").symlink_to(shop / "shop.csv")
    assert is_source(shop, shop / "again.csv")
    assert not is_source(shop, shop / "other.csv")


def test_the_table_of_a_run_stays_the_source_when_the_spec_names_another(project: Path) -> None:
    spec = project / "modelwright.yaml"
    spec.write_text(spec.read_text().replace("shop.csv", "other.csv"))
    assert is_source(project, project / "shop.csv")
    assert is_source(project, project / "other.csv")
    assert not is_source(project, project / "third.csv")
