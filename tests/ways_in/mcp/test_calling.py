"""Approvals, questions and what goes back, with a real project and the official client."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mcp import Client

from agents import MODES, Person, audited, call, structured, talk
from modelwright.core.errors import DataError
from modelwright.data import dataset

OLD = "20200101-000000-abcd"


@pytest.fixture
def garbage(project: Path) -> Path:
    """A project with a run that nothing refers to; the run's folder."""
    [run] = [path for path in (project / "runs").iterdir() if path.is_dir()]
    old = project / "runs" / OLD
    shutil.copytree(run, old)
    (old / "release.json").unlink()
    (old / ".lock").touch()
    return old


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("person", [None, Person("accept", approve=True)], ids=["none", "person"])
def test_a_request_waits_for_a_key(garbage: Path, mode: str, person: Person | None) -> None:
    found = call("gc", {"apply": True, "keep": 0}, mode=mode, person=person)
    assert (found["status"], found["request"], found["rule"]) == (
        "pending", "PR-1", "human_approval",
    )  # fmt: skip
    assert found["approve_with"].startswith("modelwright approve PR-1 --key")
    assert garbage.exists()
    if person:
        assert not person.asked  # a yes would not count
    again = call("gc", {"apply": True, "keep": 0}, mode=mode)
    assert again["request"] == "PR-1"
    shown = call("project_status", mode=mode)
    assert [one["request"] for one in shown["requests"]] == ["PR-1"]
    assert "PR-1" in shown["next_actions"][0]


@pytest.mark.parametrize("mode", MODES)
def test_a_yes_of_the_client_counts_where_the_policy_says_so(garbage: Path, mode: str) -> None:
    (garbage.parents[1] / "modelwright.policy.yaml").write_text("confirm: client\n")
    person = Person("accept", approve=True, reason="old")
    found = call("gc", {"apply": True, "keep": 0}, mode=mode, person=person)
    assert (found["status"], found["applied"], found["request"]) == ("done", True, "PR-1")
    assert not garbage.exists()
    assert len(person.asked) == 1
    first, who, *more, last = person.asked[0].split("\n")
    assert "PR-1" in first and who.endswith("Why: no reason was given") and last == "Do it?"
    assert more[0].startswith('Arguments: {"') and '"keep": 0' in more[0]
    assert more[1].startswith("Evidence: ") and "stands" not in more[1]
    kept = audited(garbage.parents[1])
    lines = [(line["action"], line.get("detail", {}).get("verdict", "")) for line in kept]
    asked = [("call", "asked")] if mode == "auto" else []  # in that era the question is an answer
    ended = [("approve", ""), ("gc", ""), ("applied", ""), ("call", "ok")]
    assert lines[-len(ended) - len(asked) :] == asked + ended


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "person",
    [Person("decline"), Person("cancel"), Person("accept", approve=False), None],
    ids=["decline", "cancel", "no", "none"],
)
def test_anything_but_a_yes_leaves_it_waiting(
    garbage: Path, mode: str, person: Person | None
) -> None:
    (garbage.parents[1] / "modelwright.policy.yaml").write_text("confirm: client\n")
    found = call("gc", {"apply": True, "keep": 0}, mode=mode, person=person)
    assert found["status"] == "pending"
    assert garbage.exists()


def test_never_is_a_refusal(garbage: Path) -> None:
    (garbage.parents[1] / "modelwright.policy.yaml").write_text("agents: {gc: never}\n")
    found = call("gc", {"apply": True, "keep": 0})
    assert (found["status"], found["rule"]) == ("refused", "human_approval")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("person", "decision"),
    [(Person("accept", fewer_columns=True), "fewer columns"), (Person("decline"), "stop")],
)
def test_too_little_memory_is_a_question(
    shop: Path, monkeypatch: pytest.MonkeyPatch, mode: str, person: Person, decision: str
) -> None:
    monkeypatch.chdir(shop)
    monkeypatch.setattr(dataset, "COPIES_IN_MEMORY", 1e12)
    found = call("check", mode=mode, person=person)
    assert (found["status"], found["rule"]) == ("refused", "memory_preflight")
    assert found["decision"] == decision
    assert ("data.drop" in found["next_actions"][0]) == (decision != "stop")
    without = call("check", mode=mode)
    assert "decision" not in without
    assert without["rule"] == "memory_preflight"
    assert DataError.__name__ == without["code"]


def test_a_fault_is_told_without_its_text(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    (shop / "modelwright.policy.yaml").mkdir()

    async def story(client: Client) -> None:
        found = structured(await client.call_tool("project_status"))
        assert found["status"] == "refused"
        assert str(shop) not in found["message"] or found["code"] == "SpecError"

    talk(story)
