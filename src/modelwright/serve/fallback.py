"""Who stands in for a version that fails: the champion before, the run's baseline, a constant.

Each is marked in the answer and in the metrics, so that nobody takes it for the model's own.
"""

from __future__ import annotations

import math

import numpy as np

from modelwright.core.errors import UsageError
from modelwright.core.schema import Schema
from modelwright.pack.artefact import Answers

CHAMPION, PREVIOUS, BASELINE, CONSTANT = "champion", "previous", "baseline", "constant"
Label = float | int | str | bool


class Constant:
    """The answer of last resort, the same for every row.

    Args:
        schema: of the version that it stands in for.
        value: a label or a value of the target; see `ServeSpec.constant`.

    Raises:
        UsageError: the target has no such label or value.

    Example:
        >>> from modelwright.core.schema import Target
        >>> no = Constant(Schema((), Target("t", "binary", "string", ("no", "yes"))), "no")
        >>> no.answer(2).columns()
        {'prediction': ['no', 'no'], 'p_no': [1.0, 1.0], 'p_yes': [0.0, 0.0]}
    """

    def __init__(self, schema: Schema, value: Label | None) -> None:
        self._schema = schema
        self._value = _number(schema, value) if not schema.target.levels else 0.0
        self._code = _code(schema, value) if schema.target.levels else 0

    def answer(self, rows: int) -> Answers:
        """Certain of its label; or the value, also at both ends where there is an interval."""
        target = self._schema.target
        if not target.levels:
            values = np.full(rows, self._value)
            ends = values if target.interval is not None else None
            return Answers(self._schema, values=values, low=ends, high=ends)
        probabilities = np.zeros((rows, len(target.levels)))
        probabilities[:, self._code] = 1.0
        codes = np.full(rows, self._code, np.int64)
        return Answers(self._schema, codes=codes, probabilities=probabilities)


def _code(schema: Schema, value: Label | None) -> int:
    """The class of a label that is written as the caller's data has it, or as text."""
    target = schema.target
    for code, level in enumerate(target.levels):
        label = target.label(level)
        if (type(label) is type(value) and label == value) or level == value:
            return code
    listed = ", ".join(repr(target.label(level)) for level in target.levels[:8])
    raise UsageError(
        f"serve.constant is {value!r}, which is no label of {target.name}.",
        hint=f"Its labels: {listed}{', ...' if len(target.levels) > 8 else ''}.",
    )


def _number(schema: Schema, value: Label | None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(
            f"serve.constant is {value!r}, but {schema.target.name} is a number.",
            hint="Give a value of the target, such as its median.",
        )
    return float(value)
