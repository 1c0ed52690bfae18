"""Values that are not what they seem: sentinels, wrong units, other spellings of one level."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from modelwright.core.contract import missing_in
from modelwright.core.intake import Array
from modelwright.core.records import Finding
from modelwright.core.schema import Column
from modelwright.data.cells import MISSING_WORDS

SENTINELS = frozenset(
    float(sign * number)
    for number in (9, 99, 999, 9999, 99999, 999999, 88, 888, 8888, 77, 777, 98, 998, 200, 1, 100,
                   1e20, 1e30, 32767, 2147483647)
    for sign in (-1, 1)
) | {-200.0, -999.9, -99.9, 999.9, 99.9, -9.99}  # fmt: skip
FEWEST = 50
SHOWN_ROWS = 10
_RANGES = (
    (r"(^|_)age(s)?($|_(years?|yrs|at_\w+))", 0.0, 120.0, "an age in years"),
    (r"(^|_)(lat|latitude)$", -90.0, 90.0, "a latitude"),
    (r"(^|_)(lon|lng|longitude)$", -180.0, 180.0, "a longitude"),
    (r"(^|_)(percent|percentage|pct)(_|$)|humidity|%", 0.0, 100.0, "a percentage"),
    (r"(^|_)month$", 0.0, 12.0, "a month"),
    (r"(^|_)hour$", 0.0, 24.0, "an hour"),
    (r"(^|_)(day_of_)?weekday$", 0.0, 7.0, "a weekday"),
    (r"(^|_)ph$", 0.0, 14.0, "a pH value"),
    (r"(^|_)(height_cm|height_in_cm)$", 20.0, 260.0, "a height in cm"),
    (r"(^|_)(probability|prob)$", 0.0, 1.0, "a probability"),
)
_UNITS = (1000.0, 100.0, 1e6)
_TYPO_LENGTH = 5


def odd_values(columns: Sequence[Column], values: dict[str, Array]) -> list[Finding]:
    """Findings about the values of each feature.

    Args:
        columns: of the table.
        values: all rows, as in `core.intake.Feeds`; a finding's rows count from its first.
    """
    found: list[Finding] = []
    for column in columns:
        if not column.is_feature or column.private:
            continue
        if column.kind == "number":
            found += numbers(column, values[column.name])
        elif column.kind == "category":
            found += spellings(column, values[column.name])
    return found


def numbers(column: Column, values: Array) -> list[Finding]:
    """Sentinels, impossible values and slips of unit in a numeric column.

    Example:
        >>> ages = np.array([30.0, 41.0, 55.0, 23.0] * 20 + [323.0])
        >>> numbers(Column("age", "number"), ages)[0].measured
        'row 80: 323'
    """
    present = ~np.isnan(values) & np.isfinite(values)
    if present.sum() < FEWEST:
        return []
    found = _sentinel(column, values, present)
    sentinel_values = {float(f.measured.split()[0]) for f in found}
    present &= ~np.isin(values, list(sentinel_values))
    named = _impossible(column, values, present)
    return [*found, *(named or _slips(column, values, present))]


def _sentinel(column: Column, values: Array, present: Array) -> list[Finding]:
    held = values[present]
    distinct, counts = np.unique(held, return_counts=True)
    if len(distinct) < 6:
        return []
    found = []
    for place in (0, -1):
        value, share = float(distinct[place]), float(counts[place] / len(held))
        others = held[held != value]
        gap = abs(float(distinct[1 if place == 0 else -2]) - value)
        low, high = np.quantile(others, [0.25, 0.75])
        spacing = float(np.median(np.diff(np.delete(distinct, place))))
        apart = gap >= max(0.5 * float(high - low), 5 * spacing)
        classic = value in SENTINELS and (counts[place] >= 2 or abs(value) >= 99)
        lone_sign = value < 0 <= float(others.min()) and counts[place] >= 3
        zero = value == 0 and place == 0 and counts[place] >= 3 and share <= 0.4
        usual = share <= 0.6 or (classic and abs(value) >= 99)
        if usual and apart and (classic or lone_sign or zero):
            rows = tuple(int(i) for i in np.flatnonzero(values == value)[:SHOWN_ROWS])
            measured = f"{value:g} in {int(counts[place]):,} rows ({share:.1%})"
            advice = f"data.read.missing: {{{column.name}: [{value:g}]}}; real? data.accept"
            why = f"it stands apart from all others ({others.min():g} to {others.max():g}), as a "
            found.append(
                Finding("sentinel", column.name, "fail", measured, "",
                        why + "code for missing does", advice, "warning", rows=rows)
            )  # fmt: skip
    return found


def _impossible(column: Column, values: Array, present: Array) -> list[Finding]:
    name = re.sub(r"[^a-z0-9%]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column.name).lower())
    name = name.strip("_")
    for pattern, low, high, what in _RANGES:
        if not re.search(pattern, name):
            continue
        outside = present & ((values < low) | (values > high))
        if not outside.any() or outside.sum() > 0.2 * present.sum():
            return []
        return [_odd("impossible value", column.name, values, outside,
                     f"{what} is {low:g} to {high:g}")]  # fmt: skip
    return []


def _slips(column: Column, values: Array, present: Array) -> list[Finding]:
    """Values that would be usual after division by 1000 or 100; lone ones far from all others."""
    held = values[present]
    if held.min() > 0:
        logs = np.log10(held)
        low, high = np.quantile(logs, [0.05, 0.95])
        far = present & (values > 10 ** (high + 1.3))
        if high - low < 1.2 and far.any() and far.sum() <= 0.05 * len(held):
            for unit in _UNITS:
                back = np.log10(values[far] / unit)
                if ((back >= low - 0.3) & (back <= high + 0.3)).all():
                    return [_odd("unit error", column.name, values, far,
                                 f"divided by {unit:g} they are like the others")]  # fmt: skip
    low, high = np.quantile(held, [0.25, 0.75])
    width = float(high - low)
    if width == 0:
        return []
    beyond = present & (np.abs(values - np.median(held)) > 10 * width)
    if not 0 < beyond.sum() <= 3:
        return []
    inside = values[present & ~beyond]
    nearest = min(abs(float(v) - float(e)) for v in values[beyond]
                  for e in (inside.min(), inside.max()))  # fmt: skip
    if nearest < 5 * width or nearest < 0.5 * float(inside.max() - inside.min()):
        return []
    return [_odd("impossible value", column.name, values, beyond, "far from all others")]


def _odd(check: str, name: str, values: Array, mask: Array, why: str) -> Finding:
    rows = np.flatnonzero(mask)
    shown = "; ".join(f"row {i}: {values[i]:g}" for i in rows[:4])
    more = f"; and {len(rows) - 4:,} more" if len(rows) > 4 else ""
    advice = f"mend them, or say what is right: expect: {{{name}: {{range: [..., ...]}}}}"
    return Finding(check, name, "fail", shown + more, "", why, advice, "warning",
                   rows=tuple(int(i) for i in rows[:SHOWN_ROWS]))  # fmt: skip


def spellings(column: Column, values: Array) -> list[Finding]:
    """Levels that differ in case, blanks or punctuation only, likely typos, words for missing.

    Example:
        >>> column = Column("land", "category", levels=("Peru", "Chile", "peru"))
        >>> spellings(column, np.array(["Peru", "Chile", "peru"], dtype=object))[0].advice
        "data.spellings: {land: {'Peru': ['peru']}}"
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for level in column.levels:
        groups[folded(level)].append(level)
    alike = {found[0]: found[1:] for found in groups.values() if len(found) > 1}
    typos = _typos(column, values) if not alike else {}
    found = []
    if alike:
        found.append(_spelled(column.name, alike, "differ in case, blanks or signs only", values))
    if typos:
        found.append(_spelled(column.name, typos, "a rare level is one letter off", values))
    words = [level for level in column.levels
             if level.lower() in MISSING_WORDS - {"none", "-", ".", "nd", "missing"}]  # fmt: skip
    if words:
        listed = ", ".join(repr(word) for word in words)
        share = float(np.isin(values.astype(str), words).mean())
        found.append(
            Finding("missing marker", column.name, "pass", f"{listed} in {share:.1%} of the rows",
                    "", "kept as a level of its own",
                    f"data.read.missing: {{{column.name}: [{listed}]}} to read it as missing",
                    "info")
        )  # fmt: skip
    return found


def folded(level: str) -> str:
    """A level without case, blanks and light signs: equal for spellings of one thing.

    Example:
        >>> folded("Self-Emp  inc.") == folded("self_emp inc"), folded("<5") == folded(">5")
        (True, False)
    """
    return re.sub(r"[\s_.'\-/]+", "", level.casefold()) or level


def _spelled(name: str, same: dict[str, list[str]], why: str, values: Array) -> Finding:
    shown = "; ".join(f"{first!r}, {', '.join(map(repr, rest))}"
                      for first, rest in list(same.items())[:3])  # fmt: skip
    listed = ", ".join(f"{first!r}: {rest!r}" for first, rest in list(same.items())[:5])
    odd = [variant for rest in same.values() for variant in rest]
    rows = np.flatnonzero(np.isin(values.astype(str), odd))[:SHOWN_ROWS]
    return Finding("spellings", name, "fail", shown, "", why,
                   f"data.spellings: {{{name}: {{{listed}}}}}", "warning",
                   rows=tuple(int(i) for i in rows))  # fmt: skip


def _typos(column: Column, values: Array) -> dict[str, list[str]]:
    """Frequent level -> rare levels one edit away; words of letters only."""
    if len(column.levels) > 200 or not len(values):
        return {}
    names, counts = np.unique(values[~missing_in(values)].astype(str), return_counts=True)
    count = dict(zip(names.tolist(), counts.tolist(), strict=True))
    words = [level for level in column.levels
             if len(level) >= _TYPO_LENGTH and re.fullmatch(r"[^\W\d_]+", level)]  # fmt: skip
    found: dict[str, list[str]] = defaultdict(list)
    for rare in words:
        for usual in words:
            if count.get(rare, 0) * 50 <= count.get(usual, 0) and _one_edit(rare, usual):
                found[usual].append(rare)
                break
    return dict(found)


def _one_edit(a: str, b: str) -> bool:
    """Whether one letter more, less, changed or exchanged with its neighbour makes a into b."""
    a, b = a.casefold(), b.casefold()
    if a == b or abs(len(a) - len(b)) > 1:
        return False
    if len(a) == len(b):
        off = [i for i in range(len(a)) if a[i] != b[i]]
        swapped = len(off) == 2 and off[1] == off[0] + 1
        return len(off) == 1 or (swapped and a[off[0]] == b[off[1]] and a[off[1]] == b[off[0]])
    long, short = (a, b) if len(a) > len(b) else (b, a)
    return any(long[:i] + long[i + 1 :] == short for i in range(len(long)))
