"""Parts of an HTTP message: an answer as bytes, the path of a target, a body unpacked."""

from __future__ import annotations

import time
import urllib.parse
import zlib
from email.utils import formatdate
from http import HTTPStatus

from modelwright.serve.messages import ProtocolError, Response

ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
MOST_MEMBERS = 64
"""Streams that a gzip body may be put together of."""
_heads: dict[tuple[int, int, bytes], bytes] = {}
"""(second, status, content type) -> what all such answers begin with; of one second."""


def encoded(response: Response, *, connection: bytes = b"", head_only: bool = False) -> bytes:
    """An answer as bytes.

    Example:
        >>> encoded(Response(200, b"{}")).splitlines()[0]
        b'HTTP/1.1 200 OK'
    """
    lines = response.lines
    if response.headers:
        lines += b"".join([b"%b: %b\r\n" % pair for pair in response.headers])
    if connection:
        lines += b"connection: %b\r\n" % connection
    body, key = response.body, (int(time.time()), response.status, response.kind)
    return b"%b%bcontent-length: %d\r\n\r\n%b" % (
        _heads.get(key) or _begin(*key), lines, len(body), b"" if head_only else body
    )  # fmt: skip


def _begin(now: int, status: int, kind: bytes) -> bytes:
    if any(second != now for second, _, _ in _heads):
        _heads.clear()
    head = _heads[now, status, kind] = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {kind.decode()}\r\n"
        "x-content-type-options: nosniff\r\ncache-control: no-store\r\n"
        f"date: {formatdate(now, usegmt=True)}\r\n"
    ).encode()
    return head


def path_of(target: bytes) -> str:
    """The path of a request target, decoded once.

    Raises:
        ProtocolError: 400 for what is no path.

    Example:
        >>> path_of(b"/v2/models/a%20b"), path_of(b"http://host/predict"), path_of(b"http://host")
        ('/v2/models/a b', '/predict', '/')
    """
    if not target.startswith(b"/"):
        _, scheme, rest = target.partition(b"://")
        if not scheme or not rest:
            raise ProtocolError(400, "The request target is not a path.")
        target = b"/" + rest.partition(b"/")[2]
    if b"%" not in target:
        return target.decode("latin-1")
    return urllib.parse.unquote_to_bytes(target).decode("utf-8", "replace")


def inflated(body: bytes, encoding: str, most: int) -> bytes:
    """A body without its compression, never larger than `most`.

    Raises:
        ProtocolError: 413 too large, 400 not compressed so, cut, or with something behind it.

    Example:
        >>> inflated(zlib.compress(b"abc"), "deflate", 10)
        b'abc'
    """
    if encoding in ("", "identity"):
        return body
    gzip = "gzip" in encoding
    found = b""
    for _ in range(MOST_MEMBERS):
        stream = zlib.decompressobj(zlib.MAX_WBITS | 16 if gzip else zlib.MAX_WBITS)
        try:
            found += stream.decompress(body, most + 1 - len(found))
        except zlib.error as error:
            raise ProtocolError(400, f"The body is not {encoding}: {error}.") from error
        if len(found) > most:
            raise ProtocolError(413, f"The body is larger than {most:,} bytes when unpacked.")
        if not stream.eof:
            raise ProtocolError(400, f"The {encoding} body is cut short.")
        body = stream.unused_data
        if not body:
            return found
        if not gzip:
            raise ProtocolError(400, f"There are {len(body):,} bytes behind the {encoding} body.")
    raise ProtocolError(400, f"The gzip body has more than {MOST_MEMBERS} parts.")
