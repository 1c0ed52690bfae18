"""What a student is taught: the answers of another model."""

from __future__ import annotations

import numpy as np

from modelwright.core.intake import Array
from modelwright.fit.outputs import TINY


def lesson_of(answers: Array) -> Array:
    """The chance of class 1 of two, chances of all of more [rows, classes], or the value."""
    if answers.ndim == 1:
        return answers
    if answers.shape[1] > 2:
        return np.asarray(answers / answers.sum(axis=1, keepdims=True))
    return np.clip(answers[:, 1], TINY, 1 - TINY)
