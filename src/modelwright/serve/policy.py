"""Values that fit their column and that training never saw: counted, or refused.

Judged for every row that is answered, so all that can be looked up is looked up once a schema, and
a single row is compared in plain Python: there numpy costs more than the comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelwright.core.contract import items_of, missing_in
from modelwright.core.errors import RowsError
from modelwright.core.intake import SHOWN_PROBLEMS, Array, Feeds, refuse
from modelwright.core.schema import MISSING_TIME, Column, Schema, moment_text
from modelwright.serve.messages import ProtocolError

Counts = dict[str, dict[str, int]]
"""Column -> {"unseen": n, "out_of_range": n}; a column without such values is not in it."""
UNSEEN, OUT_OF_RANGE = "unseen", "out_of_range"


class Policy:
    """What one schema has seen, and what happens to the rest.

    Args:
        schema: of the version that answers.
        unseen_levels: refuse or count categories that training never saw, or too seldom to keep.
        out_of_range: refuse or count numbers and date-times outside the training range.

    Example:
        >>> from modelwright.core.schema import Target
        >>> age = Column("age", "number", minimum=17.0, maximum=90.0)
        >>> job = Column("job", "category", levels=("a", "b"))
        >>> policy = Policy(Schema((age, job), Target("y", "regression")))
        >>> policy.judge({"age": np.array([323.0]), "job": np.array(["c"], dtype=object)})
        {'job': {'unseen': 1}, 'age': {'out_of_range': 1}}
    """

    def __init__(
        self, schema: Schema, *, unseen_levels: str = "count", out_of_range: str = "count"
    ) -> None:
        self._columns = {column.name: column for column in schema.features}
        self._first = next(iter(self._columns), "")
        self._refused = {
            what
            for what, policy in ((UNSEEN, unseen_levels), (OUT_OF_RANGE, out_of_range))
            if policy == "refuse"
        }
        self._levels = [
            (column.name, frozenset([*column.levels, ""]))
            for column in schema.features
            if column.kind == "category"
        ]
        self._lists = [
            (column.name, frozenset([*column.levels, ""]), column.format or "|")
            for column in schema.features
            if column.kind == "list"
        ]
        self._ranges = [
            (column.name, column.minimum, column.maximum)
            for column in schema.features
            if column.kind in ("number", "datetime")
            and column.minimum is not None
            and column.maximum is not None
        ]

    def judge(self, feeds: Feeds, lines: Sequence[int] | None = None) -> Counts:
        """Count odd values of checked rows.

        Args:
            lines: see `messages.Question`.

        Raises:
            ProtocolError: 422, when one of a refused sort is among them; each is named by row and
                column.
        """
        first = feeds.get(self._first)
        found = self._row(feeds) if first is None or len(first) == 1 else self._many(feeds)
        if found and self._refused and any(self._refused & set(odd) for odd in found.values()):
            raise _refusal(self._problems(feeds, found), lines)
        return found

    def also(self, error: RowsError) -> ProtocolError:
        """The refusal of rows of which some values do not fit their column, with what is refused of
        the others."""
        feeds: Feeds = dict(error.feeds or {})
        told = self._problems(feeds, self._many(feeds)) if feeds and self._refused else []
        return _refusal([*error.all_problems, *told], error.lines)

    def _row(self, feeds: Feeds) -> Counts:
        found: Counts = {}
        for name, levels in self._levels:
            if feeds[name].item() not in levels:
                found[name] = {UNSEEN: 1}
        for name, low, high in self._ranges:
            value = feeds[name].item()
            if not low <= value <= high and value == value and value != MISSING_TIME:
                found[name] = {OUT_OF_RANGE: 1}
        for name, levels, separator in self._lists:
            if not levels.issuperset(feeds[name].item().split(separator)):
                found[name] = {UNSEEN: 1}
        return found

    def _many(self, feeds: Feeds) -> Counts:
        """Of many rows; `feeds` may lack columns."""
        found: Counts = {}
        for name, levels in self._levels:
            if name not in feeds:
                continue
            values = feeds[name].tolist()
            if not levels.issuperset(values):
                found[name] = {UNSEEN: sum(value not in levels for value in values)}
        for name, low, high in self._ranges:
            if name not in feeds:
                continue
            count = int(np.count_nonzero(_outside(feeds[name], low, high)))
            if count:
                found[name] = {OUT_OF_RANGE: count}
        for name, levels, separator in self._lists:
            if name not in feeds:
                continue
            count = sum(not levels.issuperset(v.split(separator)) for v in feeds[name].tolist())
            if count:
                found[name] = {UNSEEN: count}
        return found

    def _problems(self, feeds: Feeds, found: Counts) -> list[str]:
        """A line each, the first rows first; those that will never be shown are empty."""
        lines: list[tuple[int, str]] = []
        total = 0
        for name, odd in found.items():
            for what in self._refused & set(odd):
                total += odd[what]
                lines += self._lines(self._columns[name], feeds[name], what)
        shown = [line for _, line in sorted(lines)[:SHOWN_PROBLEMS]]
        return shown + [""] * (total - len(shown))

    def _lines(self, column: Column, values: Array, what: str) -> list[tuple[int, str]]:
        if what == OUT_OF_RANGE:
            low, high = column.minimum or 0.0, column.maximum or 0.0
            odd = np.flatnonzero(_outside(values, low, high))[:SHOWN_PROBLEMS].tolist()
            show = moment_text if column.kind == "datetime" else _number
            known = "" if column.private else f", {show(low)} to {show(high)}"
            return [
                (row, f"row {row}, column {column.name!r}: {show(values[row])} is outside the "
                      f"range of training{known}") for row in odd
            ]  # fmt: skip
        levels = {*column.levels, ""}
        found: list[tuple[int, str]] = []
        for row, text in enumerate(values.tolist()):
            unseen = [item for item in items_of(column, text) if item not in levels]
            if unseen:
                found.append((row, f"row {row}, column {column.name!r}: {unseen[0][:60]!r} was "
                                   "never seen in training"))  # fmt: skip
            if len(found) == SHOWN_PROBLEMS:
                break
        return found


def _refusal(problems: list[str], lines: Sequence[int] | None) -> ProtocolError:
    try:
        refuse(problems)
    except RowsError as error:
        error.lines = lines
        return ProtocolError(422, error.message, error.by_line)
    raise AssertionError("nothing to refuse")


def _outside(values: Array, low: float, high: float) -> Array:
    outside = (values < low) | (values > high)
    return np.asarray(outside & ~missing_in(values) if outside.any() else outside)


def _number(value: Any) -> str:
    return f"{float(value):.10g}"
