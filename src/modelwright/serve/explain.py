"""Why this answer: what each column contributed to it, by Shapley values over the packed graph.

Columns join a reference row (the manifest's typical row) one after the other until it is the row
that was asked about; what the answer gains with each is its contribution, averaged over orders.
Few columns that differ are done exactly, over all their subsets; more by sampled orders, each also
backwards (antithetic), which cancels most of the noise (Mitchell et al. 2022). Both are exact in
their sum: base and contributions add up to the answer.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from math import factorial

import numpy as np

from modelwright.core.intake import Array, Feeds, feeds_from_rows
from modelwright.core.schema import Schema
from modelwright.pack.artefact import ROWS_A_RUN, Answers
from modelwright.pack.shapley import gains, joined
from modelwright.serve.messages import Live, ProtocolError

PAIRS = 16
"""Orders of the columns, each with its reverse."""
MOST_RUNS = 200_000
"""Rows that the graph may answer for one request: about a second."""
SEED = 0


@dataclass(frozen=True)
class Explained:
    """Contributions to the answers of some rows.

    Attributes:
        names: the features, in the schema's order.
        base: float64 [rows], the answer to the reference: for a class, its probability there.
        contributions: float64 [rows, features]; base and contributions add up to the answer.
        errors: float64 [rows, features], the standard error of each; 0 where it is exact.
        reference: the typical row that contributions are counted from.
    """

    names: tuple[str, ...]
    base: Array
    contributions: Array
    errors: Array
    reference: dict[str, object]


def explain(
    live: Live, feeds: Feeds, answers: Answers, *, pairs: int = PAIRS, until: float = math.inf
) -> Explained:
    """Explain answers that were given already.

    For classes: the probability of the predicted one. For numbers: the value.

    Args:
        live: the version that answered; `run` is called in this thread.
        feeds: the rows.
        answers: what it said of them.
        pairs: more take longer and make the standard errors smaller, by their root.
        until: when to give up, by `time.perf_counter()`.

    Raises:
        ProtocolError: 413, more rows than may be explained; 504, it took too long.
    """
    manifest = live.manifest
    names = tuple(column.name for column in live.schema.features)
    asked = _Asked(live, until)
    reference = feeds_from_rows(live.schema, [manifest.example])
    rows = len(next(iter(feeds.values())))
    check_work(live.schema, rows, pairs)
    differing = [name for name in names if not _is_same(feeds[name], reference[name])]
    codes = None if answers.codes is None else np.asarray(answers.codes)
    given = _chosen(answers, codes)
    if 2 ** len(differing) <= 2 * pairs * (len(differing) + 1):
        found = _exactly(asked, feeds, reference, differing, codes, given)
    else:
        found = _by_orders(asked, feeds, reference, differing, codes, given, pairs)
    base, contributions, errors = found
    place = [names.index(name) for name in differing]
    whole = np.zeros((2, rows, len(names)))
    whole[0][:, place], whole[1][:, place] = contributions.T, errors.T
    return Explained(names, base, whole[0], whole[1], dict(manifest.example))


def check_work(schema: Schema, rows: int, pairs: int = PAIRS) -> None:
    """Refuse what would take too long, before the rows are answered.

    Raises:
        ProtocolError: 413, with how many rows may be asked for.
    """
    a_row = 2 * pairs * (len(schema.features) + 1)
    most = max(1, MOST_RUNS // a_row)
    if rows > most:
        raise ProtocolError(
            413, f"Explaining {rows:,} rows of {len(schema.features)} columns would take "
            f"{rows * a_row:,} runs of the model; at most {most:,} rows are explained in one "
            "request."
        )  # fmt: skip


def _is_same(values: Array, other: Array) -> bool:
    """Whether every row has the reference's value; missing ones are equal to each other."""
    same = values == other
    if values.dtype.kind == "f":
        same = same | (np.isnan(values) & np.isnan(other))
    return bool(np.all(same))


def _chosen(answers: Answers, codes: Array | None) -> Array:
    """The explained number of each row; `codes` repeat over steps."""
    if answers.values is not None:
        return np.asarray(answers.values, np.float64)
    assert answers.probabilities is not None and codes is not None
    shares = np.asarray(answers.probabilities, np.float64)
    places = np.tile(codes, len(shares) // len(codes))
    return np.asarray(shares[np.arange(len(shares)), places])


@dataclass(frozen=True)
class _Asked:
    """A version that is asked for some time."""

    live: Live
    until: float

    def answers(self, parts: list[Feeds], codes: Array | None) -> Array:
        """To all parts, of as many rows each; as many parts in one run as one has room for."""
        rows = len(next(iter(parts[0].values())))
        at_once = max(1, ROWS_A_RUN // rows)
        found = []
        for start in range(0, len(parts), at_once):
            if time.perf_counter() > self.until:
                raise ProtocolError(
                    504, "The time for this request is over: explaining takes hundreds of runs of "
                    "the model for each row. Ask for fewer rows at a time."
                )  # fmt: skip
            some = parts[start : start + at_once]
            together = {name: np.concatenate([part[name] for part in some]) for name in some[0]}
            found.append(_chosen(self.live.run(together), codes))
        return np.concatenate(found)


def _by_orders(
    asked: _Asked,
    feeds: Feeds,
    reference: Feeds,
    names: list[str],
    codes: Array | None,
    given: Array,
    pairs: int,
) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(SEED)
    orders: list[Array] = []
    for _ in range(pairs):
        order = rng.permutation(len(names))
        orders += [order, order[::-1]]
    parts = [joined(feeds, reference, names, order) for order in orders]
    found = asked.answers(parts, codes).reshape(len(orders), len(names) + 1, len(given))
    base = found[0, 0].copy()
    # the ends are known: their answers must not differ by the rounding of a larger run
    found[:, 0], found[:, -1] = base, given
    gained = np.stack([gains(one, order) for one, order in zip(found, orders, strict=True)])
    both = (gained[0::2] + gained[1::2]) / 2
    errors = both.std(axis=0, ddof=1) / np.sqrt(pairs) if pairs > 1 else np.zeros_like(both[0])
    return base, both.mean(axis=0), errors


def _exactly(
    asked: _Asked,
    feeds: Feeds,
    reference: Feeds,
    names: list[str],
    codes: Array | None,
    given: Array,
) -> tuple[Array, Array, Array]:
    """Every subset of the columns, weighted as Shapley (1953) does."""
    rows, count = len(given), len(names)
    parts = []
    for subset in range(2**count):
        mine = {name for bit, name in enumerate(names) if subset >> bit & 1}
        parts.append({
            name: values if name in mine or name not in names else np.repeat(reference[name], rows)
            for name, values in feeds.items()
        })  # fmt: skip
    found = asked.answers(parts, codes).reshape(len(parts), rows)
    found[-1] = given
    base = found[0].copy()
    contributions = np.zeros((count, rows))
    for subset in range(2**count):
        size = subset.bit_count()
        for bit in range(count):
            if not subset >> bit & 1:
                weight = factorial(size) * factorial(count - size - 1) / factorial(count)
                contributions[bit] += weight * (found[subset | 1 << bit] - found[subset])
    return base, contributions, np.zeros_like(contributions)
