"""A small manifest, and traffic on its counts, without a server."""

from __future__ import annotations

import numpy as np

from modelwright.core.limits import Limit
from modelwright.core.records import Manifest, Parity
from modelwright.core.schema import Column, Schema, Target
from modelwright.pack.artefact import Answers
from modelwright.serve.metrics import STATES, Counts, Served

BINARY = Target("bought", "binary", "string", ("no", "yes"))
LIMITS = (
    Limit("roc_auc", "at_least", 0.9),
    Limit("latency_p95", "at_most", 0.007),
    Limit("throughput", "at_least", 500.0),
    Limit("memory", "at_most", 5e8),
)


def manifest(target: Target = BINARY) -> Manifest:
    """A manifest as `pack` writes it."""
    schema = Schema((Column("age", "number"), Column("colour", "category")), target)
    return Manifest(
        format=2, model="shop", schema=schema, inputs={}, outputs={}, family="lightgbm", params={},
        goal="roc_auc", scores={}, parity=Parity(1, 1, 0.0, 0, 1e-6), limits=LIMITS, baseline={},
        example={"age": 39.0, "colour": "red"}, spec_digest="", data_fingerprint="", split="",
        seed=0, code="", versions={}, files={},
    )  # fmt: skip


def served(counts: Counts, version: str = "3") -> Served:
    """One version's counts."""
    return counts.served(
        "shop", version, manifest(), digest="ab" * 32, deadline=4.0, made=1_700_000_000.0
    )


def answers(*shares: float) -> Answers:
    """Answers of a binary model, by the probability of `yes`."""
    column = np.array(shares)
    found = np.stack([1 - column, column], axis=1)
    return Answers(manifest().schema, codes=(column > 0.5).astype(int), probabilities=found)


def traffic(counts: Counts) -> Served:
    """Something of everything that is counted."""
    found = served(counts)
    for door in ("predict", "infer", "invocations", "grpc"):
        found.answered(door, 0.002, 2)
        found.failed(door, 422)
    found.answered("predict", 0.02, arm="canary", fallback="previous", trace="4bf92f3577b34da6")
    found.ran(4, 1e-4, waited=0.001)
    found.reading[0] += 1e-5
    found.writing[0] += 2e-5
    found.scored(answers(0.2, 0.9))
    found.hits[0] += 1
    found.misses[0] += 2
    for what in ("unseen_categories", "out_of_range", "missing", "unknown_columns"):
        found.odd(what, "colour")
    found.shadowed(10, 1)
    found.breaker[0] = STATES["half_open"]
    counts.request("health", 200)
    counts.failed("other", 404)
    counts.failed("predict", 503, "queue_full", "shop", "3")
    counts.reload("shop", "ok")
    return found
