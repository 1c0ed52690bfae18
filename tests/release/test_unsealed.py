"""Agents do not get answers for sealed rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl
import pytest

import modelwright as mw
from modelwright.core.errors import Refused
from modelwright.core.principal import Principal, acting_as
from modelwright.core.runs import (
    DATASET,
    RELEASE,
    SEALED,
    SEALED_FEATURES,
    SPEC,
    keep_spec,
)
from modelwright.core.schema import Schema
from modelwright.core.spec_file import read_spec
from modelwright.core.store import to_json, write_atomic
from modelwright.data.dataset import load
from modelwright.release.sealed import keep_sealed
from modelwright.release.unsealed import is_source, refuse_sealed_file, refuse_sealed_rows
from projects import mixed_table, settled

AGENT = Principal("agent ada", "agent")


class Regression(NamedTuple):
    """A run that predicts numbers; rows that it sealed, and rows like no sealed one."""

    run: Path
    schema: Schema
    sealed: pl.DataFrame
    others: pl.DataFrame


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


@pytest.fixture
def regression(shop: Path) -> Regression:
    """A project that predicts numbers, and a run that has sealed some of its rows."""
    spec = shop / "modelwright.yaml"
    spec.write_text("name: shop\ndata: {source: shop.csv, target: big, drop: ['size, cm']}\n")
    spec_file = read_spec(spec)
    dataset = load(spec_file, thorough=False)
    holdout, _ = dataset.holdout.open("r")
    run = shop / "runs" / "r"
    run.mkdir(parents=True)
    keep_sealed(run, holdout)
    keep_spec(run, spec_file)
    write_atomic(run / DATASET, to_json(dataset.record))
    schema = dataset.schema
    assert schema.target.task == "regression"
    names = [column.name for column in schema.features]
    table = pl.read_csv(shop / "shop.csv", schema_overrides={"start": pl.String})
    mask = pl.Series(np.isin(table["big"].to_numpy(), holdout.target))
    others = table.filter(~mask).join(table.filter(mask), on=names, how="anti", nulls_equal=True)
    return Regression(run, schema, table.filter(mask).select(names).head(3), others.select(names))


def test_a_row_without_its_target_is_known_by_its_features(
    shop: Path, regression: Regression
) -> None:
    """A regression, whose targets cannot be tried out; and with a wrong target beside it."""
    _, schema, rows, others = regression
    refuse_sealed_rows(shop, [dict(rows.to_dicts()[0], colour="violet")], schema)
    refuse_sealed_rows(shop, others.to_dicts(), schema)
    with pytest.raises(Refused, match="sealed"):
        refuse_sealed_rows(shop, rows.to_dicts(), schema)
    for name, told in (("bare.csv", rows), ("wrong.csv", rows.with_columns(big=1))):
        told.write_csv(shop / name)
        with pytest.raises(Refused, match="sealed"):
            refuse_sealed_file(shop, shop / name, schema)


@pytest.mark.parametrize("lost", [(SEALED_FEATURES,), (SEALED_FEATURES, SEALED)])
def test_sealed_rows_of_an_earlier_version_are_found_in_its_table(
    shop: Path, regression: Regression, lost: tuple[str, ...]
) -> None:
    run, schema, rows, others = regression
    kept = (run / SEALED_FEATURES).read_bytes()
    write_atomic(run / RELEASE, b"{}")
    for name in lost:
        (run / name).unlink()
    with pytest.raises(Refused, match="Some of these rows are sealed"):
        refuse_sealed_rows(shop, rows.to_dicts(), schema)
    refuse_sealed_rows(shop, others.to_dicts(), schema)
    assert (run / SEALED_FEATURES).read_bytes() == kept  # looked for once
    (shop / "shop.csv").unlink()
    with pytest.raises(Refused, match="Some of these rows are sealed"):
        refuse_sealed_rows(shop, rows.to_dicts(), schema)


def test_they_are_found_in_a_table_that_has_grown(shop: Path, regression: Regression) -> None:
    run, schema, rows, _ = regression
    kept = (run / SEALED_FEATURES).read_bytes()
    (run / SEALED_FEATURES).unlink()
    table = pl.read_csv(shop / "shop.csv", schema_overrides={"start": pl.String})
    more = mixed_table(50, seed=8).with_columns(pl.col("start").dt.to_string("iso"))
    pl.concat([more, table], how="vertical_relaxed").write_csv(shop / "shop.csv")
    with pytest.raises(Refused, match="Some of these rows are sealed"):
        refuse_sealed_rows(shop, rows.to_dicts(), schema)
    assert (run / SEALED_FEATURES).read_bytes() == kept


def test_a_model_of_fewer_columns_hides_nothing_from_one_of_all(
    shop: Path, regression: Regression
) -> None:
    run, schema, rows, _ = regression
    (run / SEALED_FEATURES).unlink()
    settled(run / SEALED, run / DATASET)
    features = [column for column in schema.columns if column.is_feature]
    fewer = msgspec.structs.replace(schema, columns=tuple(features[1:]))
    refuse_sealed_rows(shop, rows.drop(features[0].name).to_dicts(), fewer)
    with pytest.raises(Refused, match="Some of these rows are sealed"):
        refuse_sealed_rows(shop, rows.to_dicts(), schema)


def _gone(project: Path) -> None:
    (project / "shop.csv").unlink()


def _shorter(project: Path) -> None:
    pl.read_csv(project / "shop.csv").head(300).write_csv(project / "shop.csv")


def _without_record(project: Path) -> None:
    (project / "runs" / "r" / DATASET).write_text("{}")


def _without_spec(project: Path) -> None:
    (project / "runs" / "r" / SPEC).unlink()


@pytest.mark.parametrize("harm", [_gone, _shorter, _without_record, _without_spec])
@pytest.mark.parametrize("lost", [(SEALED_FEATURES,), (SEALED_FEATURES, SEALED)])
def test_where_nobody_can_tell_nothing_is_answered(
    shop: Path, regression: Regression, lost: tuple[str, ...], harm: Callable[[Path], None]
) -> None:
    run, schema, _, others = regression
    write_atomic(run / RELEASE, b"{}")
    for name in lost:
        (run / name).unlink()
    harm(shop)
    with pytest.raises(Refused, match="Nobody can tell which rows run r sealed") as refused:
        refuse_sealed_rows(shop, others.head(1).to_dicts(), schema)
    assert refused.value.rule == "test_sealed"
    assert "modelwright report r" in str(refused.value)


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
