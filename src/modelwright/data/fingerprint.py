"""A content fingerprint that does not change with row order, column order or file format."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from modelwright.core.intake import Array

Hashes = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def row_hashes(columns: Mapping[str, Array], *, salt: str = "") -> Hashes:
    """One 64-bit hash a row; equal rows have equal hashes wherever they stand.

    Args:
        columns: name -> values as in `core.intake.Feeds`.
        salt: changes every hash, so that different seeds give independent splits.

    Example:
        >>> one = row_hashes({"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])})
        >>> two = row_hashes({"b": np.array([4.0, 3.0]), "a": np.array([2.0, 1.0])})
        >>> bool((one == two[::-1]).all())
        True
    """
    count = len(next(iter(columns.values())))
    total = np.zeros(count, np.uint64)
    with np.errstate(over="ignore"):
        for name, values in columns.items():
            total += _mix(_bits(values) ^ np.uint64(_digest(name)))
        return _mix(total ^ np.uint64(_digest(salt)))


class Digest:
    """The fingerprint of a table that is seen a batch at a time.

    The rows' hashes are added up (twice, with different mixing), which forgets their order, and
    so are each column's. Not meant to withstand somebody who builds a collision; the artefact's
    sha256 is.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._whole = [0, 0]
        self._columns: dict[str, list[int]] = {}

    def add(self, columns: Mapping[str, Array]) -> Hashes:
        """Take in more rows; returns their hashes."""
        count = len(next(iter(columns.values())))
        total = np.zeros(count, np.uint64)
        with np.errstate(over="ignore"):
            for name, values in columns.items():
                mixed = _mix(_bits(values) ^ np.uint64(_digest(name)))
                total += mixed
                _accumulate(self._columns.setdefault(name, [0, 0]), mixed)
        hashes = _mix(total ^ np.uint64(_digest("")))
        _accumulate(self._whole, hashes)
        self.rows += count
        return hashes

    def whole(self) -> str:
        """Digest of the rows: 32 hex digits."""
        return _hex((sorted(self._columns), self.rows, self._whole))

    def columns(self) -> dict[str, str]:
        """Digest of each column, 16 hex digits, whatever the order of the rows."""
        return {n: _hex((n, self.rows, sums))[:16] for n, sums in self._columns.items()}


def _accumulate(sums: list[int], hashes: Hashes) -> None:
    with np.errstate(over="ignore"):
        for place, values in enumerate((hashes, _mix(hashes))):
            sums[place] = (sums[place] + int(values.sum(dtype=np.uint64))) % 2**64


def _hex(content: object) -> str:
    return hashlib.blake2b(repr(content).encode(), digest_size=16).hexdigest()


def fingerprint(columns: Mapping[str, Array]) -> str:
    """Digest of a table's content, see `Digest`.

    Example:
        >>> one = fingerprint({"a": np.array([1.0, 2.0])})
        >>> one == fingerprint({"a": np.array([2.0, 1.0])}), len(one)
        (True, 32)
    """
    digest = Digest()
    digest.add(columns)
    return digest.whole()


def _bits(values: Array) -> Hashes:
    if values.dtype == object:
        known = {text: _digest(text) for text in set(values.tolist())}
        return np.fromiter((known[text] for text in values), np.uint64, len(values))
    if values.dtype.kind == "i":
        return values.astype(np.int64).view(np.uint64)
    numbers = values.astype(np.float64) + 0.0  # -0.0 becomes 0.0
    numbers[np.isnan(numbers)] = np.nan  # one NaN of the many
    return numbers.view(np.uint64)


def _mix(x: Hashes) -> Hashes:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        x = x + _GOLDEN
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
