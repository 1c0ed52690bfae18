"""What a model will weigh is foretold from a fold, which has fewer rows than the last fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from fit.test_search import searched
from modelwright.core.goals import goal_of
from modelwright.data.dataset import load
from modelwright.pack.build import Maker
from projects import mixed_table, spec_for


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", ["", "params: {extra_trees: {max_leaf_nodes: 150}}, "], ids=["free", "capped"]
)
def test_the_size_is_foretold_closely(tmp_path: Path, more: str) -> None:
    """A forest of a fold has two thirds of the rows; its trees stop growing at their cap."""
    mixed_table(1500).write_csv(tmp_path / "t.csv")
    fit = f"fit: {{budget: 4 trials, folds: 3, {more}families: [lightgbm, extra_trees]}}\n"
    file = spec_for(tmp_path, "t.csv", "bought", f"{fit}pack: {{measure: process}}\n")
    dataset = load(file)
    found = searched(file, dataset)
    maker = Maker(file, dataset, goal_of(file.spec, dataset.schema.target))
    defaults = [c for c in found.ledger.candidates if c.origin == "default"]
    assert {c.name for c in defaults} == {"dummy", "linear", "lightgbm", "extra_trees"}
    for candidate in defaults:
        found.ledger.price(candidate)
        assert candidate.price is not None
        real = maker.write(found.pipeline(candidate), found.trial(candidate, {}), tmp_path / "x")
        assert candidate.price.size == pytest.approx(real.size, rel=0.12), candidate.name
    found.ledger.trainer.close()
