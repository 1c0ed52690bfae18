"""Prometheus metrics of a server, with a histogram edge exactly at the spec's latency limit."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from modelwright.core.limits import Limit

EDGES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """What one server counts. Labels: model and version, and the route and code of requests."""

    def __init__(self, model: str, version: str, limits: Iterable[Limit]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        edges = {limit.bound for limit in limits if limit.metric == "latency_p95"}
        label = {"model": model, "version": version}
        names = ["model", "version"]
        self._requests = Counter(
            "modelwright_requests", "Requests by route and HTTP code.", [*names, "route", "code"],
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "modelwright_request_seconds", "From the first byte of the body to the answer.", names,
            buckets=sorted({*EDGES, *edges}), registry=self.registry,
        ).labels(**label)  # fmt: skip
        self._rows = Counter(
            "modelwright_rows", "Rows answered.", names, registry=self.registry
        ).labels(**label)
        self._unseen = Counter(
            "modelwright_unseen_categories", "Category values that training never saw.",
            [*names, "column"], registry=self.registry,
        )  # fmt: skip
        Gauge(
            "modelwright_model_info", "Which model answers.", names, registry=self.registry
        ).labels(**label).set(1)
        self._label = label

    def request(self, route: str, code: int) -> None:
        """Count a request."""
        self._requests.labels(**self._label, route=route, code=str(code)).inc()

    def answered(self, rows: int, seconds: float) -> None:
        """Record the time and size of an answer."""
        self._seconds.observe(seconds)
        self._rows.inc(rows)

    def unseen(self, column: str, count: int) -> None:
        """Count values that training never saw."""
        self._unseen.labels(**self._label, column=column).inc(count)

    def page(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)
