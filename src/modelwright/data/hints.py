"""What is known about a table before its columns are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelwright.core.errors import DataError
from modelwright.core.spec_data import ReadSpec
from modelwright.data.cells import PLAIN, STYLES


@dataclass(frozen=True)
class Hints:
    """What is known about a table before its columns are looked at.

    Attributes:
        style: how its numbers are written, a key of `cells.STYLES`.
        others: styles that single columns may have instead.
        missing: column (or '*') -> values that mean missing.
        dates: column -> format.
        spellings: column -> variant -> level.
    """

    style: str = PLAIN
    others: tuple[str, ...] = ()
    missing: Mapping[str, list[str]] = field(default_factory=dict)
    dates: Mapping[str, str] = field(default_factory=dict)
    spellings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def missing_of(self, name: str) -> tuple[str, ...]:
        """The values that mean missing in one column."""
        return (*self.missing.get("*", ()), *self.missing.get(name, ()))


def style_of(read: ReadSpec) -> str | None:
    """The style that `data.read.decimal` and `thousands` ask for; None when they say nothing."""
    if read.decimal is None and read.thousands is None:
        return None
    decimal = read.decimal or ("." if read.thousands in (",", "'", "") else ",")
    usual = {".": "", ",": "."}[decimal]
    thousands = read.thousands if read.thousands is not None else usual
    if decimal == "," and thousands == "":
        thousands = "."
    for style, marks in STYLES.items():
        if marks == (thousands, decimal):
            return style
    raise DataError(
        f"data.read: no number is written with {thousands!r} between thousands and {decimal!r} "
        "before decimals.",
        hint=f"Known: {', '.join(STYLES)}.",
    )
