"""A new file held against a released model."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import modelwright as mw
from projects import mixed_table


def judged(project: Path, table: pl.DataFrame) -> dict[tuple[str, str], mw.Finding]:
    table.write_csv(project / "new.csv")
    found = mw.check_against(project / "new.csv", "shop", folder=project)
    assert found.rows == table.height
    return {(f.check, f.subject): f for f in found.findings}


def test_a_file_like_the_training_data_passes(project: Path) -> None:
    found = judged(project, mixed_table(600, seed=5))
    assert [key for key, f in found.items() if f.severity == "error"] == []
    assert ("distribution", "size, cm") not in found


@pytest.mark.parametrize(
    ("change", "check", "severity"),
    [
        (pl.col("size, cm") + 40, ("distribution", "size, cm"), "warning"),
        (pl.col("size, cm") + 400, ("outside the training range", "size, cm"), "warning"),
        (pl.lit("mauve").alias("colour"), ("unseen categories", "colour"), "warning"),
        (pl.lit(None).alias("colour"), ("missing values", "colour"), "warning"),
        (pl.lit("a lot").alias("size, cm"), ("bad values", "size, cm"), "error"),
    ],
)
def test_what_is_unlike_it_is_named(
    project: Path, change: pl.Expr, check: tuple[str, str], severity: str
) -> None:
    found = judged(project, mixed_table(600, seed=5).with_columns(change))
    assert found[check].severity == severity


def test_columns_that_lack_or_are_too_many(project: Path) -> None:
    found = judged(project, mixed_table(100).rename({"big": "bigg"}))
    assert "did you mean 'bigg'?" in found[("column", "big")].advice
    assert found[("column", "bigg")].measured == "is unknown to the model"
