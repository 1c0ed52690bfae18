"""The rules ask for what a server shows; with promtool, they also alarm when they should."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from away import away
from modelwright.core.limits import Limit
from modelwright.serve.metric_names import FAMILIES
from modelwright.watch.rules import DOCS, Aims, expressions, rule_file
from serve.made import LIMITS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "alerts.md"
PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool")
WORDS = {
    "sum", "max", "min", "count", "rate", "increase", "absent", "by", "on", "and", "or", "unless",
    "version", "job", "instance", "reason",
}  # fmt: skip
NAMES = {
    f"{family.name}{end}": {*family.labels, *(["le"] if end == "_bucket" else [])}
    for family in FAMILIES.values()
    for end in (("_bucket", "_count", "_sum") if family.kind == "histogram" else ("",))
}


def rules(text: str) -> list[dict[str, Any]]:
    return [rule for group in YAML(typ="safe").load(text)["groups"] for rule in group["rules"]]


def test_every_metric_and_label_is_one_of_a_server() -> None:
    found = expressions(rule_file("shop", LIMITS))
    assert len(found) == 15
    for expression in found:
        bare = re.sub(r'"[^"]*"', '""', expression)
        for opening, closing in ("()", "{}", "[]"):
            assert bare.count(opening) == bare.count(closing), expression
        for name, inside in re.findall(r"(modelwright_\w+)(?:\{([^}]*)\})?", bare):
            labels = set(re.findall(r"(\w+)(?:=~|!=|=)", inside))
            assert labels <= NAMES[name], expression
        outside = re.sub(r"\{[^}]*\}|\[\w+\]", "", bare)
        words = set(re.findall(r"[a-z_]\w*", outside)) - WORDS
        assert words and words <= set(NAMES), expression
        depth = 0
        for letter in outside:
            depth += {"(": 1, ")": -1}.get(letter, 0)
            assert depth >= 0, expression


def test_limits_become_numbers() -> None:
    text = rule_file("shop", LIMITS, Aims(errors=0.02, age=30))
    assert 'le="0.007"' in text and "< 500.0" in text and "> 500000000.0 *" in text
    assert "> 0.288" in text and "> 2592000" in text
    assert not {"latency", "throughput", "memory"} & {
        group["name"].removeprefix("modelwright-shop-")
        for group in YAML(typ="safe").load(rule_file("shop", ()))["groups"]
    }
    of_a_slice = Limit("latency_p95", "at_most", 0.007, relative=True)
    assert "le=" not in rule_file("shop", [of_a_slice])


def test_no_two_rules_are_the_same_and_each_has_its_page() -> None:
    found = rules(rule_file("shop", LIMITS))
    keys = [(rule["alert"], rule["labels"]["severity"]) for rule in found]
    assert len(set(keys)) == len(keys)
    headings = re.findall(r"^#+ (.*)$", PAGE.read_text(encoding="utf-8"), flags=re.M)
    anchors = {re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") for heading in headings}
    for rule in found:
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert page == DOCS and anchor in anchors, rule["alert"]
        assert rule["labels"]["model"] == "shop" and rule["annotations"]["description"]


def test_names_are_quoted() -> None:
    found = expressions(rule_file('a"b\n', LIMITS))
    assert all("\n" not in expression for expression in found)
    assert any(r'model="a\"b\n"' in expression for expression in found)


CASES = {
    # of 1,000 answers a minute, 400 within 7 ms: 60 % are slow
    "slow": ({
        'modelwright_request_seconds_bucket{model="shop",version="3",le="0.007"}': "0+400x200",
        'modelwright_request_seconds_count{model="shop",version="3"}': "0+1000x200"},
             {("ModelwrightSlow", "error"), ("ModelwrightSlow", "warning")}),
    "fast enough": ({
        'modelwright_request_seconds_bucket{model="shop",version="3",le="0.007"}': "0+960x200",
        'modelwright_request_seconds_count{model="shop",version="3"}': "0+1000x200"}, set()),
    "few": ({'modelwright_request_seconds_bucket{model="shop",version="3",le="0.007"}': "0+0x200",
             'modelwright_request_seconds_count{model="shop",version="3"}': "0 0 9+0x200"}, set()),
    "errors": ({'modelwright_requests_total{model="shop",code="200",instance="a"}': "0+800x200",
                'modelwright_requests_total{model="shop",code="500",instance="a"}': "0+200x200"},
               {("ModelwrightErrors", "error"), ("ModelwrightErrors", "warning")}),
    "refused": ({'modelwright_requests_total{model="shop",code="200",instance="a"}': "0+900x200",
                 'modelwright_requests_total{model="shop",code="503",instance="a"}': "0+100x200"},
                {("ModelwrightErrors", "error"), ("ModelwrightErrors", "warning"),
                 ("ModelwrightThroughputBroken", "error")}),
    "demand": ({'modelwright_requests_total{model="shop",code="200",instance="a"}': "0+36000x200"},
               {("ModelwrightDemand", "warning")}),
    # two workers and one version may use 2 x 500 MB
    "memory": ({'modelwright_memory_bytes{instance="a"}': "1100000000x200",
                'modelwright_workers{instance="a"}': "2x200"}, {("ModelwrightMemory", "error")}),
    "memory of two": ({'modelwright_memory_bytes{instance="a"}': "900000000x200",
                       'modelwright_workers{instance="a"}': "2x200"}, set()),
    "memory of others": ({
        'modelwright_memory_bytes{instance="a"}': "1100000000x200",
        'modelwright_workers{instance="a"}': "2x200",
        'modelwright_model_info{model="other",version="1",instance="a"}': "1x200"}, set()),
    "breaker": ({'modelwright_breaker_state{model="shop",version="3"}': "2x200"},
                {("ModelwrightBreakerOpen", "error")}),
    "fallback": ({'modelwright_fallback_total{model="shop",kind="previous"}': "0+10x200",
                  'modelwright_requests_total{model="shop",code="200",instance="a"}': "0+100x200"},
                 {("ModelwrightFallback", "warning")}),
    "no number": ({'modelwright_not_finite_total{model="shop",version="3"}': "0+10x200",
                   'modelwright_requests_total{model="shop",code="200",instance="a"}': "0+999x200"},
                  {("ModelwrightNotFinite", "error")}),
    "old": ({'modelwright_model_age_seconds{model="shop",version="3"}': "7800000+60x200"},
            {("ModelwrightOld", "warning")}),
    "restarts": ({'modelwright_worker_restarts_total{instance="a"}': "0+1x200"},
                 {("ModelwrightWorkerRestarts", "warning")}),
    "restarts elsewhere": ({'modelwright_worker_restarts_total{instance="b"}': "0+1x200"}, set()),
    "journal": ({'modelwright_journal_dropped_total{instance="a",reason="queue"}': "0+1x200"},
                {("ModelwrightJournalDrops", "warning")}),
    "journal cannot be written": ({'modelwright_journal_unwritable{instance="a"}': "1x200"},
                                  {("ModelwrightJournalUnwritable", "warning")}),
    "not served": ({}, {("ModelwrightNotServed", "error")}),
}  # fmt: skip


@pytest.mark.slow
def test_promtool_takes_them_and_they_alarm_when_they_should(tmp_path: Path) -> None:
    if PROMTOOL is None:
        away("no promtool in PATH or $PROMTOOL (apt-get install prometheus)")
    (tmp_path / "rules.yml").write_text(rule_file("shop", LIMITS))
    run = [PROMTOOL, "check", "rules", "rules.yml"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    info = 'modelwright_model_info{model="shop",version="3",instance="a"}'
    keys = {
        (rule["alert"], rule["labels"]["severity"]) for rule in rules(rule_file("shop", LIMITS))
    }
    assert {key for _, wanted in CASES.values() for key in wanted} == keys
    tests = []
    for name, (series, wanted) in CASES.items():
        given = {**series, **({} if name == "not served" else {info: "1x200"})}
        values = [{"series": key, "values": value} for key, value in given.items()]
        # counted by severity: what else the alert is labelled with is Prometheus' business
        asked = [
            {"expr": f'count(ALERTS{{alertstate="firing",alertname="{alert}",severity="{level}"}})',
             "eval_time": "180m",
             "exp_samples": [{"labels": "{}", "value": 1}] if (alert, level) in wanted else []}
            for alert, level in sorted(keys)
        ]  # fmt: skip
        tests.append({"interval": "1m", "name": name, "input_series": values,
                      "promql_expr_test": asked})  # fmt: skip
    with (tmp_path / "tests.yml").open("w") as sink:
        YAML().dump({"rule_files": ["rules.yml"], "tests": tests}, sink)
    run = [PROMTOOL, "test", "rules", "tests.yml"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
