"""Texts of a journal's column as numbers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from modelwright.core.intake import Array

LONGEST = 1000
"""Characters of a text that are kept; callers may send any."""
NONE, LOOK = -1, -2
"""Numbers of a missing text, and of a code that does not tell which text it was."""


class Words(dict[str, int]):
    """Numbers for the texts of a column, cut at `LONGEST`, in the order in which they were met.

    Example:
        >>> words = Words(["a"])
        >>> words.numbers(["a", "", "x" * 1001, "x" * 1002]).tolist(), len(words.texts[1])
        ([0, -1, 1, 1], 1000)
    """

    def __init__(self, levels: Iterable[str]) -> None:
        super().__init__()
        self.texts: list[str] = []
        self[""] = NONE
        for level in levels:
            self[level]

    def __missing__(self, text: str) -> int:
        if len(text) > LONGEST:
            return self[text[:LONGEST]]
        number = self[text] = len(self.texts)
        self.texts.append(text)
        return number

    def numbers(self, values: Iterable[str]) -> Array:
        """int32, -1 for missing."""
        return np.array(list(map(self.__getitem__, values)), np.int32)


class TextOf:
    """What the codes that a graph takes for a column mean."""

    def __init__(self, words: Words, rows: dict[str, int], unknown: int) -> None:
        self._least = min([unknown, *rows.values()])
        meaning = np.full(max([unknown, *rows.values()]) - self._least + 1, LOOK, np.int32)
        met: set[int] = {unknown}
        for text in ["", *words.texts]:
            code = rows.get(text, unknown)
            meaning[code - self._least] = LOOK if code in met else words[text]
            met.add(code)
        self._meaning = meaning

    def numbers(self, codes: Array) -> Array:
        """Numbers of `Words`; `LOOK` where only the request itself knows."""
        found: Array = self._meaning[codes - self._least]
        return found
