"""Messages of gRPC: cut out of DATA, and inflated within a limit."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from modelwright.serve.grpc_status import INTERNAL, RESOURCE_EXHAUSTED, Refusal
from modelwright.serve.incoming import Bodies

PREFIX = 5
"""Bytes before each message: whether it is compressed, and its length."""
MOST_RATIO = 1032
"""Bytes that deflate makes of one, at most."""
INLINE = 256 * 1024
"""What inflates to more, some milliseconds' work, does so in a thread."""
_ZLIB = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class MessageReader:
    """Messages out of the DATA of one call.

    Args:
        encoding: of those that are compressed.
        most: bytes of a message, inflated.
        bodies: of the process; held are as many as inflating one may take.
    """

    __slots__ = ("_bodies", "_body", "_encoding", "_most")

    def __init__(self, encoding: str, most: int, bodies: Bodies) -> None:
        self._body = bytearray()
        self._encoding, self._most, self._bodies = encoding, most, bodies

    @property
    def is_within(self) -> bool:
        """Whether half a message is here."""
        return bool(self._body)

    def whole(self, content: bytes) -> bytes | None:
        """The message of a call that came in one piece; None where it has to be put together."""
        size = len(content) - PREFIX
        if self._body or size < 0 or content[0] or size > self._most:
            return None
        return content[PREFIX:] if int.from_bytes(content[1:PREFIX], "big") == size else None

    def messages(self, content: bytes) -> Iterator[bytes | Packed]:
        """The messages that have become whole; one that inflates to much is left to the caller.

        Raises:
            Refusal: one is too large, or not in its encoding.
            ProtocolError: 503, there is no room to inflate it.
        """
        body = self._body
        body += content
        while len(body) >= PREFIX:
            size = int.from_bytes(body[1:PREFIX], "big")
            if size > self._most:
                raise _too_large(size, self._most)
            if len(body) < PREFIX + size:
                return
            flag, message = body[0], bytes(body[PREFIX : PREFIX + size])
            del body[: PREFIX + size]
            yield self._inflated(message) if flag else message

    def _inflated(self, message: bytes) -> bytes | Packed:
        room = min(self._most, INLINE, len(message) * MOST_RATIO)
        self._bodies.take(room)
        try:
            return inflated(message, self._encoding, min(self._most, INLINE))
        except Refusal as refusal:
            if refusal.code == RESOURCE_EXHAUSTED and self._most > INLINE:
                return Packed(message, self._encoding, self._most)
            raise
        finally:
            self._bodies.held -= room


@dataclass(frozen=True)
class Packed:
    """A compressed message that takes long to inflate, or turns out too large."""

    message: bytes
    encoding: str
    most: int

    @property
    def room(self) -> int:
        """Bytes that inflating it may take."""
        return min(self.most, len(self.message) * MOST_RATIO)

    def inflated(self) -> bytes:
        """What it holds; see `inflated`."""
        return inflated(self.message, self.encoding, self.most)


def prefixed(message: bytes) -> bytes:
    """The message as it goes into DATA, uncompressed."""
    return b"".join((b"\0", len(message).to_bytes(4, "big"), message))


def inflated(message: bytes, encoding: str, most: int) -> bytes:
    """A message that was compressed.

    Raises:
        Refusal: it is not in the encoding that was announced, or too large.

    Example:
        >>> import gzip
        >>> inflated(gzip.compress(b"abc"), "gzip", 3)
        b'abc'
    """
    if encoding not in _ZLIB:
        raise Refusal(INTERNAL, "A message is compressed, and grpc-encoding does not say how.")
    inflate = zlib.decompressobj(_ZLIB[encoding])
    try:
        found = inflate.decompress(message, most + 1)
    except zlib.error as error:
        raise Refusal(INTERNAL, f"A message is no {encoding}: {error}.") from error
    if len(found) > most:
        raise _too_large(len(found), most)
    if not inflate.eof or inflate.unused_data:
        raise Refusal(INTERNAL, f"A message is no whole {encoding}.")
    return found


def _too_large(size: int, most: int) -> Refusal:
    return Refusal(
        RESOURCE_EXHAUSTED, f"A message of at least {size:,} bytes, at most {most:,} are taken."
    )
