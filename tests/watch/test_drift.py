"""Drift: quiet where nothing changed, loud where something did, and silent about what is usual."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from modelwright.core.errors import DataError
from modelwright.watch.counted import Counts, Frame, Reference, total
from modelwright.watch.drift import ColumnPolicy, Drift, Policy, by_cause, judge
from watch import frames


@pytest.fixture(scope="module")
def reference() -> Reference:
    return frames.referenced(frames.drawn(np.random.default_rng(0), 20_000), first=("b",))


@pytest.mark.parametrize("rows", [200, 1000, 10_000])
def test_a_window_without_drift_is_quiet(reference: Reference, rows: int) -> None:
    rng, policy = np.random.default_rng([1, rows]), Policy(rows=1)
    windows = [frames.counted(frames.drawn(rng, rows)) for _ in range(100)]
    alarmed = [w for w in windows if judge(w, reference, policy).alarms]
    assert len(alarmed) <= 1


@pytest.mark.parametrize(
    ("change", "check", "column"),
    [
        (frames.shifted, "drift", "a"),
        (frames.emptied, "missing rate", "b"),
        (frames.unit, "far-out value", "c"),
        (frames.moved, "drift", "level"),
        (frames.unseen, "unseen category", "level"),
        (frames.rotated, "joint change", "a and b"),
    ],
)
def test_a_change_is_found_and_named(
    reference: Reference, change: frames.Change, check: str, column: str
) -> None:
    rng, found = np.random.default_rng(2), 0
    for _ in range(20):
        table = frames.drawn(rng, 1000)
        change(table, rng)
        alarms = judge(frames.counted(table), reference).alarms
        found += any((f.check, f.subject) == (check, column) for f in alarms)
    assert found >= 19


def test_a_sure_but_small_change_is_a_note(reference: Reference) -> None:
    table = frames.drawn(np.random.default_rng(3), 50_000)
    table["a"] += 0.08
    drift = judge(frames.counted(table), reference)
    note = next(f for f in drift.findings if f.subject == "a")
    assert not drift.alarms
    assert (note.verdict, note.severity) == ("pass", "info")
    floors = Policy(columns={"a": ColumnPolicy(distance=0.01)})
    assert judge(frames.counted(table), reference, floors).columns == ("a",)


def test_what_the_reference_does_by_itself_is_no_alarm() -> None:
    """A slow swing: every test for independent rows alarms, in most windows."""
    rng = np.random.default_rng(4)

    def swinging(start: int, rows: int) -> frames.Table:
        table = frames.drawn(rng, rows)
        table["c"] += np.repeat(np.sin(np.arange(start, start + rows) / 3000), 1)
        return table

    with_blocks = frames.referenced(swinging(0, 40_000))
    without = Reference(with_blocks.kinds, (with_blocks.whole,), with_blocks.spread)
    windows = [frames.counted(swinging(40_000 + 1000 * i, 1000)) for i in range(20)]
    assert sum(bool(judge(w, without).alarms) for w in windows) >= 12
    assert sum(bool(judge(w, with_blocks).alarms) for w in windows) == 0


def test_worst_first_and_outputs_before_features(reference: Reference) -> None:
    rng = np.random.default_rng(5)
    table = frames.drawn(rng, 2000)
    table["a"] += 2.0
    table["c"] += 1.0
    table["b"] += 0.3
    drift = judge(frames.counted(table), reference)
    shifts = [f.subject for f in drift.alarms if f.check == "drift"]
    assert shifts == ["b", "a", "c"]
    causes = by_cause(drift, reference.first)
    assert [f.subject for f in causes["score drift"]] == ["b"]
    assert [f.subject for f in causes["drift"]] == ["a", "c"]
    first = drift.alarms[0]
    assert "larger values" in first.measured
    assert first.advice
    assert first.interval is not None
    assert 0 < first.interval.low < first.interval.value < first.interval.high


def test_a_category_is_named(reference: Reference) -> None:
    rng = np.random.default_rng(6)
    table = frames.drawn(rng, 1000)
    frames.moved(table, rng)
    assert "more of 'c'" in judge(frames.counted(table), reference).alarms[0].measured


def test_a_small_window_waits_and_minutes_add_up(reference: Reference) -> None:
    table = frames.drawn(np.random.default_rng(7), 1200)
    frames.shifted(table, np.random.default_rng(8))
    minutes = [frames.counted(part) for part in frames.cut(table, 300)]
    early = judge(total(minutes[:3]), reference)
    assert (early.closed, early.findings, early.rows) == (False, (), 900)
    assert judge(total(minutes), reference) == judge(frames.counted(table), reference)


def test_an_ignored_column_asks_nothing(reference: Reference) -> None:
    table = frames.drawn(np.random.default_rng(9), 1000)
    table["c"] += 2
    policy = Policy(columns={"c": ColumnPolicy(ignore=True)})
    assert judge(frames.counted(table), reference, policy).alarms == ()


def test_an_ignored_column_is_in_no_pair_and_hides_none(reference: Reference) -> None:
    rng = np.random.default_rng(11)
    table = frames.drawn(rng, 10_000)
    frames.rotated(table, rng)
    pairs = [f.subject for f in judge(frames.counted(table), reference).alarms
             if f.check == "joint change"]  # fmt: skip
    assert pairs == ["a and b"]
    for ignored in ("a", "b"):
        policy = Policy(columns={ignored: ColumnPolicy(ignore=True)})
        found = judge(frames.counted(table), reference, policy)
        assert not [f for f in found.findings if ignored in f.columns]


@pytest.mark.parametrize(
    ("own", "alarms"),
    [(ColumnPolicy(joint=0.99), 0), (ColumnPolicy(block_factor=1e6), 0), (ColumnPolicy(), 1)],
)
def test_a_column_has_its_own_floor_for_pairs(
    reference: Reference, own: ColumnPolicy, alarms: int
) -> None:
    rng = np.random.default_rng(12)
    table = frames.drawn(rng, 10_000)
    frames.rotated(table, rng)
    found = judge(frames.counted(table), reference, Policy(columns={"a": own}))
    named = [f for f in found.alarms if f.check == "joint change" and "a" in f.columns]
    assert len(named) == alarms


def test_a_broken_contract_is_an_error_and_the_rest_a_warning(reference: Reference) -> None:
    rng = np.random.default_rng(10)
    table = frames.drawn(rng, 1000)
    frames.unit(table, rng)
    frames.shifted(table, rng)
    severity = {f.check: f.severity for f in judge(frames.counted(table), reference).alarms}
    assert severity["far-out value"] == "error"
    assert severity["drift"] == "warning"


def test_other_edges_are_refused(reference: Reference) -> None:
    table = frames.counted(frames.drawn(np.random.default_rng(11), 1000))
    wrong = Frame(table.columns | {"a": Counts(np.ones(5, np.int64))}, table.joint)
    with pytest.raises(DataError, match="5 bins"):
        judge(wrong, reference)


def test_the_record_survives_json(reference: Reference) -> None:
    table = frames.drawn(np.random.default_rng(12), 1000)
    table["a"] += 1
    drift = judge(frames.counted(table), reference)
    assert msgspec.json.decode(msgspec.json.encode(drift), type=Drift) == drift


def test_a_column_that_the_window_lacks_is_not_judged(reference: Reference) -> None:
    whole = frames.counted(frames.drawn(np.random.default_rng(13), 1000))
    part = Frame({name: c for name, c in whole.columns.items() if name != "a"})
    assert judge(part, reference).alarms == ()
