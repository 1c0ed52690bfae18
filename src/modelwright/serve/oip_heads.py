"""JSON heads of requests with all tensors behind them as bytes: the same head is not read again.

A client that sends its rows as bytes says the same before them each time: names, shapes, sizes, and
which outputs it wants. To read and check that takes as long as all the rest of the request.
"""

from __future__ import annotations

from typing import NamedTuple

from modelwright.core.schema import Schema
from modelwright.serve.datatypes import Raw
from modelwright.serve.messages import Question
from modelwright.serve.tensors import Prepared, key_from, read_prepared

MOST_HEADS, LONGEST_HEAD = 256, 4096
"""Heads that are remembered, and bytes of each: callers choose them."""


class Head(NamedTuple):
    """What a head says.

    Attributes:
        schema: of the version that it was checked for.
        sizes: bytes of each tensor, in their order.
        outputs, binary: see `messages.Question`; a head with an id comes once, and is not kept.
    """

    schema: Schema
    prepared: Prepared
    sizes: tuple[int, ...]
    outputs: tuple[str, ...]
    binary: frozenset[str]

    def question(self, behind: memoryview, key: str | None = None) -> Question:
        """The request whose tensors these bytes are.

        Args:
            behind: the bytes.
            key: column whose first value becomes the question's key.

        Raises:
            ProtocolError: 422 for values, as `tensors.read_tensors`.
        """
        raws: list[Raw] = []
        at = 0
        for size in self.sizes:
            raws.append(behind[at : at + size])
            at += size
        checked = self.prepared.checked
        feeds = read_prepared(self.prepared, raws)
        caller = key_from(self.schema, key, checked.tensors, raws)
        unknown = dict.fromkeys(checked.unknown, checked.rows)
        return Question(
            feeds, checked.rows, "infer", None, self.outputs, self.binary, unknown, caller
        )


_KNOWN: dict[tuple[int, bytes], Head] = {}


def find(schema: Schema, head: bytes, size: int, max_rows: int) -> Head | None:
    """A head that was read before for this schema, with so many bytes behind it."""
    found = _KNOWN.get((id(schema), head))
    if found is None or found.schema is not schema or sum(found.sizes) != size:
        return None
    return found if found.prepared.checked.rows <= max_rows else None


def learn(head: bytes, said: Head) -> None:
    """Remember a head that was read and checked."""
    if len(head) > LONGEST_HEAD:
        return
    if len(_KNOWN) >= MOST_HEADS:
        _KNOWN.pop(next(iter(_KNOWN)), None)
    _KNOWN[id(said.schema), head] = said
