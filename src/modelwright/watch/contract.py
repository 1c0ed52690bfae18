"""Whether answers keep the data contract, minute by minute, without waiting for a window to close.

The contract of a column is what `expect:` declares of it, and what training showed where nothing is
declared: no missing value, no new category, no number outside the range of training. The server
refuses what breaks a declared one; what it accepts and counts is looked at here. Of each promise a
share of rows may break it; an e-process bets on more. It may be looked at as often as one likes: a
window in which no share is above its bound opens an episode with a chance of at most q, all
promises together. It begins anew at each minute, since a feed that breaks at noon is not excused by
a good morning. One odd row, or two, are never enough.

Prefer it to a counter with a threshold, which pages for the first odd row or, in a small window,
for nothing. It needs rows that are independent, which those of one request are not: before it wakes
somebody it is held against requests (`watch.by_request`). Ask nothing of a column that must leave
its range, such as a counter: `ColumnPolicy(ignore=True)`.

Source: Ville (1939); Shin, Ramdas, Rinaldo (2024), "E-detectors", for the mixture over starts;
Clopper, Pearson (1934) for what training leaves open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaincinv, logsumexp

from modelwright.core.intake import Array
from modelwright.core.records import Finding
from modelwright.core.schema import Column, Schema
from modelwright.serve.journal_segment import FEATURE
from modelwright.watch import distances
from modelwright.watch.counted import Counts, Reference
from modelwright.watch.drift import FEW_ROWS, ColumnPolicy, Policy, stretches_of
from modelwright.watch.summaries import ABOVE, ABSENT, BELOW, FAR, GAP, UNSEEN, Summary
from modelwright.watch.times import iso

TILTS: Array = np.array([0.7, 1.5, 2.5, 3.5, 5.0, 7.0])
"""Log odds beyond the allowed share that are bet on, each with the same part of the stake."""


@dataclass(frozen=True)
class Promise:
    """What a column keeps to.

    Attributes:
        name: of the column in the journal.
        check, what: as findings name it: "out of range", and the words behind "of rows".
        cells: of its summary that break it.
        allowed: share of rows that may.
        basis: where that comes from, in words.
    """

    name: str
    check: str
    what: str
    cells: tuple[int, ...]
    allowed: float
    basis: str


def promises(schema: Schema, reference: Reference, policy: Policy, rows: int) -> list[Promise]:
    """What the columns of a model keep to; those that are private or ignored are left out.

    Args:
        schema: of the model, with what was declared.
        reference: its training, as it is counted.
        policy: floors, and the block factor.
        rows: of the window, for stretches of the reference of that length.
    """
    past, found = stretches_of(reference, rows), list[Promise]()
    for column in schema.features:
        name = FEATURE + column.name
        if name not in reference.kinds or policy.columns.get(name, ColumnPolicy()).ignore:
            continue
        counts = [part.columns[name] for part, _ in past]
        whole, is_number = reference.whole.columns[name], reference.kinds[name] == "number"
        asked = _of_number(column) if is_number else _of_text(column)
        for check, what, cells, floor in asked:
            seen = [_breaking(check, one) for one in (whole, *counts)]
            learned = policy.floor(name, floor), _at_most(seen[0], whole.rows, policy.q)
            usual = max((k / max(1, c.rows) for k, c in zip(seen[1:], counts, strict=True)),
                        default=0.0)  # fmt: skip
            allowed = max(*learned, policy.floor(name, "block_factor") * usual)
            basis = f"training had it in {seen[0]:,} of {whole.rows:,} rows"
            declared = column.expect.max_missing if column.expect is not None else None
            if check == "missing value" and declared is not None:
                allowed, basis = declared, "declared as expect.max_missing"
            if allowed < 1.0:
                found.append(Promise(name, check, what, cells, allowed, basis))
    return found


def broken(
    minutes: Mapping[int, Summary], promised: Sequence[Promise], q: float
) -> tuple[Finding, ...]:
    """Promises that surely were broken in these minutes, the surest first.

    Args:
        minutes: begin -> counts, of one window so far.
        promised: of the version that answered.
        q: chance that a window in which all are kept gives any finding.
    """
    if not minutes or not promised:
        return ()
    begins = sorted(minutes)
    rows = np.array([minutes[begin].rows for begin in begins])
    wanted, found = math.log(len(promised) / q), list[tuple[float, Finding]]()
    for one in promised:
        odd = np.array([int(minutes[b].of(one.name)[list(one.cells)].sum()) for b in begins])
        if odd.sum() < FEW_ROWS:
            continue
        evidence, start = evidence_of(odd, rows, one.allowed)
        many = int(odd[start:].sum())
        if evidence >= wanted and many >= FEW_ROWS:
            total = int(rows[start:].sum())
            found.append((evidence, _finding(one, many, total, begins[start], evidence)))
    return tuple(finding for _, finding in sorted(found, key=lambda pair: -pair[0]))


def promise_of(
    finding: Finding, promised: Sequence[Promise], reference: Reference, policy: Policy
) -> Promise:
    """What a finding says was broken; where nothing was promised, that its floor is kept.

    Example:
        >>> kept = Promise("f_a", "unseen category", "", (UNSEEN,), 0.01, "")
        >>> found = Finding("unseen category", "f_a", "fail")
        >>> promise_of(found, [kept], Reference({}, ()), Policy()) is kept
        True
    """
    for one in promised:
        if (one.check, one.name) == (finding.check, finding.subject):
            return one
    is_number = reference.kinds.get(finding.subject) == "number"
    cells, floor = {
        "missing value": ((GAP if is_number else ABSENT,), "missing"),
        "unseen category": ((UNSEEN,), "unseen"),
        "out of range": ((BELOW, ABOVE, FAR), "outside"),
        "far-out value": ((FAR,), "far"),
    }[finding.check]
    allowed = policy.floor(finding.subject, floor)
    return Promise(finding.subject, finding.check, "", cells, allowed, "")


def evidence_of(odd: Array, rows: Array, allowed: float) -> tuple[float, int]:
    """(logarithm of the e-value for "more than allowed", the minute since which it is strongest).

    The stake is spread over the minutes at which the fault may have begun, 1 / (n (n + 1)) on the
    n-th, and there over `TILTS`.

    Args:
        odd, rows: [minutes], in order of time; or sums of shares in [0, 1], and how many.
        allowed: share of rows, below 1.

    Example:
        >>> minutes = np.full(3, 200)
        >>> evidence, since = evidence_of(np.array([0, 0, 10]), minutes, 0.001)
        >>> round(evidence), since
        (24, 2)
    """
    return evidence_at(odd, np.asarray(rows)[:, None] * prices_of(np.array(allowed)))


def prices_of(allowed: Array) -> Array:
    """What a bet on each of `TILTS` costs where so much is allowed; another axis of them."""
    return np.asarray(np.log1p(allowed[..., None] * np.expm1(TILTS)))


def evidence_at(odd: Array, prices: Array) -> tuple[float, int]:
    """As `evidence_of`, where what is allowed differs.

    Args:
        odd: [minutes].
        prices: [minutes, tilts]; those of all that a minute holds, added.
    """
    won = np.asarray(odd)[:, None] * TILTS - prices
    logs = np.cumsum(won[::-1], axis=0)[::-1].copy()
    place = np.arange(1, len(odd) + 1)
    logs -= np.log(place * (place + 1.0))[:, None] + math.log(len(TILTS))
    return float(logsumexp(logs)), int(logs.max(axis=1).argmax())


def _of_number(column: Column) -> list[tuple[str, str, tuple[int, ...], str]]:
    """(check, words, cells, floor) of a number, a truth or a time."""
    found = _missing(column, GAP)
    expect = column.expect
    ranged = expect is not None and (expect.minimum is not None or expect.maximum is not None)
    if column.kind == "number" and not ranged:
        outside = "outside the range of training"
        found.append(("out of range", outside, (BELOW, ABOVE, FAR), "outside"))
        found.append(("far-out value", f"far {outside}", (FAR,), "far"))
    return found


def _of_text(column: Column) -> list[tuple[str, str, tuple[int, ...], str]]:
    found = _missing(column, ABSENT)
    if column.expect is None or not column.expect.levels:
        what = "with a category that training never saw"
        found.append(("unseen category", what, (UNSEEN,), "unseen"))
    return found


def _missing(column: Column, cell: int) -> list[tuple[str, str, tuple[int, ...], str]]:
    declared = column.expect is not None and column.expect.max_missing is not None
    if column.nullable and not declared:
        return []
    return [("missing value", "without a value", (cell,), "missing")]


def _breaking(check: str, counts: Counts) -> int:
    if check == "missing value":
        return counts.missing
    if check == "unseen category":
        return counts.new
    return counts.far if check == "far-out value" else int(counts.bins[0] + counts.bins[-1])


def _at_most(k: int, n: int, q: float) -> float:
    """The upper end of Clopper and Pearson."""
    return 1.0 if k >= n else float(betaincinv(k + 1, n - k, 1 - q))


_ADVICE: dict[str, str] = {
    "missing value": "find out why {} is no longer filled in",
    "unseen category": "is it a new level of {}, or another spelling?",
    "out of range": "check {} where it is made; declare expect.range where such values are right",
    "far-out value": "check the unit of {} where it is made",
}


def _finding(one: Promise, odd: int, rows: int, since: int, evidence: float) -> Finding:
    made: dict[str, Any] = {
        "measured": f"{odd:,} of {rows:,} rows since {iso(since)[:16]} {one.what}",
        "wanted": f"at most {one.allowed:.3g} of the rows",
        "why": f"{one.basis}; the evidence is {math.exp(min(evidence, 700.0)):.2g} to 1",
        "advice": _ADVICE[one.check].format(one.name),
    }
    return Finding(
        one.check, one.name, "fail", severity="error",
        interval=distances.around_share(odd, rows), **made,
    )  # fmt: skip
