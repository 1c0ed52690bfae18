"""The spec's answer of last resort, held against the target that it is to answer for."""

from __future__ import annotations

import math

from modelwright.core.errors import DataError, UsageError
from modelwright.core.schema import Target

Label = float | int | str | bool


def code_of(target: Target, value: Label | None) -> int:
    """The class of a label that is written as the caller's data has it, or as text.

    Raises:
        UsageError: the target has no such label.

    Example:
        >>> code_of(Target("t", "binary", "integer", ("0", "1")), 1)
        1
    """
    for code, level in enumerate(target.levels):
        label = target.label(level)
        if (type(label) is type(value) and label == value) or level == value:
            return code
    listed = ", ".join(repr(target.label(level)) for level in target.levels[:8])
    raise UsageError(
        f"serve.constant is {value!r}, which is no label of {target.name}.",
        hint=f"Its labels: {listed}{', ...' if len(target.levels) > 8 else ''}.",
    )


def number_of(target: Target, value: Label | None) -> float:
    """A value of a target that is a number.

    Raises:
        UsageError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(
            f"serve.constant is {value!r}, but {target.name} is a number.",
            hint="Give a value of the target, such as its median.",
        )
    return float(value)


def check_constant(target: Target, value: Label | None) -> None:
    """Refuse what a server would refuse at its start, before anything is trained.

    Raises:
        DataError: see `code_of` and `number_of`.
    """
    try:
        if value is not None:
            (code_of if target.levels else number_of)(target, value)
    except UsageError as error:
        raise DataError(error.message, hint=error.hint) from error
