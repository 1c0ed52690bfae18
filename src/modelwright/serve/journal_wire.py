"""What a server tells the process that writes its journal: messages, and their bytes in a pipe.

A message is msgpack after its length in eight bytes. Arrays go as the bytes that they are.
"""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Iterator, Sequence
from typing import IO, Any

import msgspec
import numpy as np

from modelwright.core.intake import Array
from modelwright.core.schema import Column, Schema
from modelwright.serve.settings import Journaling

LENGTH = 8
READ = 2**20
"""Bytes that are asked for at once."""
RECORD = np.dtype([("ended", "<f8"), ("seconds", "<f8"), ("first", "<i4"), ("rows", "<i4")])
"""A request: when it was answered, how long that took, where its rows begin among those of the
arrays that it is told with, and how many they are."""
record = struct.Struct("<ddii").pack
"""The bytes of a `RECORD`."""


class Block(msgspec.Struct, array_like=True):
    """An array.

    Attributes:
        dtype: numpy's name for it, or "text".
        shape: of a row.
        data: the bytes, or the texts row by row.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes | list[str]

    @classmethod
    def of(cls, values: Array) -> Block:
        """Of an array whose first dimension is rows."""
        if values.dtype.hasobject:
            return cls("text", values.shape[1:], values.ravel().tolist())
        return cls(values.dtype.str, values.shape[1:], values.tobytes())

    @classmethod
    def joined(cls, parts: Sequence[Array]) -> Block:
        """Of the rows of several arrays."""
        return cls.of(np.concatenate(parts))

    def array(self) -> Array:
        """It again; what is not text may not be written to."""
        if self.dtype == "text":
            found = np.array(self.data, object)
        else:
            assert isinstance(self.data, bytes)
            found = np.frombuffer(self.data, self.dtype)
        return found.reshape(-1, *self.shape)


Blocks = dict[str, Block]


class Begin(msgspec.Struct, tag=True):
    """First: where to, and how."""

    settings: Journaling


class Texts(msgspec.Struct):
    """What the codes mean that a compiled graph takes for a column; see `pack.compiled.Lookup`."""

    column: str
    rows: dict[str, int]
    unknown: int


class Version(msgspec.Struct, tag=True):
    """A version, before the first message that names its number.

    Attributes:
        groups: tensor of the graph -> columns.
        lookups: tensor of codes -> what they mean, column by column.
    """

    number: int
    model: str
    version: str
    digest: str
    schema: Schema
    groups: dict[str, tuple[str, ...]]
    lookups: dict[str, tuple[Texts, ...]]

    @property
    def features(self) -> list[Column]:
        """Columns that may be written."""
        return [column for column in self.schema.features if not column.private]


class About(msgspec.Struct):
    """Some requests.

    Attributes:
        ids: of each.
        records: `RECORD` of each.
    """

    ids: list[str]
    records: bytes

    def table(self) -> Array:
        """`RECORD` of each request."""
        return np.frombuffer(self.records, RECORD)


class Runs(msgspec.Struct, tag=True):
    """Requests of the fast way: parts of some runs of a graph.

    Attributes:
        version: its number.
        about: the requests.
        inputs, outputs: what the runs took and gave, by name.
        told: column -> values as its requests had them, of those requests whose values the arrays
            may not tell; `tellers` are their places among the requests.
    """

    version: int
    about: About
    inputs: Blocks
    outputs: Blocks
    told: Blocks
    tellers: list[int]


class Asked(msgspec.Struct, tag=True):
    """Requests of the careful way, alike in how they were answered.

    Attributes:
        version: its number.
        about: the requests.
        feeds: column -> its values.
        outputs: their answers.
        arm, fallback, cached: see `messages.Answered`.
        callers: of each request; none where nobody is known.
    """

    version: int
    about: About
    feeds: Blocks
    outputs: Blocks
    arm: str
    fallback: str
    cached: bool
    callers: list[str] = []


class Failure(msgspec.Struct, array_like=True):
    """A request that nobody answered; see `unanswered.Unanswered`.

    Attributes:
        ended: Unix time.
        features: of the first row, a JSON object of texts.
        caller: see `messages.Answered`.
    """

    model: str
    version: str
    arm: str
    id: str
    ended: float
    status: int
    features: str
    caller: str


class Failures(msgspec.Struct, tag=True):
    """Requests that nobody answered."""

    found: list[Failure]


class Tally(msgspec.Struct):
    """Back from the process: how many rows it has written, and lost, since it began, and whether
    files cannot be written now."""

    written: int = 0
    lost: int = 0
    failing: bool = False


Message = Begin | Version | Runs | Asked | Failures
_ENCODER, _DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Message)


def send(message: Message, pipe: IO[bytes]) -> None:
    """Write a message, and wait until it is in the pipe.

    Raises:
        OSError: nobody reads any more.
    """
    try:
        data = _ENCODER.encode(message)
    except UnicodeEncodeError:
        data = _ENCODER.encode(_whole(msgspec.to_builtins(message, builtin_types=(bytes,))))
    pipe.write(len(data).to_bytes(LENGTH, "little"))
    pipe.write(data)
    pipe.flush()


def _whole(value: Any) -> Any:
    """The same with question marks for halves of letters, which JSON can hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list | tuple):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {_whole(name): _whole(one) for name, one in value.items()}
    return value


def received(pipe: int, every: float) -> Iterator[Message | None]:
    """Every message until the other side closes; None where nothing came for `every` seconds. What
    was cut off in the middle is no message."""
    waiting = bytearray()
    while True:
        if not select.select([pipe], [], [], every)[0]:
            yield None
            continue
        data = os.read(pipe, READ)
        if not data:
            return
        waiting += data
        while (size := _size(waiting)) is not None:
            with memoryview(waiting) as view, view[LENGTH:size] as one:
                message = _DECODER.decode(one)
            del waiting[:size]
            yield message


def _size(waiting: bytearray) -> int | None:
    """Bytes of the first message with its length; None while it is not whole."""
    if len(waiting) < LENGTH:
        return None
    size = LENGTH + int.from_bytes(waiting[:LENGTH], "little")
    return size if len(waiting) >= size else None
