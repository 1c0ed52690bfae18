"""What columns are worth: the chosen model trained again without them.

To shuffle a column at a trained model shows what that model uses; only training without it shows
what would be lost, since other columns may tell the same.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from modelwright.core.evaluation import Importance
from modelwright.core.intake import Array, Feeds
from modelwright.core.schema import Schema
from modelwright.fit.certainty import paired_gain
from modelwright.fit.features import NOT_READ
from modelwright.fit.ledger import Ledger
from modelwright.fit.trials import Candidate

MOST = 12
"""Sets of columns that are left out; single columns only where all of them are within it."""
RELATED = 0.6
"""Correlation from which two columns belong to one group."""
MOST_LEVELS = 50
"""A category of more levels is explained by chance; it stays alone."""
ROWS = 20_000
WITHOUT_LIMIT = 5.0
"""Seconds for it where the budget has no limit on time."""
ROOM = 1.5


def ablation(ledger: Ledger, chosen: Candidate) -> tuple[Importance, ...]:
    """What the widest fold's score loses without groups of columns, and without single ones.

    Args:
        ledger: its folds and trainer.
        chosen: a candidate; of a blend the heaviest member stands for it.

    Returns:
        A set of columns each, those that cost most first; as many as there was time for. The
        interval is a paired one over the fold's validation rows.
    """
    parts = sorted(chosen.members, key=lambda pair: -pair[1])
    part = parts[0][0] if parts else chosen
    schema, folds = ledger.trainer.schema.without(part.left_out, NOT_READ), ledger.folds
    number = folds.widest
    if part.teacher is not None or len(part.outcomes) <= number:
        return ()
    affordable = ledger.budget.spare(WITHOUT_LIMIT) / (ROOM * part.seconds_a_fold + 1e-9)
    most = int(affordable * ledger.trainer.workers)
    wanted = sets_of_columns(schema, folds.dataset.train.feeds)[:most]
    if not wanted:
        return ()
    lean = [schema.without(columns, NOT_READ) for columns in wanted]
    answers = ledger.trainer.with_schemas(part, folds, lean)
    y, own, clusters = folds.truth(number), part.outcomes[number].answers, folds.together(number)
    found = [
        Importance(", ".join(columns), columns,
                   paired_gain(ledger.goal, y, own, other, clusters=clusters))
        for columns, other in zip(wanted, answers, strict=True)
    ]  # fmt: skip
    known = [one for one in found if np.isfinite(one.loss.value)]
    return tuple(sorted(known, key=lambda one: -one.loss.value))


def sets_of_columns(schema: Schema, feeds: Feeds) -> list[tuple[str, ...]]:
    """What is worth leaving out: groups that tell the same story, the largest first, then each
    column alone where there are few. Never all of them."""
    names = [column.name for column in schema.features]
    groups = sorted(related(schema, feeds), key=lambda group: -len(group))
    single = [(name,) for name in names]
    found = [*groups, *(single if len(groups) + len(single) <= MOST else [])]
    return [columns for columns in found if len(columns) < len(names)][:MOST]


def related(schema: Schema, feeds: Feeds) -> list[tuple[str, ...]]:
    """Groups of two or more columns that tell the same: numbers whose ranks go together, and
    categories that tell such a number, or another category (eta and Cramer's V).

    Example:
        >>> from modelwright.core.schema import Column, Target
        >>> a = np.arange(9.0)
        >>> schema = Schema(tuple(Column(n, "number") for n in "abc"), Target("y", "regression"))
        >>> related(schema, {"a": a, "b": -a, "c": np.cos(9 * a)})
        [('a', 'b')]
    """
    numbers = [c.name for c in schema.features if c.kind in ("number", "boolean", "datetime")]
    few = [c.name for c in schema.features
           if c.kind == "category" and 1 < len(c.levels) <= MOST_LEVELS]  # fmt: skip
    names = [*numbers, *few]
    if len(names) < 2:
        return []
    some = {name: feeds[name][:: 1 + len(feeds[name]) // ROWS] for name in names}
    ranks = [_ranks(some[name].astype(np.float64)) for name in numbers]
    codes = [np.unique(some[name].astype(str), return_inverse=True)[1] for name in few]
    close = _associations(ranks, codes) >= RELATED
    owner = list(range(len(names)))
    for one, other in zip(*np.nonzero(np.triu(close, 1)), strict=True):
        old, new = owner[int(other)], owner[int(one)]
        owner = [new if number == old else number for number in owner]
    members = [[n for n, o in zip(names, owner, strict=True) if o == k] for k in sorted(set(owner))]
    return [tuple(group) for group in members if len(group) > 1]


def _ranks(values: Array) -> Array:
    """Ranks; missing values in the middle."""
    found = np.full(len(values), len(values) / 2)
    known = np.isfinite(values)
    found[known] = rankdata(values[known])
    return found


def _associations(ranks: list[Array], codes: list[Array]) -> Array:
    """0 to 1 for each pair, numbers first: Spearman, the correlation ratio, Cramer's V."""
    count = len(ranks)
    found = np.zeros((count + len(codes),) * 2)
    if count > 1:
        with np.errstate(invalid="ignore", divide="ignore"):
            found[:count, :count] = np.nan_to_num(np.abs(np.corrcoef(np.stack(ranks))))
    for at, code in enumerate(codes):
        for number, values in enumerate(ranks):
            found[number, count + at] = _correlation_ratio(code, values)
        for before in range(at):
            found[count + before, count + at] = _cramers_v(codes[before], code)
    return found


def _correlation_ratio(code: Array, values: Array) -> float:
    """The share of a number's spread that a category explains, as a root (eta)."""
    sizes = np.bincount(code)
    means = np.bincount(code, values) / np.maximum(sizes, 1)
    total = float(((values - values.mean()) ** 2).sum())
    between = float((sizes * (means - values.mean()) ** 2).sum())
    return float(np.sqrt(between / total)) if total > 0 else 0.0


def _cramers_v(one: Array, other: Array) -> float:
    """Cramer's V, corrected for what chance gives small tables (Bergsma 2013)."""
    wide, rows = int(other.max()) + 1, len(one)
    table = np.bincount(one * wide + other, minlength=(int(one.max()) + 1) * wide).reshape(-1, wide)
    expected = np.outer(table.sum(1), table.sum(0)) / rows
    with np.errstate(invalid="ignore", divide="ignore"):
        phi = float(np.nansum((table - expected) ** 2 / expected)) / rows
    r, k = table.shape
    spare = max(0.0, phi - (r - 1) * (k - 1) / (rows - 1))
    least = min(r - (r - 1) ** 2 / (rows - 1), k - (k - 1) ** 2 / (rows - 1)) - 1
    return float(np.sqrt(spare / least)) if least > 0 else 0.0
