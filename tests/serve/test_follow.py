"""What is followed is what the real registry says: a SQLite file, and a tracking server."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

import modelwright as mw
from modelwright.core.errors import RegistryError, UsageError
from modelwright.release.fetch import fetch
from modelwright.release.registry import Registry
from modelwright.serve.aliases import Aliases
from modelwright.serve.follow import Follower
from modelwright.serve.settings import Source
from projects import QUICK
from release.test_registry import tracking_server
from release.test_traffic import three as three  # the fixture


@contextlib.contextmanager
def following(project: Path, alias: str = "champion", interval: float = 0.05) -> Iterator[Follower]:
    follower = Follower(Source(name="shop", project=str(project), alias=alias), interval=interval)
    try:
        yield follower
    finally:
        follower.close()


def until(follower: Follower, wanted: Callable[[Aliases], object], seconds: float = 60) -> Aliases:
    """The first state that is as wanted."""
    end = time.monotonic() + seconds
    state = follower.state()
    while not wanted(state):
        assert time.monotonic() < end, state
        if follower.changed():
            state = follower.state()
        time.sleep(0.01)
    return state


def test_a_project_is_read_as_it_is(project: Path, released: mw.Released) -> None:
    with following(project) as follower:
        assert follower.changed()
        state = follower.state()
        assert (state.champion, state.aliases) == ("1", {"champion": "1"})
        place = state.place("1")
        assert place and place.digest == released.record.artefact
        assert Path(place.folder) == project / "runs" / released.record.run / "artefact"
        assert mw.Artefact.load(place.folder, digest=place.digest)
        assert (state.previous, state.traffic, state.stale_since, state.problem) == (
            "", None, None, "",
        )  # fmt: skip
        assert not follower.changed() and not follower.changed()


def test_the_baseline_can_answer(project: Path, released: mw.Released) -> None:
    with following(project) as follower:
        baseline = follower.state().baseline
    assert baseline and baseline.digest == released.record.baseline
    model = mw.Artefact.load(baseline.folder, digest=baseline.digest)
    assert model.manifest.family in ("linear", "dummy")
    assert model.manifest.parity.rows == 600 and model.manifest.parity.label_flips == 0
    champion = mw.load("shop", folder=project)
    assert model.manifest.schema.columns == champion.schema.columns
    assert model.predict([champion.manifest.example])[0]["prediction"] in ("yes", "no")


def test_each_kind_of_change_is_noticed(three: Path) -> None:
    with following(three) as follower:
        assert follower.state().aliases == {"champion": "1", "challenger": "2"}
        mw.promote("shop", "2", folder=three)
        assert follower.changed()
        state = follower.state()
        assert (state.champion, state.previous) == ("2", "1")
        assert {place.version for place in state.wanted} == {"1", "2"}
        assert state.wanted[0].version == "2"
        mw.canary("shop", "3", weight=0.1, folder=three)
        assert follower.changed()
        state = follower.state()
        assert state.traffic and state.traffic.canary and state.place("3")
        assert [place.version for place in state.wanted] == ["2", "3", "1"]
        mw.rollback("shop", folder=three)
        assert follower.changed()
        state = follower.state()
        assert (state.champion, state.previous) == ("1", "")
        assert not follower.changed()
        Registry(three).set_alias("shop", "canary", "3")
        assert follower.changed() and follower.state().aliases["canary"] == "3"


def test_another_alias_can_be_followed(three: Path) -> None:
    with following(three, alias="challenger") as follower:
        assert follower.state().champion == "2"
        Registry(three).remove_alias("shop", "challenger")
        assert follower.changed() and follower.state().champion == ""


def test_a_look_is_cheap(project: Path) -> None:
    with following(project) as follower:
        follower.state()
        started = time.perf_counter()
        for _ in range(200):
            assert not follower.changed()
        each = (time.perf_counter() - started) / 200
    print(f"changed(): {each * 1e6:.0f} us")
    assert each < 2e-3


def test_a_locked_database_keeps_the_last_state(project: Path) -> None:
    with following(project) as follower:
        before = follower.state()
        writer = sqlite3.connect(project / ".modelwright" / "mlflow.db", isolation_level=None)
        writer.execute("BEGIN EXCLUSIVE")
        assert not follower.changed()
        state = follower.state()
        assert state.stale_since and "locked" in state.problem
        assert (state.champion, state.places) == (before.champion, before.places)
        writer.execute("COMMIT")
        writer.close()
        assert follower.changed()
        assert follower.state() == before


def test_a_database_that_is_gone_or_restored(project: Path) -> None:
    database = project / ".modelwright" / "mlflow.db"
    with following(project) as follower:
        before = follower.state()
        copy = shutil.copyfile(database, database.with_suffix(".copy"))
        database.unlink()
        assert follower.changed() and follower.state().stale_since
        copy.rename(database)
        assert follower.changed() and follower.state() == before
    shutil.rmtree(project / ".modelwright")
    with following(project) as follower, pytest.raises(RegistryError, match="no registry at"):
        follower.state()


def test_a_model_that_nobody_registered(project: Path) -> None:
    follower = Follower(Source(name="other", project=str(project)))
    assert follower.state() == Aliases("other")
    follower.close()


def test_links_and_names_lead_nowhere_else(project: Path, tmp_path: Path) -> None:
    """The registry's tags are not trusted with paths; what is elsewhere is fetched, not read."""
    [run] = (project / "runs").iterdir()
    elsewhere = tmp_path / "elsewhere"
    run.rename(elsewhere)
    run.symlink_to(elsewhere)
    with following(project) as follower:
        assert not follower.state().places["1"].folder
    client = MlflowClient(Registry(project).uri)
    client.set_model_version_tag("shop", "1", "modelwright.run", "../../elsewhere")
    with following(project) as follower:
        assert not follower.state().places["1"].folder
    client.set_model_version_tag("shop", "1", "modelwright.digest", "../../elsewhere/artefact")
    with following(project) as follower:
        place = follower.state().places["1"]
    assert not place.folder and "no digest" in place.problem


@pytest.mark.slow
def test_a_changed_file_is_fetched_anew_by_a_child(project: Path, released: mw.Released) -> None:
    [model] = project.glob("runs/*/artefact/model.onnx")
    model.chmod(0o644)
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with following(project) as follower:
        assert follower.state().places["1"].problem == "Version 1 of shop is being fetched."
        state = until(follower, lambda now: now.place("1"))
    assert Path(state.places["1"].folder).name == released.record.artefact


@pytest.mark.slow
def test_what_cannot_be_fetched_is_said(project: Path) -> None:
    client = MlflowClient(Registry(project).uri)
    client.set_model_version_tag("shop", "1", "modelwright.digest", "0" * 64)
    with following(project) as follower:
        state = until(follower, lambda now: "cannot be fetched" in now.places["1"].problem)
    assert "is not the model that was released" in state.places["1"].problem
    assert state.champion == "1" and not state.wanted


def test_the_follower_is_thin() -> None:
    code = (
        "import sys, modelwright.serve.follow, modelwright.serve.fallback\n"
        "import modelwright.serve.breaker, modelwright.serve.cache\n"
        "bad = {'mlflow','sklearn','polars','pandas','onnx','optuna','pydantic','sqlalchemy'}\n"
        "assert not bad & set(sys.modules), bad & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_registry_of_another_kind_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://user:secret@127.0.0.1/x")
    with pytest.raises(UsageError, match="postgresql: cannot be followed") as caught:
        Follower(Source(name="shop", project=str(project)))
    assert "secret" not in str(caught.value)


@pytest.mark.slow
def test_a_tracking_server_is_followed(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "server"
    place.mkdir()
    here = tmp_path / "serving"  # a machine that has nothing yet
    here.mkdir()
    with tracking_server(place) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        released = mw.run(shop / "modelwright.yaml", overrides=QUICK)
        client = MlflowClient(address)
        with following(here) as follower:
            first = follower.state()
            assert first.champion == "1" and "is being fetched" in first.places["1"].problem
            assert first.baseline and first.baseline.digest == released.record.baseline
            state = until(follower, lambda now: now.place("1") and now.baseline.folder)
            found = state.places["1"]
            assert Path(found.folder) == here / ".modelwright" / "artefacts" / found.digest
            assert found.digest == released.record.artefact
            client.set_registered_model_alias("shop", "challenger", "1")
            until(follower, lambda now: now.aliases == {"champion": "1", "challenger": "1"})
            client.delete_registered_model_alias("shop", "champion")
            until(follower, lambda now: now.champion == "")
            client.set_registered_model_alias("shop", "champion", "1")
            until(follower, lambda now: now.place("1"))
        assert fetch(here, "shop", "1") == Path(found.folder)
        gone = Follower(Source(name="shop", project=str(here)), interval=0.5)
        kept = until(gone, lambda now: now.place("1"))
    stale = until(gone, lambda now: now.stale_since)  # the server has ended
    assert "cannot be reached" in stale.problem
    assert (stale.champion, stale.places) == ("1", kept.places)
    gone.close()
    with following(here) as follower:  # a restart while it is away
        again = follower.state()
        assert again.champion == "1" and again.stale_since and again.place("1")
    shutil.rmtree(here / ".modelwright" / "followed")
    with following(here) as follower, pytest.raises(RegistryError, match="cannot be reached"):
        follower.state()
