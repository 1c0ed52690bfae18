"""Which columns changed most, by the counts of real answers."""

from __future__ import annotations

from pathlib import Path

import pytest

import modelwright as mw
from modelwright.core.spec_data import SplitSpec
from modelwright.watch.part_drift import policy_of
from modelwright.watch.ranking import ranked
from modelwright.watch.reference import frame_of
from modelwright.watch.summaries import SCORE
from watch.live import BEGIN, END, copied, with_drift


def test_ranking_counts_what_the_store_holds(released: mw.Released, tmp_path: Path) -> None:
    live = with_drift(copied(released, tmp_path / "project"))
    subject = live.subject(END)
    champion = subject.champion
    assert champion.live is not None
    where = "shop", "1", champion.digest
    quiet = frame_of(subject.store.window(champion.plan, *where, BEGIN, BEGIN + 3000))
    loud = frame_of(subject.store.window(champion.plan, *where, BEGIN + 3000, BEGIN + 4800))
    spec, reference = subject.spec.watch, champion.live.reference
    policy = policy_of(spec, SplitSpec())
    before = {one.name: one for one in ranked(quiet, reference, policy)}
    after = {one.name: one for one in ranked(loud, reference, policy)}
    assert after["f_size, cm"].distance > 0.4 > 0.1 > before["f_size, cm"].distance
    assert after["f_colour"].strange == (pytest.approx(0.2), 0.0)
    assert before["f_colour"].strange == (0.0, 0.0)
    assert after["f_start"].missing[0] - after["f_start"].missing[1] > 0.3
    assert after[SCORE].p < 1e-6 < before[SCORE].p
    live.close()
