"""Where the model fails: confused classes, and its worst rows beside what taught it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np

from modelwright.core.evaluation import ConfusedPair, Confusion, Failure
from modelwright.core.intake import Array, Feeds
from modelwright.core.schema import EPOCH, MISSING_TIME, Column
from modelwright.release.evidence import Evidence
from modelwright.release.slices import losses_of_rows

WORST = 6
COMPARED = 20_000
"""Training rows among which the nearest is looked for."""
MOST_CLASSES = 30
MOST_PAIRS = 10


def confusion(evidence: Evidence) -> Confusion | None:
    """Rows by true and predicted class; None for numbers, or too many classes to look at."""
    levels = evidence.schema.target.levels
    if evidence.labels is None or len(levels) > MOST_CLASSES:
        return None
    cells = evidence.holdout.target * len(levels) + evidence.labels
    counts = np.bincount(cells, minlength=len(levels) ** 2).reshape(len(levels), -1)
    return Confusion(levels, tuple(tuple(row) for row in counts.tolist()))


def confused_pairs(evidence: Evidence) -> tuple[ConfusedPair, ...]:
    """Which class is taken for which other, most rows first; of any number of classes."""
    if evidence.labels is None:
        return ()
    levels, y = evidence.schema.target.levels, evidence.holdout.target
    wrong = evidence.labels != y
    cells, counts = np.unique(y[wrong] * len(levels) + evidence.labels[wrong], return_counts=True)
    found = []
    for place in np.argsort(-counts, kind="stable")[:MOST_PAIRS].tolist():
        truth, said = divmod(int(cells[place]), len(levels))
        rows = int(counts[place])
        share = rows / int((y == truth).sum())
        found.append(ConfusedPair(levels[truth], levels[said], rows, share))
    return tuple(found)


def failures(evidence: Evidence) -> tuple[Failure, ...]:
    """The worst rows, the worst first; of classes only those that are given a wrong one."""
    losses = losses_of_rows(evidence)
    worst = np.argsort(-losses, kind="stable")
    if evidence.labels is not None:
        worst = worst[evidence.labels[worst] != evidence.holdout.target[worst]]
    worst = worst[:WORST]
    train = evidence.train
    some = np.random.default_rng(evidence.seed).permutation(train.rows)[:COMPARED]
    shown = [c for c in evidence.schema.features if not c.private]
    compared = {c.name: _compared(c, train.feeds[c.name][some]) for c in shown}
    file_rows, found = evidence.holdout.file_rows, []
    for row in worst.tolist():
        near = int(some[int(_distances(shown, evidence, row, compared).argmin())])
        found.append(Failure(
            row=row,
            truth=_label(evidence, evidence.holdout.target[row]),
            answer=_answer(evidence, row),
            loss=float(losses[row]),
            values=_values(shown, evidence.holdout.feeds, row),
            chance=_chance(evidence, row),
            nearest=_values(shown, train.feeds, near),
            nearest_truth=_label(evidence, train.target[near]),
            file_row=None if file_rows is None else int(file_rows[row]),
        ))  # fmt: skip
    return tuple(found)


def _compared(column: Column, values: Array) -> tuple[Array, float]:
    """(values to compare with, their spread; 1 for texts)."""
    if values.dtype == object:
        return values, 1.0
    numbers = values.astype(np.float64)
    if column.kind == "datetime":
        numbers = np.where(values == MISSING_TIME, np.nan, numbers)
    return numbers, float(np.nanstd(numbers)) or 1.0


def _distances(
    shown: list[Column], evidence: Evidence, row: int, compared: Mapping[str, tuple[Array, float]]
) -> Array:
    """Gower's distance (1971) of training rows to a holdout row: numbers by their spread, texts by
    being equal."""
    total: Array = np.zeros(1)
    for column in shown:
        (values, spread), own = compared[column.name], evidence.holdout.feeds[column.name]
        if values.dtype == object:
            total = total + (values != own[row])
            continue
        mine = float(own[row])
        if column.kind == "datetime" and own[row] == MISSING_TIME:
            mine = float("nan")
        apart = np.abs(values - mine) / spread
        far = np.minimum(np.where(np.isnan(apart), float(not np.isnan(mine)), apart), 3.0)
        total = total + far
    return total


def _label(evidence: Evidence, value: Any) -> str:
    levels = evidence.schema.target.levels
    return levels[int(value)] if levels else f"{float(value):.6g}"


def _answer(evidence: Evidence, row: int) -> str:
    given = evidence.answers[row] if evidence.labels is None else evidence.labels[row]
    return _label(evidence, given)


def _chance(evidence: Evidence, row: int) -> float | None:
    if evidence.answers.ndim == 1:
        return None
    return float(evidence.answers[row, int(evidence.holdout.target[row])])


def _values(shown: list[Column], feeds: Feeds, row: int) -> dict[str, Any]:
    return {c.name: _value(c, feeds[c.name][row]) for c in shown}


def _value(column: Column, value: Any) -> Any:
    if column.kind == "datetime":
        if value == MISSING_TIME:
            return None
        return (EPOCH + dt.timedelta(microseconds=int(value))).isoformat()
    if isinstance(value, str):
        return value or None
    number = float(value)
    if np.isnan(number):
        return None
    if column.kind == "boolean":
        return bool(number)
    return int(number) if column.integer and number.is_integer() else number
