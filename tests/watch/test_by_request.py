"""A fault is held against requests: seldom wrongly, and one request is never enough."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from modelwright.watch.by_request import Spread, distinct, spread_of
from modelwright.watch.contract import Promise, evidence_of
from modelwright.watch.summaries import UNSEEN, Plan
from watch import counted

PROMISE = Promise("f_colour", "unseen category", "", (UNSEEN,), 0.001, "")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan.of(counted.manifest())


def table(rows: int, odd: int, requests: int, minutes: int = 3) -> pa.Table:
    """Rows in time, the first `odd` of a colour that training never saw."""
    at = np.arange(rows)
    colours = ["mauve" if n < odd else counted.LEVELS[0] for n in range(rows)]
    times = (at * minutes * 60 // rows * 1_000_000).astype(np.int64)
    return pa.table({
        "request_id": [f"r{n * requests // rows}" for n in range(rows)],
        "time": pa.array(times).cast(pa.timestamp("us", tz="UTC")),
        "f_colour": colours,
    })  # fmt: skip


def test_requests_of_one_row_are_rows(plan: Plan) -> None:
    found = spread_of(table(300, 12, 300), plan, PROMISE, 60)
    evidence, _ = evidence_of(np.array([12, 0, 0]), np.full(3, 100), 0.001)
    assert found[:2] == (12, 300) and found.evidence == pytest.approx(evidence)
    assert found.is_sure(10, 20, 0.001) and not found.is_sure(13, 20, 0.001)


def test_a_body_of_a_thousand_odd_rows_is_one_request(plan: Plan) -> None:
    found = spread_of(table(1000, 1000, 1), plan, PROMISE, 60)
    assert found[:2] == (1, 1) and found.evidence < math.log(1000)
    assert not found.is_sure(1, 1, 0.001), "not even where one request is enough"
    assert distinct(table(1000, 0, 40)) == 40


def test_an_id_that_is_used_again_counts_once(plan: Plan) -> None:
    retried = pa.concat_tables([table(10, 10, 1)] * 20)
    assert spread_of(retried, plan, PROMISE, 60)[:2] == (1, 1)


def test_an_odd_row_in_each_of_many_requests_is_sure_soon(plan: Plan) -> None:
    """A tenth of the rows of requests of ten rows: as shares these are small, whichever way."""
    rows, requests = 400, 40
    at = np.arange(rows)
    spread = table(rows, 0, requests).set_column(
        2, "f_colour", pa.array(["mauve" if n % 10 == 0 else counted.LEVELS[0] for n in at])
    )
    found = spread_of(spread, plan, PROMISE, 60)
    assert found[:2] == (40, 40) and found.is_sure(10, 20, 0.001)


@pytest.mark.parametrize("size", [1, 10, 300])
def test_requests_of_any_size_at_the_bound_are_seldom_called_broken(size: int, plan: Plan) -> None:
    """One row of so many, alone or all of a request's together."""
    rng, q, bound, wrong = np.random.default_rng(7), 0.05, 0.01, 0
    promise = Promise("f_colour", "unseen category", "", (UNSEEN,), bound, "")
    requests = 200
    for turn in range(200):
        if turn % 2:
            odd = rng.random((requests, size)) < bound
        else:
            odd = np.repeat(rng.random((requests, 1)) < bound, size, axis=1)
        colours = np.where(odd.ravel(), "mauve", counted.LEVELS[0])
        asked = table(requests * size, 0, requests, minutes=20)
        asked = asked.set_column(2, "f_colour", pa.array(colours.tolist()))
        wrong += spread_of(asked, plan, promise, 60).is_sure(0, 1, q)
    assert wrong <= 10


def test_large_requests_at_the_bound_are_seldom_called_broken() -> None:
    """A hundredth of the requests is odd from end to end, which rows would call certain."""
    rng, q, wrong = np.random.default_rng(6), 0.05, 0
    for _ in range(300):
        asked = rng.integers(1, 40, 60)
        odd = rng.binomial(asked, 0.01)
        wrong += any(
            Spread(10, 10, evidence_of(odd[:end], asked[:end], 0.01)[0]).is_sure(10, 1, q)
            for end in range(1, 61)
        )
    assert wrong <= 15
