"""A name that cannot be written is the caller's mistake, and no fault of ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents import call
from modelwright.ways_in.cli import perform
from modelwright.ways_in.operations import OPERATIONS

OPERATION = {one.name: one for one in OPERATIONS}
NAMES = ["", ".", "folder", "/proc/x", "shop.csv/x"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("operation", "given", "option"),
    [
        ("dashboard", {"model": "shop"}, "out"),
        ("dashboard", {"model": "shop", "out": "d.json"}, "rules"),
        ("client", {"model": "shop"}, "out"),
        ("predict", {"model": "shop", "data": "shop.csv"}, "out"),
        ("init", {"data": "shop.csv", "target": "bought", "force": True}, "out"),
        ("keys", {"what": "new"}, "folder"),
    ],
)  # fmt: skip
def test_it_is_said_which_argument_is_wrong(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    operation: str,
    given: dict[str, object],
    option: str,
    name: str,
) -> None:
    (project / "folder").mkdir()
    code = perform(OPERATION[operation], {**given, option: name}, as_json=True)
    told = json.loads(capsys.readouterr().out)
    if code:
        assert (code, told["error"]["kind"]) != (3, "fault"), told
        assert code == 2, told
    else:  # a folder is what these write to, and no rules were asked for
        assert operation in ("client", "keys") or (option, name) == ("rules", "")


def test_an_agent_is_told_too(project: Path) -> None:
    found = call("dashboard", {"model": "shop", "out": ""})
    assert (found["status"], found["code"]) == ("refused", "UsageError")
