"""Challenger against champion on recent rows, and what it means beside the sealed ones."""

from __future__ import annotations

import numpy as np

from evidences import evidence
from modelwright.core.intake import Array
from modelwright.core.records import Finding, Interval
from modelwright.core.spec_release import ReleaseSpec
from modelwright.core.table import Table
from modelwright.fit.certainty import paired_gain
from modelwright.fit.in_time import InTime
from modelwright.release.gates import judge, ruling
from modelwright.release.recent import FEWEST, Recent, recent_finding


def answers(y: Array, strength: float, rng: np.random.Generator) -> Array:
    """Probabilities that know so much of the truth."""
    score = strength * (2 * y - 1) + rng.normal(size=len(y))
    up = 1 / (1 + np.exp(-score))
    return np.stack([1 - up, up], axis=1)


def lead(metric: str, y: Array, a: Array, b: Array) -> Interval:
    return paired_gain(metric, y, a, b, confidence=0.9, clusters=InTime.of(len(y)))


def finding(ours: float, theirs: float, rows: int = 800, problem: str = "") -> Finding:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, rows)
    recent = Recent(Table({}, y), problem)
    pair = answers(y, ours, rng), answers(y, theirs, rng)
    return recent_finding("roc_auc", recent, *pair, "3", confidence=0.9)


def test_three_verdicts() -> None:
    better, worse, equal = finding(1.5, 0.7), finding(0.7, 1.5), finding(1.0, 1.0)
    assert (better.verdict, better.severity, better.blocks) == ("pass", "warning", False)
    assert (worse.verdict, worse.severity, worse.blocks) == ("fail", "error", True)
    assert (equal.verdict, equal.blocks) == ("undecided", False)
    assert "roc_auc better by" in better.measured and "on 800 rows" in better.measured
    assert better.subject == "version 3"


def test_what_cannot_be_compared_is_undecided_and_says_why() -> None:
    few = finding(3.0, 0.1, rows=FEWEST - 1)
    assert few.verdict == "undecided" and f"wanted at least {FEWEST}" in few.why
    gone = finding(3.0, 0.1, problem="the journal has no b")
    assert (gone.verdict, gone.why) == ("undecided", "the journal has no b")
    recent = Recent(Table({}, np.zeros(100, np.int64)))
    none = recent_finding("roc_auc", recent, None, None, "1", confidence=0.9)
    assert none.verdict == "undecided"


def test_rows_of_one_class_decide_nothing() -> None:
    recent, rng = Recent(Table({}, np.zeros(200, np.int64))), np.random.default_rng(0)
    pair = [answers(recent.rows.target, 1.0, rng) for _ in range(2)]
    found = recent_finding("roc_auc", recent, *pair, "1", confidence=0.9)
    assert found.verdict == "undecided" and "cannot be measured" in found.measured


def test_equal_models_are_called_different_as_seldom_as_stated() -> None:
    """Two-sided at 90 %: 100 pairs of equally good models, on 300 rows each."""
    rng, wrong = np.random.default_rng(1), 0
    for _ in range(100):
        y = rng.normal(size=300)
        pair = [y + rng.normal(size=300) for _ in range(2)]
        found = lead("mae", y, *pair)
        wrong += not found.low <= 0 <= found.high
    assert 3 <= wrong <= 20  # 10 expected


def test_rows_that_vary_together_in_time_count_as_such() -> None:
    """The lead of one model comes and goes by stretches: that it leads is then less certain."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=2000)
    phase = np.repeat(rng.normal(size=20), 100)
    a, b = y + 0.5 + phase * 0.5, y + 0.5 + rng.permutation(phase) * 0.5
    width = {}
    for name, order in (("in time", np.arange(2000)), ("mixed", rng.permutation(2000))):
        found = lead("mae", y[order], a[order], b[order])
        width[name] = found.high - found.low
    assert width["in time"] > 2 * width["mixed"]


def test_a_handful_of_positive_rows_decides_nothing() -> None:
    """One positive row of 60: whatever the other rows say, it alone is no evidence."""
    y = (np.arange(60) == 30).astype(np.int64)
    rng = np.random.default_rng(3)
    found = lead("recall", y, answers(y, 3.0, rng), answers(y, -3.0, rng))
    assert found.low == -np.inf and found.high == np.inf


def gate(recent: Finding | None, accuracy: float = 0.6, **policy: object) -> list[Finding]:
    """Gates of a model that is worse than the champion on the sealed rows."""
    seen = evidence(2000, accuracy)
    y = seen.holdout.target
    champion = np.stack([1 - y, y], axis=1) * 0.8 + 0.1  # always right
    shown = evidence(
        2000, accuracy, champion=champion, champion_version="3", policy=ReleaseSpec(**policy)
    )
    return list(judge(shown, [recent] if recent else []))


def test_better_today_outweighs_worse_on_old_sealed_rows_and_nothing_else_does() -> None:
    better, equal, worse = finding(1.5, 0.7), finding(1.0, 1.0), finding(0.7, 1.5)
    for recent, blocks in ((None, True), (equal, True), (worse, True), (better, False)):
        found = next(f for f in gate(recent) if f.check == "champion")
        assert found.verdict == "fail" and found.blocks is blocks
    assert "better on recent rows" in next(f for f in gate(better) if f.check == "champion").why


def test_worse_today_blocks_whatever_the_sealed_rows_say() -> None:
    worse = finding(0.7, 1.5)
    assert ruling(judge(evidence(2000, 0.8), [worse]), ReleaseSpec()).verdict == "fail"
    off = judge(evidence(2000, 0.8, policy=ReleaseSpec(policy={"recent": "off"})), [worse])
    assert not any(f.blocks for f in off if f.check == "recent")
