"""One call of a tool: who calls, what is refused, who is asked, what goes back, what is kept."""

from __future__ import annotations

import os
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import msgspec
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import AcceptedElicitation, Context
from mcp_types import CallToolResult, InputRequiredResult, TextContent
from pydantic import BaseModel, ValidationError

import modelwright as mw
from modelwright.core.budget import count_call
from modelwright.core.errors import ApprovalNeeded, ModelwrightError, UsageError
from modelwright.core.policy import read_policy
from modelwright.core.principal import AGENT, Principal, acting, acting_as
from modelwright.core.progress import Silent
from modelwright.core.store import sha256
from modelwright.ways_in import approvals, jobs
from modelwright.ways_in.arguments import misfits
from modelwright.ways_in.job_actions import ask_first
from modelwright.ways_in.mcp.next_actions import next_actions, what_now
from modelwright.ways_in.mcp.offers import Offer, as_operation_takes, is_long
from modelwright.ways_in.mcp.paging import Pages
from modelwright.ways_in.mcp.questions import Approve, GoOn, approval_question, ask, can_ask
from modelwright.ways_in.mcp.untrusted import clean, fenced
from modelwright.ways_in.paths import check_paths

Result = TypeVar("Result")
Json = dict[str, Any]
HERE = Path()
"""The server works in the project's folder."""
LONGEST_TEXT = 4_000


class Desk:
    """What one server keeps between calls."""

    def __init__(self, name: str | None = None) -> None:
        self._name = name or os.environ.get(AGENT)
        self.pages = Pages()
        self.open_calls = 0

    def principal(self, context: Context[Any, Any] | ServerRequestContext[Any, Any]) -> Principal:
        """Who calls: as the server was told, else as the client's program calls itself."""
        told = context.session.client_params
        program = told.client_info if told else None
        client = clean(f"{program.name} {program.version}".strip(), 100) if program else ""
        name = self._name or (clean(program.name, 60) if program else "") or "unnamed"
        return Principal(f"agent {name}", "agent", client=client)

    async def call(
        self, offer: Offer, arguments: Json, context: Context[Any, Any]
    ) -> CallToolResult | InputRequiredResult:
        """Answer a call; every way it can end is kept in the audit."""
        principal, began = self.principal(context), time.perf_counter()
        made: Json | InputRequiredResult | None = None
        self.open_calls += 1
        with acting_as(principal):
            try:
                made = await self._answer(offer, arguments, context)
            finally:  # also of a call that its client took back
                milliseconds = (time.perf_counter() - began) * 1000
                with anyio.CancelScope(shield=True):
                    await in_thread(_keep, offer.name, arguments, _kept_of(made), milliseconds)
                self.open_calls -= 1
        return made if isinstance(made, InputRequiredResult) else _as_result(made)

    async def _answer(
        self, offer: Offer, arguments: Json, context: Context[Any, Any]
    ) -> Json | InputRequiredResult:
        try:
            await in_thread(_count)
            given = _checked(offer, arguments)
            cursor = str(getattr(given, "cursor", "") or "")
            if cursor and offer.name != "job_log":
                return self.pages.next(offer.name, acting().name, cursor)
            made = await self._do(offer, given, context)
        except ModelwrightError as error:
            made = _refused(error)
        # the boundary of a call, whose fault must not end the server: the agent is told, the audit
        # keeps it, and the traceback goes to a file that the answer names
        except Exception as error:  # noqa: BLE001  _fault() writes it down and tells the agent
            made = _fault(offer, error)
        if isinstance(made, InputRequiredResult):
            return made
        return self.pages.first(offer.name, acting().name, fenced(made))

    async def _do(
        self, offer: Offer, given: BaseModel, context: Context[Any, Any]
    ) -> Json | InputRequiredResult:
        try:
            return await _carried_out(offer, given, context)
        except ApprovalNeeded as needed:
            return await _approval(offer, context, needed)
        except ModelwrightError as error:
            if error.rule != "memory_preflight" or not can_ask(context):
                raise
            return await about_memory(context, _refused(error))


async def in_thread(work: Callable[..., Result], *given: Any, leave: bool = False) -> Result:
    """Do blocking work beside the event loop, as whoever acts now.

    Args:
        leave: whether a call that is taken back lets the work go on unseen.
    """
    return await anyio.to_thread.run_sync(work, *given, abandon_on_cancel=leave)


async def about_memory(context: Context[Any, Any], refusal: Json) -> Json | InputRequiredResult:
    """Ask a person what to do where memory does not suffice; the refusal with the answer."""
    asked = f"{clean(refusal['message'])} Go on with fewer columns, or stop?"
    answer = await ask(context, asked, GoOn)
    if isinstance(answer, InputRequiredResult):
        return answer
    fewer = isinstance(answer, AcceptedElicitation) and answer.data.fewer_columns
    actions = ["Stop here: a person said so."]
    if fewer:
        actions = [
            "A person wants to go on with fewer columns: name what is not needed in data.drop with "
            "spec_write, then begin again.",
            "If that is not enough, ask the person for a smaller file in the project, which "
            "spec_write names as data.source, or to raise budget.memory in the policy file.",
        ]
    return refusal | {"decision": "fewer columns" if fewer else "stop", "next_actions": actions}


async def _carried_out(
    offer: Offer, given: BaseModel, context: Context[Any, Any]
) -> Json | InputRequiredResult:
    if offer.direct is not None:
        found = await offer.direct(given, context)
    elif offer.operation is not None and await in_thread(_is_job, offer, given):
        return await in_thread(_begun, offer, given)
    else:
        assert offer.act is not None
        found = await in_thread(offer.act, given, Silent(), leave=offer.changes_nothing)
    if isinstance(found, (dict, InputRequiredResult)):
        return found
    made: Json = found.model_dump(mode="json")
    actions = made.get("next_actions") or next_actions(offer.name, made)
    return {"status": "done"} | made | {"next_actions": actions}


def _is_job(offer: Offer, given: BaseModel) -> bool:
    """Whether it takes minutes; paths are looked at once they are known to be allowed."""
    assert offer.operation is not None
    check_paths(offer.operation, as_operation_takes(offer.operation, given))
    return is_long(offer.operation, given)


def _begun(offer: Offer, given: BaseModel) -> Json:
    """A job for what takes minutes, unless a person has to approve it first."""
    assert offer.operation is not None
    wanted = as_operation_takes(offer.operation, given)
    ask_first(offer.name, wanted)
    return _started(offer, wanted.model_dump(mode="json", exclude_defaults=True))


def _started(offer: Offer, arguments: Json) -> Json:
    job = jobs.start(HERE, offer.name, arguments)
    return {
        "status": "started",
        "job_id": job.id,
        "next_actions": [f"job_wait with job_id {job.id}, until its state is not running."],
    }


async def _approval(
    offer: Offer, context: Context[Any, Any], needed: ApprovalNeeded
) -> Json | InputRequiredResult:
    """What waits for a person; or, where the policy lets a client's yes count, that yes."""
    request = str(needed.evidence.get("request", ""))
    policy = await in_thread(read_policy, HERE)
    if policy.confirm != "client" or not can_ask(context):
        return pending(needed.refusal())
    asked = await in_thread(mw.Requests(HERE).find, request)
    answer = await ask(context, approval_question(needed.message, asked), Approve)
    if isinstance(answer, InputRequiredResult):
        return answer
    if not isinstance(answer, AcceptedElicitation) or not answer.data.approve:
        told = pending(needed.refusal())
        return told | {"decision": "no"}
    if needed.evidence.get("state") != "approved":  # else it was, and was cut off
        reason = clean(answer.data.reason, 200) or "yes"
        await in_thread(_confirm, request, acting().client, reason)
    return await in_thread(_approved, offer, request)


def _confirm(request: str, client: str, reason: str) -> None:
    mw.Requests(HERE).confirmed_by_client(request, client=client, reason=reason)


def _approved(offer: Offer, request: str) -> Json:
    """Carry out what was approved; a job does what takes minutes."""
    if offer.operation is not None and offer.operation.long:
        asked = offer.operation.arguments.model_validate(mw.Requests(HERE).find(request).arguments)
        given = asked.model_dump(mode="json", exclude_defaults=True)
        with acting_as(replace(acting(), approved=request)):
            return _started(offer, given) | {"request": request}
    found = approvals.carry_out(request, HERE, Silent())
    made: Json = found.result or {}
    more = {"request": request, "next_actions": next_actions(offer.name, made)}
    return {"status": "done"} | made | more


def pending(refusal: Json) -> Json:
    """A request that waits for a person, from the refusal that told of it."""
    request = str(refusal.get("evidence", {}).get("request", ""))
    return {
        "status": "pending",
        "request": request,
        "approve_with": f"modelwright approve {request} --key FILE",
        "message": refusal["message"],
        "rule": refusal["rule"],
        "next_actions": [
            f"Tell the person that {request} waits for an approval; do not ask again.",
            "Look with requests or project_status whether it was decided.",
        ],
    }


def _checked(offer: Offer, arguments: Json) -> BaseModel:
    try:
        return offer.arguments.model_validate(arguments)
    except ValidationError as error:
        problems = misfits(error)
        names = ", ".join(offer.arguments.model_fields)
        beside = "overrides" in arguments
        raise UsageError(
            f"Arguments of {offer.name} that do not fit: {'; '.join(problems[:10])}.",
            hint=f"It takes: {names}."
            + (" Settings of a run stand in the spec: spec_write." if beside else ""),
            rule="spec_only_hparams" if beside else "",
        ) from error


def _count() -> None:
    """An agent's budget of calls."""
    count_call(HERE, read_policy(HERE))


def _refused(error: ModelwrightError) -> Json:
    found = error.refusal()
    return {"status": "refused"} | found | {"next_actions": what_now(found)}


def _fault(offer: Offer, error: Exception) -> Json:
    with tempfile.NamedTemporaryFile(
        "w", prefix="modelwright-", suffix=".log", delete=False, encoding="utf-8"
    ) as log:
        traceback.print_exception(error, file=log)
    told = ModelwrightError(
        f"{offer.name} met a fault of its own: {type(error).__name__}.",
        hint=f"A person finds the traceback in {log.name}.",
    )
    return _refused(told) | {"code": "fault"}


def _kept_of(made: Json | InputRequiredResult | None) -> Json:
    """What the audit keeps of an answer, a question to a person, or none."""
    if isinstance(made, InputRequiredResult):
        return {"status": "asked", "question": made.model_dump(mode="json")}
    return {"status": "taken back"} if made is None else made


def _keep(tool: str, arguments: Json, made: Json, milliseconds: float) -> None:
    """A line of the audit."""
    who = acting()
    verdict = str(made.get("status", "done"))
    if verdict == "refused":
        verdict = str(made.get("rule") or made.get("code"))
    mw.AuditLog(HERE).call(
        who.name, who.client, tool, arguments, "ok" if verdict == "done" else verdict,
        sha256(msgspec.json.encode(made)), milliseconds,
    )  # fmt: skip


def _as_result(made: Json) -> CallToolResult:
    """The same as structure and as text: many clients give one of them to the model, and which one
    cannot be told. A refusal's text is its words."""
    refused = made.get("status") == "refused"
    text = msgspec.json.encode(made).decode()
    if refused:
        told = [str(made.get("message", "")), *map(str, made.get("problems") or ())]
        lines = [line for n, line in enumerate(told) if line and line not in told[:n]]
        text = "\n".join([*lines, str(made.get("fix", ""))]).strip()[:LONGEST_TEXT]
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=made, is_error=refused
    )
