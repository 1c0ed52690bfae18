"""Columns of the journal by the names that people know."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from modelwright.serve.journal_segment import FEATURE
from modelwright.watch.summaries import PREDICTION, SCORE


@dataclass(frozen=True)
class Names:
    """Columns of the journal as people call them.

    Example:
        >>> names = Names(("score", "f_age", "f_age of car"))
        >>> names.shown("f_age"), names.shown("score")
        ('age', 'score of the answer')
        >>> names.words("compare f_age of car with f_ages")
        'compare age of car with f_ages'
    """

    columns: Sequence[str]

    def shown(self, name: str) -> str:
        """A column by its own name."""
        if name == SCORE:
            return "score of the answer"
        if name == PREDICTION:
            return "predicted class"
        return name[len(FEATURE) :] if name in self._known else name

    def words(self, text: str) -> str:
        """A sentence with columns by their own names."""
        return self._pattern.sub(lambda found: found[0][len(FEATURE) :], text)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(name for name in self.columns if name.startswith(FEATURE))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest = sorted(self._known, key=len, reverse=True)
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest)) or '(?!)'})(?!\w)")
