"""What the model uses: importance by permutation, of columns and of groups, and Shapley values.

All of it is taken from the packed model, so it holds for what is served, whatever is inside.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from modelwright.core.evaluation import Importance
from modelwright.core.intake import Array, Feeds
from modelwright.core.records import Interval
from modelwright.core.table import Table, take_feeds
from modelwright.fit.ablation import related
from modelwright.fit.certainty import Clusters, paired_gain
from modelwright.fit.score import decided
from modelwright.pack.shapley import gains, joined
from modelwright.release.evidence import Evidence

ROWS, FEWEST_ROWS = 2000, 100
REPEATS = 2
EXPLAINED = 60
ORDERS = 6
"""Orders of the columns a row is explained by; each also runs backwards (antithetic)."""
MOST_VALUES = 4_000_000
"""Values of one run of the model that answers an order; a wide table is explained on fewer rows."""


def importance(evidence: Evidence, seconds: float) -> tuple[tuple[Importance, ...], list[str]]:
    """Each column's importance, the most important first, and notes on what was left out.

    Args:
        evidence: the sealed rows and the packed model.
        seconds: to spend at most.
    """
    end = time.monotonic() + seconds
    rng = np.random.default_rng(evidence.seed)
    names = [column.name for column in evidence.schema.features]
    table, clusters = _some_rows(evidence, rng, _enough(evidence, len(names), seconds / 2))
    found, notes = [], []
    for done, name in enumerate(names):
        if time.monotonic() > end - seconds / 3:
            notes.append(f"importance of {len(names) - done} columns was not measured: no time")
            break
        found.append(Importance(name, (name,), _loss(evidence, table, clusters, (name,), rng)))
    if found and table.rows < min(ROWS, evidence.holdout.rows):
        notes.append(f"importance is of {table.rows:,} rows, for want of time")
    explained = min(EXPLAINED, 1 + MOST_VALUES // (len(names) * (len(names) + 1)))
    shares = contributions(
        evidence, take_feeds(table.feeds, rng.permutation(table.rows)[:explained]), rng, end
    )
    if shares is None:
        notes.append("Shapley values were not taken: no time")
        shares = {}
    found = [Importance(i.subject, i.columns, i.loss, shares.get(i.subject)) for i in found]
    return tuple(sorted(found, key=lambda one: -one.loss.value)), notes


def _enough(evidence: Evidence, columns: int, seconds: float) -> int:
    """How many holdout rows can be answered so often within that time."""
    some = evidence.holdout.take(slice(0, ROWS))
    started = time.monotonic()
    evidence.answer(some.feeds)
    a_row = (time.monotonic() - started) / some.rows
    return max(FEWEST_ROWS, int(seconds / (a_row * (REPEATS + 1) * columns + 1e-9)))


def _some_rows(
    evidence: Evidence, rng: np.random.Generator, most: int = ROWS
) -> tuple[Table, Clusters]:
    """Holdout rows by chance, in their order, and what varies together."""
    rows = np.sort(rng.permutation(evidence.holdout.rows)[: min(most, ROWS)])
    return evidence.holdout.take(rows), evidence.together(rows)


def groups(evidence: Evidence, seconds: float) -> tuple[Importance, ...]:
    """Columns that tell the same story, shuffled together: alone, each can stand in for the
    others, so that none seems to matter."""
    end = time.monotonic() + seconds
    rng = np.random.default_rng(evidence.seed + 1)
    table, clusters = _some_rows(evidence, rng)
    found = []
    for columns in related(evidence.schema, evidence.train.feeds):
        if time.monotonic() > end:
            break
        loss = _loss(evidence, table, clusters, columns, rng)
        found.append(Importance(", ".join(columns), columns, loss))
    return tuple(sorted(found, key=lambda one: -one.loss.value))


def _loss(
    evidence: Evidence,
    table: Table,
    clusters: Clusters,
    columns: Sequence[str],
    rng: np.random.Generator,
) -> Interval:
    """What shuffling costs in the goal metric; the mean over repeats."""
    goal, plain = evidence.goal, evidence.answer(table.feeds)
    found = []
    for _ in range(REPEATS):
        order = rng.permutation(table.rows)
        mixed = {**table.feeds, **{name: table.feeds[name][order] for name in columns}}
        own, other = (_labelled(evidence, a) for a in (plain, evidence.answer(mixed)))
        found.append(paired_gain(goal, table.target, own, other, clusters=clusters))
    value, low, high = np.mean([[i.value, i.low, i.high] for i in found], axis=0)
    return Interval(float(value), float(low), float(high))


def _labelled(evidence: Evidence, answers: Array) -> Array:
    """Under the model's own threshold, where the goal looks at labels."""
    if evidence.labels is None or answers.shape[1] != 2:
        return answers
    known = evidence.answers[:, 1][evidence.labels == 1]
    threshold = known.min() if len(known) else 1.1
    return decided(evidence.goal, answers, (answers[:, 1] >= threshold).astype(np.int64))


def contributions(
    evidence: Evidence, feeds: Feeds, rng: np.random.Generator, end: float
) -> dict[str, float] | None:
    """Mean absolute Shapley value of each column, on the scale of the answer.

    Sampled orders of the columns (Strumbelj and Kononenko 2014), missing columns taken from random
    training rows; of the positive class, or of the class that a row is given.

    Returns:
        None where there was no time for a single order.
    """
    names = [column.name for column in evidence.schema.features]
    rows = len(next(iter(feeds.values())))
    totals = np.zeros((len(names), rows))
    started = time.monotonic()
    plain = evidence.answer(feeds)
    an_order = (time.monotonic() - started) * (len(names) + 1)
    code = plain.argmax(axis=1) if plain.ndim == 2 and plain.shape[1] > 2 else None
    done = 0
    for _ in range(ORDERS):
        order = rng.permutation(len(names))
        for way in (order, order[::-1]):
            if time.monotonic() + an_order / 2 > end:
                return dict(zip(names, _means(totals, done), strict=True)) if done else None
            totals += _one_order(evidence, feeds, names, way, code, rng)
            done += 1
    return dict(zip(names, _means(totals, done), strict=True))


def _means(totals: Array, done: int) -> list[float]:
    return [float(value) for value in np.abs(totals / done).mean(axis=1)]


def _one_order(
    evidence: Evidence,
    feeds: Feeds,
    names: Sequence[str],
    order: Array,
    code: Array | None,
    rng: np.random.Generator,
) -> Array:
    """What each column adds when it joins those before it, [columns, rows]; one run of the model
    answers all steps."""
    rows = len(next(iter(feeds.values())))
    others = take_feeds(evidence.train.feeds, rng.integers(0, evidence.train.rows, rows))
    answers = evidence.answer(joined(feeds, others, names, order))
    if answers.ndim == 2:
        chosen = np.ones(rows, np.int64) if code is None else code
        answers = answers[np.arange(len(answers)), np.tile(chosen, len(names) + 1)]
    return gains(answers.reshape(-1, rows), order)
