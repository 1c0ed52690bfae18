"""Alerting rules for Prometheus, made of the limits of a model.

They see what a server counts; quality, drift and late labels are the watcher's, which sends its
alerts by itself. Burn rates over two windows: Google, The Site Reliability Workbook, chapter 5.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from ruamel.yaml import YAML

from modelwright.core.limits import Limit, show
from modelwright.core.records import Severity

Rule = dict[str, Any]
Window = tuple[str, str, float]
"""Long window, short window, how often the budget."""
DOCS = "https://modelwright.dev/alerts/"
BEYOND_P95 = 0.05
_LEAST_ANSWERS = 100
_BURNS: dict[Severity, tuple[Window, ...]] = {
    "error": (("1h", "5m", 14.4), ("6h", "30m", 6.0)),
    "warning": (("3d", "6h", 1.0),),
}
_SLOW_BURNS: dict[Severity, tuple[Window, ...]] = {
    "error": (("1h", "5m", 6.0), ("6h", "30m", 2.0)),
    "warning": (("1d", "2h", 1.0),),
}
"""A p95 leaves a budget of 5 %, of which 14.4 times would be nearly every answer."""
_SERVER = "job, instance"
_SHARE = "{{ $value | humanizePercentage }}"


class Aims(msgspec.Struct, frozen=True):
    """What the limits of a spec say nothing about.

    Attributes:
        errors: share of requests that may fail with 5xx over three days.
        fallback: share of answers that stand-ins may give over ten minutes.
        not_finite: share of requests whose answer may be NaN or infinite over ten minutes.
        age: days after which a model is old.
        restarts: of workers in a quarter of an hour that are too many.
    """

    errors: float = 0.01
    fallback: float = 0.05
    not_finite: float = 0.001
    age: float = 90.0
    restarts: int = 3

    @classmethod
    def of(cls, limits: Mapping[str, Any]) -> Aims:
        """Those of `watch.limits` of a spec, as far as it has them.

        Example:
            >>> Aims.of({"errors": 0.001, "age": 2_592_000.0, "requests": 100})
            Aims(errors=0.001, fallback=0.05, not_finite=0.001, age=30.0, restarts=3)
        """
        given = {name: limits[name] for name in cls.__struct_fields__ if name in limits}
        if "age" in given:
            given["age"] /= 86_400
        return cls(**given)


def rule_file(model: str, limits: Iterable[Limit], aims: Aims | None = None) -> str:
    """The file for `rule_files` of prometheus.yml, as YAML.

    Args:
        model: its name.
        limits: of the spec or the manifest; write the file again when latency_p95 changes, since
            its rule names an edge of the histogram.
        aims: further bounds.

    Example:
        >>> text = rule_file("shop", [Limit("latency_p95", "at_most", 0.007)])
        >>> 'le="0.007"' in text
        True
    """
    aims = aims or Aims()
    whole = [limit for limit in limits if limit.slice_column is None and not limit.relative]
    bounds = {limit.metric: limit.bound for limit in whole}
    groups = {
        "latency": _latency(model, bounds),
        "errors": _errors(model, aims),
        "throughput": _throughput(model, bounds),
        "memory": _memory(model, bounds),
        "model": _model(model, aims),
        "server": _server(model, aims),
    }
    found = {
        "groups": [
            {"name": f"modelwright-{model}-{name}", "rules": rules}
            for name, rules in groups.items()
            if rules
        ]
    }
    sink = io.StringIO()
    yaml = YAML()
    yaml.width = 4096
    yaml.dump(found, sink)
    return f"# Written by modelwright from the limits of {_one_line(model)}.\n{sink.getvalue()}"


def expressions(text: str) -> list[str]:
    """Every PromQL expression of a rule file."""
    found = YAML(typ="safe").load(text)
    return [rule["expr"] for group in found["groups"] for rule in group["rules"]]


def _latency(model: str, bounds: dict[str, float]) -> list[Rule]:
    bound = bounds.get("latency_p95")
    if bound is None:
        return []
    of = _of(model)

    def slow(window: str) -> str:
        within = f'modelwright_request_seconds_bucket{{{of},le="{bound!r}"}}[{window}]'
        every = f"modelwright_request_seconds_count{{{of}}}[{window}]"
        return f"1 - sum by (version) (rate({within})) / sum by (version) (rate({every}))"

    def enough(window: str) -> str:
        every = f"modelwright_request_seconds_count{{{of}}}[{window}]"
        return f"sum by (version) (increase({every})) >= {_LEAST_ANSWERS}"

    limit = show("latency_p95", bound)
    return [
        _rule(
            "ModelwrightSlow", _burn(slow, enough, windows, BEYOND_P95), severity, model,
            "latency", wait="2m",
            summary=f"{_SHARE} of answers of {model} {{{{ $labels.version }}}} took "
            f"longer than {limit}",
            text=f"The limit on latency_p95 is {limit}: 5 % of answers may take longer. "
            f"{_told(windows, BEYOND_P95)} did. Look at the time of runs "
            "and at the queue: a slow graph points to the version, a long queue to the load.",
        )
        for severity, windows in _SLOW_BURNS.items()
    ]  # fmt: skip


def _errors(model: str, aims: Aims) -> list[Rule]:
    of = _of(model)

    def failed(window: str) -> str:
        bad = f'modelwright_requests_total{{{of},code=~"5.."}}[{window}]'
        return f"sum(rate({bad})) / sum(rate(modelwright_requests_total{{{of}}}[{window}]))"

    def enough(window: str) -> str:
        return f"sum(increase(modelwright_requests_total{{{of}}}[{window}])) >= {_LEAST_ANSWERS}"

    return [
        _rule(
            "ModelwrightErrors", _burn(failed, enough, windows, aims.errors), severity,
            model, "errors", wait="2m",
            summary=f"{_SHARE} of requests to {model} failed",
            text=f"{_told(windows, aims.errors)} of requests were answered with 5xx. "
            "modelwright_errors_total has the reasons; a version that is to blame is taken back "
            "with modelwright rollback.",
        )
        for severity, windows in _BURNS.items()
    ]  # fmt: skip


def _throughput(model: str, bounds: dict[str, float]) -> list[Rule]:
    bound = bounds.get("throughput")
    if bound is None:
        return []
    asked = f"sum by ({_SERVER}) (rate(modelwright_requests_total{{{_of(model)}}}[5m]))"
    refused = (
        f'sum by ({_SERVER}) (rate(modelwright_requests_total{{{_of(model)},code="503"}}[5m]))'
    )
    limit = show("throughput", bound)
    return [
        _rule(
            "ModelwrightThroughputBroken", f"{refused} > 0.01 * {asked} and {asked} < {bound!r}",
            "error", model, "throughput", wait="5m",
            summary=f"{{{{ $labels.instance }}}} refuses requests to {model} below {limit}",
            text=f"The limit on throughput is {limit}, and with less asked of it the server had no "
            "room for more than 1 % of requests. Something else uses its cores, or the breaker is "
            "open.",
        ),
        _rule(
            "ModelwrightDemand", f"{asked} > {bound!r}", "warning", model, "throughput", wait="10m",
            summary=f"{{{{ $labels.instance }}}} is asked for more than {limit} of {model}",
            text="More requests come than the release was tested for. Add a server, or let callers "
            "send several rows at once.",
        ),
    ]  # fmt: skip


def _memory(model: str, bounds: dict[str, float]) -> list[Rule]:
    bound = bounds.get("memory")
    if bound is None:
        return []
    used = f"max by ({_SERVER}) (modelwright_memory_bytes)"
    workers = f"max by ({_SERVER}) (modelwright_workers)"
    versions = f"count by ({_SERVER}) (modelwright_model_info{{{_of(model)}}})"
    others = f"modelwright_model_info{{model!={_quoted(model)}}}"
    limit = show("memory", bound)
    return [
        _rule(
            "ModelwrightMemory",
            f"{used} > {bound!r} * {workers} * {versions} unless on ({_SERVER}) {others}",
            "error", model, "memory", wait="10m",
            summary=f"{{{{ $labels.instance }}}} uses more memory for {model} than its limit",
            text=f"The limit is {limit} for one worker and one version; this server may use as "
            "often as much as it has workers and loaded versions. Memory that grows with time is "
            "a leak. Servers with several models are left out.",
        )
    ]  # fmt: skip


def _model(model: str, aims: Aims) -> list[Rule]:
    of = _of(model)
    stood_in = f"sum(rate(modelwright_fallback_total{{{of}}}[10m]))"
    answered = f'sum(rate(modelwright_requests_total{{{of},code="200"}}[10m]))'
    no_number = f"sum(rate(modelwright_not_finite_total{{{of}}}[10m]))"
    asked = f"sum(rate(modelwright_requests_total{{{of}}}[10m]))"
    return [
        _rule(
            "ModelwrightNotServed", f"absent(modelwright_model_info{{{of}}})", "error", model,
            "not-served", wait="5m", summary=f"No server has {model} loaded",
            text="Prometheus reaches no server that has it: none runs, its address has changed, or "
            "the model could not be loaded.",
        ),
        _rule(
            "ModelwrightBreakerOpen",
            f"max by (version) (modelwright_breaker_state{{{of}}}) == 2", "error", model,
            "breaker", wait="1m",
            summary=f"Version {{{{ $labels.version }}}} of {model} is taken out",
            text="Too many of its answers failed or were slow; stand-ins answer. It is tried again "
            "by itself. If it stays out, take the version back.",
        ),
        _rule(
            "ModelwrightFallback", f"{stood_in} / {answered} > {aims.fallback:g}", "warning", model,
            "fallback", wait="5m",
            summary=f"{_SHARE} of answers of {model} come from stand-ins",
            text="The version before, the baseline or the constant answers in the place of the "
            "model. modelwright_errors_total says why.",
        ),
        _rule(
            "ModelwrightNotFinite", f"{no_number} / {asked} > {aims.not_finite:g}", "error", model,
            "not-finite", wait="5m",
            summary=f"{_SHARE} of requests of {model} had an answer that is no finite number",
            text="Nobody got it: a stand-in answered, or an error was told. Look at what such "
            "rows have in common; if no data changed, take the version back.",
        ),
        _rule(
            "ModelwrightOld",
            f"min(modelwright_model_age_seconds{{{of}}}) > {aims.age * 86_400:.0f}", "warning",
            model, "age", wait="1h",
            summary=f"The newest version of {model} is older than {aims.age:g} days",
            text="Train it again, or find out why retraining has not released anything.",
        ),
    ]  # fmt: skip


def _server(model: str, aims: Aims) -> list[Rule]:
    ours = f"and on ({_SERVER}) modelwright_model_info{{{_of(model)}}}"
    restarts = f"sum by ({_SERVER}) (increase(modelwright_worker_restarts_total[15m]))"
    dropped = f"sum by ({_SERVER}, reason) (increase(modelwright_journal_dropped_total[15m]))"
    unwritable = f"max by ({_SERVER}) (modelwright_journal_unwritable)"
    return [
        _rule(
            "ModelwrightWorkerRestarts", f"{restarts} > {aims.restarts - 0.5:g} {ours}", "warning",
            model, "restarts",
            summary="Workers of {{ $labels.instance }} keep dying",
            text="They are started again, and open requests of each are lost. Standard error of "
            "the server says why; a kill without a word is mostly the kernel's, for memory.",
        ),
        _rule(
            "ModelwrightJournalDrops", f"{dropped} > 0 {ours}", "warning", model, "journal",
            summary="The journal of {{ $labels.instance }} loses rows ({{ $labels.reason }})",
            text="queue: more answers come than can be written; sample fewer. write: the disk is "
            "full or the store is away. Drift and quality are judged by what is left.",
        ),
        _rule(
            "ModelwrightJournalUnwritable", f"{unwritable} > 0 {ours}", "warning", model, "journal",
            wait="5m",
            summary="The journal of {{ $labels.instance }} cannot be written",
            text="Its files cannot be written where serve.journal.to says, and what waits too long "
            "is lost. Standard error of the server says why.",
        ),
    ]  # fmt: skip


def _burn(
    share: Callable[[str], str],
    enough: Callable[[str], str],
    windows: Iterable[Window],
    budget: float,
) -> str:
    """Over the long window, so that it matters, and over the short one, so that it is not over."""
    return " or ".join(
        f"(({share(long)}) > {budget * burn:g} and ({share(short)}) > {budget * burn:g} "
        f"and {enough(long)})"
        for long, short, burn in windows
    )


def _told(windows: Iterable[Window], budget: float) -> str:
    told = [
        f"over {long} and over {short} more than {budget * burn:.3%}"
        for long, short, burn in windows
    ]
    text = ", or ".join(told)
    return re.sub(r"\.?0+%", " %", text[0].upper() + text[1:])


def _rule(
    alert: str, expr: str, severity: Severity, model: str, about: str, *, summary: str, text: str,
    wait: str = "",
) -> Rule:  # fmt: skip
    held = {"for": wait} if wait else {}
    return {
        "alert": alert,
        "expr": expr,
        **held,
        "labels": {"severity": severity, "model": model},
        "annotations": {"summary": summary, "description": text, "runbook_url": f"{DOCS}#{about}"},
    }


def _of(model: str) -> str:
    return f"model={_quoted(model)}"


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _one_line(text: str) -> str:
    return " ".join(text.split())
