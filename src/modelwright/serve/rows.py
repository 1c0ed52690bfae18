"""JSON rows to the arrays of a graph on the shortest way, for rows that are typed as training was.

What is typed otherwise, unknown, or against a contract is not judged here: `Odd` sends the request
to `core.intake`, which accepts it with all its leniency, or names every problem. So this can only
be faster, never different.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter, itemgetter
from types import GenericAlias
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import astuple

from modelwright.core.contract import row_breaches
from modelwright.core.intake import Array, column_feed, sentinels_of
from modelwright.core.schema import Column, Schema
from modelwright.pack.artefact import ROWS_A_RUN
from modelwright.pack.compiled import Lookup
from modelwright.pack.inputs import NUMBERS, TEXTS, TIMES
from modelwright.serve.engine import Engine, Inputs
from modelwright.serve.messages import ProtocolError
from modelwright.serve.names import is_plain_name
from modelwright.serve.odd_values import OddValues
from modelwright.serve.policy import Policy

MOST_REMEMBERED, LONGEST_REMEMBERED = 4096, 200
"""Spellings of one column that are remembered beside its levels, and their characters: callers
choose them."""
RUNS_JUDGED = 32
"""Runs whose numbers are looked at together where they are only counted: a run by itself costs as
much as all of them."""
_TYPE: dict[str, Any] = {
    "number": float | None,
    "boolean": bool | None,
    "category": str | None,
    "list": list[str] | str | None,
    "datetime": str | None,
}


Pending = list[tuple[str, str, int]] | deque[tuple[str, str, int]]
"""What is odd in rows that are being read: sort, column, how many."""
_NOBODY: Pending = deque(maxlen=0)
"""Takes what was told already, and keeps nothing."""


class Odd(Exception):
    """These rows need the careful way."""


class Codes(dict[str | None, int]):
    """One column's texts, as callers write them, to what the graph takes.

    Args:
        pending: where it tells of values that training never saw, and of texts that mean missing.
    """

    def __init__(
        self, column: Column, lookup: Lookup, pending: Pending, *, refuse_unseen: bool
    ) -> None:
        super().__init__()
        self._pending = pending
        self._is_unseen = ("unseen_categories", column.name, 1)
        self._is_missing = ("missing", column.name, 1)
        self._column, self._lookup, self._refuse = column, lookup, refuse_unseen
        self._levels = frozenset([*column.levels, ""])
        self._new: dict[str, int] = {}
        self.column = column.name
        self._none = None if _breaks(column, "") else lookup.rows.get("", lookup.unknown)

    def __missing__(self, given: str | None) -> int:
        if given is None:
            if self._none is None:
                raise Odd
            self._pending.append(self._is_missing)
            return self._none
        if given in self._new:
            self._pending.append(self._is_unseen)
            return self._new[given]
        text = str(column_feed(self._column, [given], [])[0])
        if not text and self._none is not None:
            self._pending.append(self._is_missing)
            return self._none
        known = text in self._levels
        if _breaks(self._column, text) or (self._refuse and not known):
            raise Odd
        row = self._lookup.rows.get(text, self._lookup.unknown)
        remembered = self if known else self._new
        if len(remembered) < MOST_REMEMBERED + len(self._levels) and (
            len(given) <= LONGEST_REMEMBERED or given in self._levels
        ):
            remembered[given] = row
        if not known:
            self._pending.append(self._is_unseen)
        return row


class RowReader:
    """Reads `{...}`, `[{...}]` and `{"rows": [{...}]}` of one schema.

    Args:
        engine: whose arrays are filled.
        refuse_unseen, refuse_range: whether such values refuse a row.

    Attributes:
        place: column -> the attribute of a decoded row that holds its value.
        whole: whether the arrays that `inputs` gave last tell all that its rows said; of a text
            that training never saw they do not.
    """

    def __init__(
        self, engine: Engine, *, refuse_unseen: bool = False, refuse_range: bool = False
    ) -> None:
        schema, groups = engine.schema, engine.groups
        by_name = {column.name: column for column in schema.features}
        self.place = {column.name: f"c{n}" for n, column in enumerate(schema.features)}
        self._refuse_range = refuse_range
        numbers = [by_name[name] for name in groups.get(NUMBERS, ())]
        self._sentinels = [
            (place, sentinels_of(c)) for place, c in enumerate(numbers)
            if c.kind == "number" and sentinels_of(c)
        ]  # fmt: skip
        self._contracts = [(place, c) for place, c in enumerate(numbers) if c.expect is not None]
        self.ranged = [c.name for c in numbers]
        self._low = np.array([c.minimum if _has_range(c) else -np.inf for c in numbers])
        self._high = np.array([c.maximum if _has_range(c) else np.inf for c in numbers])
        self._at_once = bool(self._sentinels or self._contracts or refuse_range)
        self._unjudged: list[Array] = []
        self.codes: list[Codes] = []
        self._pending: Pending = []
        self._lookups: list[tuple[str, list[Codes]]] = []
        for tensor, lookups in (engine.cut.lookups if engine.cut else {}).items():
            columns = [by_name[lookup.column] for lookup in lookups]
            told = {code.column for code in self.codes}  # by another model of a blend
            codes = [
                Codes(
                    c, lookup, _NOBODY if c.name in told else self._pending,
                    refuse_unseen=refuse_unseen,
                )
                for c, lookup in zip(columns, lookups, strict=True)
            ]  # fmt: skip
            self._lookups.append((tensor, codes))
            self.codes += codes
        # models of a blend look the same column up, each in its own way
        quick = list(dict.fromkeys([*self.ranged, *(code.column for code in self.codes)]))
        self._picked = [_picked(quick, codes) for _, codes in self._lookups]
        self._quick = len(quick)
        self._decode = _decoders(schema, self.place, quick)
        texts = engine.cut is None or engine.cut.texts
        slow = [(TIMES, groups.get(TIMES, ())), (TEXTS, groups.get(TEXTS, ()) if texts else ())]
        self._slow = [
            (tensor, [by_name[name] for name in names], np.int64 if tensor == TIMES else object)
            for tensor, names in slow if names
        ]  # fmt: skip
        read = [NUMBERS] * bool(numbers) + [tensor for tensor, _ in self._lookups]
        read += [tensor for tensor, _, _ in self._slow]
        self._unused = [name for name in read if name not in engine.takes]
        cut = {code.column for code in self.codes}
        slow_columns = tuple(
            c for _, columns, _ in self._slow for c in columns if c.name not in cut
        )
        self._judged = {column.name for column in slow_columns}
        self._policy = Policy(
            Schema(slow_columns, schema.target),
            unseen_levels="refuse" if refuse_unseen else "count",
            out_of_range="refuse" if refuse_range else "count",
        )
        self._odd = OddValues(Schema(slow_columns, schema.target), self)
        self._odds: dict[tuple[str, str], int] = {}
        self.whole = self._tells_all = told_by(engine) >= by_name.keys()

    @property
    def odds(self) -> dict[tuple[str, str], int]:
        """(sort, column) -> how many odd values were in accepted rows since it was last cleared."""
        if self._unjudged:
            self._pending.clear()
            self._checked(np.concatenate(self._unjudged))
            self._unjudged.clear()
            self._tell()
        return self._odds

    def decode(self, body: bytes) -> list[Any] | None:
        """The rows of a body; None where it needs the careful way."""
        if self._decode is None:
            return None
        start = body[:9].lstrip()
        one, many, wrapped = self._decode
        try:
            if start.startswith(b'{"rows"'):
                rows: list[Any] = wrapped.decode(body).rows
            elif start.startswith(b"["):
                rows = many.decode(body)
            else:
                rows = [one.decode(body)]
            return rows
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None

    def inputs(self, rows: Sequence[Any]) -> Inputs:
        """The graph's arrays.

        Raises:
            Odd: a row needs the careful way.
        """
        found: Inputs = {}
        self._pending.clear()
        if len(rows) == 1:
            self._one_row(astuple(rows[0]), found)
        elif self._quick:
            self._many_rows(list(zip(*map(astuple, rows), strict=True)), found)
        if self._slow:
            found |= self._careful(rows)
        self.whole = self._tells_all
        if self._pending:  # not before: odd rows are counted where they go
            self.whole &= all(what != "unseen_categories" for what, _, _ in self._pending)
            self._tell()
        if not self._at_once and NUMBERS in found:
            self._judge_later(found[NUMBERS])
        for tensor in self._unused:  # read all the same, since the careful way would judge it
            del found[tensor]
        return found

    def _judge_later(self, numbers: Array) -> None:
        self._unjudged.append(numbers)
        if len(self._unjudged) >= RUNS_JUDGED or len(numbers) > ROWS_A_RUN:
            _ = self.odds

    def _tell(self) -> None:
        for what, name, count in self._pending:
            self._odds[what, name] = self._odds.get((what, name), 0) + count

    def odd(self, what: str, column: str, count: int = 1) -> None:
        """See `metrics.Served.odd`; counted when all rows are accepted."""
        self._pending.append((what, column, count))

    def _one_row(self, row: Sequence[Any], found: Inputs) -> None:
        """By single values: half of the time that columns of one value take."""
        at = len(self.ranged)
        if at:
            numbers = np.fromiter(row[:at], float, at).reshape(1, at)
            found[NUMBERS] = self._checked(numbers) if self._at_once else numbers
        for (tensor, codes), pick in zip(self._lookups, self._picked, strict=True):
            one = [code[value] for code, value in zip(codes, pick(row), strict=True)]
            found[tensor] = np.array([one], np.int64)

    def _many_rows(self, columns: Sequence[Sequence[Any]], found: Inputs) -> None:
        """By columns, each array filled from one iterator: numpy looks at lists in lists twice."""
        at, rows = len(self.ranged), len(columns[0])
        if at:
            values = np.fromiter(chain.from_iterable(columns[:at]), float, at * rows)
            numbers = np.ascontiguousarray(values.reshape(at, rows).T)
            found[NUMBERS] = self._checked(numbers) if self._at_once else numbers
        for (tensor, codes), pick in zip(self._lookups, self._picked, strict=True):
            known = [
                map(code.__getitem__, texts)
                for code, texts in zip(codes, pick(columns), strict=True)
            ]
            places = np.fromiter(chain.from_iterable(known), np.int64, len(known) * rows)
            found[tensor] = np.ascontiguousarray(places.reshape(len(known), rows).T)

    def _checked(self, numbers: Array) -> Array:
        for place, sentinels in self._sentinels:
            values = numbers[:, place]
            values[np.isin(values, sentinels)] = np.nan
        usual = (numbers >= self._low) & (numbers <= self._high)  # and not missing
        if not usual.all():
            self._count(numbers, usual)
        for place, column in self._contracts:
            if row_breaches(column, numbers[:, place]):
                raise Odd
        return numbers

    def _count(self, numbers: Array, usual: Array) -> None:
        missing = np.isnan(numbers)
        outside = ~(usual | missing)
        if self._refuse_range and outside.any():
            raise Odd
        for what, odd in (("missing", missing), ("out_of_range", outside)):
            for place in np.flatnonzero(odd.any(axis=0)).tolist():
                self.odd(what, self.ranged[place], int(odd[:, place].sum()))

    def _careful(self, rows: Sequence[Any]) -> Inputs:
        """What has no short way: date-times, lists, and texts that the graph looks up itself."""
        found: Inputs = {}
        feeds: dict[str, Array] = {}
        problems: list[str] = []
        for tensor, columns, dtype in self._slow:
            found[tensor] = matrix = np.empty((len(rows), len(columns)), dtype)
            for place, column in enumerate(columns):
                get = attrgetter(self.place[column.name])
                values = column_feed(column, [get(row) for row in rows], problems)
                if problems or (column.expect and row_breaches(column, values)):
                    raise Odd
                feeds[column.name] = matrix[:, place] = values
        feeds = {name: values for name, values in feeds.items() if name in self._judged}
        if not feeds:
            return found
        try:
            self._policy.judge(feeds)
        except ProtocolError as error:
            raise Odd from error
        self._odd.count(feeds)
        return found


def _picked(quick: Sequence[str], codes: Sequence[Codes]) -> Callable[[Sequence[Any]], Any]:
    """Takes the values of these columns out of those of a row, in their order."""
    places = [quick.index(code.column) for code in codes]
    first = places[0]
    if places == list(range(first, first + len(places))):
        return itemgetter(slice(first, first + len(places)))
    return itemgetter(*places)


def _decoders(
    schema: Schema, place: dict[str, str], first: Sequence[str]
) -> tuple[Any, Any, Any] | None:
    """Of one row, whose tuple begins with some columns, of a list of rows, and of an object; None
    where a column has a name that msgspec cannot look for."""
    if not all(is_plain_name(name) for name in [*place, *schema.tolerated]):
        return None
    wanted: list[Any] = []
    ranks = {name: rank for rank, name in enumerate(first)}
    for column in sorted(schema.features, key=lambda column: ranks.get(column.name, len(ranks))):
        kind = _TYPE[column.kind]
        name = place[column.name]
        wanted.append((name, kind, None) if column.nullable else (name, kind))
    names = {place[column.name]: column.name for column in schema.features}
    for number, name in enumerate(sorted(schema.tolerated)):
        wanted.append((f"t{number}", Any, None))
        names[f"t{number}"] = name
    row = msgspec.defstruct(
        "Row", wanted, rename=names, forbid_unknown_fields=True, kw_only=True, gc=False
    )
    rows = GenericAlias(list, (row,))
    wrapped = msgspec.defstruct("Rows", [("rows", rows)], forbid_unknown_fields=True)
    kinds: tuple[Any, ...] = (row, rows, wrapped)
    one, many, within = (msgspec.json.Decoder(kind) for kind in kinds)
    return one, many, within


def told_by(engine: Engine) -> set[str]:
    """Columns of which a graph's arrays tell all, but for texts that training never saw."""
    columns = {column.name: column for column in engine.schema.features}
    told: set[str] = set()
    looked_up: set[str] = set()
    for tensor, lookups in (engine.cut.lookups if engine.cut else {}).items():
        for lookup in lookups:
            looked_up.add(lookup.column)
            texts = {"", *columns[lookup.column].levels}
            codes = {lookup.unknown, *(lookup.rows.get(t, lookup.unknown) for t in texts)}
            if tensor in engine.takes and len(codes) == len(texts) + 1:
                told.add(lookup.column)
    for tensor, names in engine.groups.items():
        if tensor in engine.takes:
            told |= set(names) - looked_up
    return told


def _has_range(column: Column) -> bool:
    return column.kind == "number" and column.minimum is not None and column.maximum is not None


def _breaks(column: Column, text: str) -> bool:
    return column.expect is not None and bool(row_breaches(column, np.array([text], object)))
