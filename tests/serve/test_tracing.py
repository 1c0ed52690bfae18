"""Traces reach a real OTLP receiver; off, nothing of OpenTelemetry is even imported."""

from __future__ import annotations

import gzip
import os
import queue
import subprocess
import sys
import threading
import time
import timeit
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from modelwright.core.errors import MissingExtra, UsageError
from modelwright.serve.tracing import NO_TRACE, Off, OpenTelemetry, tracing

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FOREIGN = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=b"}
Exports = queue.Queue[tuple[str, dict[str, str], ExportTraceServiceRequest]]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Exports]:
    """A receiver of OTLP over HTTP, and the environment that points to it."""
    received: Exports = queue.Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            headers = {key.lower(): value for key, value in self.headers.items()}
            received.put((self.path, headers, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    yield received
    server.shutdown()
    thread.join()
    server.server_close()


def exported(received: Exports) -> tuple[dict[str, str], list[Any]]:
    _, _, request = received.get(timeout=20)
    [resource] = request.resource_spans
    about = {a.key: a.value.string_value for a in resource.resource.attributes}
    return about, [span for scope in resource.scope_spans for span in scope.spans]


def test_a_request_and_its_steps_reach_the_collector(collector: Exports) -> None:
    tracer = tracing(os.environ)
    before = time.time_ns()
    received = time.perf_counter()
    trace = tracer.begin("POST /predict", FOREIGN, received)
    assert trace.id == TRACE
    for number, step in enumerate(("read", "queue", "run", "write"), 1):
        trace.mark(step, received + number / 1000)
    trace.end(200, {"modelwright.model": "shop", "modelwright.rows": 2, "modelwright.arm": ""})
    tracer.close()
    about, spans = exported(collector)
    assert about["service.name"] == "modelwright" and about["service.version"]
    [request] = [span for span in spans if span.name == "POST /predict"]
    assert request.trace_id.hex() == TRACE and request.parent_span_id.hex() == PARENT
    assert request.kind == 2 and request.trace_state == "a=b"
    assert abs(request.start_time_unix_nano - before) < 1e9
    found = {a.key: a.value for a in request.attributes}
    assert found["http.response.status_code"].int_value == 200
    assert found["modelwright.model"].string_value == "shop" and "modelwright.arm" not in found
    steps = [span for span in spans if span is not request and span.name != request.name]
    assert [span.name for span in steps] == ["read", "queue", "run", "write"]
    for span in steps:
        assert span.parent_span_id == request.span_id and span.trace_id == request.trace_id
        length = span.end_time_unix_nano - span.start_time_unix_nano
        assert abs(length - 1_000_000) < 1000
    assert steps[0].start_time_unix_nano == request.start_time_unix_nano
    assert request.end_time_unix_nano >= steps[-1].end_time_unix_nano


def test_an_error_of_ours_is_one_in_the_trace(collector: Exports) -> None:
    tracer = tracing(os.environ)
    for status in (422, 500):
        trace = tracer.begin("POST /predict", {}, time.perf_counter())
        assert len(trace.id) == 32 and trace.id != TRACE
        trace.end(status, {})
    tracer.close()
    _, spans = exported(collector)
    assert [span.status.code for span in spans] == [0, 2]
    assert len({span.trace_id for span in spans}) == 2


@pytest.mark.parametrize(
    ("parent", "sampler", "sampled"),
    [
        (f"00-{TRACE}-{PARENT}-00", "", False), (f"00-{TRACE}-{PARENT}-01", "", True),
        ("nonsense", "", True), ("", "", True), ("", "parentbased_always_off", False),
        (f"00-{TRACE}-{PARENT}-01", "parentbased_always_off", True),
        (f"00-{TRACE}-{PARENT}-01", "always_off", False), ("x" * 10_000, "", True),
    ],
)  # fmt: skip
def test_the_caller_decides_on_sampling(
    collector: Exports, monkeypatch: pytest.MonkeyPatch, parent: str, sampler: str, sampled: bool
) -> None:
    if sampler:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    tracer = tracing(os.environ)
    trace = tracer.begin("POST /predict", {"traceparent": parent}, time.perf_counter())
    assert bool(trace.id) is sampled and (trace is NO_TRACE) is not sampled
    trace.end(200, {})
    tracer.close()
    assert collector.empty() is not sampled


def test_headers_and_names_of_the_environment_are_used(
    collector: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=abc")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "income-model")
    tracer = tracing(os.environ)
    tracer.begin("GET /v2", {}, time.perf_counter()).end(200, {})
    tracer.close()
    path, headers, request = collector.get(timeout=20)
    assert path == "/v1/traces" and headers["x-key"] == "abc"
    names = [a.value.string_value for a in request.resource_spans[0].resource.attributes
             if a.key == "service.name"]  # fmt: skip
    assert names == ["income-model"]


def test_a_collector_that_is_away_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    tracer = tracing(os.environ)
    begun = time.perf_counter()
    for _ in range(100):
        tracer.begin("POST /predict", {}, time.perf_counter()).end(200, {})
    assert isinstance(tracer, OpenTelemetry)
    tracer.close(0.5)
    assert time.perf_counter() - begun < 5


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_off_is_an_object_that_costs_nothing(environ: dict[str, str]) -> None:
    tracer = tracing(environ)
    assert isinstance(tracer, Off)
    trace = tracer.begin("POST /predict", FOREIGN, 0.0)
    assert trace is NO_TRACE and trace.id == ""
    trace.mark("read")
    trace.end(200, {})
    tracer.close()
    call = lambda: tracer.begin("POST /predict", {}, 0.0).mark("read")  # noqa: E731
    assert min(timeit.repeat(call, number=20_000, repeat=5)) / 20_000 < 2e-6


def test_another_protocol_is_refused() -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(UsageError, match="http/protobuf, not grpc"):
        tracing(environ)


def test_nothing_is_imported_when_it_is_off_and_the_extra_is_named_when_it_is_missing() -> None:
    code = (
        "import sys\n"
        "from modelwright.serve import access_log, metrics_door, tls, tokens, tracing\n"
        "tracing.tracing({})\n"
        "bad = {'opentelemetry', 'requests', 'google', 'pydantic', 'cryptography', 'polars',\n"
        "       'prometheus_client'} & set(sys.modules)\n"
        "assert not bad, bad\n"
        "sys.modules['opentelemetry'] = None\n"
        "try:\n"
        "    tracing.tracing({'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:9'})\n"
        "except tracing.MissingExtra as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pip install 'modelwright[otel]'" in done.stdout
    assert MissingExtra("x", "y").exit_code == 2
