"""Labelled share and label delay, in words."""

from __future__ import annotations

import numpy as np
import pytest

from modelwright.watch.lateness import KEPT, Truths, in_words, more_truths, newest


@pytest.mark.parametrize(
    ("labelled", "answers", "told"),
    [
        (50, 200, "25% of 200"),
        (1, 2_500, "0.04% of 2,500"),
        (7, 3, "100% of 7"),
        (0, 0, "0.00% of 0"),
    ],
)
def test_what_is_labelled_and_not_counted_yet_is_among_the_answers(
    labelled: int, answers: int, told: str
) -> None:
    assert in_words(labelled, answers, 90.4) == f"{told} answers have a truth, median 90 s later"


def test_of_many_at_once_some_of_all_are_kept() -> None:
    found = newest((5.0,) * KEPT, np.arange(10_000.0))
    assert len(found) == KEPT and np.median(found) == pytest.approx(5_000, rel=0.01)
    assert newest(found, np.zeros(1)) == (*found[1:], 0.0), "the oldest goes"


def test_each_arm_has_its_own() -> None:
    arms = np.array(["champion", "canary", "champion"])
    found = more_truths({"canary": Truths(4, (9.0,))}, arms, np.array([1.0, 2.0, 3.0]))
    assert found == {"champion": Truths(2, (1.0, 3.0)), "canary": Truths(5, (9.0, 2.0))}
    assert more_truths(found, arms[:0], np.zeros(0)) == found
