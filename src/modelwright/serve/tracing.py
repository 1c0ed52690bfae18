"""OpenTelemetry traces, where the environment asks for them: `pip install 'modelwright[otel]'`.

Switched on by the standard variables, OTEL_EXPORTER_OTLP_ENDPOINT first of all; without them
nothing of OpenTelemetry is imported. See opentelemetry.io/docs/specs/otel/protocol/exporter.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from modelwright.core.errors import MissingExtra, UsageError
from modelwright.core.version import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

STEPS = ("read", "queue", "run", "write")
"""Steps of a request, each a span below that of the request."""
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP = "http/protobuf"
Attribute = str | bool | int | float


class Trace(Protocol):
    """One request. `id`: its W3C trace id; empty when it is not sampled."""

    @property
    def id(self) -> str:
        """For the access log and exemplars."""

    def mark(self, step: str, at: float | None = None) -> None:
        """A step of the request has ended, and the next begins."""

    def end(self, status: int, attributes: Mapping[str, Attribute]) -> None:
        """The answer was written."""


class Tracer(Protocol):
    """Begins traces.

    Attributes:
        is_on: whether any request is traced.
    """

    is_on: bool

    def begin(self, name: str, headers: Mapping[str, str], received: float, /) -> Trace:
        """A request came."""

    def close(self) -> None:
        """Send what waits."""


class _NoTrace:
    id = ""

    def mark(self, step: str, at: float | None = None) -> None:
        pass

    def end(self, status: int, attributes: Mapping[str, Attribute]) -> None:
        pass


NO_TRACE: Trace = _NoTrace()
"""Of a request that is not traced."""


class Off:
    """No traces."""

    is_on = False

    def begin(self, *_request: object) -> Trace:
        """Always the same object, which does nothing."""
        return NO_TRACE

    def close(self) -> None:
        """Nothing."""


def tracing(environ: Mapping[str, str]) -> Tracer:
    """The tracer that the environment asks for; make it in the worker, after the fork.

    Args:
        environ: `os.environ`. An endpoint switches traces on. OTEL_SDK_DISABLED and
            OTEL_TRACES_EXPORTER=none switch them off. Sampler (default: by the caller's decision,
            all that have none), headers, time-outs and resource are read by the SDK itself.

    Raises:
        MissingExtra: traces are asked for, and OpenTelemetry is not installed.
        UsageError: they are asked for over another protocol than http/protobuf.
    """
    wanted = any(environ.get(name) for name in _ENDPOINTS)
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if not wanted or disabled or environ.get("OTEL_TRACES_EXPORTER", "otlp") == "none":
        return Off()
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), _HTTP)
    if protocol != _HTTP:
        raise UsageError(
            f"Traces are sent over {_HTTP}, not {protocol}.",
            hint=f"Set {_PROTOCOLS[1]}={_HTTP}, and the endpoint to the collector's port 4318.",
        )
    return OpenTelemetry(_provider(environ))


def _provider(environ: Mapping[str, str]) -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingExtra("opentelemetry-sdk", "otel") from error
    named = environ.get("OTEL_SERVICE_NAME") or (
        "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    )
    own = {"service.version": __version__} | ({} if named else {"service.name": "modelwright"})
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class OpenTelemetry:
    """Traces that are sent to a collector, in batches, by a thread of the SDK.

    A collector that is away loses traces, never requests.
    """

    is_on = True

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self.tracer = provider.get_tracer("modelwright.serve", __version__)
        self._extract = TraceContextTextMapPropagator().extract
        self._no_parent = Context()
        self._server = SpanKind.SERVER
        self.below = set_span_in_context

    def begin(self, name: str, headers: Mapping[str, str], received: float) -> Trace:
        """Begin the span of a request, below the caller's if `traceparent` names one.

        Args:
            name: such as `POST /predict`, out of a fixed set.
            headers: names in lower case.
            received: `time.perf_counter()` of its first byte.

        Returns:
            `NO_TRACE` when the sampler does not want it.
        """
        parent = self._no_parent
        if "traceparent" in headers:
            given = {key: headers.get(key, "") for key in ("traceparent", "tracestate")}
            parent = self._extract(given, parent)
        # perf_counter has no date; what lies between then and now is taken from the date of now.
        offset = time.time_ns() - round(time.perf_counter() * 1e9)
        start = offset + round(received * 1e9)
        span = self.tracer.start_span(name, parent, self._server, start_time=start)
        return Traced(self, span, offset, received) if span.is_recording() else NO_TRACE

    def close(self, seconds: float = 2.0) -> None:
        """Send what waits, for so long at most."""
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(seconds)


class Traced:
    """A request that is sampled. Spans of its steps are made at its end, from their times."""

    def __init__(self, owner: OpenTelemetry, span: Span, offset: int, received: float) -> None:
        self._owner, self._span, self._offset = owner, span, offset
        self._marks: list[tuple[str, float]] = [("", received)]
        self.id = f"{span.get_span_context().trace_id:032x}"

    def mark(self, step: str, at: float | None = None) -> None:
        """A step has ended.

        Args:
            step: one of `STEPS`.
            at: `time.perf_counter()` of its end; default now.
        """
        self._marks.append((step, time.perf_counter() if at is None else at))

    def end(self, status: int, attributes: Mapping[str, Attribute]) -> None:
        """Hand the spans over.

        Args:
            status: HTTP code; from 500 on the span is an error.
            attributes: whatever else is known, such as model, version, rows, arm.
        """
        from opentelemetry.trace import StatusCode

        context = self._owner.below(self._span)
        begin = self._marks[0][1]
        for step, end in self._marks[1:]:
            span = self._owner.tracer.start_span(step, context, start_time=self._moment(begin))
            span.end(self._moment(max(begin, end)))
            begin = end
        given = {key: value for key, value in attributes.items() if value != ""}
        self._span.set_attributes({"http.response.status_code": status, **given})
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end(self._moment(max(begin, time.perf_counter())))

    def _moment(self, at: float) -> int:
        return self._offset + round(at * 1e9)
