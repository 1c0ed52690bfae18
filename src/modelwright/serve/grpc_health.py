"""grpc.health.v1: whether everything (""), the inference service, or a model by its name answers.

github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from modelwright.serve.grpc_calls import GrpcCall, Method
from modelwright.serve.grpc_status import RESOURCE_EXHAUSTED, UNAVAILABLE, Refusal
from modelwright.serve.http2 import Http2Connection
from modelwright.serve.messages import ProtocolError
from modelwright.serve.protos import DecodeError, file_of, messages_of, new_pool

SERVICE, PACKAGE = "grpc.health.v1.Health", "grpc.health.v1"
FILE = file_of(
    "grpc/health/v1/health.proto",
    PACKAGE,
    {
        "HealthCheckRequest": ("1 string service",),
        "HealthCheckResponse": ("1 enum:HealthCheckResponse.ServingStatus status",),
    },
    enums={
        "HealthCheckResponse.ServingStatus": (
            "UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN",
        )
    },
    services={
        "Health": (
            "Check HealthCheckRequest HealthCheckResponse",
            "Watch HealthCheckRequest stream HealthCheckResponse",
        )
    },
)  # fmt: skip
MESSAGES = messages_of(new_pool(FILE), PACKAGE, ("HealthCheckRequest", "HealthCheckResponse"))
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
WATCH_SECONDS = 0.5
MOST_WATCHES, MOST_WATCHES_EACH = 1000, 16
"""Of the process, and of a connection: each wakes up twice a second."""


class Served(Protocol):
    """Whose health is asked for."""

    @property
    def draining(self) -> bool:
        """Whether the server is about to end."""

    def models(self) -> tuple[str, ...]:
        """Names of all models."""

    def is_ready(self, model: str | None) -> bool:
        """Whether a model, or everything, answers."""


def health_methods(served: Served, also: str) -> dict[str, Method]:
    """The methods by their full names.

    Args:
        also: a service whose health is that of everything.
    """
    health = _Health(served, also)
    calls = {"Check": health.check, "Watch": health.watch}
    return {f"/{SERVICE}/{name}": Method(answer, is_open=True) for name, answer in calls.items()}


class _Health:
    def __init__(self, served: Served, also: str) -> None:
        self._served, self._everything = served, ("", also)
        self._watches = Counter[Http2Connection]()

    def check(self, _call: GrpcCall, body: bytes) -> bytes:
        status = self._status(_named(body))
        if status == SERVICE_UNKNOWN:
            raise ProtocolError(404, "No such service.")
        return _response(status)

    def watch(self, call: GrpcCall, body: bytes) -> None:
        service, watches = _named(body), self._watches
        if watches[call.connection] >= MOST_WATCHES_EACH or watches.total() >= MOST_WATCHES:
            raise Refusal(
                RESOURCE_EXHAUSTED,
                f"At most {MOST_WATCHES_EACH} watches of a connection, {MOST_WATCHES:,} in all.",
            )
        watches[call.connection] += 1
        call.later(self._watched(call, lambda: self._status(service)))

    async def _watched(self, call: GrpcCall, status: Callable[[], int]) -> None:
        try:
            await self._changes(call, status)
        finally:
            self._watches[call.connection] -= 1
            if not self._watches[call.connection]:
                del self._watches[call.connection]

    async def _changes(self, call: GrpcCall, status: Callable[[], int]) -> None:
        last = None
        while not call.over:
            found = status()
            if found != last:
                call.say(_response(found))
                last = found
            if self._served.draining:  # it would keep its connection, and the server, from ending
                call.refuse(Refusal(UNAVAILABLE, "The server ends."))
                return
            await asyncio.sleep(WATCH_SECONDS)

    def _status(self, service: str) -> int:
        if service in self._everything:
            ready = self._served.is_ready(None)
        elif service in self._served.models():
            ready = self._served.is_ready(service)
        else:
            return SERVICE_UNKNOWN
        return SERVING if ready else NOT_SERVING


def _named(body: bytes) -> str:
    try:
        return str(MESSAGES["HealthCheckRequest"].FromString(body).service)
    except DecodeError as error:
        raise ProtocolError(400, "The message is not a HealthCheckRequest.") from error


def _response(status: int) -> bytes:
    data: bytes = MESSAGES["HealthCheckResponse"](status=status).SerializeToString()
    return data
