"""`fit:` of the spec against the table and the families."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from fit.test_search import prepared
from modelwright.core.errors import UsageError
from modelwright.data.dataset import load
from modelwright.fit.settings import check_settings
from projects import spec_for


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("interval: 0.9", "fit.interval is for numbers"),
        ("monotone: {colour: increasing}", "fit.monotone names 'colour'"),
        ("families: [linear], monotone: {big: increasing}", "none of fit.families can promise"),
        ("costs: {'yes': {maybe: 3}}", "fit.costs names 'maybe'"),
        ("space: {lihtgbm: {num_leaves: {low: 3, high: 9}}}", "did you mean 'lightgbm'"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_any_work(
    tmp_path: Path, more: str, said: str
) -> None:
    file, dataset = prepared(tmp_path, f"{{{more}}}")
    with pytest.raises(UsageError, match=f"(?i){said}"):
        check_settings(file.spec, dataset)


def test_mape_of_zeros_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"x": range(60), "y": [n % 20 for n in range(60)]}).write_csv(tmp_path / "t.csv")
    file = spec_for(tmp_path, "t.csv", "y", "  task: regression\ngoal: mape\n")
    with pytest.raises(UsageError, match=r"mape has no meaning where 'y' is 0.*Use mae"):
        check_settings(file.spec, load(file))
