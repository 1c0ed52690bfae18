"""Whether many requests broke a contract, or one: only many wake somebody before a second window.

Rows of one request are not independent: a client that sends one bad body of a thousand rows is one
client at fault. So what was found by rows is held against requests before it opens an episode at
once. Each request bets with the share of its rows that break the promise, and at least so many
distinct ones must break it. Where every request has one row it is the e-process by rows.

Source: for a share X in [0, 1] of mean at most p, E exp(tX) <= 1 + p (exp(t) - 1), as exp is
convex; so `contract.evidence_of` is an e-process for shares as it is for events.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from modelwright.core.intake import Array
from modelwright.watch.contract import Promise, evidence_of
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
    minutes, place = np.unique(minute, return_inverse=True)
    shares = np.bincount(place, broke / rows, len(minutes))
    evidence, _ = evidence_of(shares, np.bincount(place, minlength=len(minutes)), promise.allowed)
    return Spread(int((broke > 0).sum()), requests, evidence)


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
