"""Columns that likely hold personal data: by their names and by what their values look like."""

from __future__ import annotations

import re

import polars as pl

from modelwright.core.schema import Column

SAMPLE = 2_000
SHARE = 0.6
SHORTEST = 5
"""Characters of the shortest value that a pattern knows, a@b.c; columns of digits are not asked."""
_PATTERNS = {
    "e-mail addresses": r"(?i)^[\w.+%-]+@[\w-]+(\.[\w-]+)+$",
    "phone numbers": r"^(\+|00)\d[\d ()/.-]{6,18}\d$|^\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}$",
    "social security numbers": r"^\d{3}-\d{2}-\d{4}$",
    "bank accounts (IBAN)": r"^[A-Z]{2}\d{2}( ?[A-Z0-9]{4}){3,7}( ?[A-Z0-9]{1,3})?$",
    "card numbers": r"^\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{4}$",
    "IP addresses": r"^(\d{1,3}\.){3}\d{1,3}$",
}
_NAMED = {
    "e-mail addresses": r"e[-_ ]?mail",
    "phone numbers": r"(phone|mobile|telephone|fax)(?!.*(service|lines|type))",
    "names of people": r"((first|last|sur|given|family|full|middle|maiden)[-_ ]?name|"
    r"(customer|client|patient|employee|person|user|contact|passenger)[-_ ]?name|^name$)",
    "addresses": r"(^|[^a-z])(street|street[-_ ]?address|home[-_ ]?address|postal[-_ ]?address|"
    r"address(?!.*(type|count|change)))",
    "dates of birth": r"(date[-_ ]?of[-_ ]?birth|birth[-_ ]?(date|day)|^dob$)",
    "social security numbers": r"(^|[^a-z])(ssn|social[-_ ]?security|passport|national[-_ ]?id)",
    "bank accounts (IBAN)": r"(^|[^a-z])(iban|credit[-_ ]?card|card[-_ ]?number)",
}


def personal(series: pl.Series, column: Column) -> str:
    """Why a column likely holds personal data, or an empty string.

    Args:
        series: its raw values.
        column: what they were found to be.

    Example:
        >>> mails = pl.Series("contact", ["ann@example.org", "bob@example.org"])
        >>> personal(mails, Column("contact", "id"))
        'values look like e-mail addresses'
    """
    if series.dtype == pl.String:
        sample = series.drop_nulls().head(10 * SAMPLE).unique().head(SAMPLE)
        wanted = SHARE * sample.len()
        if wanted and (sample.str.len_chars() >= SHORTEST).sum() >= wanted:
            stripped = sample.str.strip_chars()
            for what, pattern in _PATTERNS.items():
                if stripped.str.contains(pattern).sum() >= wanted:
                    return f"values look like {what}"
    many = column.kind in ("id", "text") or len(column.levels) > 50
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column.name).lower()
    for what, pattern in _NAMED.items():
        if not re.search(pattern, name):
            continue
        if what == "dates of birth" and column.kind == "datetime":
            return f"its name says {what}"
        if series.dtype == pl.String and many and column.kind not in ("datetime", "number"):
            return f"its name says {what}"
        if series.dtype.is_numeric() and what.startswith(("phone", "social", "bank")) and many:
            return f"its name says {what}"
    if column.kind == "text":
        return "free text can hold anything about a person"
    return ""
