"""Who counts once, however often it asks: callers over a whole canary, requests within a look.

The verdict needs trials that are independent, given how many there were. Labels of one caller that
stays with one arm are not: a few busy ones decide which arm is worse. Nor are the rows of one
request. A caller that counts once, by its first label, is one trial, and chance gave it its arm.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np

from modelwright.core.intake import Array

MOST_KNOWN = 20_000
"""Callers that count; they are remembered in the state of the part, by a hash of 6 bytes each."""
_HASH = 6


def first_of_each(table: Any, caller: str, kept: Array, known: bytes) -> tuple[Array, bytes]:
    """Of the labels that are kept the first of each caller, or of each request.

    Args:
        table: of `watch.labels.arrived_since`; [n] rows.
        caller: its column that says who asked, if it has it. A row without one is its request's.
        kept: [n] bool.
        known: callers that were counted; see `once_each`.

    Returns:
        ([rows that are kept] bool, known with the new ones).
    """
    ids = np.array(table["request_id"].to_pylist(), dtype=object)[kept]
    if caller not in table.column_names:
        first = np.zeros(len(ids), bool)
        first[np.unique(ids.astype(str), return_index=True)[1]] = True
        return first, known
    said = np.array(table[caller].to_pylist(), dtype=object)[kept]
    names = [
        f"id {own}" if who is None else f"by {who}" for who, own in zip(said, ids, strict=True)
    ]
    return once_each(np.array(names, dtype=object), known)


def once_each(names: Array, known: bytes) -> tuple[Array, bytes]:
    """The first row of each name that was not counted before.

    Args:
        names: [n] texts.
        known: what an earlier call gave: hashes of names, in their order; empty at first.

    Returns:
        ([n] bool, known with the new ones). When `MOST_KNOWN` are known no new one counts.

    Example:
        >>> kept, known = once_each(np.array(["ada", "bob", "ada"]), b"")
        >>> kept.tolist(), once_each(np.array(["bob", "eve"]), known)[0].tolist()
        ([True, True, False], [False, True])
    """
    hashed = [blake2b(name.encode(), digest_size=_HASH).digest() for name in names.tolist()]
    seen = {known[start : start + _HASH] for start in range(0, len(known), _HASH)}
    kept, fresh = np.zeros(len(names), bool), []
    for place, one in enumerate(hashed):
        if one not in seen and len(seen) < MOST_KNOWN:
            seen.add(one)
            fresh.append(one)
            kept[place] = True
    return kept, known + b"".join(fresh)
