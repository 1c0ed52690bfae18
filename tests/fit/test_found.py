"""Which candidates may be chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from fit.test_search import prepared, searched
from modelwright.core.records import NOT_LOOKED_AT
from modelwright.fit.remarks import remarks


def test_one_that_plainly_leads_is_chosen_though_it_lacks_folds(tmp_path: Path) -> None:
    """On a busy machine the linear model alone had time for all folds of Ames."""
    found = searched(*prepared(tmp_path, "{budget: 4 trials, folds: 3, families: [lightgbm]}"))
    ledger = found.ledger
    dummy, linear = ledger.candidates[:2]
    assert dummy not in found.contenders() and len(found.contenders()) > 1
    best = found.chooser({}).ranked(found.contenders())[0]
    choice = next(f for f in remarks(found, best, {}) if f.check == "choice")
    assert choice.measured.startswith("cross-validated ")
    assert choice.why == "the best score of all candidates that ran all folds"
    ledger.candidates = [dummy, linear]
    dummy.family, linear.outcomes = linear.family, linear.outcomes[:2]
    ledger.scorecard.entries[linear.number] = ledger.scorecard.entries[linear.number][:2]
    assert found.contenders() == [linear]
    choice = next(f for f in remarks(found, linear, {}) if f.check == "choice")
    assert choice.measured.startswith("2 of 3 folds: ")
    assert "time was over" in choice.why


@pytest.mark.parametrize(
    ("presses_at", "left_out"),
    [(1, ["learning curve", "ablation"]), (2, ["learning curve", "ablation"]), (4, ["ablation"]),
     (99, [])],
)  # fmt: skip
def test_what_ctrl_c_left_out_is_named_and_not_half_done(
    tmp_path: Path, presses_at: int, left_out: list[str]
) -> None:
    """Pressed before, while the learning curve is trained, while the ablation is, or never."""
    found = searched(*prepared(tmp_path, "{budget: 3 trials, folds: 3, families: [lightgbm]}"))
    asked = 0

    def pressed() -> bool:
        nonlocal asked
        asked += 1
        return asked >= presses_at

    fit = found.fit(found.finalists()[0], {}, pressed)
    said = [f.subject for f in fit.record.findings if f.check == NOT_LOOKED_AT]
    assert said == left_out
    assert (fit.learning is None) == ("learning curve" in left_out)
    assert (fit.ablation == ()) == ("ablation" in left_out)
