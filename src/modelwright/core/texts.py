"""Cells of a text table, such as CSV, to values that the intake takes."""

from __future__ import annotations

import json
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

_SHOWN = 60
_JSON_KINDS = {
    str: "text", bool: "boolean", int: "number", float: "number", list: "list",
    dict: "object", type(None): "null",
}  # fmt: skip


def kind_of(value: object) -> str:
    """What a value is, in the words of JSON rather than of Python.

    Example:
        >>> kind_of("x"), kind_of(True), kind_of(1.5), kind_of({}), kind_of(None)
        ('text', 'boolean', 'number', 'object', 'null')
    """
    return _JSON_KINDS.get(type(value)) or type(value).__name__


def in_json(value: object) -> str:
    """The beginning of a value as JSON has it, and what it is.

    Example:
        >>> in_json("x"), in_json(True), in_json([1]), in_json(10**80), in_json(None)
        ("'x' (text)", 'true (boolean)', '[1] (list)', 'a number of more than 60 digits', 'null')
    """
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"{str(value[:_SHOWN])!r} (text)"
    if isinstance(value, int) and not -(10**_SHOWN) < value < 10**_SHOWN:
        return f"a number of more than {_SHOWN} digits"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return f"{text[:_SHOWN]} ({kind_of(value)})"


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
