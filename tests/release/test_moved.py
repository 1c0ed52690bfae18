"""A champion that somebody moves in MLflow itself leaves one line in the audit; no other does."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from mlflow import MlflowClient

import killed
import modelwright as mw
from modelwright.core.errors import NoSuchModel
from modelwright.core.store import locked
from modelwright.release.audit import AuditLog
from modelwright.release.moved import LOCK
from modelwright.release.registry import Registry
from modelwright.serve.follow import Follower
from modelwright.serve.settings import Source
from release.records import register_again
from release.test_registry import tracking_server


@pytest.fixture
def two(project: Path) -> Path:
    """Version 1 is champion, version 2 challenger."""
    return register_again(project, "2")


def by_hand(folder: Path, version: str) -> None:
    """What MLflow's own page does."""
    client = MlflowClient(Registry(folder).uri)
    if version:
        client.set_registered_model_alias("shop", "champion", version)
    else:
        client.delete_registered_model_alias("shop", "champion")


def moves(folder: Path) -> list[tuple[str, str, str]]:
    assert AuditLog(folder).broken_at() is None
    lines = AuditLog(folder).lines("shop")
    return [(e.action, e.replaces, e.version) for e in lines]


FIRST, BY_HAND = ("promote", "", "1"), ("moved", "1", "2")


def look(folder: Path) -> object:
    """What any process does that wants to know."""
    return mw.history("shop", folder=folder)


def look_in_a_process(folder: Path) -> None:
    """The same without an answer."""
    look(folder)


def test_history_records_it_once_and_shows_it(two: Path) -> None:
    by_hand(two, "2")
    for _ in range(2):
        _, lines = mw.history("shop", folder=two)
        assert moves(two) == [FIRST, BY_HAND]
    assert lines[-1].who == "unknown" and lines[-1].detail["found by"]
    assert lines[-1].why == "champion of shop found moved from v1 to v2 outside modelwright"
    command = [sys.executable, "-m", "modelwright", "history", "shop", "--json"]
    shown = json.loads(subprocess.run(command, cwd=two, capture_output=True, check=True).stdout)
    assert [(one["action"], one["by"]) for one in shown["changes"]][1:] == [("moved", "unknown")]


def test_changes_of_ours_are_no_moves(two: Path) -> None:
    mw.promote("shop", "2", folder=two)
    mw.rollback("shop", folder=two)
    mw.canary("shop", "2", weight=0.1, folder=two)
    look(two)
    assert [line[0] for line in moves(two)] == ["promote", "promote", "rollback", "canary"]


def test_it_is_recorded_before_the_next_change(two: Path) -> None:
    by_hand(two, "2")
    with pytest.raises(NoSuchModel, match="is the champion already"):
        mw.promote("shop", "2", folder=two)
    assert moves(two) == [FIRST, BY_HAND]
    assert mw.rollback("shop", folder=two).version == "1", "the way back from a move by hand"
    assert moves(two)[2:] == [("rollback", "2", "1")]
    with pytest.raises(NoSuchModel, match="had no champion before version 1"):
        mw.rollback("shop", folder=two)


def test_one_moved_back_by_hand_is_no_new_step_to_roll_back_through(two: Path) -> None:
    mw.promote("shop", "2", folder=two)
    by_hand(two, "1")
    with pytest.raises(NoSuchModel, match="had no champion before version 1"):
        mw.rollback("shop", folder=two)
    assert moves(two)[1:] == [("promote", "1", "2"), ("moved", "2", "1")]


def test_one_taken_away_by_hand(two: Path) -> None:
    by_hand(two, "")
    look(two)
    assert moves(two) == [FIRST, ("moved", "1", "")]
    assert AuditLog(two).lines()[-1].why.endswith("from v1 to none outside modelwright")
    mw.promote("shop", "2", why="there is none", folder=two)
    assert mw.rollback("shop", folder=two).version == "1"


def test_what_was_taken_away_by_hand_can_be_given_back(two: Path) -> None:
    by_hand(two, "")
    assert mw.rollback("shop", folder=two).version == "1"
    assert mw.Registry(two).resolve("shop").number == "1"
    assert moves(two) == [FIRST, ("moved", "1", ""), ("rollback", "", "1")]
    with pytest.raises(NoSuchModel, match="no champion before version 1"):
        mw.rollback("shop", folder=two)


def test_a_change_of_traffic_records_it_too(two: Path) -> None:
    by_hand(two, "2")
    mw.canary("shop", "1", weight=0.1, folder=two)
    assert [line[0] for line in moves(two)] == ["promote", "moved", "canary"]


@pytest.mark.slow
def test_eight_processes_at_once_write_one_line(two: Path) -> None:
    by_hand(two, "2")
    assert killed.together(look_in_a_process, [(two,)] * 8) == [0] * 8
    assert moves(two) == [FIRST, BY_HAND]


@pytest.mark.slow
def test_lookers_and_promotions_at_once_record_no_move_that_was_none(two: Path) -> None:
    """Who looks while a promotion is halfway waits for it."""
    jobs = [(two, "2"), (two, "1"), *[(two, "")] * 4]
    assert all(code in (0, 1) for code in killed.together(promote_or_look, jobs))
    assert "moved" not in [line[0] for line in moves(two)]


def promote_or_look(folder: Path, version: str) -> None:
    """One of several processes."""
    for _ in range(3):
        if version:
            try:
                mw.promote("shop", version, why="again", folder=folder)
            except NoSuchModel:
                continue
        else:
            look(folder)


@pytest.mark.slow
def test_killed_at_every_step(two: Path, tmp_path: Path) -> None:
    by_hand(two, "2")
    for step in range(1, 50):
        folder = killed.copied(two, tmp_path / f"copy{step}")
        died = killed.killed_at(step, look, folder)
        look(folder)
        assert moves(folder) == [FIRST, BY_HAND], died
        if not died:
            break
    assert step >= 3


@pytest.mark.slow
def test_a_promotion_killed_at_every_step_is_no_move(two: Path, tmp_path: Path) -> None:
    for step in range(1, 50):
        folder = killed.copied(two, tmp_path / f"copy{step}")
        died = killed.killed_at(step, killed.promote_second, folder)
        look(folder)
        assert "moved" not in [line[0] for line in moves(folder)], died
        if not died:
            break


def test_a_server_that_follows_records_it(two: Path) -> None:
    follower = Follower(Source(name="shop", project=str(two), alias="champion"))
    assert follower.state().champion == "1" and moves(two) == [FIRST]
    by_hand(two, "2")
    assert follower.changed() and follower.state().champion == "2"
    assert moves(two) == [FIRST, BY_HAND]
    assert follower.state().previous == "1" and not follower.changed()
    follower.close()


def test_a_server_waits_for_nobody_and_looks_again(two: Path) -> None:
    follower = Follower(Source(name="shop", project=str(two), alias="champion"))
    follower.state()
    with locked(two / LOCK):
        by_hand(two, "2")
        assert follower.state().champion == "2" and moves(two) == [FIRST]
        assert follower.changed(), "it is owed"
    follower.state()
    assert moves(two) == [FIRST, BY_HAND]
    follower.close()


def test_a_project_that_cannot_be_written_is_shown_all_the_same(two: Path) -> None:
    by_hand(two, "2")
    (two / LOCK).unlink(missing_ok=True)
    (two / LOCK).mkdir()  # also root cannot open it to write
    versions, _ = mw.history("shop", folder=two)
    assert len(versions) == 2 and moves(two) == [FIRST]


def test_a_lookup_waits_for_a_change_that_is_going_on(two: Path) -> None:
    """The line is on disk and the alias has not moved yet: who looks then waits."""
    looked = threading.Thread(target=look, args=(two,))
    with locked(two / LOCK):
        AuditLog(two).record("promote", "shop", "2", replaces="1", why="halfway")
        looked.start()
        looked.join(0.2)
        assert looked.is_alive()
        by_hand(two, "2")
    looked.join(30)
    assert moves(two) == [FIRST, ("promote", "1", "2")]


@pytest.mark.slow
def test_another_registry_is_another_story(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in the audit of the project's own store says nothing of a server's champion."""
    with tracking_server(tmp_path) as address:
        client = MlflowClient(address)
        client.create_registered_model("shop")
        for _ in range(3):
            client.create_model_version("shop", "s3://nowhere/model")
        client.set_registered_model_alias("shop", "champion", "3")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        look(two)
        assert moves(two) == [FIRST]
        AuditLog(two).record("promote", "shop", "3", replaces="", why="now it is ours")
        client.set_registered_model_alias("shop", "champion", "2")
        look(two)
        assert moves(two)[2:] == [("moved", "3", "2")]
        assert "another project" in AuditLog(two).lines()[-1].why
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        look(two)
    assert len(moves(two)) == 3
