"""Named tensors to graph inputs: one place for HTTP and gRPC.

A tensor's values come as JSON, as typed protobuf fields or as bytes. All three give the same feeds,
which are those of `/predict`. OIP v2: github.com/kserve/open-inference-protocol; bytes as in
Triton's extension_binary_data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from modelwright.core.contract import row_breaches
from modelwright.core.errors import RowsError, did_you_mean
from modelwright.core.intake import (
    Array,
    Feeds,
    column_feed,
    refuse,
    sentinels_of,
)
from modelwright.core.schema import Column, Schema
from modelwright.serve.datatypes import DTYPE, NUMERIC, Raw, Tensor, flat, values_of
from modelwright.serve.dense import Dense
from modelwright.serve.keys import is_read, key_of
from modelwright.serve.messages import ProtocolError
from modelwright.serve.tensor_plan import DENSE, Plan, plan_of

MOST_ID = 1024
MOST_SEEN, LONGEST_SEEN = 4096, 64
"""Values a text column that are remembered with their feeds."""
DATATYPE = {
    "number": "FP64", "category": "BYTES", "list": "BYTES", "boolean": "BOOL", "datetime": "BYTES",
}  # fmt: skip
"""What metadata says of a column; numbers are taken in every numeric type."""
ACCEPTED = {
    "number": NUMERIC,
    "category": frozenset({"BYTES"}),
    "list": frozenset({"BYTES"}),
    "boolean": NUMERIC | {"BOOL"},
    "datetime": frozenset({"BYTES"}),
}


class Checked(NamedTuple):
    """Tensors whose names, shapes and datatypes fit a schema; their values are still to be read.
    `unknown` are names that the schema does not know, where those are only counted."""

    plan: Plan
    tensors: Sequence[Tensor]
    columns: tuple[Column | None, ...]
    rows: int
    dense: bool
    unknown: tuple[str, ...] = ()


def read_tensors(
    schema: Schema, tensors: Sequence[Tensor], raws: Sequence[Raw | None], max_rows: int
) -> tuple[Feeds, int]:
    """Check named tensors and turn them into graph inputs.

    A column is a tensor of shape [rows] or [rows, 1]. A model that reads only numbers also takes
    the one tensor `numbers` of shape [rows, columns], the columns in the schema's order: prefer it
    with many columns, it is read in one step.

    Args:
        tensors: at most 1024, or as many as the schema has columns.
        raws: for each tensor its bytes, or None where `data` holds its values.
        max_rows: most rows that are taken.

    Returns:
        The feeds, which may be shared and are not to be changed, and the number of rows.

    Raises:
        ProtocolError: 400 for names, shapes, datatypes and sizes, 413 for too many rows, 422 for
            values.

    Example:
        >>> from modelwright.core.schema import Target
        >>> schema = Schema((Column("age", "number"),), Target("y", "regression"))
        >>> read_tensors(schema, [Tensor("age", [2], "INT8", [39, None])], [None], 10)
        ({'age': array([39., nan])}, 2)
    """
    checked = check_tensors(schema, tensors, max_rows)
    return read_checked(checked, raws), checked.rows


def check_tensors(
    schema: Schema, tensors: Sequence[Tensor], max_rows: int, *, counts_unknown: bool = False
) -> Checked:
    """The part of `read_tensors` that does not look at values, to be done once for many requests.

    Args:
        counts_unknown: whether tensors that the schema does not know are let through.

    Raises:
        ProtocolError: 400 and 413 as there.
    """
    plan = plan_of(schema)
    if len(tensors) > plan.most:
        raise ProtocolError(400, f"{len(tensors):,} inputs, at most {plan.most:,} are taken.")
    if plan.dense and len(tensors) == 1 and tensors[0].name == DENSE:
        return Checked(plan, tensors, (), _dense_rows(plan, tensors[0], max_rows), True)
    columns: dict[str, Column | None] = {}
    rows = -1
    for tensor in tensors:
        if tensor.name in columns:
            raise ProtocolError(400, f"The input {tensor.name[:80]!r} is given twice.")
        try:
            columns[tensor.name], count = _known(plan, tensor, counts_unknown), _rows(tensor)
        except ProtocolError:
            _refuse_each(plan, tensors, counts_unknown)
            raise
        if rows < 0:
            rows = _checked_count(count, max_rows)
        elif count != rows:
            for other in tensors:
                if other.data is not None:
                    flat(other)  # data that is not of its own shape is the nearer fault
            raise ProtocolError(
                400, f"input {tensor.name[:80]!r}: {count:,} rows, another input has {rows:,}."
            )
    rows = _checked_count(max(rows, 0), max_rows)
    unknown = tuple(columns.keys() - plan.columns.keys() - plan.tolerated)
    return Checked(plan, tensors, tuple(columns.values()), rows, False, unknown)


def read_checked(checked: Checked, raws: Sequence[Raw | None]) -> Feeds:
    """The feeds of checked tensors; see `read_tensors`.

    Raises:
        ProtocolError: 400 for sizes, 422 for values.
    """
    plan, tensors, columns, rows, dense, _ = checked
    if dense:
        return _dense(plan, tensors[0], raws[0], rows)
    values: dict[str, list[Any] | Array | None] = {}
    problems: list[str] = []
    for tensor, raw, column in zip(tensors, raws, columns, strict=True):
        before = len(problems)
        found = values_of(tensor, raw, problems, lists=column is not None and column.kind == "list")
        values[tensor.name] = found if len(problems) == before else None
    return _feeds(plan, values, rows, problems)


def key_from(
    schema: Schema, key: str | None, tensors: Sequence[Tensor], raws: Sequence[Raw | None]
) -> str | None:
    """The caller's key, where it is a tensor that the model does not read; see `keys.key_of`."""
    if key is None or is_read(schema, key):
        return None
    for tensor, raw in zip(tensors, raws, strict=True):
        if tensor.name == key:
            values = flat(tensor) if raw is None else values_of(tensor, raw, [])
            return key_of(schema, key, values[0])
    return None


class _Way(NamedTuple):
    """How one column's bytes become a feed: by its dtype, or by those that were seen before."""

    tensor: Tensor
    column: Column
    dtype: np.dtype[Any] | None
    size: int
    seen: dict[Any, Array] | None


class Prepared(NamedTuple):
    """Checked tensors that will come again and again, always as bytes."""

    checked: Checked
    ways: tuple[_Way, ...]


def prepare(checked: Checked) -> Prepared:
    """Look up now what `read_prepared` will need each time."""
    plan, tensors, columns, rows, dense, _ = checked
    names = {tensor.name for tensor in tensors}
    if dense or names != plan.columns.keys():
        return Prepared(checked, ())
    ways = []
    for tensor, column in zip(tensors, columns, strict=True):
        assert column is not None
        plain = column.kind == "number" and not column.missing and column.expect is None
        dtype = DTYPE[tensor.datatype] if plain else None
        seen = plan.single.get(column.name) if rows == 1 else None
        ways.append(_Way(tensor, column, dtype, rows * dtype.itemsize if dtype else 0, seen))
    return Prepared(checked, tuple(ways))


def read_prepared(prepared: Prepared, raws: Sequence[Raw]) -> Feeds:
    """What `read_checked` gives, for less; single texts that were seen are not read again.

    Raises:
        ProtocolError: as there.
    """
    checked, ways = prepared
    if not ways:
        return read_checked(checked, raws)
    feeds: Feeds = {}
    for (tensor, column, dtype, size, seen), raw in zip(ways, raws, strict=True):
        name = column.name
        if dtype is not None and len(raw) == size:
            feeds[name] = np.frombuffer(raw, dtype).astype(np.float64)
            continue
        if seen is not None and raw in seen:
            feeds[name] = seen[raw]
            continue
        problems: list[str] = []
        values = values_of(tensor, raw, problems, lists=column.kind == "list")
        feed = feeds[name] = _feed(checked.plan, column, values, problems)
        if problems:
            return read_checked(checked, raws)  # it names those of all columns
        if seen is not None and len(raw) <= LONGEST_SEEN and len(seen) < MOST_SEEN:
            feed.flags.writeable = False
            seen[bytes(raw)] = feed
    return feeds


def _refuse_each(plan: Plan, tensors: Sequence[Tensor], counts_unknown: bool) -> None:
    """Name every tensor that does not fit, where there are several."""
    faults: list[str] = []
    for tensor in tensors:
        try:
            _known(plan, tensor, counts_unknown), _rows(tensor)
        except ProtocolError as error:
            faults.append(error.message)
    if len(faults) > 1:
        _refuse(faults, 400)


def _known(plan: Plan, tensor: Tensor, counts_unknown: bool) -> Column | None:
    """The column of a tensor; None for one that the model does not read."""
    name, datatype = tensor.name, tensor.datatype
    column = plan.columns.get(name)
    if column is not None:
        if datatype not in ACCEPTED[column.kind]:
            wanted = "a numeric type" if column.kind == "number" else DATATYPE[column.kind]
            raise ProtocolError(
                400, f"input {name!r}: datatype {datatype[:20]!r}, wanted {wanted}."
            )
        return column
    if name not in plan.tolerated and not counts_unknown:
        hint = did_you_mean(name[:80], plan.columns)
        raise ProtocolError(400, f"unknown input {name[:80]!r}" + (f": {hint}" if hint else ""))
    if datatype not in DTYPE and datatype != "BYTES":
        raise ProtocolError(400, f"input {name!r}: datatype {datatype[:20]!r} does not exist.")
    return None


def _rows(tensor: Tensor) -> int:
    shape = tensor.shape
    if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)) or shape[0] < 0:
        raise ProtocolError(
            400, f"input {tensor.name[:80]!r}: 'shape' must be [rows] or [rows, 1]."
        )
    return shape[0]


def _checked_count(count: int, max_rows: int) -> int:
    if count > max_rows:
        raise ProtocolError(413, f"{count:,} rows in one request, at most {max_rows:,} are taken.")
    if count == 0:
        raise ProtocolError(400, "The request has no rows.")
    return count


def _feeds(
    plan: Plan, values: Mapping[str, list[Any] | Array | None], rows: int, problems: list[str]
) -> Feeds:
    """What `core.intake.feeds_from_columns` makes of the values, without checking twice.

    A column that is None has its `problems` already.
    """
    feeds: Feeds = {}
    for column in plan.features:
        name = column.name
        found = values.get(name, plan)
        if found is plan and name in plan.required:
            problems.append(f"column {name!r} is missing")
        elif found is not None:
            given = [None] * rows if found is plan else found
            feeds[name] = _feed(plan, column, given, problems)
    if problems:
        _refuse(problems, feeds=feeds)
    return feeds


def _feed(plan: Plan, column: Column, values: Any, problems: list[str]) -> Array:
    """One column through the intake; texts that come alone again and again only once."""
    single = plan.single.get(column.name) if len(values) == 1 and type(values) is list else None
    key = values[0] if single is not None and values[0].__hash__ else None
    if single is not None and key is not None and key in single:
        return single[key]
    before, wrong = len(problems), list[int]()
    feed = column_feed(column, values, problems, wrong)
    if column.expect is not None:
        problems += row_breaches(column, feed, set(wrong))
    if single is not None and key is not None and len(problems) == before:
        if len(single) >= MOST_SEEN:
            single.clear()
        if type(key) is not str or len(key) <= LONGEST_SEEN:
            feed.flags.writeable = False
            single[key] = feed
    return feed


def _dense_rows(plan: Plan, tensor: Tensor, max_rows: int) -> int:
    names, shape = plan.dense, tensor.shape
    if len(shape) != 2 or shape[1] != len(names) or shape[0] < 0:
        raise ProtocolError(400, f"input {DENSE!r}: 'shape' must be [rows, {len(names)}].")
    if tensor.datatype not in NUMERIC:
        raise ProtocolError(
            400, f"input {DENSE!r}: datatype {tensor.datatype[:20]!r}, wanted a numeric type."
        )
    return _checked_count(shape[0], max_rows)


def _dense(plan: Plan, tensor: Tensor, raw: Raw | None, rows: int) -> Feeds:
    """All columns from one tensor."""
    problems: list[str] = []
    values = values_of(tensor, raw, problems)
    if isinstance(values, list) or problems:
        return _cell_by_cell(plan, tensor, rows)
    matrix = values.reshape(tensor.shape).astype(np.float64)
    for place, column in plan.watched:
        sentinels = sentinels_of(column)
        if sentinels:
            matrix[np.isin(matrix[:, place], sentinels), place] = np.nan
        problems += row_breaches(column, matrix[:, place])
    if problems:
        _refuse(problems)
    return Dense(plan.dense, matrix)


def _cell_by_cell(plan: Plan, tensor: Tensor, rows: int) -> Feeds:
    """Where a value is wrong: column by column, so that each is named."""
    cells, problems = flat(tensor), list[str]()
    columns: dict[str, list[Any] | Array | None] = {}
    for place, name in enumerate(plan.dense):
        part = Tensor(name, [rows], tensor.datatype, cells[place :: len(plan.dense)])
        before = len(problems)
        found = values_of(part, None, problems)
        columns[name] = found if len(problems) == before else None
    return _feeds(plan, columns, rows, problems)


def _refuse(problems: list[str], status: int = 422, feeds: Feeds | None = None) -> None:
    try:
        refuse(problems, feeds)
    except RowsError as error:
        raise ProtocolError(status, error.message, error.problems) from error
