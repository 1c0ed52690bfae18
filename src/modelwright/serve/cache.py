"""Remembered answers to single rows that are equal after the intake.

Two requests that differ in spelling, column order, -0.0 or the kind of missing value are one row to
the model, so they are one entry. One cache a version: another version never sees its answers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgspec

from modelwright.core.intake import Array, Feeds
from modelwright.pack.artefact import Answers
from modelwright.serve.settings import Caching, Seconds

Key = tuple[Any, ...]
LONGEST_ROW = 4096
"""Characters of all texts of a row that is still remembered."""


class Cache:
    """Exact answers of one version, the least recently used ones forgotten first.

    Args:
        names: the columns of its feeds, in any fixed order.
        rows: most rows that are remembered.
        ttl: seconds that one is believed.

    Attributes:
        hits, misses: how often an answer was there, and not.

    Example:
        >>> import numpy as np
        >>> cache = Cache(("age", "job"), rows=1000, ttl=60.0)
        >>> key = cache.key({"age": np.array([-0.0]), "job": np.array([""], object)}, 1)
        >>> key == cache.key({"job": np.array([""], object), "age": np.array([0.0])}, 1)
        True
        >>> cache.get(key, now=0.0) is None, cache.misses
        (True, 1)
    """

    is_on = True

    def __init__(self, names: Sequence[str], rows: int, ttl: Seconds) -> None:
        self._names = tuple(names)
        self._rows = rows
        self._ttl = ttl
        self._kept: OrderedDict[Key, tuple[float, Answers]] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._kept)

    def key(self, feeds: Feeds, rows: int) -> Key | None:
        """What stands for a row; None for more than one, which is never remembered."""
        if rows != 1:
            return None
        # Python holds 0.0 and -0.0 for equal; NaN, equal to nothing, becomes None.
        values = [feeds[name].item() for name in self._names]
        return tuple([None if value != value else value for value in values])

    def get(self, key: Key | None, now: float) -> Answers | None:
        """The answer to that row, if it is known and young; it is shared, so it is not changed."""
        if key is None:
            return None
        found = self._kept.get(key)
        if found is None or found[0] <= now:
            self.misses += 1
            return None
        self._kept.move_to_end(key)
        self.hits += 1
        return found[1]

    def put(self, key: Key | None, answers: Answers, now: float) -> None:
        """Remember an answer; not that of very long texts, since memory is counted in rows."""
        if key is None or sum([len(v) for v in key if type(v) is str]) > LONGEST_ROW:
            return
        self._kept[key] = now + self._ttl, _own(answers)
        self._kept.move_to_end(key)
        if len(self._kept) > self._rows:
            self._kept.popitem(last=False)


class NoCache:
    """A cache that is off: everything is a miss, and nothing is counted."""

    is_on = False
    hits = 0
    misses = 0

    def __len__(self) -> int:
        return 0

    def key(self, feeds: Feeds, rows: int) -> Key | None:  # noqa: ARG002  as Cache has it
        """No row has one."""
        return None

    def get(self, key: Key | None, now: float) -> Answers | None:  # noqa: ARG002  as Cache has it
        """Nothing is known."""
        return None

    def put(self, key: Key | None, answers: Answers, now: float) -> None:
        """Nothing is remembered."""


def cache_of(settings: Caching, names: Sequence[str]) -> Cache | NoCache:
    """The cache that the settings ask for.

    Example:
        >>> cache_of(Caching(), ["age"]).is_on, cache_of(Caching(rows=10), ["age"]).is_on
        (False, True)
    """
    if settings.rows <= 0:
        return NoCache()
    return Cache(names, settings.rows, settings.ttl)


def _own(answers: Answers) -> Answers:
    """Arrays of their own: one row of a batch would keep the whole batch alive."""
    return msgspec.structs.replace(
        answers,
        values=_copied(answers.values),
        low=_copied(answers.low),
        high=_copied(answers.high),
        codes=_copied(answers.codes),
        probabilities=_copied(answers.probabilities),
    )


def _copied(array: Array | None) -> Array | None:
    if array is None:
        return None
    own = array.copy()
    own.flags.writeable = False
    return own
