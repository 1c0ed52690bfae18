"""Rows of numbers as one matrix that still looks like columns to whoever asks for columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelwright.core.intake import Array

if TYPE_CHECKING:
    from _collections_abc import dict_items, dict_keys, dict_values


class Dense(dict[str, Array]):
    """Feeds that came as one matrix; a column is a view into it, made when it is looked at.

    784 views take longer than the answer of a small net, so prefer `matrix` where the graph takes
    all numbers as one input, and to put several requests together.

    Attributes:
        matrix: float64 [rows, columns], NaN for missing; the caller's own, so it may be changed.
        names: of the columns, in the matrix' order.

    Example:
        >>> import numpy as np
        >>> feeds = Dense(("a", "b"), np.array([[1.0, 2.0], [3.0, 4.0]]))
        >>> feeds["b"], len(feeds), list(feeds)
        (array([2., 4.]), 2, ['a', 'b'])
    """

    __slots__ = ("matrix", "names")

    def __init__(self, names: tuple[str, ...], matrix: Array) -> None:
        super().__init__()
        self.names = names
        self.matrix = matrix

    def _fill(self) -> None:
        if not super().__len__():
            super().update(zip(self.names, self.matrix.T, strict=True))

    def __getitem__(self, name: str) -> Array:
        self._fill()
        return super().__getitem__(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        self._fill()
        return super().__contains__(name)

    def __eq__(self, other: object) -> bool:
        self._fill()
        return super().__eq__(other)

    def get(self, name: str, default: Any = None) -> Any:
        """The column, or the default."""
        self._fill()
        return super().get(name, default)

    def keys(self) -> dict_keys[str, Array]:
        """Names of the columns."""
        self._fill()
        return super().keys()

    def values(self) -> dict_values[str, Array]:
        """The columns."""
        self._fill()
        return super().values()

    def items(self) -> dict_items[str, Array]:
        """Names and columns."""
        self._fill()
        return super().items()
