"""Memory is looked at before folds are made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelwright.core.errors import DataError
from modelwright.core.table import Table
from modelwright.data.dataset import Dataset, load
from modelwright.fit.memory import workers_that_fit
from projects import mixed_table, spec_for


class _Tall(Table):
    """A table that says that it is longer than it is."""

    @property
    def rows(self) -> int:
        return self.groups if isinstance(self.groups, int) else super().rows


def pretending(folder: Path, rows: int) -> Dataset:
    mixed_table(60).write_csv(folder / "t.csv")
    found = load(spec_for(folder, "t.csv", "bought"))
    tall = _Tall(found.train.feeds, np.empty(0), rows)
    return Dataset(found.record, tall, found.holdout, found.ordered)


def test_small_tables_get_all_workers_and_large_ones_fewer(tmp_path: Path) -> None:
    assert workers_that_fit(pretending(tmp_path, 1000), 8) == 8
    assert workers_that_fit(pretending(tmp_path, 10_000_000), 1000) < 1000


def test_what_does_not_fit_is_refused_with_figures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs about .* GB to learn from, but .* GB of memory"):
        workers_that_fit(pretending(tmp_path, 10**12), 2)
