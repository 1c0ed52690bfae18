"""Names of columns and classes, as JSON has them."""

from __future__ import annotations


def is_plain_name(name: str) -> bool:
    r"""Whether msgspec can read and write a field of that name: it would have to be escaped in JSON
    where it has a quote, a backslash or a control character.

    Example:
        >>> is_plain_name("naïve 漢字"), is_plain_name('5" pipe'), is_plain_name("a\nb")
        (True, False, False)
    """
    return not any(character in '"\\' or character < " " for character in name)
