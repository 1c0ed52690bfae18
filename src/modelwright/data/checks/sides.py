"""The two sides of the split: what they share, how they differ, and whether time or groups
should have parted them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import polars as pl

from modelwright.core.contract import missing_in
from modelwright.core.intake import Array, Feeds
from modelwright.core.records import Finding
from modelwright.core.schema import Column
from modelwright.data.cells import KIND_SHARE
from modelwright.data.checks.probe import Look, power, shown
from modelwright.data.fingerprint import row_hashes
from modelwright.data.kinds import ID_NAME

SHIFT = 0.15
FEW = 200
GROUP_NAME = re.compile(
    r"(?i)(^|[^a-z])(patient|customer|client|user|subject|session|device|machine|sensor|store|shop|"
    r"household|account|vehicle|driver|player|author|employee|student|hospital)"
    r"([ _-]?(no|nr|num|number|code|name))?$"
)
"""Names of columns that tell whose row it is."""
GROUP_SHARE = 0.5
SORTED = 0.9
"""Classes alike to that degree come from a file that was sorted in parts."""
WORTH_A_NOTE, STRONG = 0.3, 0.68
WORSE_IN_TIME = 0.05
"""Loss of power in the order of the rows from which that order matters."""
MOST_SHIFTS = 8


def shared_rows(values: Feeds, holdout: Array) -> list[Finding]:
    """Rows whose features stand on both sides of the split."""
    hashes = row_hashes(values)
    both = np.isin(hashes, hashes[~holdout]) & holdout
    if not both.any():
        return []
    rows = np.flatnonzero(both)
    measured = f"{len(rows):,} of {int(holdout.sum()):,} sealed rows"
    return [
        Finding("duplicates across the split", "table", "fail", measured, "",
                "training has rows with the same features, so they are no test",
                "remove the duplicates, or split by group: data.split: {method: group, by: ...}",
                "warning", rows=tuple(int(i) for i in rows[:10]))
    ]  # fmt: skip


def shift(columns: Sequence[Column], values: Feeds, holdout: Array) -> list[Finding]:
    """Features that are distributed otherwise in the holdout than in training, worst first."""
    if min(int(holdout.sum()), int((~holdout).sum())) < FEW:
        return []
    moved = []
    for column in columns:
        if column.is_feature and column.kind != "datetime":
            one, two = values[column.name][~holdout], values[column.name][holdout]
            moved.append((distance(one, two), column.name))
    worst = sorted((m for m in moved if m[0] >= SHIFT), reverse=True)[:MOST_SHIFTS]
    if not worst:
        return []
    listed = ", ".join(f"{name} {far:.2f}" for far, name in worst)
    return [
        Finding("shift", "train and holdout", "fail", f"distance 0 to 1: {listed}", "",
                "the sealed rows are unlike those to learn from, so scores will differ",
                "expected under a split by time; else look how the file was put together",
                "warning", columns=tuple(name for _, name in worst))
    ]  # fmt: skip


def distance(one: Array, two: Array) -> float:
    """How far two samples of a column are apart: 0 equal, 1 without overlap.

    Kolmogorov-Smirnov for numbers, total variation for texts (less what chance gives), the larger
    of it and the difference of missing shares.

    Example:
        >>> distance(np.array([0.0, 1.0, 2.0]), np.array([5.0, 6.0, 7.0]))
        1.0
    """
    gone, lost = missing_in(one), missing_in(two)
    missing = abs(float(gone.mean()) - float(lost.mean()))
    one, two = one[~gone], two[~lost]
    if not len(one) or not len(two):
        return missing
    if one.dtype == object:
        counts = [
            pl.Series("t", part, dtype=pl.String).value_counts(name="n") for part in (one, two)
        ]
        joined = counts[0].join(counts[1], on="t", how="full", suffix="_b").fill_null(0)
        p, q = (joined[name].to_numpy() / joined[name].sum() for name in ("n", "n_b"))
        chance = 0.4 * float(np.sqrt(p * (1 / len(one) + 1 / len(two))).sum())
        return max(missing, 0.5 * float(np.abs(p - q).sum()) - chance)
    grid = np.concatenate([one, two])
    grid.sort()
    below = [np.searchsorted(np.sort(part), grid, side="right") / len(part) for part in (one, two)]
    return max(missing, float(np.abs(below[0] - below[1]).max()))


def groups(columns: Sequence[Column], values: Feeds, holdout: Array, look: Look) -> list[Finding]:
    """Columns that name a person, machine or place whose rows stand on both sides."""
    found = []
    for column in columns:
        held = values[column.name]
        if not _names_groups(column, held):
            continue
        texts = held.astype(str)
        straddle = float(np.isin(texts[holdout], np.unique(texts[~holdout])).mean())
        if straddle < GROUP_SHARE:
            continue
        told = power(look.scores(column.name), look.y, look.task)
        alike = f"; the group alone gives {shown(told, look.task)}" if told > 0.1 else ""
        found.append(
            Finding("groups across the split", column.name, "fail",
                    f"{straddle:.0%} of the sealed rows{alike}", "",
                    "training knows the same groups, so new ones will be answered worse",
                    f"data.split: {{method: group, by: {column.name}}} if new groups will come",
                    "warning", columns=(column.name,))
        )  # fmt: skip
    return found


def _names_groups(column: Column, values: Array) -> bool:
    """Whether a column looks like a key of groups: named so, each value in a few rows."""
    named = ID_NAME.search(column.name) or GROUP_NAME.search(column.name)
    if not named or column.kind not in ("number", "category", "id"):
        return False
    if values.dtype == np.float64 and not column.integer and column.kind == "number":
        return False
    present = values[~missing_in(values)]
    unique = len(np.unique(present.astype(str)))
    return bool(len(present)) and 10 <= unique <= 0.8 * len(present)


def time_order(
    columns: Sequence[Column], look: Look, neighbours: Array, source: str
) -> list[Finding]:
    """A date column, or a target that follows its neighbours in the file, under a split that
    does not respect it; with the score of a quick model under both splits.

    Args:
        columns: of the table.
        look: labelled training rows.
        neighbours: targets of all training rows in the order of the file.
        source: name of the table.
    """
    dates = [c.name for c in columns if c.kind == "datetime" and c.is_feature]
    for name in dates[:1]:
        moments = look.values[name]
        held = moments[~missing_in(moments)]
        if len(np.unique(held)) < 5:
            continue
        random, ordered = both_splits(look, np.argsort(moments, kind="stable"))
        by = f"data.split: {{method: time, by: {name}}} if new rows come later in time"
        if len(held) < KIND_SHARE * len(moments):
            by += "; first mend or leave out rows without one"
        matters = random > ordered
        return [
            Finding("time order", name, "fail" if matters else "pass",
                    f"quick model: {shown(random, look.task)} under random folds, "
                    f"{shown(ordered, look.task)} in time order", "",
                    "a random split judges on moments that training has seen around", by,
                    "warning" if matters else "info", columns=(name,))
        ]  # fmt: skip
    strength = follows(neighbours, look.task)
    if strength < WORTH_A_NOTE:
        return []
    random, ordered = both_splits(look, np.argsort(look.rows, kind="stable"))
    matters = strength >= STRONG or random - ordered >= WORSE_IN_TIME
    return [
        Finding("time order", source, "fail" if matters else "pass",
                f"quick model: {shown(random, look.task)} under random folds, "
                f"{shown(ordered, look.task)} in the order of the rows", "",
                f"the target follows its neighbours in the file ({strength:.0%} of the way from "
                "chance to equal), as in a series over time",
                "data.split: {method: time} tests on the last rows, if the file is in time order",
                "warning" if matters else "info")
    ]  # fmt: skip


def follows(y: Array, task: str) -> float:
    """How far neighbours in the file have like targets, 0 chance and 1 equal; 0 when the file is
    (nearly) sorted by the target.

    Example:
        >>> follows(np.repeat([0, 1] * 50, 4), "binary") > 0.4
        True
        >>> follows(np.repeat([0, 1], 120), "binary")
        0.0
    """
    if len(y) < FEW:
        return 0.0
    if task == "regression":
        rises = float((np.diff(y) >= 0).mean())
        if not np.std(y) or not 0.02 < rises < 0.98:
            return 0.0
        return max(0.0, float(np.corrcoef(y[:-1], y[1:])[0, 1]))
    same = float((y[:-1] == y[1:]).mean())
    _, counts = np.unique(y, return_counts=True)
    chance = float(((counts / len(y)) ** 2).sum())
    changes = int((y[:-1] != y[1:]).sum())
    if changes <= 3 * len(counts) or chance == 1:
        return 0.0
    strength = max(0.0, (same - chance) / (1 - chance))
    return strength if strength < SORTED else 0.0


def both_splits(look: Look, order: Array) -> tuple[float, float]:
    """Power of a quick model under random folds, and learning from the past only."""
    names = [c.name for c in look.columns if c.is_feature][:40]
    cut = int(0.8 * len(order))
    past, future = order[:cut], order[cut:]
    shuffled = np.random.default_rng(look.seed).permutation(len(order))
    random = _learned(look, names, shuffled[:cut], shuffled[cut:])
    return random, _learned(look, names, past, future)


def _learned(look: Look, names: Sequence[str], train: Array, test: Array) -> float:
    """An additive model of binned means learned on some rows, its power on others."""
    targets = look.targets
    mean = targets[train].mean(axis=0)
    scores = np.repeat(mean[None, :], len(test), axis=0)
    residual = targets[train] - mean
    for _ in range(2):  # back-fitting (Hastie, Tibshirani 1990), shrunken
        for name in names:
            codes, size = look.bins(name)
            counts = np.bincount(codes[train], minlength=size)[:, None] + 20.0
            for place in range(targets.shape[1]):
                sums = np.bincount(codes[train], residual[:, place], minlength=size)
                step = 0.5 * sums / counts[:, 0]
                residual[:, place] -= step[codes[train]]
                scores[:, place] += step[codes[test]]
    return power(scores, look.y[test], look.task)
