"""What keeps a caller with one arm: the first row's value of a column, the same by every door."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

from modelwright.core.intake import Array, Feeds, level_text
from modelwright.core.schema import MISSING_TIME, Schema
from modelwright.core.texts import cell_values


def is_read(schema: Schema, name: str) -> bool:
    """Whether the model reads a column, so that its feed has the key."""
    return any(column.name == name for column in schema.features)


def key_of(schema: Schema, name: str | None, value: Any) -> str | None:
    """The key in a column that the model does not read, such as a customer's number.

    Args:
        name: of the column; None where the spec names none.
        value: as the body has it: JSON's, a cell's, a tensor's.

    Example:
        >>> from modelwright.core.schema import Column, Target
        >>> customer = Column("customer", "number", unused="an id")
        >>> schema = Schema((customer,), Target("y", "regression"))
        >>> [key_of(schema, "customer", value) for value in (17, 17.0, "17", " 17.0", None, "")]
        ['17', '17', '17', '17', None, None]
    """
    if name is None or value is None:
        return None
    column = next((c for c in schema.columns if c.name == name), None)
    if column is not None and column.kind == "number" and isinstance(value, str):
        [value] = cell_values(column, [value])
    return _text(value)


def key_in(feeds: Feeds, name: str) -> str | None:
    """The key in a column that the model reads; None where the first row has none.

    Example:
        >>> key_in({"age": np.array([39.0])}, "age"), key_in({"age": np.array([np.nan])}, "age")
        ('39', None)
    """
    values: Array = feeds[name]
    return _text(values[0]) if len(values) else None


def recorded(schema: Schema, name: str | None, key: str | None) -> str:
    """What the journal says of who asked: a hash, which tells callers apart and names none; empty
    without a key, and where its column is private.

    Args:
        name: of the column; None where callers send the key in a header only.

    Example:
        >>> from modelwright.core.schema import Column, Target
        >>> columns = Column("customer", "number"), Column("email", "text", private=True)
        >>> schema = Schema(columns, Target("y", "regression"))
        >>> recorded(schema, "customer", "17"), recorded(schema, "email", "a@b.c")
        ('c84fea14715f52a0', '')
    """
    if key is None or any(c.name == name and c.private for c in schema.columns):
        return ""
    data = key.encode("utf-8", "replace")
    return hashlib.blake2b(data, digest_size=8, key=b"modelwright caller").hexdigest()


def _text(value: Any) -> str | None:
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return None if value == MISSING_TIME else str(int(value))
    if isinstance(value, (float, np.floating)):
        return None if math.isnan(value) else level_text(float(value))
    return str(value).strip() or None if value is not None else None
