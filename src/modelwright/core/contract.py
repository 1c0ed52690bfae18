"""`expect:`: what values must be, judged alike in training, scoring and serving."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from modelwright.core.schema import MISSING_TIME, Column, moment_text

Array = npt.NDArray[Any]
MOST_SHOWN = 21


def row_breaches(column: Column, values: Array, told: Collection[int] = frozenset()) -> list[str]:
    """A line for each value that breaks the column's contract, at most 21.

    Args:
        column: with its `expect`, or without: then nothing is wanted.
        values: as in `core.intake.Feeds`.
        told: rows that have been complained of already.

    Example:
        >>> from modelwright.core.schema import Expect
        >>> age = Column("age", "number", expect=Expect(minimum=0, maximum=120))
        >>> row_breaches(age, np.array([39.0, 323.0]))
        ["row 1, column 'age': 323 is over 120, the most that is expected"]
    """
    wanted = column.expect
    if wanted is None:
        return []
    missing = missing_in(values)
    found: list[tuple[int, str]] = []
    if wanted.required:
        found += [(int(i), "is missing, a value is expected") for i in _first(missing)]
    if wanted.minimum is not None and values.dtype != object:
        low = ~missing & (values < wanted.minimum)
        limit = _shown(column, wanted.minimum)
        found += [(int(i), f"{_shown(column, values[i])} is under {limit}, the least that is "
                           "expected") for i in _first(low)]  # fmt: skip
    if wanted.maximum is not None and values.dtype != object:
        high = ~missing & (values > wanted.maximum)
        limit = _shown(column, wanted.maximum)
        found += [(int(i), f"{_shown(column, values[i])} is over {limit}, the most that is "
                           "expected") for i in _first(high)]  # fmt: skip
    if wanted.levels and values.dtype == object:
        known = {*wanted.levels, ""}
        odd = np.fromiter((not known.issuperset(items_of(column, v)) for v in values), bool,
                          len(values))  # fmt: skip
        listed = ", ".join(wanted.levels[:8]) + (", ..." if len(wanted.levels) > 8 else "")
        found += [(int(i), f"{values[i][:60]!r} is not among {listed}") for i in _first(odd)]
    if wanted.regex and values.dtype == object:
        matches = _matcher(wanted.regex)
        odd = np.fromiter((v != "" and not matches(v) for v in values), bool, len(values))
        found += [(int(i), f"{values[i][:60]!r} does not match {wanted.regex}")
                  for i in _first(odd)]  # fmt: skip
    found = sorted(one for one in found if one[0] not in told)
    return [f"row {row}, column {column.name!r}: {text}" for row, text in found[:MOST_SHOWN]]


def table_breaches(column: Column, values: Array) -> list[str]:
    """What a whole table breaks: values that occur twice, too many missing ones."""
    wanted, found = column.expect, []
    if wanted is None:
        return []
    missing = missing_in(values)
    if wanted.unique:
        present = values[~missing]
        if values.dtype == object:
            present = present.astype(str)
        names, first, counts = np.unique(present, return_index=True, return_counts=True)
        twice = np.flatnonzero(counts > 1)
        if len(twice):
            row = int(np.flatnonzero(~missing)[first[twice[0]]])
            found.append(
                f"column {column.name!r}: {len(twice):,} values occur more than once, the first "
                f"in row {row}: {_shown(column, names[twice[0]])}; each is expected once"
            )
    share = float(missing.mean()) if len(missing) else 0.0
    if wanted.max_missing is not None and share > wanted.max_missing:
        found.append(
            f"column {column.name!r}: {share:.1%} is missing, at most {wanted.max_missing:.1%} "
            "is expected"
        )
    return found


def missing_in(values: Array) -> Array:
    """Where a feed has no value.

    Example:
        >>> missing_in(np.array(["", "a"], dtype=object)).tolist()
        [True, False]
    """
    if values.dtype == object:
        return np.asarray(values == "", dtype=bool)
    if values.dtype.kind == "i":
        return np.asarray(values == MISSING_TIME)
    return np.asarray(np.isnan(values))


def _first(mask: Array) -> Array:
    return np.flatnonzero(mask)[:MOST_SHOWN]


def items_of(column: Column, value: str) -> list[str]:
    """The categories in a value: the items of a list, or the value itself."""
    return value.split(column.format or "|") if column.kind == "list" else [value]


def _shown(column: Column, value: Any) -> str:
    if column.kind == "datetime":
        return moment_text(value)
    return value[:60] if isinstance(value, str) else f"{float(value):.10g}"


@lru_cache(maxsize=256)
def _matcher(pattern: str) -> Any:
    return re.compile(pattern).fullmatch
