"""A Grafana dashboard of one model, made of its limits and of the metrics that a server shows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from modelwright.core.limits import Limit
from modelwright.core.records import Manifest

SCHEMA = 39
"""Of Grafana 10.4; later ones migrate it by themselves."""
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_OF = 'model="$model",version=~"$version"'
_RATE = "[$__rate_interval]"
_WIDTH, _HEIGHT = 24, 8

Panel = dict[str, Any]
Query = tuple[str, str]
"""(expression, legend)"""


def dashboard(manifest: Manifest) -> dict[str, Any]:
    """The dashboard as Grafana 10 and later import it: Dashboards, New, Import.

    Variables choose the Prometheus source, the model and its versions; lines show the limits of
    the spec, which the server exposes as `modelwright_limit`.

    Args:
        manifest: of any version of the model; newer versions need no other dashboard, unless the
            limit on latency_p95 changed.
    """
    name = manifest.model
    sections = (
        ("Requests", _requests(manifest.limits)),
        ("Runs of the graph", _runs()),
        ("What comes in and what is predicted", _distributions(manifest)),
        ("Versions", _versions()),
        ("Staying up", _staying_up()),
        ("Process and machine", _machine(manifest.limits)),
    )
    slug = re.sub(r"[^a-z0-9-]+", "-", name.lower())[:20]
    return {
        "uid": f"modelwright-{slug}-{hashlib.sha256(name.encode()).hexdigest()[:6]}",
        "title": f"{name} (modelwright)",
        "tags": ["modelwright"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": _variables(name)},
        "annotations": {"list": [_loads()]},
        "panels": _placed(sections),
    }


def expressions(document: Mapping[str, Any]) -> list[str]:
    """Every PromQL expression of a dashboard."""
    panels = [target["expr"] for p in document["panels"] for target in p.get("targets", ())]
    return [*panels, *(note["expr"] for note in document["annotations"]["list"])]


def scrape_config(model: str, serve: Mapping[str, Any], *, address: str | None = None) -> str:
    """What to put under `scrape_configs` of prometheus.yml.

    Args:
        model: name of the job.
        serve: the `serve` part of the spec: ports, TLS and whether there are tokens.
        address: host and port of the server; default those of the spec.
    """
    metrics_port = serve.get("metrics_port")
    port = metrics_port or serve.get("port", 8000)
    target = address or f"{serve.get('host', '127.0.0.1')}:{port}"
    lines = [
        f"- job_name: {_quoted(model)}",
        "  metrics_path: /metrics",
        "  scrape_interval: 15s",
    ]
    if serve.get("tls") and not metrics_port:
        lines += ["  scheme: https"]
    if not metrics_port:
        lines += [
            "  # only when the server has tokens; any of them will do",
            "  # authorization: {credentials_file: /etc/prometheus/modelwright-token}",
        ]
    lines += ["  static_configs:", f"    - targets: [{_quoted(target)}]"]
    return "\n".join(lines) + "\n"


def _requests(limits: Iterable[Limit]) -> list[Panel]:
    bound = next((limit.bound for limit in limits if limit.metric == "latency_p95"), None)
    seconds = f"modelwright_request_seconds_bucket{{{_OF}}}"
    found = [
        _lines(
            "Requests a second", "reqps",
            (f"sum by (door) (rate(modelwright_request_seconds_count{{{_OF}}}{_RATE}))",
             "{{door}}"),
            (_limit("throughput"), "limit on throughput"),
        ),
        _lines(
            "Errors by reason", "reqps",
            (f'sum by (class, reason) (rate(modelwright_errors_total{{model="$model"}}{_RATE}))',
             "{{class}} {{reason}}"),
        ),
        _lines(
            "Latency", "s",
            *((f"histogram_quantile({share}, sum by (le) (rate({seconds}{_RATE})))", name)
              for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))),
            (_limit("latency_p95"), "limit on p95"),
        ),
    ]  # fmt: skip
    if bound is not None:
        within = f'sum(rate(modelwright_request_seconds_bucket{{{_OF},le="{bound!r}"}}{_RATE}))'
        every = f"sum(rate(modelwright_request_seconds_count{{{_OF}}}{_RATE}))"
        title = f"Share within the limit of {bound * 1e3:g} ms"
        steps = ({"color": "red", "value": None}, {"color": "green", "value": 0.95})
        found.append(_stat(title, "percentunit", (f"{within} / {every}", ""), steps))
    return found


def _runs() -> list[Panel]:
    run, batch = "modelwright_inference_seconds", "modelwright_batch_rows"
    mean = f"sum(rate({batch}_sum{{{_OF}}}{_RATE})) / sum(rate({batch}_count{{{_OF}}}{_RATE}))"
    return [
        _lines(
            "Time of a run", "s",
            *((f"histogram_quantile({share}, sum by (le) (rate({run}_bucket{{{_OF}}}{_RATE})))",
               name) for share, name in ((0.5, "p50"), (0.95, "p95"))),
        ),
        _lines(
            "Rows in a run", "short",
            (mean, "mean"),
            (f"histogram_quantile(0.95, sum by (le) (rate({batch}_bucket{{{_OF}}}{_RATE})))",
             "p95"),
        ),
        _lines(
            "Waiting and in work", "short",
            ("sum(modelwright_queue_depth)", "queue"), ("sum(modelwright_in_flight)", "in flight"),
        ),
        _lines(
            "Rows a second", "cps",
            (f"sum by (version) (rate(modelwright_rows_total{{{_OF}}}{_RATE}))",
             "version {{version}}"),
        ),
    ]  # fmt: skip


def _distributions(manifest: Manifest) -> list[Panel]:
    score = f"sum by (le) (increase(modelwright_score_bucket{{{_OF}}}{_RATE}))"
    found = [_heatmap("Scores" if manifest.schema.target.levels else "Predicted values", score)]
    if manifest.schema.target.levels:
        share = (
            f"sum by (label) (rate(modelwright_predictions_total{{{_OF}}}{_RATE})) / ignoring"
            f"(label) group_left sum(rate(modelwright_predictions_total{{{_OF}}}{_RATE}))"
        )
        found.append(_lines("Share of each predicted class", "percentunit", (share, "{{label}}")))
    odd = ("unseen_categories", "out_of_range", "missing", "unknown_columns")
    found.append(
        _lines(
            "Values that are not as in training", "cps",
            *((f"sum by (column) (rate(modelwright_{what}_total{{{_OF}}}{_RATE}))",
               f"{what.replace('_', ' ')}: {{{{column}}}}") for what in odd),
        )
    )  # fmt: skip
    return found


def _versions() -> list[Panel]:
    disagreements = (
        f"sum by (version) (rate(modelwright_shadow_disagreements_total{{{_OF}}}{_RATE}))"
    )
    compared = f"sum by (version) (rate(modelwright_shadow_rows_total{{{_OF}}}{_RATE}))"
    return [
        _table("Loaded versions",
               f"max by (version, family, digest) (modelwright_model_info{{{_OF}}})"),
        _lines("Answers by arm", "reqps",
               (f"sum by (arm, version) (rate(modelwright_arm_total{{{_OF}}}{_RATE}))",
                "{{arm}}, version {{version}}")),
        _lines("Shadow: share of other answers", "percentunit",
               (f"{disagreements} / {compared}", "version {{version}}")),
        _lines("Age of the model", "s",
               (f"max by (version) (modelwright_model_age_seconds{{{_OF}}})",
                "version {{version}}")),
        _lines("Changes of the served version", "short",
               (f'sum by (outcome) (increase(modelwright_reloads_total{{model="$model"}}{_RATE}))',
                "{{outcome}}")),
    ]  # fmt: skip


def _staying_up() -> list[Panel]:
    hits = f"sum(rate(modelwright_cache_hits_total{{{_OF}}}{_RATE}))"
    misses = f"sum(rate(modelwright_cache_misses_total{{{_OF}}}{_RATE}))"
    return [
        _lines("Breaker: 0 closed, 1 half open, 2 open", "short",
               (f"max by (version) (modelwright_breaker_state{{{_OF}}})", "version {{version}}")),
        _lines("Answers by a stand-in", "reqps",
               (f"sum by (kind) (rate(modelwright_fallback_total{{{_OF}}}{_RATE}))", "{{kind}}"),
               (f"sum by (version) (rate(modelwright_not_finite_total{{{_OF}}}{_RATE}))",
                "no finite number, version {{version}}")),
        _lines("Share out of the cache", "percentunit", (f"{hits} / ({hits} + {misses})", "hits")),
        _lines("Workers", "short", ("sum(modelwright_workers)", "alive"),
               (f"sum(increase(modelwright_worker_restarts_total{_RATE}))", "restarts"),
               (f"sum(rate(modelwright_access_log_dropped_total{_RATE}))", "dropped log lines/s")),
    ]  # fmt: skip


def _machine(limits: Iterable[Limit]) -> list[Panel]:
    memory = [
        ("modelwright_memory_bytes", "server"),
        ("process_resident_memory_bytes", "worker {{worker}}"),
    ]
    if any(limit.metric == "memory" for limit in limits):
        memory.append((_limit("memory"), "limit"))
    return [
        _lines("Memory", "bytes", *memory),
        _lines("CPU", "percentunit",
               (f"rate(process_cpu_seconds_total{_RATE})", "worker {{worker}}")),
        _lines("Open files and connections", "short", ("process_open_fds", "worker {{worker}}")),
        _lines("GPU", "percentunit", ("modelwright_gpu_utilization", "busy {{gpu}}"),
               ("modelwright_gpu_memory_used_bytes / modelwright_gpu_memory_total_bytes",
                "memory {{gpu}}")),
    ]  # fmt: skip


def _limit(metric: str) -> str:
    return f'max(modelwright_limit{{{_OF},metric="{metric}"}})'


def _panel(kind: str, title: str, unit: str, *queries: Query) -> Panel:
    targets = [
        {"refId": chr(65 + place), "expr": expr, "legendFormat": legend, "datasource": _SOURCE}
        for place, (expr, legend) in enumerate(queries)
    ]
    defaults: dict[str, Any] = {"unit": unit}
    field_config = {"defaults": defaults, "overrides": []}
    return {
        "type": kind, "title": title, "datasource": _SOURCE, "targets": targets,
        "fieldConfig": field_config, "options": {},
    }  # fmt: skip


def _lines(title: str, unit: str, *queries: Query) -> Panel:
    """A time series; limits are dashed red lines."""
    panel = _panel("timeseries", title, unit, *queries)
    panel["fieldConfig"]["defaults"] |= {"min": 0, "custom": {"fillOpacity": 8, "lineWidth": 2}}
    look = [
        {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}},
        {"id": "custom.fillOpacity", "value": 0},
        {"id": "color", "value": {"mode": "fixed", "fixedColor": "red"}},
    ]
    matcher = {"id": "byRegexp", "options": "^limit.*"}
    panel["fieldConfig"]["overrides"] = [{"matcher": matcher, "properties": look}]
    panel["options"] = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel


def _stat(title: str, unit: str, query: Query, steps: Iterable[Mapping[str, Any]]) -> Panel:
    panel = _panel("stat", title, unit, query)
    thresholds = {"mode": "absolute", "steps": [dict(step) for step in steps]}
    panel["fieldConfig"]["defaults"] |= {"thresholds": thresholds, "decimals": 2}
    panel["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background"}
    return panel


def _heatmap(title: str, expression: str) -> Panel:
    panel = _panel("heatmap", title, "short", (expression, "{{le}}"))
    panel["targets"][0]["format"] = "heatmap"
    panel["options"] = {"calculate": False, "color": {"scheme": "Blues", "mode": "scheme"},
                        "yAxis": {"unit": "short"}, "legend": {"show": True}}  # fmt: skip
    return panel


def _table(title: str, expression: str) -> Panel:
    panel = _panel("table", title, "short", (expression, ""))
    panel["targets"][0] |= {"format": "table", "instant": True}
    hidden = {"excludeByName": {"Time": True, "Value": True}}
    panel["transformations"] = [{"id": "organize", "options": hidden}]
    return panel


def _variables(model: str) -> list[dict[str, Any]]:
    """The Prometheus source, the model, and its versions (all of them to begin with)."""
    info = "modelwright_model_info"
    every = {"text": ["All"], "value": ["$__all"]}
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
         "refresh": 1, "hide": 0},
        {"name": "model", "label": "Model", "type": "query", "datasource": _SOURCE, "refresh": 2,
         "query": {"query": f"label_values({info}, model)", "refId": "model"},
         "definition": f"label_values({info}, model)", "sort": 1, "hide": 0,
         "current": {"text": model, "value": model, "selected": True}},
        {"name": "version", "label": "Version", "type": "query", "datasource": _SOURCE,
         "query": {"query": f'label_values({info}{{model="$model"}}, version)', "refId": "version"},
         "definition": f'label_values({info}{{model="$model"}}, version)', "refresh": 2, "sort": 4,
         "multi": True, "includeAll": True, "allValue": ".*", "current": every, "hide": 0},
    ]  # fmt: skip


def _loads() -> dict[str, Any]:
    expression = f"max by (version) (modelwright_model_loaded_timestamp_seconds{{{_OF}}}) * 1000"
    return {
        "name": "Version loaded", "datasource": _SOURCE, "enable": True, "iconColor": "blue",
        "expr": expression, "useValueForTime": "on", "titleFormat": "version {{version}} loaded",
    }  # fmt: skip


def _placed(sections: Iterable[tuple[str, list[Panel]]]) -> list[Panel]:
    """Panels under the heading of their section, side by side."""
    found: list[Panel] = []
    top = 0
    for title, panels in sections:
        place = {"x": 0, "y": top, "w": _WIDTH, "h": 1}
        found.append({"id": len(found) + 1, "type": "row", "title": title, "collapsed": False,
                      "gridPos": place, "panels": []})  # fmt: skip
        top += 1
        a_line = 3 if len(panels) % 3 == 0 else 2
        width = _WIDTH // a_line
        for number, panel in enumerate(panels):
            across = number % a_line
            place = {"x": across * width, "y": top, "w": width, "h": _HEIGHT}
            found.append({"id": len(found) + 1, "gridPos": place, **panel})
            if across == a_line - 1 or number == len(panels) - 1:
                top += _HEIGHT
    return found


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
