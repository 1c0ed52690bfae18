"""The page of metrics: Prometheus text 0.0.4, or OpenMetrics 1.0 for who asks for it.

Formats: prometheus.io/docs/instrumenting/exposition_formats, github.com/prometheus/OpenMetrics.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from modelwright.serve.metric_names import (
    ALIASES,
    FAMILIES,
    GRPC_CODES,
    TRITON_REASONS,
    Family,
)
from modelwright.serve.metrics import Book, Cell, Labels, Timing
from modelwright.serve.metrics_store import join, read_all
from modelwright.serve.processes import measure

TEXT = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
_MICRO = 1e6
_GRPC = ("ModelInfer", "inference.GRPCInferenceService", "UNARY")


def page(folder: Path, accept: str = "", *, now: float | None = None) -> tuple[bytes, bytes]:
    """The numbers of all workers as a page.

    A worker that answers with it calls its own `Keeper.save` right before, so that a single worker
    always shows the very last request; of other workers it is at most 0.25 s old.

    Args:
        folder: of `metrics_store.new_folder`.
        accept: the request's Accept header; OpenMetrics, with exemplars, only if it is named.
        now: unix time, for the age of models.

    Returns:
        (content type, body).
    """
    book, workers = read_all(folder)
    whole = join([book, measure(workers)])
    return write(whole, openmetrics=wants_openmetrics(accept), now=now)


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header prefers OpenMetrics to plain text.

    Example:
        >>> wants_openmetrics("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        True
        >>> wants_openmetrics("*/*"), wants_openmetrics("application/openmetrics-text;q=0")
        (False, False)
    """
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for part in accept.lower().split(",")[:32]:
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        if kind in weights:
            weights[kind] = float(weight) if weight.replace(".", "", 1).isdigit() else 0.0
    found = weights["application/openmetrics-text"]
    return found > 0 and found >= weights["text/plain"]


def write(
    book: Book, *, openmetrics: bool = False, now: float | None = None
) -> tuple[bytes, bytes]:
    """A book as (content type, page)."""
    whole = _with_derived(book, time.time() if now is None else now)
    lines: list[str] = []
    for name, family in FAMILIES.items():
        if family.kind == "histogram":
            timings = whole.histograms.get(name, {})
            told = openmetrics and name not in ALIASES
            found = _histogram_lines(family, timings, exemplars=told)
        else:
            table = whole.counters if family.kind == "counter" else whole.gauges
            found = _plain_lines(family, table.get(name, {}))
        body = list(found)
        if body:
            lines += [*_head(family, openmetrics=openmetrics), *body]
    if openmetrics:
        lines.append("# EOF")
    kind = OPENMETRICS if openmetrics else TEXT
    return kind, ("\n".join(lines) + "\n").encode()


def escaped(text: str) -> str:
    """A label's value as it may stand between quotes.

    Example:
        >>> print(escaped('say "a\\\\b"'))
        say \\"a\\\\b\\"
    """
    text = text.encode("utf-8", "replace").decode()
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _head(family: Family, *, openmetrics: bool) -> list[str]:
    name, kind = family.name, str(family.kind)
    if openmetrics and kind == "counter":
        if name.endswith("_total"):
            name = name.removesuffix("_total")
        else:  # Triton's names; a counter of OpenMetrics has to end in _total
            kind = "unknown"
    return [f"# HELP {name} {family.help}", f"# TYPE {name} {kind}"]


def _plain_lines(family: Family, series: Mapping[Labels, Cell]) -> Iterator[str]:
    for labels, [value] in sorted(series.items()):
        yield f"{family.name}{_labelled(family.labels, labels)} {_number(value)}"


def _histogram_lines(
    family: Family, series: Mapping[Labels, Timing], *, exemplars: bool
) -> Iterator[str]:
    for labels, timing in sorted(series.items()):
        below = 0
        for place, edge in enumerate((*timing.edges, math.inf)):
            below += timing.counts[place]
            text = _labelled((*family.labels, "le"), (*labels, _number(float(edge))))
            told = _exemplar(timing, place) if exemplars else ""
            yield f"{family.name}_bucket{text} {below}{told}"
        plain = _labelled(family.labels, labels)
        yield f"{family.name}_count{plain} {below}"
        yield f"{family.name}_sum{plain} {_number(timing.total)}"


def _exemplar(timing: Timing, place: int) -> str:
    found = timing.exemplars.get(place)
    if found is None:
        return ""
    trace, value, at = found
    return f' # {{trace_id="{escaped(trace)}"}} {_number(value)} {at:.3f}'


def _labelled(names: Labels, values: Labels) -> str:
    """Labels in the order of their names; an empty value is the same as none."""
    pairs = sorted((n, v) for n, v in zip(names, values, strict=True) if v)
    if not pairs:
        return ""
    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in pairs) + "}"


def _number(value: float) -> str:
    if isinstance(value, float) and math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if value != value else repr(value)


def _with_derived(book: Book, now: float) -> Book:
    """The book with ages, and with what other servers call the same numbers."""
    counters, gauges, histograms = dict(book.counters), dict(book.gauges), dict(book.histograms)
    made = gauges.get("modelwright_model_made_timestamp_seconds", {})
    gauges["modelwright_model_age_seconds"] = {key: [now - cell[0]] for key, cell in made.items()}
    for other, ours in ALIASES.items():
        if ours in counters and FAMILIES[other].kind == "counter":
            factor = _MICRO if other.endswith("_us") else 1
            counters[other] = {k: [c[0] * factor] for k, c in counters[ours].items()}
        elif ours in gauges:
            gauges[other] = gauges[ours]
    counters |= _of_requests(book.counters.get("modelwright_requests_total", {}))
    counters |= _of_timings(book.histograms)
    runs = histograms.get("modelwright_inference_seconds", {})
    asked = histograms.get("modelwright_request_seconds", {})
    histograms["request_predict_seconds"] = _joined(((m,), t) for (m, _), t in runs.items())
    histograms["model_infer_request_duration"] = _joined((k[1:], t) for k, t in asked.items())
    by_http = (((door,), t) for (door, _, _), t in asked.items() if door != "grpc")
    histograms["rest_server_request_duration_seconds"] = _joined(by_http)
    return Book(counters, gauges, histograms)


def _joined(timings: Iterable[tuple[Labels, Timing]]) -> dict[Labels, Timing]:
    """Histograms under fewer labels, those of the same labels added up."""
    parts = (Book(histograms={"": {labels: timing}}) for labels, timing in timings)
    return join(parts).histograms.get("", {})


def _of_requests(requests: Mapping[Labels, Cell]) -> dict[str, dict[Labels, Cell]]:
    found: dict[str, dict[Labels, Cell]] = {}

    def add(name: str, labels: Labels, value: float) -> None:
        found.setdefault(name, {}).setdefault(labels, [0])[0] += value

    for (code, door, model, version), [value] in requests.items():
        failed = int(code) >= 400 and model
        if failed:
            add("model_infer_request_failure_total", (model, version), value)
            reason = TRITON_REASONS.get(int(code), "OTHER")
            add("nv_inference_request_failure", (model, reason, version), value)
        if door == "grpc":
            word = GRPC_CODES.get(int(code), "Unknown")
            add("grpc_server_handled_total", (word, *_GRPC), value)
        else:
            add("rest_server_requests_total", (door, code), value)
    return found


def _of_timings(histograms: Mapping[str, Mapping[Labels, Timing]]) -> dict[str, dict[Labels, Cell]]:
    found: dict[str, dict[Labels, Cell]] = {}
    totals = (
        ("modelwright_request_seconds", "model_infer_request_success_total", "count"),
        ("modelwright_request_seconds", "nv_inference_request_success", "count"),
        ("modelwright_request_seconds", "nv_inference_request_duration_us", "micro"),
        ("modelwright_inference_seconds", "nv_inference_compute_infer_duration_us", "micro"),
        ("modelwright_batch_rows", "nv_inference_count", "sum"),
        ("modelwright_batch_rows", "nv_inference_exec_count", "count"),
    )
    for ours, other, what in totals:
        for labels, timing in histograms.get(ours, {}).items():
            value = sum(timing.counts) if what == "count" else timing.total
            cell = found.setdefault(other, {}).setdefault(labels[-2:], [0])
            cell[0] += value * (_MICRO if what == "micro" else 1)
    return found
