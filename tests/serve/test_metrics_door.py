"""The page is read by Prometheus' own parsers, and other servers' dashboards find their names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from modelwright.serve.metric_names import ALIASES, FAMILIES
from modelwright.serve.metrics import Counts
from modelwright.serve.metrics_door import OPENMETRICS, TEXT, page, write
from modelwright.serve.metrics_store import Keeper, new_folder, remove_folder
from serve.made import served, traffic

NOW = 1_700_000_100.0
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@pytest.fixture
def folder() -> Iterator[Path]:
    counts, found = Counts(), new_folder()
    keeper = Keeper(found, counts)
    traffic(counts)
    keeper.save()
    yield found
    remove_folder(found)


def values(families: Iterator[Metric]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def test_both_formats_say_the_same(folder: Path) -> None:
    kind, text = page(folder, now=NOW)
    assert kind == TEXT
    plain = values(text_string_to_metric_families(text.decode()))
    kind, text = page(folder, OPEN, now=NOW)
    assert kind == OPENMETRICS
    rich = values(openmetrics.text_string_to_metric_families(text.decode()))
    moving = ("process_", "nv_", "modelwright_memory")
    same = {key for key in plain if not key[0].startswith(moving)}
    assert {key: plain[key] for key in same} == {key: rich[key] for key in same}
    assert len(same) > 150
    labels = (("door", "predict"), ("le", "0.007"), ("model", "shop"), ("version", "3"))
    assert plain["modelwright_request_seconds_bucket", labels] == 1
    version = (("model", "shop"), ("version", "3"))
    assert plain["modelwright_model_age_seconds", version] == 100
    assert plain["modelwright_limit", (("metric", "latency_p95"), *version)] == 0.007
    assert plain["modelwright_breaker_state", version] == 1
    assert plain["process_resident_memory_bytes", (("worker", "0"),)] > 1e7


def test_exemplars_name_the_trace(folder: Path) -> None:
    _, text = page(folder, OPEN, now=NOW)
    families = openmetrics.text_string_to_metric_families(text.decode())
    found = [s.exemplar for f in families for s in f.samples if s.exemplar]
    assert [(e.labels, e.value) for e in found] == [({"trace_id": "4bf92f3577b34da6"}, 0.02)]
    assert b"trace_id" not in page(folder)[1]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", TEXT), ("*/*", TEXT), ("text/plain", TEXT), (OPEN, OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.9", TEXT),
        ("application/openmetrics-text;q=0.8,text/plain;q=0.3,*/*;q=0.1", OPENMETRICS),
        ("application/openmetrics-text;q=nan", TEXT), (",;;=,\x00" * 5000, TEXT),
    ],
)  # fmt: skip
def test_the_format_is_that_asked_for(folder: Path, accept: str, kind: bytes) -> None:
    assert page(folder, accept)[0] == kind


def test_other_servers_names_are_there(folder: Path) -> None:
    text = page(folder, OPEN)[1].decode()
    found = values(openmetrics.text_string_to_metric_families(text))
    assert "\nnv_inference_count{" in page(folder)[1].decode()
    version = (("model", "shop"), ("version", "3"))
    assert found["model_infer_request_success_total", version] == 5
    assert found["model_infer_request_failure_total", version] == 5
    assert found["rest_server_requests_total", (("path", "predict"), ("status_code", "200"))] == 2
    assert found["nv_inference_request_success", version] == 5
    assert found["nv_inference_count", version] == 4
    assert found["nv_inference_exec_count", version] == 1
    assert found["nv_inference_request_duration_us", version] == pytest.approx(28_000)
    assert found["nv_inference_queue_duration_us", version] == pytest.approx(1000)
    assert found["nv_cache_num_misses_per_model", version] == 2
    assert found["model_infer_request_duration_count", version] == 5
    rejected = (("model", "shop"), ("reason", "REJECTED"), ("version", "3"))
    assert found["nv_inference_request_failure", rejected] == 1
    http = "rest_server_request_duration_seconds_count"
    assert found[http, (("path", "predict"),)] == 2 and (http, (("path", "grpc"),)) not in found
    assert found["request_predict_seconds_count", (("model_name", "shop"),)] == 1
    handled = {k: v for k, v in found.items() if k[0] == "grpc_server_handled_total"}
    assert sorted(handled.values()) == [1, 1]
    names = {name for name, _ in found}
    gpu = {name for name in ALIASES if "gpu" in name}
    for name in set(ALIASES) - gpu:
        assert name in names or f"{name}_count" in names, name


def test_labels_that_want_to_break_out_stay_inside() -> None:
    counts = Counts()
    hostile = ('a"} 1\nevil_total 5', "back\\slash\\", "\ud800 lone", "\x00\x1b[31m")
    version = served(counts)
    for name in hostile:
        version.odd("unknown_columns", name)
    for asked in (False, True):
        text = write(counts.book, openmetrics=asked)[1].decode()
        assert not [line for line in text.splitlines() if line.startswith("evil")]
        parse = openmetrics.text_string_to_metric_families if asked else (
            text_string_to_metric_families
        )  # fmt: skip
        columns = {dict(key[1]).get("column") for key in values(parse(text))}
        assert {hostile[0], hostile[1]} <= columns


def test_every_family_says_what_it_is(folder: Path) -> None:
    for family in FAMILIES.values():
        assert tuple(sorted(family.labels)) == family.labels, family.name
    text = page(folder)[1].decode()
    families = list(text_string_to_metric_families(text))
    assert all(f.documentation and f.type != "unknown" for f in families)
    assert len({f.name for f in families}) == len(families)
    assert os.linesep not in text.splitlines()[0]
