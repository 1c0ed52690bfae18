"""Counting: right bins, bounded series, cheap."""

from __future__ import annotations

import math
import timeit
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tritonclient.grpc as triton

from modelwright.core.limits import Limit
from modelwright.core.schema import Schema, Target
from modelwright.pack.artefact import Answers
from modelwright.serve import metrics
from modelwright.serve.metric_names import FAMILIES
from modelwright.serve.metrics import Counts, Timing, score_edges
from modelwright.serve.settings import Source
from serve.doors import inputs, request
from serve.made import answers, manifest, served, traffic
from serve.running import free_port, serving
from serve.versions import row_of


def test_an_edge_lies_at_the_limit_and_at_the_deadline() -> None:
    counts = Counts()
    version = served(counts)
    for seconds in (0.007, 0.0070001, 4.0, 4.1):
        version.answered("predict", seconds)
    timing = counts.book.histograms["modelwright_request_seconds"]["predict", "shop", "3"]
    assert 0.007 in timing.edges and 4.0 in timing.edges
    below = {edge: sum(timing.counts[: i + 1]) for i, edge in enumerate(timing.edges)}
    assert (below[0.007], below[4.0]) == (1, 3) and sum(timing.counts) == 4
    assert math.isclose(timing.total, 8.1140001)
    version.ran(1, 0.007)
    version.ran(1, 0.0070001)
    run = counts.book.histograms["modelwright_inference_seconds"]["shop", "3"]
    place = run.edges.index(0.007)
    assert run.counts[place : place + 2] == [1, 1] and sum(run.counts) == 2


def test_every_name_is_described() -> None:
    counts = Counts()
    traffic(counts)
    book = counts.book
    tables = (("counter", book.counters), ("gauge", book.gauges), ("histogram", book.histograms))
    for kind, table in tables:
        for name, series in table.items():
            assert FAMILIES[name].kind == kind
            assert {len(labels) for labels in series} == {len(FAMILIES[name].labels)}, name


def test_scores_are_counted_alike_in_small_and_large_batches() -> None:
    rng = np.random.default_rng(0)
    shares = [*rng.random(64).round(2).tolist(), 0.0, 1.0, 0.05, 0.5, math.nan]
    one, many = Counts(), Counts()
    alone, together = served(one), served(many)
    for share in shares:
        alone.scored(answers(share))
    together.scored(answers(*shares))
    for name in ("modelwright_score",):
        a, b = one.book.histograms[name]["shop", "3"], many.book.histograms[name]["shop", "3"]
        assert a.counts == b.counts and math.isclose(a.total, b.total)
        assert sum(a.counts) == len(shares) - 1
    assert (
        one.book.counters["modelwright_predictions_total"]
        == (many.book.counters["modelwright_predictions_total"])
    )


def test_values_and_several_classes_have_scores_too() -> None:
    value = Target("price", "regression", minimum=0.0, maximum=100.0)
    counts = Counts()
    version = counts.served("house", "1", manifest(value))
    schema = Schema((), value)
    version.scored(Answers(schema, values=np.array([-5.0, 0.0, 50.0, 100.0, 1e9, math.inf])))
    timing = counts.book.histograms["modelwright_score"]["house", "1"]
    assert len(timing.edges) == 21 and sum(timing.counts) == 5
    assert (timing.counts[0], timing.counts[10], timing.counts[20], timing.counts[21]) == (
        2, 1, 1, 1,
    )  # fmt: skip
    three = Target("kind", "multiclass", "string", ("a", "b", "c"))
    version = counts.served("kind", "1", manifest(three))
    shares = np.array([[0.1, 0.2, 0.7], [0.4, 0.3, 0.3]])
    version.scored(Answers(Schema((), three), codes=np.array([2, 0]), probabilities=shares))
    assert counts.book.histograms["modelwright_score"]["kind", "1"].total == 1.1
    assert score_edges(Target("y", "regression")) == (0.0,)


def test_series_are_bounded_whatever_callers_send() -> None:
    counts = Counts()
    version = served(counts)
    for number in range(1000):
        version.odd("unknown_columns", f"column {number}" + "x" * 500)
    series = counts.book.counters["modelwright_unknown_columns_total"]
    assert len(series) == metrics.MOST_UNKNOWN + 1
    assert series["other", "shop", "3"] == [1000 - metrics.MOST_UNKNOWN]
    assert max(len(labels[0]) for labels in series) == 64
    for number in range(metrics.MOST_SERIES + 50):
        counts.request("predict", 200, "shop", str(number))
    series = counts.book.counters["modelwright_requests_total"]
    assert len(series) <= metrics.MOST_SERIES + 1 and series[("other",) * 4][0] >= 50
    assert sum(cell[0] for cell in series.values()) == metrics.MOST_SERIES + 50


def test_many_classes_share_one_series() -> None:
    levels = tuple(f"c{number}" for number in range(500))
    counts = Counts()
    counts.served("wide", "1", manifest(Target("y", "multiclass", "string", levels)))
    series = counts.book.counters["modelwright_predictions_total"]
    assert len(series) == metrics.MOST_CLASSES + 1


def test_a_retired_version_has_counters_and_no_gauges() -> None:
    counts = Counts()
    traffic(counts)
    counts.retire("shop", "3")
    gauges = [labels for series in counts.book.gauges.values() for labels in series]
    assert all(labels[-2:] != ("shop", "3") for labels in gauges)
    assert counts.book.counters["modelwright_rows_total"]["shop", "3"] == [9]
    again = served(counts)
    again.breaker[0] = 2
    assert counts.book.gauges["modelwright_breaker_state"]["shop", "3"] == [2]


def test_another_model_under_the_same_version_is_counted_by_its_own_schema() -> None:
    counts = Counts()
    first = served(counts)
    first.answered("predict", 0.006)
    first.scored(answers(0.7))
    three = Target("kind", "multiclass", "string", ("a", "b", "c"))
    limits = (Limit("latency_p95", "at_most", 0.0065),)
    other = msgspec.structs.replace(manifest(three), limits=limits)
    second = counts.served("shop", "3", other, digest="cd" * 32, deadline=4.0)
    shares = np.array([[0.1, 0.2, 0.7]])
    second.scored(Answers(Schema((), three), codes=np.array([2]), probabilities=shares))
    second.answered("predict", 0.006)
    first.answered("predict", 0.006)  # a request that was still on its way
    assert second is not first
    assert counts.served("shop", "3", other, digest="cd" * 32) is second
    timing = counts.book.histograms["modelwright_request_seconds"]["predict", "shop", "3"]
    assert 0.0065 in timing.edges and 0.007 not in timing.edges and sum(timing.counts) == 3
    assert timing.counts[timing.edges.index(0.0065)] == 2  # the first was only known as <= 0.007
    assert list(counts.book.gauges["modelwright_model_info"]) == [
        ("cd" * 6, "lightgbm", "shop", "3")
    ]
    assert list(counts.book.gauges["modelwright_limit"]) == [("latency_p95", "shop", "3")]


def test_a_histogram_of_an_array_is_that_of_its_values() -> None:
    edges = (1.0, 2.0, 3.0)
    one, many = Timing(edges, [0] * 4), Timing(edges, [0] * 4)
    values = np.array([0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 9.0])
    for value in values.tolist():
        one.observe(value)
    many.observe_all(values)
    assert one.counts == many.counts == [2, 2, 2, 1]


def test_counting_is_cheap() -> None:
    """0.4 us a request here; the bound leaves room for a busy machine."""
    version = served(Counts())
    rounds = 20_000
    best = min(timeit.repeat(lambda: version.answered("predict", 0.001), number=rounds, repeat=7))
    assert best / rounds < 4e-6


def test_a_server_says_where_the_time_of_each_door_went(project: Path) -> None:
    row, port = row_of(1.0), free_port()
    many = {"rows": [row] * 4000}  # read in a thread
    doors: dict[str, tuple[str, Any]] = {
        "typed": ("/predict", row), "careful": ("/predict?top_k=1", row),
        "large": ("/predict", many), "explained": ("/predict?explain=true", row),
        "invocations": ("/invocations", {"inputs": row}),
        "infer": ("/v2/models/shop/infer", request([row], model="shop")),
    }  # fmt: skip
    with (
        serving(project, Source(name="shop", project=str(project)), grpc_port=port) as running,
        triton.InferenceServerClient(f"127.0.0.1:{port}") as client,
    ):

        def spent() -> list[float]:
            names = ("read", "write")
            return [running.metric(f"modelwright_{name}_seconds_total") for name in names]

        before = spent()
        for name in (*doors, "grpc"):
            if name == "grpc":
                client.infer("shop", inputs([row]))
            else:
                reply = running.ask(*doors[name])
                assert reply.status == 200, reply.body
            now = spent()
            for seconds, was in zip(now, before, strict=True):
                assert 0 < seconds - was < 10, name
            before = now
        wrong = running.predict({**row, "big": "x"})
        assert wrong.status == 422 and spent()[0] > before[0] and spent()[1] == before[1]
