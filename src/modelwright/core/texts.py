"""Cells of a text table, such as CSV, to values that the intake takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelwright.core.schema import Column

PLAIN = "1234.5"
STYLES = {
    PLAIN: ("", "."),
    "1,234.5": (",", "."),
    "1.234,5": (".", ","),
    "1 234,5": (" ", ","),
    "1 234.5": (" ", "."),
    "1'234.5": ("'", "."),
}
"""How numbers are written: an example -> (mark between thousands, decimal mark)."""
MISSING_WORDS = frozenset({
    "", "na", "n/a", "n.a.", "#n/a", "#na", "nan", "-nan", "null", "(null)", "none", "nil", "\\n",
    "?", "??", "-", "--", "---", ".", "..", "unknown", "unk", "missing", "not available",
    "not applicable", "undefined", "tbd", "nd", "n.d.", "k.a.", "#value!", "#div/0!", "#ref!",
})  # fmt: skip
"""Words that mean missing in a column that otherwise holds numbers."""


def cell_values(column: Column, texts: Sequence[str]) -> list[Any]:
    """Cells of one column as `core.intake` takes them; an empty cell is None.

    Only numbers need it: text is a category's, a date-time's and a boolean's own form already.
    What is no number stays text, so that the intake refuses it with its row.

    Args:
        column: how its numbers are written stands in `format`.
        texts: one cell a row.

    Example:
        >>> cell_values(Column("a", "number", format="1.234,5"), ["1.200,5", "", "n/a", "x"])
        [1200.5, None, None, 'x']
    """
    if column.kind != "number":
        return [text or None for text in texts]
    thousands, decimal = STYLES.get(column.format or PLAIN, STYLES[PLAIN])
    if decimal == "." and not thousands:
        return [_number(text) for text in texts]
    return [_styled(text, thousands, decimal) for text in texts]


def _number(text: str) -> float | str | None:
    try:
        number = float(text)
    except ValueError:
        return None if text.strip().lower() in MISSING_WORDS else text
    return text if "_" in text else number  # Python's own 1_000 is nobody's number


def _styled(text: str, thousands: str, decimal: str) -> float | str | None:
    plain = text.strip().replace(thousands, "") if thousands else text.strip()
    number = _number(plain.replace(decimal, "."))
    return text if isinstance(number, str) else number
