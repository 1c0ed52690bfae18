"""Targets that are computed from columns: copies, sums, differences, products, ratios."""

from __future__ import annotations

import itertools

import numpy as np

from modelwright.core.intake import Array
from modelwright.core.records import Finding
from modelwright.data.checks.probe import Look, ranks

FEWEST = 60
ROUNDING = 2e-3
"""Share of the target's spread that the rounding of columns may cost a formula."""
ARITHMETIC_ROWS = 3_000
ARITHMETIC_COLUMNS = 48


def counted(look: Look) -> list[Finding]:
    """Classes that are numbers, as a sum or difference of columns: 1 if there is a rest."""
    if len(np.unique(look.y)) > 10 or look.task != "binary":
        return []
    found = arithmetic(look)
    held = np.unique(look.y)
    return [f for f in found if "exactly" not in f.measured and "equal" not in f.measured
            and _tells_each_class(look, f, held)]  # fmt: skip


def _tells_each_class(look: Look, found: Finding, classes: Array) -> bool:
    """An arithmetic that is right for each class, not for the frequent one alone."""
    one, two = (look.values[name][:ARITHMETIC_ROWS] for name in found.columns)
    y = look.y[:ARITHMETIC_ROWS].astype(np.float64)
    for level in classes:
        inside = y == level
        if not _pair(one[inside], two[inside], y[inside], 1e-9, *found.columns):
            return False
    return True


def arithmetic(look: Look) -> list[Finding]:
    """The target as a copy, sum, difference, product or ratio of columns, or linear in them."""
    numbers = [
        c.name for c in look.columns if c.is_feature and look.values[c.name].dtype == np.float64
    ]
    y = look.y[:ARITHMETIC_ROWS].astype(np.float64)
    if len(np.unique(y)) < (8 if look.task == "regression" else 2) or not numbers:
        return []
    x = {name: look.values[name][:ARITHMETIC_ROWS] for name in numbers}
    near = {name: _likeness(values, y) for name, values in x.items()}
    kept = sorted(numbers, key=lambda name: -near[name])[:ARITHMETIC_COLUMNS]
    kept = [name for name in kept if np.nanstd(x[name]) > 0]
    tolerance = _resolution(y)
    found: list[Finding] = []
    for name in kept:
        if _equal(x[name], y, tolerance):
            found.append(_made("leakage", name, f"equal to the target: {name}", (name,)))
    named = {f.subject for f in found}
    for one, two in itertools.combinations([n for n in kept if n not in named], 2):
        formula = _pair(x[one], x[two], y, tolerance, one, two)
        if formula:
            found.append(_made("leakage", one, f"target = {formula}", (one, two)))
        if len(found) >= 5:
            return found
    return found or _linear(x, kept, y, tolerance)


def _made(check: str, subject: str, measured: str, columns: tuple[str, ...]) -> Finding:
    why = "the target is computed from columns, so the model would learn arithmetic"
    return error(check, subject, measured, why, f"data.drop: [{', '.join(columns)}]", columns)


def _likeness(values: Array, y: Array) -> float:
    """Absolute rank correlation, 0 where there is too little to tell."""
    held = ~np.isnan(values)
    a, b = ranks(values[held]), ranks(y[held])
    if held.sum() < FEWEST or not a.std() or not b.std():
        return 0.0
    return float(abs(np.corrcoef(a, b)[0, 1]))


def _resolution(y: Array) -> float:
    """Half of the last digit that the target is written with."""
    for digits in range(7):
        if np.allclose(y, np.round(y, digits), rtol=0, atol=1e-9):
            return 0.5 * 10.0**-digits + 1e-9
    return 1e-6 * float(np.abs(y).max())


def _equal(values: Array, y: Array, tolerance: float) -> bool:
    held = ~np.isnan(values)
    if held.sum() < max(FEWEST, 0.3 * len(y)):
        return False
    gap = np.abs(values[held] - y[held])
    return bool((gap <= np.maximum(tolerance, ROUNDING * y[held].std())).mean() >= 0.95)


def _pair(a: Array, b: Array, y: Array, tolerance: float, one: str, two: str) -> str:
    with np.errstate(all="ignore"):
        tried = {
            f"{one} + {two}": a + b,
            f"{one} - {two}": a - b,
            f"{two} - {one}": b - a,
            f"{one} * {two}": a * b,
            f"{one} / {two}": a / b,
            f"{two} / {one}": b / a,
        }
    for formula, values in tried.items():
        finite = np.where(np.isfinite(values), values, np.nan)
        if _equal(finite, y, tolerance):
            return formula
    return ""


def _linear(x: dict[str, Array], names: list[str], y: Array, tolerance: float) -> list[Finding]:
    """An exact weighted sum of several columns."""
    full = [n for n in names if np.isnan(x[n]).mean() < 0.05]
    if len(full) < 2:
        return []
    matrix = np.stack([x[n] for n in full], axis=1)
    held = ~np.isnan(matrix).any(axis=1)
    rows = int(held.sum())
    if rows < max(4 * FEWEST, 5 * len(full)):
        return []
    a = np.column_stack([matrix[held], np.ones(rows)])
    scale = np.maximum(np.abs(a).max(axis=0), 1e-12)
    half = rows // 2
    weights, *_ = np.linalg.lstsq(a[:half] / scale, y[held][:half], rcond=None)
    off = np.abs(a[half:] / scale @ weights - y[held][half:])
    spread = float(y.std())
    if np.quantile(off, 0.95) > max(tolerance * 1.01, 1e-6 * spread) or spread == 0:
        return []
    if np.quantile(off, 0.95) > 0.02 * spread:
        return []
    share = np.abs(weights[:-1]) * (matrix[held].std(axis=0) / scale[:-1]) / spread
    used = tuple(n for n, part in sorted(zip(full, share, strict=True), key=lambda p: -p[1])
                 if part > 0.01)  # fmt: skip
    if not used:
        return []
    formula = " + ".join(f"w * {n}" for n in used[:6]) + (" + ..." if len(used) > 6 else "")
    return [_made("leakage", used[0], f"target = {formula}, exactly", used)]


def error(
    check: str, subject: str, measured: str, why: str, advice: str, columns: tuple[str, ...]
) -> Finding:
    """A finding that blocks a release until the spec accepts it."""
    advice = f"{advice}; known and right? data.accept: {{{check}: [{subject}]}}"
    return Finding(check, subject, "fail", measured, "", why, advice, "error", columns=columns)
