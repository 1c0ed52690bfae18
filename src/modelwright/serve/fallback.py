"""Who stands in for a version that fails: the champion before, the run's baseline, a constant.

Each is marked in the answer and in the metrics, so that nobody takes it for the model's own.
"""

from __future__ import annotations

import numpy as np

from modelwright.core.constant import Label, code_of, number_of
from modelwright.core.schema import Schema
from modelwright.pack.artefact import Answers

CHAMPION, PREVIOUS, BASELINE, CONSTANT = "champion", "previous", "baseline", "constant"


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
        self._value = number_of(schema.target, value) if not schema.target.levels else 0.0
        self._code = code_of(schema.target, value) if schema.target.levels else 0

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
