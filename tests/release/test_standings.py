"""Two judged runs are compared row by row from what each kept, or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evidences import known_model
from modelwright.core.table import Table
from modelwright.fit.certainty import paired_gain
from modelwright.release.evidence import Evidence
from modelwright.release.standings import (
    MOST_BLOCKS,
    STANDINGS,
    keep_standings,
    kept_standings,
    standings_of,
)


def worse(found: Evidence) -> Evidence:
    """The same model with a third of another row's answer in each of its own."""
    return replace(found, answers=0.7 * found.answers + 0.3 * np.roll(found.answers, 1, axis=0))


@pytest.mark.parametrize("rows", [1000, 3 * MOST_BLOCKS])
def test_what_is_kept_gives_the_paired_test(rows: int, tmp_path: Path) -> None:
    one = known_model(rows)
    other = worse(one)
    for name, found in (("a", one), ("b", other)):
        (tmp_path / name).mkdir()
        keep_standings(tmp_path / name, standings_of(found))
    mine, theirs = kept_standings(tmp_path / "a"), kept_standings(tmp_path / "b")
    assert mine is not None and theirs is not None
    leads = mine.leads(theirs)
    y, confidence = one.holdout.target, one.confidence
    for metric in ("roc_auc", "log_loss", "brier"):
        direct = paired_gain(metric, y, one.answers, other.answers, confidence=confidence)
        assert leads[metric].value == pytest.approx(direct.value)
        assert leads[metric].low == pytest.approx(direct.low, abs=0.1 * (direct.high - direct.low))
    assert leads["roc_auc"].low > 0, "worse beyond chance"
    assert (tmp_path / "a" / STANDINGS).stat().st_size < 400_000
    assert all(lead.low == lead.value == lead.high == 0 for lead in mine.leads(mine).values())


def test_other_rows_or_another_order_are_not_paired(tmp_path: Path) -> None:
    one = known_model(500)
    turned = one.holdout.take(np.arange(500)[::-1])
    other = replace(one, holdout=turned, answers=one.answers[::-1], labels=None)
    assert standings_of(one).leads(standings_of(other)) == {}
    flipped = Table(one.holdout.feeds, 1 - one.holdout.target)
    assert standings_of(one).leads(standings_of(replace(one, holdout=flipped))) == {}


def test_a_run_without_or_with_broken_standings_has_none(tmp_path: Path) -> None:
    assert kept_standings(tmp_path) is None
    (tmp_path / STANDINGS).write_bytes(b"PK nothing")
    assert kept_standings(tmp_path) is None
