"""Spans of gRPC calls reach a real OTLP receiver, and their trace stands in the access log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from modelwright.serve.settings import Source
from serve.doors import inputs
from serve.running import free_port, serving, until
from serve.test_tracing import FOREIGN, PARENT, TRACE, Exports, collector
from serve.versions import row_of

__all__ = ["collector"]
METHOD = "inference.GRPCInferenceService/ModelInfer"


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: one.value for one in span.attributes}


def test_a_grpc_call_is_a_span_below_its_callers(project: Path, collector: Exports) -> None:
    port, row = free_port(), row_of(1.0)
    source = Source(name="shop", project=str(project))
    with (
        serving(project, source, grpc_port=port, access_log=True) as running,
        triton.InferenceServerClient(f"127.0.0.1:{port}") as client,
    ):
        client.infer("shop", inputs([row, row]), headers={**FOREIGN, "x-request-id": "call"})
        with pytest.raises(InferenceServerException):
            client.infer("none", inputs([row]), headers={"x-request-id": "wrong"})
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError):
            channel.unary_unary("/made/Up", lambda text: text, lambda text: text)(b"")
        spans: dict[tuple[str, int], Any] = {}
        while len(spans) < 3:
            _, _, request = collector.get(timeout=20)
            for resource in request.resource_spans:
                for span in (span for scope in resource.scope_spans for span in scope.spans):
                    if span.name in (METHOD, "grpc other"):  # whether it is up is asked over HTTP
                        status = attributes(span)["http.response.status_code"].int_value
                        spans[span.name, status] = span

        def told() -> str:
            said = running.errors.read_text()
            return said if "made/Up" in said else ""

        text = until(told)
    good = spans[METHOD, 200]
    assert good.trace_id.hex() == TRACE and good.parent_span_id.hex() == PARENT
    about = attributes(good)
    assert about["rpc.system"].string_value == "grpc" and about["rows"].int_value == 2
    assert (about["model"].string_value, about["version"].string_value) == ("shop", "1")
    assert about["id"].string_value == "call"
    assert 0 < good.end_time_unix_nano - good.start_time_unix_nano < 10e9
    assert spans[METHOD, 404].trace_id.hex() != TRACE
    assert spans["grpc other", 404].name == "grpc other"  # names that callers make up are not kept
    lines = [json.loads(one) for one in text.splitlines() if one.startswith("{")]
    [line] = [one for one in lines if one["id"] == "call"]
    assert line["trace"] == TRACE
