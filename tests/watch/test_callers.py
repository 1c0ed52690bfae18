"""Who counts once; and what becomes of a canary like its champion where labels come in clumps."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from modelwright.watch import callers
from modelwright.watch.callers import first_of_each, once_each
from modelwright.watch.canary import Arms, Plan, State, Stratum, look

EVERY = np.ones(6, bool)


def table(who: list[str | None]) -> pa.Table:
    return pa.table({"request_id": ["a", "a", "b", "b", "c", "d"], "f_who": who})


def test_of_a_request_the_first_row_counts() -> None:
    kept = np.array([False, True, True, True, True, True])
    first, known = first_of_each(table([None] * 6), "", kept, b"")
    assert first.tolist() == [True, True, False, True, True] and known == b""


def test_of_a_caller_the_first_label_counts_over_all_looks() -> None:
    one = table(["ada", "ada", "bob", None, None, "ada"])
    first, known = first_of_each(one, "f_who", EVERY, b"")
    assert first.tolist() == [True, False, True, True, True, False], "who said no name is a request"
    first, again = first_of_each(table(["bob", "eve", "ada", "eve", "bob", "x"]), "f_who", EVERY,
                                 known)  # fmt: skip
    assert first.tolist() == [False, True, False, False, False, True]
    assert len(again) > len(known) and again.startswith(known)


def test_no_more_are_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "MOST_KNOWN", 3)
    kept, known = once_each(np.array(list("abcde"), object), b"")
    assert kept.tolist() == [True, True, True, False, False]
    kept, known = once_each(np.array(list("dab"), object), known)
    assert not kept.any(), "who had no room does not count later either"


def rolled_back(run: int, *, once: bool) -> bool:
    """Whether a canary like its champion goes: 400 callers of very unequal activity, each with an
    arm and a rate of wrong labels of its own, and all labels of one in a minute alike."""
    rng, state, plan = np.random.default_rng([5, run]), State(), Plan()
    active = rng.pareto(1.1, 400) + 0.1
    rate, on_canary, known = rng.beta(0.2, 1.8, 400), rng.random(400) < 0.2, b""
    for _ in range(30):
        users = rng.choice(400, 1000, p=active / active.sum())
        wrong, new = (rng.random(400) < rate)[users], on_canary[users]
        if once:
            kept, known = once_each(users.astype(str), known)
            wrong, new = wrong[kept], new[kept]
        arms = Arms(*(int(n) for n in ((~new).sum(), (wrong & ~new).sum(), new.sum(),
                                       (wrong & new).sum())))  # fmt: skip
        state = look(state, Stratum({"label errors": arms}), plan)
    return state.call == "roll back"


def test_a_canary_like_its_champion_stays_though_labels_come_in_clumps() -> None:
    by_caller = sum(rolled_back(run, once=True) for run in range(60))
    by_row = sum(rolled_back(run, once=False) for run in range(20))
    print(f"rolled back: {by_caller} of 60 by caller, {by_row} of 20 by row")
    assert by_caller <= 2, "1 % is promised; more than 2 of 60 come in 1 of 40 cases of 1 % at most"
    assert by_row >= 5, "by row a few busy callers decide"
