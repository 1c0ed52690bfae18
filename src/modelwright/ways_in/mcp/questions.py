"""Questions to the person in front of the client, in both eras of the protocol."""

from __future__ import annotations

import json
from types import GenericAlias
from typing import Any, TypeVar

from mcp.server.mcpserver import Context, Elicit, ElicitationResult, Resolve
from mcp.server.mcpserver.resolve import build_resolver_plans, resolve_arguments
from mcp_types import InputRequiredResult
from pydantic import BaseModel, Field

import modelwright as mw
from modelwright.ways_in.mcp.untrusted import clean

Answer = TypeVar("Answer", bound=BaseModel)


class Approve(BaseModel):
    """The form of an approval."""

    approve: bool = Field(description="Whether it may be done.")
    reason: str = Field("", description="Why, for the audit.")


class GoOn(BaseModel):
    """The form of the question about memory."""

    fewer_columns: bool = Field(description="Yes: go on with fewer columns. No: stop.")


def approval_question(told: str, asked: mw.Request) -> str:
    """What a person is asked: all that a decision can rest on, the agent's reason among it.

    Args:
        told: what waits, in words.
        asked: the request.
    """
    given = {name: value for name, value in asked.arguments.items() if name != "model"}
    lines = [told, f"Asked by {asked.by}. Why: {asked.why or 'no reason was given'}"]
    lines += [f"In place of version {asked.champion}."] if asked.champion else []
    for name, said in (("Arguments", given), ("Evidence", asked.basis)):
        lines += [f"{name}: {json.dumps(said, ensure_ascii=False)}"] if said else []
    # the reason is the agent's: a line of it must not look like one of ours
    return "\n".join([*(clean(" ".join(line.split())) for line in lines), "Do it?"])


def can_ask(context: Context[Any, Any]) -> bool:
    """Whether the client shows forms to a person."""
    found = context.client_capabilities
    asks = found.elicitation if found else None
    return asks is not None and (asks.form is not None or asks.url is None)


async def ask(
    context: Context[Any, Any], message: str, form: type[Answer]
) -> ElicitationResult[Any] | InputRequiredResult:
    """Ask a person.

    Up to protocol 2025-11-25 the client is asked now; later it is answered with the question, and
    calls again with what was said: until then the result goes back as it is. An answer counts only
    for the question that was shown, word by word.
    """

    async def question(_: Context[Any, Any]) -> Elicit[Any]:
        return Elicit(message, form)

    question.__annotations__ = {"_": Context, "return": GenericAlias(Elicit, (form,))}
    wanted = {"answer": (Resolve(question), True)}
    found = await resolve_arguments(wanted, build_resolver_plans(wanted, set()), {}, context)
    if isinstance(found, InputRequiredResult):
        return found
    answer: ElicitationResult[Any] = found["answer"]
    return answer
