"""What a worker counts, in plain Python numbers on the event loop's thread: no locks, no objects
of a metrics library. `serve.metrics_store` joins the workers, `serve.metrics_door` shows them.
"""

from __future__ import annotations

import math
import sys
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np

from modelwright.core.intake import Array
from modelwright.core.limits import Limit
from modelwright.core.records import Manifest
from modelwright.core.schema import Schema, Target
from modelwright.core.version import __version__
from modelwright.pack.artefact import Answers
from modelwright.serve.metric_names import REASONS

EDGES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
RUN_EDGES = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)
BATCH_EDGES = tuple(float(2**power) for power in range(13))
SCORE_BINS = 20
MOST_SERIES = 2000
"""Series of one metric; what comes after shares one whose labels are all `other`."""
MOST_UNKNOWN = 20
"""Unknown columns that are counted by their name; callers choose these names."""
MOST_CLASSES = 100
FEW = 8
"""Rows up to which a Python loop is faster than NumPy (measured)."""

Labels = tuple[str, ...]
Cell = list[float]
"""One number, in a list so that whoever counts can hold on to it."""
STATES = {"closed": 0.0, "half_open": 1.0, "open": 2.0}


class Timing(msgspec.Struct, array_like=True):
    """A histogram: `counts[i]` values above `edges[i - 1]` and up to `edges[i]`, not cumulative.

    `exemplars`: bucket -> (trace id, value, unix time) of the last traced value in it.

    Example:
        >>> found = Timing((1.0, 2.0), [0, 0, 0])
        >>> found.observe(1.0)
        >>> found.observe(5.0)
        >>> found.counts, found.total
        ([1, 0, 1], 6.0)
    """

    edges: tuple[float, ...]
    counts: list[int]
    total: float = 0.0
    exemplars: dict[int, tuple[str, float, float]] = {}

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.edges, value)] += 1
        self.total += value

    def observe_all(self, values: Any) -> None:
        """Count a float array of values, none of them NaN."""
        places = np.searchsorted(self.edges, values, side="left")
        for place, count in enumerate(np.bincount(places).tolist()):
            self.counts[place] += count
        self.total += float(values.sum())

    def move_to(self, edges: tuple[float, ...]) -> None:
        """Take other edges; what was counted stays below the edge that it was below."""
        counts = [0] * (len(edges) + 1)
        for edge, count in zip((*self.edges, math.inf), self.counts, strict=True):
            counts[bisect_left(edges, edge)] += count
        self.edges, self.counts, self.exemplars = edges, counts, {}


class Book(msgspec.Struct):
    """All numbers of a worker: metric -> values of its labels -> number."""

    counters: dict[str, dict[Labels, Cell]] = {}
    gauges: dict[str, dict[Labels, Cell]] = {}
    histograms: dict[str, dict[Labels, Timing]] = {}


class Counts:
    """What one worker counts. Not safe over threads: call it on the event loop's thread only.

    Attributes:
        in_flight, queue_depth: `counts.in_flight[0] += 1` when a request begins, and so on.
        log_dropped: lines that the access log had no room for.

    Example:
        >>> counts = Counts()
        >>> counts.request("health", 200)
        >>> counts.book.counters["modelwright_requests_total"]
        {('200', 'health', '', ''): [1]}
    """

    def __init__(self) -> None:
        self.book = Book()
        self.in_flight = self.gauge("modelwright_in_flight")
        self.queue_depth = self.gauge("modelwright_queue_depth")
        self.log_dropped = self.counter("modelwright_access_log_dropped_total")
        self.counter("modelwright_worker_restarts_total")
        self.gauge("modelwright_workers")[0] = 1
        python = ".".join(map(str, sys.version_info[:3]))
        self.gauge("modelwright_info", python, __version__)[0] = 1
        self._served: dict[tuple[str, str], tuple[str, Served]] = {}

    def counter(self, name: str, *labels: str) -> Cell:
        """The cell of a counter; `cell[0] += 1` counts. Labels are in the order of the family."""
        return _cell(self.book.counters, name, labels)

    def gauge(self, name: str, *labels: str) -> Cell:
        """The cell of a gauge; `cell[0] = 2` sets it."""
        return _cell(self.book.gauges, name, labels)

    def histogram(self, name: str, edges: tuple[float, ...], *labels: str) -> Timing:
        """The histogram of these labels, made on first use; other edges replace those before."""
        series = self.book.histograms.setdefault(name, {})
        labels = _bounded(series, labels)
        if labels not in series:
            series[labels] = Timing(edges, [0] * (len(edges) + 1))
        elif series[labels].edges != edges:
            series[labels].move_to(edges)
        return series[labels]

    def request(self, door: str, code: int, model: str = "", version: str = "") -> None:
        """Count a request that no version answered with a prediction: pages, health, errors.

        Args:
            door: a name out of a fixed set (`predict`, `infer`, `grpc`, `health`, `metrics`,
                `other`), never a path that a caller chose.
            code: the HTTP code, of gRPC the one that means the same.
            model, version: of those that are served; empty where none was found.
        """
        self.counter("modelwright_requests_total", str(code), door, model, version)[0] += 1

    def failed(
        self, door: str, code: int, reason: str = "", model: str = "", version: str = ""
    ) -> None:
        """Count a request that was refused or failed; `reason` defaults to that of the code."""
        self.request(door, code, model, version)
        slug = reason or REASONS.get(code, "other")
        self.counter("modelwright_errors_total", f"{code // 100}xx", door, model, slug)[0] += 1

    def reload(self, model: str, outcome: str) -> None:
        """Count a change of the served version: `ok`, `refused`, `failed`, `back`."""
        self.counter("modelwright_reloads_total", model, outcome)[0] += 1

    def served(
        self,
        model: str,
        version: str,
        manifest: Manifest,
        *,
        digest: str = "",
        deadline: float | None = None,
        made: float | None = None,
    ) -> Served:
        """The counts of one version, made when it is loaded; the same object for the same digest.

        Args:
            model, version: as they are served.
            manifest: of the artefact; its limits become edges and lines on dashboards.
            digest: sha256 of the manifest, for `modelwright_model_info`.
            deadline: seconds that a request may take, an edge of its histogram.
            made: unix time at which it was packed, for its age.
        """
        key = (model, version)
        known, found = self._served.get(key, ("", None))
        if found is None or known != digest:  # a folder is served under one version, whatever it is
            self.retire(*key)
            found = Served(self, key, manifest.schema, manifest.limits, deadline)
            self._served[key] = digest, found
        info = self.gauge("modelwright_model_info", digest[:12], manifest.family, *key)
        info[0] = 1
        self.gauge("modelwright_model_loaded_timestamp_seconds", *key)[0] = time.time()
        if made is not None:
            self.gauge("modelwright_model_made_timestamp_seconds", *key)[0] = made
        for limit in manifest.limits:
            if limit.slice_column is None and not limit.relative:
                self.gauge("modelwright_limit", limit.metric, *key)[0] = limit.bound
        found.breaker = self.gauge("modelwright_breaker_state", *key)
        return found

    def retire(self, model: str, version: str) -> None:
        """Forget the gauges of a version that is no longer loaded; its counters stay."""
        for series in self.book.gauges.values():
            for labels in [labels for labels in series if labels[-2:] == (model, version)]:
                del series[labels]


class Served:
    """The counts of one version of a model, with every cell at hand. Made by `Counts.served`.

    Attributes:
        breaker: `served.breaker[0] = STATES["open"]`.
        hits, misses: of the cache.
        not_finite: requests whose answer had a NaN or an infinity.
        reading, writing: seconds spent on requests and on answers.
    """

    def __init__(
        self,
        counts: Counts,
        key: tuple[str, str],
        schema: Schema,
        limits: Iterable[Limit],
        deadline: float | None,
    ) -> None:
        self._counts, self._key = counts, key
        bounds = {limit.bound for limit in limits if limit.metric == "latency_p95"}
        run_edges = tuple(sorted({*RUN_EDGES, *bounds}))
        bounds |= {deadline} if deadline is not None else set()
        self._edges = tuple(sorted({*EDGES, *bounds}))
        self._run = counts.histogram("modelwright_inference_seconds", run_edges, *key)
        self._batch = counts.histogram("modelwright_batch_rows", BATCH_EDGES, *key)
        self._score = counts.histogram("modelwright_score", score_edges(schema.target), *key)
        self._rows, self._queue, self.reading, self.writing, self.hits, self.misses = (
            counts.counter(f"modelwright_{name}_total", *key)
            for name in ("rows", "queue_seconds", "read_seconds", "write_seconds", "cache_hits",
                         "cache_misses")
        )  # fmt: skip
        self.not_finite = counts.counter("modelwright_not_finite_total", *key)
        self.breaker = counts.gauge("modelwright_breaker_state", *key)
        self._doors: dict[str, tuple[Timing, Cell]] = {}
        self._arms: dict[str, Cell] = {}
        self._unknown: set[str] = set()
        self._odd: dict[tuple[str, str], Cell] = {}
        self._classes = self._class_cells(schema.target)

    def answered(
        self,
        door: str,
        seconds: float,
        rows: int = 1,
        *,
        arm: str = "champion",
        fallback: str = "",
        trace: str = "",
    ) -> None:
        """Count an answer: once a request, when it is written.

        Args:
            door: see `Counts.request`.
            seconds: from the first byte of the request.
            rows: how many it had.
            arm, fallback: see `messages.Answered`.
            trace: id of the trace when it is sampled; it becomes an exemplar.
        """
        try:
            timing, good = self._doors[door]
        except KeyError:
            timing, good = self._door(door)
        place = bisect_left(timing.edges, seconds)
        timing.counts[place] += 1
        timing.total += seconds
        good[0] += 1
        self._rows[0] += rows
        try:
            self._arms[arm][0] += 1
        except KeyError:
            self._arms[arm] = self._counts.counter("modelwright_arm_total", arm, *self._key)
            self._arms[arm][0] += 1
        if fallback:
            self._counts.counter("modelwright_fallback_total", fallback, *self._key)[0] += 1
        if trace:
            timing.exemplars[place] = (trace, seconds, time.time())

    def failed(self, door: str, code: int, reason: str = "") -> None:
        """Count a request that this version refused or failed."""
        self._counts.failed(door, code, reason, *self._key)

    def ran(self, rows: int, seconds: float, waited: float = 0.0) -> None:
        """Count a run of the graph: once a batch.

        Args:
            rows: in the batch.
            seconds: that the run took.
            waited: seconds that its requests waited for it, added up.
        """
        run, batch = self._run, self._batch
        run.counts[bisect_left(run.edges, seconds)] += 1
        run.total += seconds
        batch.counts[bisect_left(BATCH_EDGES, rows)] += 1
        batch.total += rows
        self._queue[0] += waited

    def scored(self, answers: Answers) -> None:
        """Count scores and predicted classes: once a batch."""
        shares, codes, timing = answers.probabilities, answers.codes, self._score
        found = shares if shares is not None else answers.raw
        if len(found) > FEW:
            self._scored_many(found, codes)
            return
        classes = self._classes
        for score in found.tolist():
            if shares is not None:
                score = score[1] if len(score) == 2 else max(score)
            if -math.inf < score < math.inf:  # and not NaN
                timing.counts[bisect_left(timing.edges, score)] += 1
                timing.total += score
        if codes is not None:
            for code in codes.tolist():
                classes[code][0] += 1

    def odd(self, what: str, column: str, count: int = 1) -> None:
        """Count values that are not as in training.

        Args:
            what: `unseen_categories`, `out_of_range`, `missing` or `unknown_columns`.
            column: its name; of unknown columns only the first 20 names are kept.
            count: how many values.
        """
        if what == "unknown_columns":
            if column not in self._unknown and len(self._unknown) >= MOST_UNKNOWN:
                column = "other"
            self._unknown.add(column)
            column = column[:64]
        try:
            cell = self._odd[what, column]
        except KeyError:
            cell = self._counts.counter(f"modelwright_{what}_total", column, *self._key)
            self._odd[what, column] = cell
        cell[0] += count

    def odds(self, what: str, found: Mapping[str, int]) -> None:
        """Several columns at once, such as `Question.unseen`; see `odd`."""
        for column, count in found.items():
            self.odd(what, column, count)

    def shadowed(self, rows: int, disagreements: int) -> None:
        """Count rows that this version answered as a shadow, and those it answered otherwise."""
        self._counts.counter("modelwright_shadow_rows_total", *self._key)[0] += rows
        cell = self._counts.counter("modelwright_shadow_disagreements_total", *self._key)
        cell[0] += disagreements
        self._counts.counter("modelwright_arm_total", "shadow", *self._key)[0] += 1

    def _scored_many(self, found: Array, codes: Array | None) -> None:
        if found.ndim == 2:
            found = found[:, 1] if found.shape[1] == 2 else found.max(axis=1)
        self._score.observe_all(found[np.isfinite(found)])
        if codes is not None:
            for code, count in enumerate(np.bincount(codes).tolist()):
                self._classes[code][0] += count

    def _door(self, door: str) -> tuple[Timing, Cell]:
        found = (
            self._counts.histogram("modelwright_request_seconds", self._edges, door, *self._key),
            self._counts.counter("modelwright_requests_total", "200", door, *self._key),
        )
        self._doors[door] = found
        return found

    def _class_cells(self, target: Target) -> list[Cell]:
        """A cell a class; rare ones of a target with very many share one."""
        name = "modelwright_predictions_total"
        return [
            self._counts.counter(name, level if code < MOST_CLASSES else "other", *self._key)
            for code, level in enumerate(target.levels)
        ]


def score_edges(target: Target) -> tuple[float, ...]:
    """Edges of 20 bins of what is predicted: a probability, or a value in the training range.

    Example:
        >>> score_edges(Target("t", "regression", minimum=0.0, maximum=40.0))[:3]
        (0.0, 2.0, 4.0)
    """
    if target.levels:
        return tuple(step / SCORE_BINS for step in range(1, SCORE_BINS + 1))
    low, high = target.minimum, target.maximum
    if low is None or high is None or not low < high:
        return (low or 0.0,)
    step = (high - low) / SCORE_BINS
    return (*(low + step * number for number in range(SCORE_BINS)), high)


def _cell(table: dict[str, dict[Labels, Cell]], name: str, labels: Labels) -> Cell:
    series = table.get(name)
    if series is None:
        series = table[name] = {}
    cell = series.get(labels)
    if cell is None:
        labels = _bounded(series, labels)
        cell = series.setdefault(labels, [0])
    return cell


def _bounded(series: Mapping[Labels, object], labels: Labels) -> Labels:
    if labels in series or len(series) < MOST_SERIES:
        return labels
    return ("other",) * len(labels)
