"""Leakage: columns that know the answer, because they were made from it or after it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np
import polars as pl

from modelwright.core.contract import missing_in
from modelwright.core.intake import Array
from modelwright.core.records import Finding
from modelwright.core.schema import Column
from modelwright.data.checks.formulas import arithmetic, counted, error
from modelwright.data.checks.probe import MOST_COLUMNS, Look, ranks, shown

CERTAIN = 0.99
BELIEVABLE = 0.85
"""Below this power a single column is no leak by itself."""
ASK = 0.25
TELLING = 0.3
"""Power of all others together below which they are no measure of what is too good."""
FEW_COLUMNS = 5
"""With fewer, one strong column is no wonder."""
MANY_COLUMNS = 10
"""With so many, one or two strong ones are judged against the rest, lest they hide each other."""
MOST_SUSPECTS = 12
FEWEST = 60
_AFTER = re.compile(
    r"(^|_)(duration|outcome|result|results|resolution|resolved|closed|final|finished|"
    r"settled|settlement|paid|payment_date|refund|refunded|cancel\w*|churn\w*|returned|"
    r"approved|rejected|decision|verdict|discharge\w*|death|died|survival|recover\w*|charge_?off|"
    r"collection\w*|default_?date|exit_?\w*|termination\w*|end_?(date|time)|followup|follow_up|"
    r"post|after|actual|total_pymnt|lifeboat|boat)(_|$)"
)


def leaks(look: Look) -> list[Finding]:
    """Every way in which a column can know the target, worst first.

    Args:
        look: labelled training rows.
    """
    if len(look.y) < FEWEST:
        return []
    features = [c for c in look.columns if c.is_feature]
    power = {c.name: look.alone(c.name) for c in features}
    if look.task == "regression":
        found = _derived(look, features)
    else:
        found = [*counted(look), *_cut_into(look, features)]
    named = {name for f in found for name in (f.subject, *f.columns)}
    found += _alone(look, power, named)
    named |= {f.subject for f in found}
    found += _missing_in_step(look, features, named)
    found += _known_after(look, features, power, {f.subject for f in found})
    found += _order(look)
    return found


def _alone(look: Look, power: dict[str, float], named: set[str]) -> list[Finding]:
    """One column that tells (nearly) all, far more than all others together."""
    best = sorted(power, key=lambda name: -power[name])
    strong = [name for name in best if power[name] >= BELIEVABLE]
    few = len(best) >= MANY_COLUMNS and len(strong) <= max(2, 0.1 * len(best))
    found = []
    for name in [n for n in best if power[n] >= ASK and n not in named][:MOST_SUSPECTS]:
        twins = {other for other in strong if other != name and (few or _twins(look, name, other))}
        rest = [n for n in best[:MOST_COLUMNS] if n != name and n not in twins]
        others, alone = look.together(rest), power[name]
        measured = (
            f"{shown(alone, look.task)} by itself, all others together {shown(others, look.task)}"
        )
        advice = f"is it known before the target? if not: data.drop: [{name}]"
        columns = (name, *sorted(twins))
        certain = CERTAIN if len(best) >= FEW_COLUMNS else 0.999
        if alone >= certain and alone > others + 0.003:
            why = _telling(look, name)
            found.append(error("leakage", name, measured, why, advice, columns))
        elif _too_good(alone, others, len(best)):
            why = _telling(look, name, "one column tells far more than all others together: "
                           "too good to be true")  # fmt: skip
            found.append(error("leakage", name, measured, why, advice, columns))
        elif alone > others and alone >= (0.5 if others >= TELLING else 0.8):
            why = "one column tells more than all others together"
            found.append(_warning("strong column", name, measured, why, advice, columns))
    return found


def _telling(
    look: Look, name: str, why: str = "it gives the target away: a copy, a part, or made from it"
) -> str:
    """Why a column tells so much; being filled in at all may be what tells."""
    missing = missing_in(look.values[name])
    if look.task != "regression" and missing.any() and _of_mistakes(missing, look.y) >= 0.8:
        return "whether it is filled in gives the target away: is it filled in only afterwards?"
    return why


def _too_good(alone: float, others: float, columns: int) -> bool:
    """With few columns, or weak ones, the others are no measure: then only the extreme counts."""
    if columns < FEW_COLUMNS:
        return False
    least = BELIEVABLE if others >= TELLING and columns >= MANY_COLUMNS else 0.95
    return alone >= least and 1 - alone < 0.6 * (1 - others)


def _twins(look: Look, one: str, other: str) -> bool:
    """Whether two columns order the rows alike, so that one hides the other's leak."""
    if one == other:
        return False
    a, b = (ranks(look.scores(name)[:, 0]) for name in (one, other))
    return bool(a.std() and b.std() and abs(np.corrcoef(a, b)[0, 1]) > 0.98)


def _cut_into(look: Look, features: Sequence[Column]) -> list[Finding]:
    """Classes that are bands of a number: sorted by it, each class stands in one piece."""
    classes = len(np.unique(look.y))
    found = []
    for column in features:
        values = look.values[column.name]
        if column.kind != "number" or len(np.unique(values[~np.isnan(values)])) < 4 * classes:
            continue
        held = ~np.isnan(values)
        y = look.y[held][np.lexsort((look.y[held], values[held]))]
        pieces = 1 + int((y[1:] != y[:-1]).sum())
        if held.mean() > 0.9 and len(y) >= 4 * FEWEST and pieces == len(np.unique(y)) > 1:
            why = "sorted by it, each class stands in one piece: the classes are cut from it"
            found.append(error("leakage", column.name, f"{classes} bands of it are the classes",
                                why, f"data.drop: [{column.name}]", (column.name,)))  # fmt: skip
    return found


def _derived(look: Look, features: Sequence[Column]) -> list[Finding]:
    """A number that is computed from other columns, or a category that is cut from it."""
    found = arithmetic(look)
    named = {name for f in found for name in f.columns}
    y = look.y.astype(np.float64)
    for column in features:
        few = column.kind == "number" and column.integer and look.bins(column.name)[1] <= 32
        if not (column.kind in ("category", "boolean") or few) or column.name in named:
            continue
        codes = look.bins(column.name)[0]
        bands = _bands(codes, y)
        if bands >= 3 or (bands == 2 and _varied(codes, y)):
            why = f"its {bands} levels are bands of the target that do not overlap"
            found.append(
                error("leakage", column.name, "cut from the target", why,
                       f"data.drop: [{column.name}]", (column.name,))
            )  # fmt: skip
    return found


def _varied(codes: Array, y: Array) -> bool:
    """Whether the target varies within each level: a level of zeros alone is no band."""
    return all(len(np.unique(y[codes == level])) >= 10 for level in np.unique(codes))


def _bands(codes: Array, y: Array) -> int:
    """How many levels there are when their ranges of the target do not overlap, else 0."""
    levels, counts = np.unique(codes, return_counts=True)
    kept = levels[counts >= 5]
    if len(kept) < 2 or counts[counts >= 5].sum() < 0.98 * len(y) or len(kept) > 0.2 * len(y):
        return 0
    ends = sorted((*np.quantile(y[codes == level], [0.01, 0.99]),) for level in kept)
    apart = all(one[1] <= two[0] for one, two in itertools.pairwise(ends))
    return len(kept) if apart else 0


def _missing_in_step(look: Look, features: Sequence[Column], named: set[str]) -> list[Finding]:
    """Columns that are empty, or filled, according to the target."""
    found = []
    for column in features:
        missing = missing_in(look.values[column.name])
        share = float(missing.mean())
        if column.name in named or not 0.005 < share < 0.995 or look.task == "regression":
            if look.task == "regression" and 0.02 < share < 0.98 and column.name not in named:
                found += _missing_by_value(look, column, missing)
            continue
        told = _of_mistakes(missing, look.y)
        measured = f"missing in {share:.0%} of the rows, in step with the target"
        advice = f"is it filled in only after the event? data.drop: [{column.name}]"
        if told >= 0.9:
            why = f"whether it is missing tells {told:.0%} of the target"
            found.append(error("leakage", column.name, measured, why, advice, (column.name,)))
        elif told >= 0.5 or _one_sided(missing, look.y):
            why = "where it is filled in (or missing), the target is nearly always the same"
            found.append(_warning("missing in step", column.name, measured, why, advice,
                                  (column.name,)))  # fmt: skip
    return found


def _of_mistakes(flag: Array, y: Array) -> float:
    """Share of one class's rows that a yes/no column finds without false alarms (Youden's J)."""
    best = 0.0
    for level in np.unique(y):
        inside = y == level
        best = max(best, abs(float(flag[inside].mean()) - float(flag[~inside].mean())))
    return best


def _one_sided(missing: Array, y: Array) -> bool:
    for side in (missing, ~missing):
        if side.sum() < 30:
            continue
        _, counts = np.unique(y[side], return_counts=True)
        top = float(counts.max() / side.sum())
        _, all_counts = np.unique(y, return_counts=True)
        if top >= 0.99 and all_counts.max() / len(y) < 0.9:
            return True
    return False


def _missing_by_value(look: Look, column: Column, missing: Array) -> list[Finding]:
    a, b = look.targets[missing, 0], look.targets[~missing, 0]
    gap = abs(float(a.mean()) - float(b.mean()))
    if gap < 0.45:  # ranks are 0 to 1: one side has nearly only high, the other low values
        return []
    measured = f"missing in {missing.mean():.0%} of the rows, those of one end of the target"
    return [
        _warning("missing in step", column.name, measured, "whether it is missing tells the target",
                 "is it filled in only after the event?", (column.name,))
    ]  # fmt: skip


def _known_after(
    look: Look, features: Sequence[Column], power: dict[str, float], named: set[str]
) -> list[Finding]:
    """Telling columns whose name speaks of the time after the event: only a person can know."""
    found = []
    for column in features:
        name = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column.name).lower())
        if column.name in named or not _AFTER.search(name) or power[column.name] < ASK:
            continue
        measured = f"{shown(power[column.name], look.task)} by itself"
        found.append(
            _warning("known in time?", column.name, measured,
                     "its name speaks of something that is known only after the event",
                     f"if so: data.drop: [{column.name}]; if not: data.accept", (column.name,))
        )  # fmt: skip
    return found


def _order(look: Look) -> list[Finding]:
    """Ids and the order of the rows that tell the target: a sorted file, or a leak."""
    found = []
    for column in look.columns:
        is_id = column.kind == "id" and look.values[column.name].dtype == np.float64
        if is_id and look.alone(column.name) >= 0.5:
            measured = f"{shown(look.alone(column.name), look.task)} by itself"
            found.append(
                _warning("id orders the target", column.name, measured,
                         "ids were given in the order of the target: sorted, or numbered after it",
                         "it is not used; does another column carry the same order?",
                         (column.name,))
            )  # fmt: skip
    return found


def equal_columns(look: Look) -> list[Finding]:
    """Columns that hold the same values under two names."""
    found, seen = [], dict[tuple[str, int], str]()
    for column in (c for c in look.columns if c.is_feature):
        values = look.values[column.name]
        series = pl.Series("v", values.tolist() if values.dtype == object else values)
        key = (str(series.dtype), int(series.hash().sum() or 0))
        twin = seen.setdefault(key, column.name)
        if twin != column.name and bool(
            np.array_equal(values, look.values[twin])
            if values.dtype == object
            else np.array_equal(values, look.values[twin], equal_nan=True)
        ):
            found.append(
                Finding("equal columns", column.name, "pass", f"equal to {twin}", "",
                        "one of them is enough", f"data.drop: [{column.name}]", "info",
                        columns=(column.name, twin))
            )  # fmt: skip
    return found


def _warning(
    check: str, subject: str, measured: str, why: str, advice: str, columns: tuple[str, ...]
) -> Finding:
    return Finding(check, subject, "fail", measured, "", why, advice, "warning", columns=columns)
