"""Canary, test and shadow: checked, audited before they are in force, and safe from kills."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

import killed
import modelwright as mw
from modelwright.core.errors import ArtefactError, RegistryError, UsageError
from modelwright.core.traffic import ABTest, Step, Traffic, read_traffic, traffic_path
from modelwright.release.registry import Registry
from release.records import register_again

STEPS = (Step(0.05, 600.0), Step(0.25, 1800.0))


@pytest.fixture
def three(project: Path) -> Path:
    """A project with a champion, version 1, and versions 2 and 3 of the same files."""
    return register_again(project, "2", "3")


def lines(folder: Path) -> list[tuple[str, str, str]]:
    return [(e.action, e.version, e.subject) for e in mw.AuditLog(folder).lines("shop")][1:]


def test_a_canary_is_recorded_and_in_force(three: Path) -> None:
    state = mw.canary("shop", "challenger", steps=STEPS, why="looks good", folder=three)
    assert state.shares == {"1": 0.95, "2": 0.05} and state.audit is not None
    rule = read_traffic(three, "shop")
    assert rule == state.traffic and rule and rule.canary and rule.canary.seed == 2
    assert lines(three) == [("canary", "2", "5% for 600 s, 25% for 1800 s, seed 2")]
    assert mw.AuditLog(three).lines("shop")[-1].why == "looks good"
    again = mw.canary("shop", "2", steps=STEPS, why="once more", folder=three)
    assert again.audit is None and again.traffic == rule and len(lines(three)) == 1
    assert mw.traffic("shop", folder=three).traffic == rule
    wider = mw.canary("shop", "2", weight=0.5, folder=three).traffic.canary
    assert wider and (wider.seed, wider.steps, wider.weight) == (2, (), 0.5)
    seeded = mw.canary("shop", "2", weight=0.6, seed=99, folder=three).traffic.canary
    kept = mw.canary("shop", "2", weight=0.7, folder=three).traffic.canary
    assert seeded and kept and seeded.seed == kept.seed == 99
    assert mw.AuditLog(three).broken_at() is None


def test_a_test_and_a_shadow_and_their_end(three: Path) -> None:
    state = mw.ab_test("shop", {"3": 0.5, "champion": 0.5}, seed=7, folder=three)
    assert state.traffic.test == ABTest({"1": 0.5, "3": 0.5}, 7)
    mw.shadow("shop", "2", folder=three)
    moved = mw.ab_test("shop", {"1": 0.2, "3": 0.8}, folder=three)
    assert moved.traffic.test == ABTest({"1": 0.2, "3": 0.8}, 7) and moved.traffic.shadow == "2"
    assert mw.stop_traffic("shop", "ab", folder=three).traffic == Traffic("shop", shadow="2")
    assert mw.stop_traffic("shop", folder=three).traffic.is_empty
    assert mw.stop_traffic("shop", folder=three).audit is None
    assert not traffic_path(three, "shop").exists()
    assert lines(three) == [
        ("ab", "1,3", "1=50% 3=50%, seed 7"),
        ("shadow", "2", "a copy of each request"),
        ("ab", "1,3", "1=20% 3=80%, seed 7"),
        ("stop", "1,3", "ab"),
        ("stop", "2", "shadow"),
    ]


def test_what_is_refused_changes_nothing(three: Path) -> None:
    registry = Registry(three)
    client = MlflowClient(registry.uri)
    with pytest.raises(RegistryError, match="no version 9 of shop"):
        mw.canary("shop", "9", folder=three)
    with pytest.raises(RegistryError, match="is the champion already"):
        mw.canary("shop", "1", folder=three)
    with pytest.raises(RegistryError, match="shop has no canary"):
        mw.shadow("shop", "canary", folder=three)
    with pytest.raises(UsageError, match=r"add up to 1\.1"):
        mw.ab_test("shop", {"2": 0.5, "3": 0.6}, folder=three)
    with pytest.raises(UsageError, match="2 to 8 arms"):
        mw.ab_test("shop", {"2": 1.0}, folder=three)
    with pytest.raises(UsageError, match="the same version"):
        mw.ab_test("shop", {"2": 0.5, "challenger": 0.5}, folder=three)
    with pytest.raises(UsageError, match=r"steps begin with 0\.05"):
        mw.canary("shop", "2", weight=0.1, steps=STEPS, folder=three)
    with pytest.raises(UsageError, match="steps of a canary rise"):
        mw.canary("shop", "2", steps=tuple(reversed(STEPS)), folder=three)
    with pytest.raises(UsageError, match="Cannot stop 'everything'"):
        mw.stop_traffic("shop", "everything", folder=three)
    client.set_model_version_tag("shop", "3", "modelwright.verdict", "undecided")
    with pytest.raises(RegistryError, match="did not pass its gates: 'undecided'"):
        mw.canary("shop", "3", folder=three)
    client.set_model_version_tag("shop", "2", "modelwright.digest", "0" * 64)
    with pytest.raises(ArtefactError, match="is not the model that was released"):
        mw.canary("shop", "2", folder=three)
    assert lines(three) == [] and read_traffic(three, "shop") is None


def test_a_canary_and_a_test_do_not_meet(three: Path) -> None:
    mw.canary("shop", "2", folder=three)
    with pytest.raises(UsageError, match="has a canary on"):
        mw.ab_test("shop", {"1": 0.5, "3": 0.5}, folder=three)
    mw.stop_traffic("shop", folder=three)
    mw.ab_test("shop", {"1": 0.5, "3": 0.5}, folder=three)
    with pytest.raises(UsageError, match="has an A/B test on"):
        mw.canary("shop", "2", folder=three)


def test_who_becomes_champion_is_canary_and_shadow_no_more(three: Path) -> None:
    mw.canary("shop", "2", folder=three)
    mw.shadow("shop", "3", folder=three)
    mw.promote("shop", "2", folder=three)
    assert read_traffic(three, "shop") == Traffic("shop", shadow="3")
    mw.canary("shop", "1", folder=three)
    mw.rollback("shop", folder=three)
    assert read_traffic(three, "shop") == Traffic("shop", shadow="3")
    traffic_path(three, "shop").write_bytes(b"{")
    assert mw.promote("shop", "2", folder=three).version == "2"  # damage holds up no promotion


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5%", "Cannot read the step '5%'"),
        ("5%:10", "has no unit"),
        ("5%:10m,", "Cannot read the step ''"),
        ("105%:10m", "is no share"),
        ("x:1h", "Cannot read the weight 'x'"),
        ("5%:0s", "takes some time"),
    ],
)
def test_steps_that_cannot_be_read(three: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        mw.canary("shop", "2", steps=mw.steps_of(text), folder=three)


@pytest.mark.slow
def test_a_canary_killed_at_every_step(three: Path, tmp_path: Path) -> None:
    """It is not there and has no line, or the next command finds it in force with its line."""
    seen = []
    for step in range(1, 100):
        folder = killed.copied(three, tmp_path / f"copy{step}")
        died = killed.killed_at(step, killed.begin_canary, folder)
        recorded = bool(lines(folder))
        in_force = read_traffic(folder, "shop") is not None
        assert recorded or not in_force, died  # the line comes first
        rule = mw.traffic("shop", folder=folder).traffic  # any next command
        assert bool(rule.canary) == recorded == (read_traffic(folder, "shop") is not None), died
        assert not (folder / ".modelwright" / "pending.json").exists()
        assert mw.AuditLog(folder).broken_at() is None
        if not died:
            break
        seen.append((died, recorded, in_force))
        mw.canary("shop", "2", weight=0.25, folder=folder)
        assert lines(folder)[-1] == ("canary", "2", "25%, seed 2")
    assert {(r, f) for _, r, f in seen} == {(False, False), (True, False), (True, True)}


@pytest.mark.slow
def test_a_promotion_that_ends_a_canary_killed_at_every_step(three: Path, tmp_path: Path) -> None:
    mw.canary("shop", "2", folder=three)
    for step in range(1, 100):
        folder = killed.copied(three, tmp_path / f"copy{step}")
        died = killed.killed_at(step, killed.promote_second, folder)
        state = mw.traffic("shop", folder=folder)
        assert (state.champion, bool(state.traffic.canary)) in (("1", True), ("2", False)), died
        assert mw.AuditLog(folder).broken_at() is None
        if not died:
            break
    assert state.champion == "2" and step > 8


@pytest.mark.slow
def test_eight_changes_at_once_have_one_order(three: Path) -> None:
    codes = killed.together(killed.widen_canary, [(three, n / 10) for n in range(1, 9)])
    assert codes == [0] * 8
    found = lines(three)
    assert len(found) == 8 and mw.AuditLog(three).broken_at() is None
    rule = read_traffic(three, "shop")
    assert rule and rule.canary
    assert found[-1] == ("canary", "2", f"{rule.canary.weight * 100:.6g}%, seed 2")
