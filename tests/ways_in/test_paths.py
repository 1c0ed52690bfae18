"""Where agents read and write, at every door."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest

from agents import BAD
from modelwright.core.agent_paths import readable, writable
from modelwright.core.errors import Refused
from modelwright.core.principal import Principal, acting_as
from modelwright.ways_in.arguments import InitArguments, PredictArguments
from modelwright.ways_in.operations import OPERATIONS
from modelwright.ways_in.paths import check_paths

AGENT = Principal("agent ada", "agent")


@pytest.mark.parametrize("text", BAD, ids=[repr(text)[:30] for text in BAD])
def test_paths_that_agents_may_not_use(tmp_path: Path, text: str) -> None:
    for look in (readable, writable):
        with pytest.raises(Refused) as refused:
            look(text, tmp_path)
        assert refused.value.rule == "scratch_only"
    assert list(tmp_path.iterdir()) == []


def test_links_and_devices_lead_nowhere(tmp_path: Path) -> None:
    project, outside = tmp_path / "project", tmp_path / "outside"
    (project / "data").mkdir(parents=True)
    outside.mkdir()
    (outside / "t.csv").write_text("a\n1\n")
    (project / "link.csv").symlink_to(outside / "t.csv")
    (project / "folder").symlink_to(outside)
    (project / "data" / "inner.csv").symlink_to(outside / "t.csv")
    os.mkfifo(project / "pipe.csv")
    (project / "loop.csv").symlink_to("loop.csv")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(project / "s.csv"))
        for text in (
            "link.csv", "folder/t.csv", "folder", "data", "pipe.csv", "s.csv", "loop.csv",
        ):  # fmt: skip
            with pytest.raises(Refused):
                readable(text, project)
    (project / "scratch").symlink_to(outside)
    with pytest.raises(Refused):
        writable("scratch/out.csv", project)
    assert [path.name for path in outside.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("name", ["run", "retrain"])
def test_a_spec_in_another_folder_is_no_way_round_the_policy(tmp_path: Path, name: str) -> None:
    (tmp_path / "scratch").mkdir()
    operation = next(one for one in OPERATIONS if one.name == name)
    given = operation.arguments.model_validate({"spec": "scratch/x.yaml"})
    with chdir(tmp_path):
        check_paths(operation, given)
        with acting_as(AGENT):
            with pytest.raises(Refused, match="another folder"):
                check_paths(operation, given)
            check_paths(operation, operation.arguments.model_validate({"spec": "x.yaml"}))


def test_what_agents_may_use(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n")
    (tmp_path / "same.csv").symlink_to(tmp_path / "t.csv")
    for text in ("t.csv", "./t.csv", "same.csv", "shop", "shop/3", "shop@challenger", "none.csv"):
        assert readable(text, tmp_path).is_relative_to(tmp_path.resolve())
    assert writable("scratch/deep/out.csv", tmp_path).parent.is_dir()
    for text in ("out.csv", "modelwright.yaml", "scratch/../out.csv", "scratchy/out.csv"):
        with pytest.raises(Refused):
            writable(text, tmp_path)


def test_people_name_what_they_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [predict] = [one for one in OPERATIONS if one.name == "predict"]
    given = PredictArguments(model="shop", data=str(tmp_path / "t.csv"), out="../out.csv")
    check_paths(predict, given)
    with acting_as(AGENT), pytest.raises(Refused):
        check_paths(predict, given)


def test_init_may_write_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [init] = [one for one in OPERATIONS if one.name == "init"]
    with acting_as(AGENT):
        check_paths(init, InitArguments(data="t.csv", target="y"))
        with pytest.raises(Refused):
            check_paths(init, InitArguments(data="t.csv", target="y", out="other.yaml"))


def test_every_path_of_an_operation_is_listed() -> None:
    names = {"data", "out", "spec", "file", "model", "models", "run", "reference", "one", "two",
             "against", "rules"}  # fmt: skip
    plain = {"promote", "rollback", "traffic", "history", "audit", "approve"}
    for operation in OPERATIONS:
        if operation.name not in plain:
            listed = {*operation.reads, *operation.writes}
            assert names & set(operation.arguments.model_fields) <= listed, operation.name
        assert {*operation.reads, *operation.writes} <= set(operation.arguments.model_fields)


def test_the_same_holds_in_an_agents_shell(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "modelwright", "init", "/etc/passwd", "--target", "x"],
        cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "MODELWRIGHT_AGENT": "ada", "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "is absolute" in done.stderr
