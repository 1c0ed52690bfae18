"""What the dashboard asks for is what a server shows."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

import modelwright as mw
from modelwright.core.schema import Target
from modelwright.serve.grafana import dashboard, expressions, scrape_config
from modelwright.serve.metrics import Counts
from modelwright.serve.metrics_door import write
from modelwright.serve.metrics_store import join
from modelwright.serve.processes import measure
from serve.made import manifest, traffic

WORDS = {
    "sum", "max", "rate", "increase", "by", "ignoring", "group_left", "histogram_quantile", "le",
    "model", "version", "door", "class", "reason", "column", "label", "kind", "outcome", "arm",
    "family", "digest", "metric",
}  # fmt: skip


def names_in(expression: str) -> set[str]:
    bare = re.sub(r'"[^"]*"|\[[^]]*\]', "", expression)
    return set(re.findall(r"[a-zA-Z_][a-zA-Z0-9_]*", bare)) - WORDS


def shown() -> dict[str, list[dict[str, str]]]:
    """Sample -> its labels, on the page of a server with some traffic."""
    counts = Counts()
    traffic(counts)
    gpu = {"modelwright_gpu_utilization", "modelwright_gpu_memory_used_bytes",
           "modelwright_gpu_memory_total_bytes"}  # fmt: skip
    for name in gpu:
        counts.gauge(name, "GPU-1")[0] = 1
    book = join([counts.book, measure({0: os.getpid()})])
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(write(book)[1].decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def test_every_metric_and_label_of_the_dashboard_is_exposed() -> None:
    there = shown()
    document = dashboard(manifest())
    asked = expressions(document)
    assert len(asked) > 30
    for expression in asked:
        names = names_in(expression)
        assert names
        for name in names:
            assert name in there, f"{name} of {expression}"
        for name, inside in re.findall(r"(\w+)\{([^}]*)\}", expression):
            labels = dict(re.findall(r'(\w+)=~?"([^"]*)"', inside))
            fixed = {key: value for key, value in labels.items() if "$" not in value}
            matching = [s for s in there[name] if fixed.items() <= s.items()]
            assert any(labels.keys() <= sample.keys() for sample in matching), expression
        for grouped in re.findall(r"by \(([^)]*)\)", expression):
            series = [sample for name in names for sample in there[name]]
            assert any(set(grouped.split(", ")) <= sample.keys() for sample in series), expression


def test_it_is_a_dashboard_of_grafana_10() -> None:
    document = json.loads(json.dumps(dashboard(manifest())))
    assert document["schemaVersion"] >= 38 and len(document["uid"]) <= 40
    assert {v["name"] for v in document["templating"]["list"]} == {
        "datasource", "model", "version",
    }  # fmt: skip
    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert not cells & taken
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}" and panel["title"]
            refs = [target["refId"] for target in panel["targets"]]
            assert refs and len(set(refs)) == len(refs)
    text = json.dumps(panels)
    assert "Share within the limit of 7 ms" in text and 'le=\\"0.007\\"' in text


def test_a_regression_has_no_panel_of_classes() -> None:
    text = json.dumps(dashboard(manifest(Target("price", "regression", minimum=0.0, maximum=9.0))))
    assert "predicted class" not in text and "Predicted values" in text


@pytest.mark.parametrize(
    ("serve", "target"),
    [
        ({}, "127.0.0.1:8000"), ({"host": "10.0.0.5", "port": 9}, "10.0.0.5:9"),
        ({"metrics_port": 9100, "tls": {"certificate": "x", "key": "y"}}, "127.0.0.1:9100"),
        ({"tls": {"certificate": "x", "key": "y"}}, "127.0.0.1:8000"),
    ],
)  # fmt: skip
def test_the_entry_for_prometheus_is_yaml(serve: dict[str, object], target: str) -> None:
    [entry] = YAML(typ="safe").load(scrape_config("it's", serve))
    assert entry["job_name"] == "it's" and entry["static_configs"] == [{"targets": [target]}]
    assert (entry.get("scheme") == "https") == ("tls" in serve and "metrics_port" not in serve)


def test_of_a_released_model(released: mw.Released, tmp_path: Path) -> None:
    document, scrape = mw.dashboard(str(released.run / "artefact"))
    assert document["title"].startswith("shop") and "'shop'" in scrape
