"""Results of `requests`, `approve` and `reject`, the same at every door."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class RequestLine(BaseModel):
    """Something that an agent asked for; `evidence` only where one request is looked at."""

    id: str
    state: Literal["pending", "approved", "rejected", "applied", "failed", "expired"]
    action: str
    arguments: dict[str, Any]
    model: str
    version: str
    champion: str
    by: str
    client: str
    why: str
    at: str
    expires: str
    decided_by: str
    decided_at: str
    reason: str
    outcome: str
    next: str
    evidence: dict[str, Any] = {}


class RequestsResult(BaseModel):
    """Requests, oldest first; `one`: whether one was asked for."""

    one: bool
    requests: list[RequestLine]


class ApproveResult(BaseModel):
    """A request that was approved and carried out; `result`: what the operation gave, empty where
    an earlier command had carried it out and was cut off."""

    request: RequestLine
    result: dict[str, Any] = {}
