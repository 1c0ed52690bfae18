"""The learning curve: whole where there is time, its last step where there is little."""

from __future__ import annotations

from pathlib import Path

import pytest

from fit.test_search import prepared, searched
from modelwright.fit import learning


@pytest.mark.parametrize(
    ("folds_of_time", "points"), [(100.0, 4), (learning.ROOM * 1.2, 2), (0.1, 0)]
)
def test_as_much_of_it_as_there_is_time_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folds_of_time: float, points: int
) -> None:
    file, dataset = prepared(tmp_path, "{budget: 2 trials, families: [linear]}", rows=1500)
    found = searched(file, dataset)
    chosen = next(c for c in found.ledger.candidates if c.name == "linear")
    monkeypatch.setattr(learning, "WITHOUT_LIMIT", folds_of_time * chosen.seconds_a_fold)
    curve = learning.learning_curve(found.ledger, chosen)
    found.ledger.trainer.close()
    assert (len(curve.x) if curve else 0) == points
    if curve:
        assert curve.x[-2] == curve.x[-1] // 2 and curve.sizes[-1] == curve.x[-1]
