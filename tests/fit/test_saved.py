"""What a killed search leaves behind, and what is taken up again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelwright.fit.family import family_of
from modelwright.fit.saved import FOLDER, restore, save
from modelwright.fit.trials import Candidate, Outcome

FAMILIES = {name: family_of(name) for name in ("linear", "dummy")}


def kept(number: int, width: tuple[int, ...] = (3,)) -> Candidate:
    rng = np.random.default_rng(number)
    outcomes = [Outcome(rng.random((rows, *width)), 7, {"rate": 0.5}, 0.25) for rows in (4, 5)]
    return Candidate(
        number, FAMILIES["linear"], "search", {"C": 2.0}, outcomes=outcomes, outcome="complete"
    )


@pytest.mark.parametrize("width", [(), (3,)])
def test_a_candidate_comes_back_as_it_was(tmp_path: Path, width: tuple[int, ...]) -> None:
    save(tmp_path, kept(0, width), 12.5, "5 folds")
    [found], spent = restore(tmp_path, FAMILIES, "5 folds")
    assert spent == 12.5
    assert (found.name, found.origin, found.params) == ("linear", "search", {"C": 2.0})
    assert found.settled == {"rate": 0.5} and found.rounds == 7 and found.outcome == "complete"
    for ours, theirs in zip(found.outcomes, kept(0, width).outcomes, strict=True):
        np.testing.assert_array_equal(ours.answers, theirs.answers)


def test_one_without_a_fold_comes_back_too(tmp_path: Path) -> None:
    save(tmp_path, Candidate(0, FAMILIES["dummy"], "default", {}), 1.0, "5 folds")
    [found], _ = restore(tmp_path, FAMILIES, "5 folds")
    assert found.outcomes == [] and found.outcome == "stopped"


def test_what_does_not_fit_ends_the_list(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path, kept(number), 1.0, "5 folds")
    assert len(restore(tmp_path, FAMILIES, "5 folds")[0]) == 4
    assert restore(tmp_path, FAMILIES, "3 folds") == ([], 0.0)
    assert restore(tmp_path, {"dummy": FAMILIES["dummy"]}, "5 folds")[0] == []
    path = tmp_path / FOLDER / "00002.npz"
    for damage in (path.read_bytes()[:100], b"", b"PK\x03\x04 not a zip"):
        path.write_bytes(damage)
        assert [c.number for c in restore(tmp_path, FAMILIES, "5 folds")[0]] == [0, 1]
