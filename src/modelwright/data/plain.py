"""Columns of plain numbers, which need no decision."""

from __future__ import annotations

import polars as pl

_PLAIN_NUMBER = r"^(0|-?[1-9]\d{0,14}|-?(0|[1-9]\d{0,14})\.\d{1,15})$"
"""Read alike under every rule of this file, but for the point, which may group thousands."""


def plain_numbers(frame: pl.DataFrame) -> dict[str, pl.Series]:
    """The text columns that hold nothing but plain numbers, as numbers; nothing to decide there.

    One question to all columns at once, where `cells.numbers_in` asks each a dozen: of a table of
    856 columns they were most of the time that reading took.

    Example:
        >>> frame = pl.DataFrame({"a": ["1", None], "b": ["1.5", "2"], "c": ["01", "2"]})
        >>> {name: column.to_list() for name, column in plain_numbers(frame).items()}
        {'a': [1, None], 'b': [1.5, 2.0]}
    """
    names = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    if not names or not frame.height:
        return {}
    all_of = pl.col(names)
    is_plain = all_of.str.contains(_PLAIN_NUMBER).all() & all_of.is_not_null().any()
    plain = [name for name, yes in frame.select(is_plain).row(0, named=True).items() if yes]
    if not plain:
        return {}
    has_point = frame.select(pl.col(plain).str.contains(".", literal=True).any())
    broken = {name for name, yes in has_point.row(0, named=True).items() if yes}
    typed = [pl.col(name).cast(pl.Float64 if name in broken else pl.Int64) for name in plain]
    return {column.name: column for column in frame.select(typed)}
