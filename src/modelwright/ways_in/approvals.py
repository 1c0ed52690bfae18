"""The operations `requests`, `approve` and `reject`: what agents ask for, and people's answers."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

import modelwright as mw
from modelwright.core.errors import ModelwrightError, UsageError
from modelwright.core.policy import FILE as POLICY
from modelwright.core.principal import Principal, acting, acting_as
from modelwright.core.progress import Progress
from modelwright.ways_in import arguments, results
from modelwright.ways_in.operations import OPERATIONS
from modelwright.ways_in.results_requests import ApproveResult, RequestLine, RequestsResult


def requests(given: arguments.RequestsArguments, progress: Progress) -> RequestsResult:
    """Those that are open, or one with its evidence."""
    progress.stage("requests", given.project)
    kept = mw.Requests(Path(given.project))
    if given.id is not None:
        found = kept.looked_at(given.id)
        return RequestsResult(one=True, requests=[request_line(found, whole=True)])
    every = [kept.looked_at(one.id) for one in kept.all()]
    shown = [one for one in every if given.all or one.is_open]
    return RequestsResult(one=False, requests=[request_line(one) for one in shown])


def approve(given: arguments.ApproveArguments, progress: Progress) -> ApproveResult:
    """Approve a request, then do what it asks for; one that was approved and cut off goes on."""
    kept = mw.Requests(Path(given.project))
    found = kept.looked_at(given.id)
    if found.state != "approved" or acting().is_agent:
        key = Path(given.key).expanduser() if given.key else None
        found = kept.approve(given.id, key=key, reason=given.why)
    return carry_out(found.id, Path(given.project), progress)


def reject(given: arguments.RejectArguments, progress: Progress) -> RequestsResult:
    """Say no."""
    progress.stage("reject", given.id)
    if not given.why.strip():
        raise UsageError("Whoever asked wants to know why not.", hint="Give it with --why.")
    found = mw.Requests(Path(given.project)).reject(given.id, reason=given.why)
    return RequestsResult(one=True, requests=[request_line(found, whole=True)])


def carry_out(id: str, project: Path, progress: Progress) -> ApproveResult:
    """Do what an approved request asks for, once, as whoever asked for it.

    Args:
        id: such as PR-7.
        project: its folder.
        progress: told how far it is.

    Raises:
        Refused: the approval does not hold; the request has failed then.
        UsageError: another process does it now.
        ModelwrightError: what the operation said; the request has failed then, unless production
            was changed already, or another writer or MLflow was in the way: then the same command
            ends it.
    """
    kept = mw.Requests(project)
    with kept.carrying_out(id):
        found = kept.settle(id)  # a kill may have cut it off
        if found.state in ("applied", "failed"):
            return ApproveResult(request=request_line(found))
        who = Principal(found.by, found.kind, client=found.client, approved=found.id)
        try:
            with acting_as(who):
                result = _perform(found, project, progress)
        except ModelwrightError as error:
            kept.broke_off(found.id, error)
            raise
        done = kept.applied(found.id, f"{found.in_words}: done")
    return ApproveResult(request=request_line(done), result=result.model_dump(mode="json"))


def new_approver(given: arguments.KeysArguments) -> results.KeysResult:
    """Write an approver's key pair, and add its public half to the policy file."""
    if not given.name:
        raise UsageError("An approver has a name.", hint="Give it with --name.")
    project = Path(given.project)
    private, public, key = mw.new_approver(
        Path(given.folder).expanduser(), given.name, project=project,
        passphrase=not given.no_passphrase,
    )  # fmt: skip
    return results.KeysResult(
        private=str(private), public=str(public), key=key, approver=given.name,
        policy=str(project / POLICY),
    )  # fmt: skip


def request_line(found: mw.Request, *, whole: bool = False) -> RequestLine:
    """A request as every door shows it."""
    return RequestLine(
        id=found.id, state=found.state, action=found.action, arguments=found.arguments,
        model=found.model, version=found.version, champion=found.champion, by=found.by,
        client=found.client, why=found.why, at=found.at, expires=found.expires,
        decided_by=found.decided_by, decided_at=found.decided_at, reason=found.reason,
        outcome=found.outcome, next=found.next_step, evidence=found.evidence if whole else {},
    )  # fmt: skip


def _perform(found: mw.Request, project: Path, progress: Progress) -> BaseModel:
    operation = next((one for one in OPERATIONS if one.name == found.action), None)
    if operation is None:
        raise UsageError(f"{found.id} asks for {found.action[:40]!r}, which is no operation.")
    fields = operation.arguments.model_fields
    given: dict[str, Any] = dict(found.arguments)
    if "project" in fields:
        given["project"] = str(project)
    if "spec" in fields:
        given["spec"] = str(project / given.get("spec", "modelwright.yaml"))
    if "why" in fields:
        given["why"] = found.why
    try:
        checked = operation.arguments.model_validate(given)
    except ValidationError as error:
        said = "; ".join(arguments.misfits(error))
        raise UsageError(f"{found.id} has arguments that do not fit: {said}.") from error
    module, _, name = operation.action.partition(":")
    result: BaseModel = getattr(importlib.import_module(module), name)(checked, progress)
    return result
