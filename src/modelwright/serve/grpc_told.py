"""What is told of a gRPC call when it has its answer: a line of the access log, and a span."""

from __future__ import annotations

import time
from collections.abc import Callable, Container

from modelwright.serve.access_log import Line, Log, id_of, new_ids, shown
from modelwright.serve.grpc_calls import GrpcCall
from modelwright.serve.metric_names import REASONS
from modelwright.serve.tracing import Off, Tracer

Told = Callable[[GrpcCall, int, int], None]


def teller(log: Log, tracer: Tracer, known: Container[str]) -> Told | None:
    """Tells of calls; None where neither a log nor traces are kept.

    Args:
        log: gets a line a call.
        tracer: gets a span a call, below the caller's where `traceparent` names one.
        known: names of methods, by which spans are called; all others are `grpc other`.
    """
    traces = not isinstance(tracer, Off)
    if not log.is_on and not traces:
        return None
    new_id = new_ids()

    def tell(call: GrpcCall, status: int, size: int) -> None:
        line = _line(call, status, size, id_of(call.head.entries, new_id))
        if traces:
            path = call.head.path
            name = path.removeprefix("/") if path in known else "grpc other"
            trace = tracer.begin(name, call.head.entries, call.received_at)
            line.trace = trace.id
            trace.end(
                status,
                {"rpc.system": "grpc", "model": line.model, "version": line.version,
                 "rows": line.rows, "id": line.id},
            )  # fmt: skip
        if log.is_on:
            log.write(line)

    return tell


def _line(call: GrpcCall, status: int, size: int, id: str) -> Line:
    line = Line(
        time=time.time(), id=id, method="POST", path=call.head.path, status=status,
        ms=(time.perf_counter() - call.received_at) * 1e3, model=shown(call.model[:80]),
        bytes_in=call.size, bytes_out=size, peer=call.connection.peer, token=call.token,
    )  # fmt: skip
    found = call.found
    if found is not None:
        line.version, line.rows = found.live.version, found.question.rows
        line.arm, line.fallback, line.cached = found.arm, found.fallback, found.cached
    if status >= 400:
        line.reason = call.reason or REASONS.get(status, "other")
    return line
