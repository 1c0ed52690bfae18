"""Whether many requests broke a contract, or one: only many wake somebody before a second window.

Rows of one request are not independent: a client that sends one bad body of a thousand rows is one
client at fault. So what was found by rows is held against requests before it opens an episode at
once. Half of the stake bets on the share of each request's rows that break the promise, which shows
faults of whole requests, half on whether any of them does, which shows a few odd rows in each of
many; and at least so many distinct ones must break it. Where every request has one row both are the
e-process by rows.

Source: for a share X in [0, 1] of mean at most p, E exp(tX) <= 1 + p (exp(t) - 1), as exp is
convex; so `contract.evidence_of` is an e-process for shares as it is for events. Of r rows, however
they hang together, any breaks it with a chance of at most rp, the mean of their number. The average
of two e-processes is one.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from modelwright.core.intake import Array
from modelwright.watch.contract import TILTS, Promise, evidence_at, evidence_of, prices_of
from modelwright.watch.summaries import Plan


class Spread(NamedTuple):
    """Over how many requests a fault is spread.

    Attributes:
        odd: distinct requests with a row that breaks the promise.
        asked: distinct requests.
        evidence: logarithm of the e-value for "requests break it by more than allowed".
    """

    odd: int
    asked: int
    evidence: float

    def is_sure(self, least: int, promised: int, q: float) -> bool:
        """Whether no single request can have done it, and chance hardly.

        Args:
            least: distinct requests that must break it.
            promised: promises that were asked, over which `q` is shared.
            q: chance that a window in which all are kept says so of any.
        """
        return self.odd >= least and self.evidence >= math.log(max(1, promised) / q)


def spread_of(table: Any, plan: Plan, promise: Promise, grain: int) -> Spread:
    """Hold a promise against the requests of a window.

    Args:
        table: of the journal: `request_id`, `time` and the column.
        plan: of the version that answered.
        promise: that was broken, counted by rows.
        grain: seconds of a minute.
    """
    odd = np.isin(plan.places(promise.name, table[promise.name]), promise.cells)
    of_row, requests = _requests(table)
    rows = np.bincount(of_row, minlength=requests)
    broke = np.bincount(of_row, odd, minlength=requests)
    minute = np.full(requests, np.iinfo(np.int64).max)
    times = table["time"].cast("int64").to_numpy() // (grain * 1_000_000)
    np.minimum.at(minute, of_row, times)  # an id that was used again counts once, where it began
    _, place = np.unique(minute, return_inverse=True)
    evidence = _evidence(place, broke, rows, promise.allowed)
    return Spread(int((broke > 0).sum()), requests, evidence)


def _evidence(minute: Array, broke: Array, rows: Array, allowed: float) -> float:
    """Logarithm of the e-value.

    Args:
        minute, broke, rows: of each request: its place among the minutes, how many of its rows
            break the promise, and how many it has.
    """
    asked = np.bincount(minute)
    by_share, _ = evidence_of(np.bincount(minute, broke / rows), asked, allowed)
    prices = np.zeros((len(asked), len(TILTS)))
    np.add.at(prices, minute, prices_of(np.minimum(1.0, allowed * rows)))
    by_any, _ = evidence_at(np.bincount(minute, broke > 0), prices)
    return float(np.logaddexp(by_share, by_any)) - math.log(2)


def distinct(table: Any) -> int:
    """How many requests the rows are from."""
    return _requests(table)[1]


def _requests(table: Any) -> tuple[Array, int]:
    """(number of the request of each row, how many there are)."""
    ids = table["request_id"].combine_chunks().dictionary_encode()
    parts = ids.chunks if hasattr(ids, "chunks") else [ids]
    if len(parts) != 1:  # texts of more than 2 GB
        return _numbered(table["request_id"].to_pylist())
    return parts[0].indices.to_numpy(), len(parts[0].dictionary)


def _numbered(ids: list[str]) -> tuple[Array, int]:
    known: dict[str, int] = {}
    return np.array([known.setdefault(one, len(known)) for one in ids]), len(known)
