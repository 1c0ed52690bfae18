"""What agents ask for and people approve: requests, signed by an approver's key.

A request says in full what is to be done. Whoever approves it signs all of that with a key whose
public half stands in `modelwright.policy.yaml`; the operation itself looks at the signature before
it changes anything, so no door goes round it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from modelwright.core.errors import ApprovalNeeded, Refused
from modelwright.core.policy import FILE as POLICY
from modelwright.core.policy import Answer, read_policy
from modelwright.core.principal import acting
from modelwright.core.store import sha256
from modelwright.release.audit import AuditLog
from modelwright.release.carried_out import CarriedOut
from modelwright.release.requests import RULE, STANDS, Request, as_text, now

VALID = dt.timedelta(hours=24)
"""How long a request can be approved and carried out."""


class Requests(CarriedOut):
    """The requests of a project, and what people say to them.

    Example:
        waiting = [one for one in Requests(Path(".")).all() if one.state == "pending"]
    """

    def ask(
        self,
        action: str,
        arguments: Mapping[str, Any],
        *,
        model: str,
        version: str,
        why: str,
        champion: str,
        evidence: Mapping[str, Any],
    ) -> Request:
        """Write a request down; the same open one again gives the one that waits.

        Args:
            action: name of the operation.
            arguments: of the operation, without project and why.
            model, version, champion: see `Request`.
            why: the reason.
            evidence: what the decision can rest on.
        """
        at, who = now(), acting()
        with self.locked():
            new = Request(
                self.next_id(), action, _plain(arguments), model, version, who.name, who.client,
                why, as_text(at), as_text(at + VALID), champion, _plain(evidence), who.kind,
            )  # fmt: skip
            for one in self.all():
                if one.is_open and one.asks == new.asks:
                    return one
            self._say("request", new, why)
            self.write(new)
            return new

    def approve(self, id: str, *, key: Path | None = None, reason: str) -> Request:
        """Say yes, with an approver's key.

        Args:
            id: such as PR-7.
            key: file of the private key; default the one that MODELWRIGHT_APPROVER_KEY names.
            reason: for the audit.

        Raises:
            Refused: by an agent, by whoever asked, with a key that the policy file does not know,
                or the request is decided or expired.
            UsageError: no such request or key.
            MissingExtra: the cryptography package is not installed.
        """
        from modelwright.release import approver_keys

        _must_be_a_person("approve")
        self._as_asked(id)  # before a passphrase is asked for
        secret = approver_keys.load(key)
        name = approver_keys.name_of(secret, read_policy(self.folder).approvers)
        with self.locked():
            found = self._as_asked(id)
            _must_be_another(name, found)
            said = found.decided("approved", name, reason)
            signature = approver_keys.sign(secret, said.words())
            return self._decide("approve", msgspec.structs.replace(said, signature=signature))

    def confirmed_by_client(self, id: str, *, client: str, reason: str) -> Request:
        """Take the yes of whoever answered the question that an agent's program asked.

        Args:
            id: such as PR-7.
            client: program and version that asked.
            reason: the answer.

        Raises:
            Refused: the policy file does not say `confirm: client`, or as for `approve`.
        """
        with self.locked():
            found = self._as_asked(id)
            if read_policy(self.folder).confirm != "client":
                raise found.refused(
                    f"A yes in {client or 'a program'} does not approve {found.id} here.",
                    f"A person approves it: modelwright approve {found.id} --key FILE; or the "
                    f"policy file says confirm: client ({POLICY}).",
                )
            said = found.decided("approved", f"whoever uses {client or 'the program'}", reason)
            return self._decide("approve", said)

    def reject(self, id: str, *, reason: str) -> Request:
        """Say no.

        Raises:
            Refused: by an agent, or the request is decided or expired.
        """
        _must_be_a_person("reject")
        with self.locked():
            said = self._pending(id).decided("rejected", acting().name, reason)
            return self._decide("reject", said)

    def verified(self, id: str, *, champion: str | None = None) -> Request:
        """An approved request that may be carried out now.

        Args:
            champion: who is champion now; looked up where it is not said.

        Raises:
            Refused: not approved, changed since, signed by nobody known, expired, carried out
                already, or another version became champion since it was asked.
        """
        found = self.find(id)
        if found.state != "approved":
            raise found.refused(f"{found.id} is {found.state}, not approved.", found.next_step)
        self._must_be_said(found)
        if self.begun(found.id) and not self.going_on(found.id):
            raise found.refused(
                f"{found.id} was carried out already.", "Ask again if it is still wanted."
            )
        if champion is None:
            from modelwright.release import approved

            champion = approved.champion_of(self.folder, found.model)
        if champion != found.champion:
            raise found.refused(
                f"When {found.id} was asked for, the champion of {found.model} was "
                f"{found.champion or 'none'}; now it is {champion or 'none'}.",
                "Ask again, so that the approver sees what it replaces.",
            )
        return found

    def _pending(self, id: str) -> Request:
        found = self.find(id)
        if found.state != "pending":
            raise found.refused(f"{found.id} is {found.state} already.", found.next_step)
        return found

    def _as_asked(self, id: str) -> Request:
        """A request that waits, and that nobody changed since it was asked."""
        found = self._pending(id)
        lines = [e for e in AuditLog(self.folder).entries() if e.action == "request"]
        if not any(e.detail.get("words") == sha256(found.words()) for e in lines):
            raise found.refused(
                f"{found.id} was changed after it was asked for: the audit knows another text.",
                f"modelwright reject {found.id} --why TEXT, and ask again.",
            )
        return found

    def _decide(self, action: str, said: Request) -> Request:
        """Write a decision down, the line of the audit first; the lock is held."""
        self._say(action, said, said.reason)
        self.write(said)
        return said

    def _must_be_said(self, found: Request) -> None:
        """An approver that the policy file knows has signed it; or a client's yes counts, and the
        audit has it."""
        policy = read_policy(self.folder)
        if found.signature:
            from modelwright.release import approver_keys

            _must_be_another(found.decided_by, found)
            public = policy.approvers.get(found.decided_by)
            if public is None:
                raise found.refused(
                    f"{found.decided_by[:40]!r}, who approved {found.id}, is no approver.",
                    f"An approver is added by: modelwright keys approver ({POLICY}).",
                )
            if approver_keys.is_signed(public, found.decided_by, found.words(), found.signature):
                return
        elif policy.confirm == "client":
            words = sha256(found.words())
            for line in AuditLog(self.folder).entries():
                if line.action == "approve" and line.detail.get("words") == words:
                    return
        raise found.refused(
            f"{found.id} is not signed by an approver, or was changed after it was approved.",
            "Ask again, and have that approved.",
        )


def gate(
    folder: Path,
    action: str,
    arguments: Mapping[str, Any],
    *,
    model: str,
    version: str,
    why: str,
    champion: str,
    evidence: Mapping[str, Any],
) -> Request | None:
    """Let whoever acts go on, or say what has to happen first.

    Called by each operation that changes production, under the lock of changes, when it knows what
    it would do and nothing was changed yet.

    Args:
        folder: of the project.
        action: name of the operation.
        arguments: of the operation, without project and why, everything resolved.
        model, version, champion: whose production, to which version, who is champion now.
        why: the reason.
        evidence: what a decision can rest on; what is under `stands` must not change meanwhile.

    Returns:
        The request that allows it, where one was needed.

    Raises:
        ApprovalNeeded: a person has to approve it; the request that now waits is in the evidence.
        Refused: agents may never do it, or the approval does not hold.
    """
    if not needs_approval(folder, action):
        return None
    who, requests = acting(), Requests(folder)
    if who.approved:
        found = requests.verified(who.approved, champion=champion)
        wanted = (action, _plain(arguments), model, version, _plain(evidence).get(STANDS))
        asked = found.action, found.arguments, found.model, found.version
        same = (*asked, found.evidence.get(STANDS)) == wanted
        if not same or found.id != who.approved:
            raise found.refused(
                f"{found.id} was approved for something else: {found.in_words}.",
                "Ask again for what is wanted now.",
            )
        return found
    waiting = requests.ask(
        action, arguments, model=model, version=version, why=why, champion=champion,
        evidence=evidence,
    )  # fmt: skip
    told = f"needs a person's approval: {waiting.id} waits until {waiting.expires}"
    if waiting.state == "approved":
        told = f"was approved as {waiting.id}, and goes on or was cut off"
    raise ApprovalNeeded(
        f"{waiting.in_words} {told}.",
        hint=f"Approve with: modelwright approve {waiting.id}"
        if waiting.state == "pending" else waiting.next_step,
        rule=RULE,
        evidence={"request": waiting.id, "action": action, "state": waiting.state,
                  "expires": waiting.expires},
    )  # fmt: skip


def waits_for_a_person(folder: Path, action: str) -> bool:
    """Whether whoever acts now is an agent that may not do it alone."""
    policy = read_policy(folder)
    answer: Answer = getattr(policy.agents, action)
    alone = answer == "allow" or (answer == "ask" and not policy.binds(RULE))
    return acting().is_agent and not alone


def needs_approval(folder: Path, action: str) -> bool:
    """Whether whoever acts now needs a person's approval.

    Raises:
        Refused: agents may never do it here.
    """
    policy, agent = read_policy(folder), acting().is_agent
    answer: Answer = getattr(policy.agents, action)
    if agent and answer == "never":
        raise Refused(
            f"Agents may not {action} here: {POLICY} says never.",
            hint="A person has to do it.",
            rule=RULE,
            evidence={"action": action, "policy": answer},
        )
    return policy.binds(RULE) and not (agent and answer == "allow")


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """As it comes back from a file."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dict(given)))
    return found


def _must_be_a_person(doing: str) -> None:
    who = acting()
    if who.is_agent:
        raise Refused(
            f"{who.name} is an agent: only a person can {doing} a request.",
            hint=f"A person runs: modelwright {doing} ID",
            rule=RULE,
            evidence={"agent": who.name},
        )


def _must_be_another(name: str, found: Request) -> None:
    if name.strip().casefold() == found.by.strip().casefold():
        raise found.refused(
            f"{name} asked for {found.id}, so {name} cannot approve it.",
            "Another approver has to: see approvers in the policy file.",
        )
