"""A change that an agent asks for happens with a person's signature over exactly that change."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

import killed
from approving import AGENT, approver, request_of, stranger
from modelwright.core.errors import ApprovalNeeded, ArtefactError, Refused, UsageError
from modelwright.core.principal import Principal, acting_as
from modelwright.release import approver_keys
from modelwright.release.approvals import Requests, gate
from modelwright.release.audit import AuditLog
from modelwright.release.requests import Request, RequestFiles, as_text, now

ASKED: dict[str, Any] = {
    "model": "shop", "version": "2", "why": "better", "champion": "1",
    "evidence": {"verdict": "pass", "stands": {"digest": "abc"}},
}  # fmt: skip


def ask(folder: Path, **changes: Any) -> Request:
    """As an agent."""
    with acting_as(AGENT):
        arguments = {"model": "shop", "version": changes.get("version", "2")}
        return Requests(folder).ask("promote", arguments, **{**ASKED, **changes})


def pass_gate(folder: Path, id: str = "", **changes: Any) -> Request | None:
    """An agent at the gate, under an approval or not."""
    who = under(id)
    with acting_as(who):
        given = {**ASKED, **changes}
        arguments = {"model": "shop", "version": given["version"]}
        return gate(folder, "promote", arguments, **given)


def under(id: str) -> Principal:
    return Principal(AGENT.name, "agent", client=AGENT.client, approved=id)


def edit(folder: Path, id: str, **changes: Any) -> None:
    """By hand, past everything."""
    path = folder / ".modelwright" / "requests" / f"{id}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def must_not_hold(folder: Path, id: str, said: str) -> None:
    with pytest.raises(Refused, match=said) as error:
        Requests(folder).verified(id, champion="1")
    assert error.value.rule == "human_approval" and error.value.hint
    with pytest.raises(Refused):
        pass_gate(folder, id)


def test_an_agent_asks_once_and_a_person_just_does_it(tmp_path: Path) -> None:
    assert gate(tmp_path, "promote", {}, **ASKED) is None
    with pytest.raises(ApprovalNeeded, match="waits until") as error:
        pass_gate(tmp_path)
    refusal = error.value.refusal()
    assert request_of(error) == "PR-1" and refusal["rule"] == "human_approval"
    assert refusal["fix"] == "Approve with: modelwright approve PR-1"
    with pytest.raises(ApprovalNeeded) as error:
        pass_gate(tmp_path, why="said in other words")
    assert request_of(error) == "PR-1"
    with pytest.raises(ApprovalNeeded) as error:
        pass_gate(tmp_path, version="3")
    assert request_of(error) == "PR-2"
    assert [one.id for one in Requests(tmp_path).all()] == ["PR-1", "PR-2"]


def test_what_was_approved_passes_and_nothing_else(tmp_path: Path) -> None:
    key, id = approver(tmp_path), ask(tmp_path).id
    with pytest.raises(Refused, match="PR-1 is pending, not approved"):
        pass_gate(tmp_path, id)
    said = Requests(tmp_path).approve(id, key=key, reason="looked at it")
    assert (said.state, said.decided_by, said.reason) == ("approved", "ada", "looked at it")
    found = pass_gate(tmp_path, id)
    assert found is not None and found.id == id
    with pytest.raises(Refused, match="approved for something else: promote shop 2"):
        pass_gate(tmp_path, id, version="3")
    with pytest.raises(Refused, match="approved for something else"):
        pass_gate(tmp_path, id, evidence={"stands": {"digest": "another"}})
    with pytest.raises(Refused, match="the champion of shop was 1; now it is 4"):
        pass_gate(tmp_path, id, champion="4")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "3"), ("arguments", {"model": "shop", "version": "3"}), ("champion", "9"),
        ("expires", "2999-01-01T00:00:00Z"), ("reason", "other words"), ("by", "agent cy"),
        ("evidence", {"stands": {"digest": "abc"}}), ("signature", "00" * 64), ("signature", ""),
        ("signature", "no hex"), ("action", "rollback"), ("decided_at", "2030-01-01T00:00:00Z"),
    ],
)  # fmt: skip
def test_a_hand_edited_approval_does_not_hold(tmp_path: Path, field: str, value: object) -> None:
    key, id = approver(tmp_path), ask(tmp_path).id
    Requests(tmp_path).approve(id, key=key, reason="ok")
    edit(tmp_path, id, **{field: value})
    must_not_hold(tmp_path, id, "not signed by an approver, or was changed after")


def test_a_request_edited_before_the_approval_is_not_approved(tmp_path: Path) -> None:
    key, id = approver(tmp_path), ask(tmp_path).id
    edit(tmp_path, id, version="9")
    with pytest.raises(Refused, match="was changed after it was asked for"):
        Requests(tmp_path).approve(id, key=key, reason="ok")


def test_a_signature_of_another_request_does_not_hold(tmp_path: Path) -> None:
    key, one, two = approver(tmp_path), ask(tmp_path).id, ask(tmp_path, version="3").id
    said = Requests(tmp_path).approve(one, key=key, reason="ok")
    edit(
        tmp_path, two, state="approved", decided_by="ada", decided_at=said.decided_at,
        reason="ok", signature=said.signature,
    )  # fmt: skip
    must_not_hold(tmp_path, two, "not signed by an approver")
    path = tmp_path / ".modelwright" / "requests"
    (path / f"{two}.json").write_bytes((path / f"{one}.json").read_bytes())
    with pytest.raises(ArtefactError, match="holds 'PR-1': it was copied there by hand"):
        pass_gate(tmp_path, two)
    text = (path / f"{one}.json").read_text()
    (path / f"{two}.json").write_text(text.replace(one, two))
    must_not_hold(tmp_path, two, "not signed by an approver")
    with pytest.raises(Refused, match="approved for something else"):
        pass_gate(tmp_path, "pr-1")


def test_an_approver_taken_out_of_the_policy_file(tmp_path: Path) -> None:
    key, id = approver(tmp_path), ask(tmp_path).id
    Requests(tmp_path).approve(id, key=key, reason="ok")
    policy = tmp_path / "modelwright.policy.yaml"
    before = policy.read_text()
    policy.write_text("approvers: {}\n")
    must_not_hold(tmp_path, id, "'ada', who approved PR-1, is no approver")
    policy.write_text("approvers: {ada: 'ed25519:AAAA'}\n")
    must_not_hold(tmp_path, id, "is no Ed25519 public key")
    policy.write_text(before)
    assert Requests(tmp_path).verified(id, champion="1")


def test_who_may_not_approve(tmp_path: Path) -> None:
    key, id = approver(tmp_path, "bo"), ask(tmp_path).id
    kept = Requests(tmp_path)
    with pytest.raises(Refused, match=r"This key is no approver's: .* knows the keys of bo"):
        kept.approve(id, key=stranger(tmp_path), reason="ok")
    with acting_as(AGENT):
        with pytest.raises(Refused, match="agent bo is an agent: only a person can approve"):
            kept.approve(id, key=key, reason="ok")
        with pytest.raises(Refused, match="only a person can reject"):
            kept.reject(id, reason="no")
    with acting_as(Principal("Bo", "agent")):
        own = kept.ask("rollback", {"model": "shop"}, **ASKED)
    with pytest.raises(Refused, match="bo asked for PR-2, so bo cannot approve it"):
        kept.approve(own.id, key=key, reason="ok")
    assert [one.state for one in kept.all()] == ["pending", "pending"]


def test_rejected_ones_stay_rejected(tmp_path: Path) -> None:
    key, id = approver(tmp_path), ask(tmp_path).id
    kept = Requests(tmp_path)
    assert kept.reject(id, reason="not now").state == "rejected"
    with pytest.raises(Refused, match="PR-1 is rejected already"):
        kept.approve(id, key=key, reason="ok")
    with pytest.raises(Refused, match="PR-1 is rejected already"):
        kept.reject(id, reason="again")
    must_not_hold(tmp_path, id, "PR-1 is rejected, not approved")
    assert ask(tmp_path).id == "PR-2"


def test_an_expired_request_is_neither_approved_nor_carried_out(tmp_path: Path) -> None:
    key, files = approver(tmp_path), RequestFiles(tmp_path)
    past = as_text(now() - dt.timedelta(hours=1))
    late = msgspec.structs.replace(ask(tmp_path), expires=past)
    files.write(late)
    with pytest.raises(Refused, match="PR-1 is expired already"):
        Requests(tmp_path).approve("PR-1", key=key, reason="ok")
    signed = late.decided("approved", "ada", "ok")
    signature = approver_keys.sign(approver_keys.load(key), signed.words())
    files.write(msgspec.structs.replace(signed, signature=signature))
    must_not_hold(tmp_path, "PR-1", "PR-1 is expired, not approved")
    assert ask(tmp_path).id == "PR-2"


def test_a_clients_yes_counts_only_where_the_policy_says_so(tmp_path: Path) -> None:
    kept, id = Requests(tmp_path), ask(tmp_path).id
    with acting_as(AGENT), pytest.raises(Refused, match="A yes in tester does not approve PR-1"):
        kept.confirmed_by_client(id, client="tester", reason="yes")
    policy = tmp_path / "modelwright.policy.yaml"
    policy.write_text("confirm: client\n")
    with acting_as(AGENT):
        said = kept.confirmed_by_client(id, client="tester", reason="yes")
    assert (said.state, said.signature) == ("approved", "")
    assert kept.verified(id, champion="1").decided_by == "whoever uses tester"
    edit(tmp_path, id, version="3")
    must_not_hold(tmp_path, id, "not signed by an approver")
    edit(tmp_path, id, version="2")
    policy.write_text("confirm: key\n")
    must_not_hold(tmp_path, id, "not signed by an approver")
    other = ask(tmp_path, version="3").id
    policy.write_text("confirm: client\n")
    edit(tmp_path, other, state="approved", decided_by="whoever uses tester")
    must_not_hold(tmp_path, other, "not signed by an approver")


def test_what_the_policy_says_of_agents(tmp_path: Path) -> None:
    policy = tmp_path / "modelwright.policy.yaml"
    policy.write_text("agents: {promote: allow}\n")
    assert pass_gate(tmp_path) is None
    policy.write_text("agents: {promote: never}\n")
    with pytest.raises(Refused, match=r"Agents may not promote here.*says never") as error:
        pass_gate(tmp_path)
    assert not isinstance(error.value, ApprovalNeeded) and error.value.rule == "human_approval"
    policy.write_text("agents: {promote: never}\nrules: {human_approval: 'off'}\n")
    with pytest.raises(Refused):
        pass_gate(tmp_path)
    policy.write_text("rules: {human_approval: 'off'}\n")
    assert pass_gate(tmp_path) is None
    policy.write_text("agents: {promote: allow}\nrules: {human_approval: everyone}\n")
    with acting_as(Principal("cy")), pytest.raises(ApprovalNeeded) as asked:
        gate(tmp_path, "promote", {}, **ASKED)
    assert Requests(tmp_path).find(request_of(asked)).kind == "person"


def test_an_applied_request_is_not_applied_again(tmp_path: Path) -> None:
    key, id = approver(tmp_path), ask(tmp_path).id
    kept = Requests(tmp_path)
    kept.approve(id, key=key, reason="ok")
    assert kept.applied(id, "done").state == "applied"
    must_not_hold(tmp_path, id, "PR-1 is applied, not approved")
    edit(tmp_path, id, state="approved", outcome="")
    must_not_hold(tmp_path, id, "PR-1 was carried out already")
    assert kept.settle(id).state == "applied"


def test_ids_and_damage(tmp_path: Path) -> None:
    kept = Requests(tmp_path)
    assert kept.all() == []
    for id in ("PR-9", "../../etc/passwd", "", "PR-0", "PR-1.json", "x" * 5000):
        with pytest.raises(UsageError, match="There is no request"):
            kept.find(id)
    ask(tmp_path)
    assert kept.find("pr-1").id == kept.find("1").id == "PR-1"
    (tmp_path / ".modelwright" / "requests" / "PR-1.json").unlink()
    assert ask(tmp_path).id == "PR-2"  # an id is never used twice


def test_every_step_is_in_the_audit(tmp_path: Path) -> None:
    key, id = approver(tmp_path), ask(tmp_path).id
    kept, log = Requests(tmp_path), AuditLog(tmp_path)
    kept.approve(id, key=key, reason="ok")
    kept.applied(id, "done")
    kept.reject(ask(tmp_path, version="3").id, reason="no")
    assert [(e.action, e.version, e.detail["request"]) for e in log.entries()] == [
        ("request", "2", "PR-1"), ("approve", "2", "PR-1"), ("applied", "2", "PR-1"),
        ("request", "3", "PR-2"), ("reject", "3", "PR-2"),
    ]  # fmt: skip
    assert log.entries()[0].detail["client"] == "tester 1.0"
    assert log.entries()[1].detail["decided_by"] == "ada"
    assert log.lines() == [] and log.broken_at() is None


def ask_one(folder: Path) -> object:
    return ask(folder)


def approve_one(folder: Path) -> object:
    key = folder.parent / "keys of start" / "approver-ada.pem"
    return Requests(folder).approve("PR-1", key=key, reason="ok")


@pytest.mark.slow
def test_asking_and_approving_killed_at_every_step(tmp_path: Path) -> None:
    start = tmp_path / "start"
    start.mkdir()
    approver(start)
    for step in range(1, 40):
        folder = killed.copied(start, tmp_path / f"ask{step}")
        died = killed.killed_at(step, ask_one, folder)
        found = ask(folder)
        assert [one.id for one in Requests(folder).all()] == [found.id], died
        assert AuditLog(folder).broken_at() is None, died
        if not died:
            break
    assert step > 4
    for step in range(1, 40):
        copy = killed.copied(folder, tmp_path / f"approve{step}")
        died = killed.killed_at(step, approve_one, copy)
        found = Requests(copy).find("PR-1")
        if found.state == "pending":
            approve_one(copy)
        assert Requests(copy).verified("PR-1", champion="1").decided_by == "ada", died
        assert AuditLog(copy).broken_at() is None, died
        if not died:
            break
    assert step > 4


def test_eight_askers_at_once_have_eight_numbers(tmp_path: Path) -> None:
    codes = killed.together(ask_version, [(tmp_path, str(n)) for n in range(2, 10)])
    assert codes == [0] * 8
    assert sorted(one.version for one in Requests(tmp_path).all()) == [str(n) for n in range(2, 10)]
    assert AuditLog(tmp_path).broken_at() is None


def ask_version(folder: Path, version: str) -> None:
    ask(folder, version=version)
