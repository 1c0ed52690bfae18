"""Agents do not get answers for sealed rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import modelwright as mw
from modelwright.core.errors import Refused
from modelwright.core.principal import Principal, acting_as
from modelwright.core.spec_file import read_spec
from modelwright.data.dataset import load
from modelwright.release.unsealed import is_source
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
