"""Which candidates may be chosen."""

from __future__ import annotations

from pathlib import Path

from fit.test_search import prepared, searched


def test_one_that_plainly_leads_is_chosen_though_it_lacks_folds(tmp_path: Path) -> None:
    """On a busy machine the linear model alone had time for all folds of Ames."""
    found = searched(*prepared(tmp_path, "{budget: 4 trials, folds: 3, families: [lightgbm]}"))
    ledger = found.ledger
    dummy, linear = ledger.candidates[:2]
    assert dummy not in found.contenders() and len(found.contenders()) > 1
    ledger.candidates = [dummy, linear]
    dummy.family, linear.outcomes = linear.family, linear.outcomes[:2]
    ledger.scorecard.entries[linear.number] = ledger.scorecard.entries[linear.number][:2]
    assert found.contenders() == [linear]
