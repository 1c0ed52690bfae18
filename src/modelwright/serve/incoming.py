"""A request on its way in: what the parser calls, piece by piece, and every limit on the way."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import httptools

from modelwright.serve.heads import Head, Heads
from modelwright.serve.http_message import ENCODINGS, inflated, path_of
from modelwright.serve.messages import ProtocolError, Request

HEAD_BYTES = 64 * 1024
URL_BYTES = 8 * 1024
MOST_HEADERS = 100
MOST_PARTS, SMALLEST_PART = 10_000, 256
"""More parts of a body than this must be of so many bytes on average: each costs a call, and some
bytes beside its own."""
BODIES_AT_ONCE = 16
LEAST_BODIES = 2**28
"""All bodies that a process holds, read or half read: 256 MiB, or 16 of the largest there may be.
Without it a thousand callers could each hold one of the largest."""


@dataclass
class Bodies:
    """Bytes of the bodies that a process holds: those that come in and those not answered yet.

    Args:
        largest: bytes that one body may have.
        most: bytes of all; by default 16 of the largest, at least 256 MiB.
    """

    largest: int
    most: int = 0
    held: int = 0

    def __post_init__(self) -> None:
        self.most = self.most or max(LEAST_BODIES, BODIES_AT_ONCE * self.largest)

    def take(self, size: int) -> None:
        """Hold more.

        Raises:
            ProtocolError: 503, it would be too much.
        """
        self.held += size
        if self.held > self.most:
            self.held -= size
            raise ProtocolError(
                503, "The server holds as many bytes of requests as it may; try again.",
                retry_after=1, reason="no_memory",
            )  # fmt: skip


class Connected(Protocol):
    """The connection, as its request sees it."""

    def arrived(self) -> None:
        """The request is whole."""

    def refuse(self, error: ProtocolError) -> None:
        """The request cannot be read on."""

    def go_ahead(self) -> None:
        """The caller waits for leave to send its body."""


_NAMES = {
    written.encode(): name
    for name in ("host", "content-type", "content-length", "accept", "accept-encoding",
                 "user-agent", "connection", "authorization", "x-request-id", "traceparent")
    for written in (name, name.title())
}  # fmt: skip
"""Usual spellings of header names, which need not be decoded."""


class Incoming:
    """The request that a connection reads at present.

    Attributes:
        reading: it has begun and is not whole.
        headed: its head is whole.
        method: in capitals, from when it is.
        old: it is of HTTP/1.0.
        size: bytes of its body that are here.
        deaf: nothing more is taken in.
        keep_alive: it keeps its connection.
        started: `time.perf_counter()` of its first byte.
    """

    __slots__ = (
        "_begin",
        "_begun",
        "_behind",
        "_count",
        "_fed",
        "_head_size",
        "_heads",
        "_length",
        "_parts",
        "_raw",
        "_url",
        "bodies",
        "connection",
        "deaf",
        "headed",
        "headers",
        "keep_alive",
        "method",
        "old",
        "parser",
        "reading",
        "size",
        "started",
    )  # fmt: skip

    def __init__(self, connection: Connected, bodies: Bodies, heads: Heads) -> None:
        self.connection, self.bodies, self._heads = connection, bodies, heads
        self._begin: bytes | memoryview = b""  # the piece that the request began with
        self._fed = self._begun = 0  # bytes since then, and requests that began in them
        self.keep_alive = True
        self.reading = self.deaf = self.headed = self.old = False
        self._parts: list[bytes] = []
        self.headers: dict[str, str] = {}
        self.method = ""
        self._url = b""
        self._behind = False  # an offer to upgrade has a body, which its parser leaves out
        self._head_size = self._count = self._raw = self._length = self.size = 0
        self.started = 0.0
        self.parser = httptools.HttpRequestParser(self)

    def known(self, data: bytes, peer: str) -> Request | None:
        """A whole request whose head was parsed before; None where `data` is to be parsed.

        Raises:
            ProtocolError: 503, its body cannot be held.
        """
        found = None if self.reading else self._heads.find(data)
        if found is None:
            return None
        head, body = found
        self.method, self.started = "POST", time.perf_counter()
        self.bodies.take(len(body))
        return Request("POST", head.path, head.query, head.headers, body, self.started, peer, head)

    def feed(self, data: bytes | memoryview) -> None:
        """Parse; what is whole or cannot be is told to the connection at once."""
        in_head = self.reading and not self.headed
        if not self.reading:
            self._begin, self._fed, self._begun = data, 0, 0
        self._fed += len(data)
        while data:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as offered:  # not taken: HTTP/1.1 goes on
                data = data[offered.args[0] :]
                self._parse_anew()
                if self.deaf:
                    break
            except httptools.HttpParserError as error:
                said = str(error)[:100] or "cannot be parsed"
                self.connection.refuse(ProtocolError(400, f"Not HTTP: {said}."))
                break
        if in_head and self.reading and not self.headed:  # a line that does not end
            self._raw += len(data)
            if self._raw > HEAD_BYTES:
                self.connection.refuse(_TOO_MUCH_HEAD)
        if self._begun == 1 and not self.reading:
            self._learn()

    def end(self) -> None:
        """Take nothing more in, and let go of what was."""
        self.deaf, self.reading = True, False
        self.bodies.held -= self.size
        self._parts, self.size = [], 0
        self._begin = b""

    def request(self, peer: str) -> tuple[Request, int]:
        """The whole request, and how many bytes of `bodies` it holds from now on.

        Raises:
            ProtocolError: its target or its body cannot be decoded; then it holds none.
        """
        headers = self.headers
        parts, held = self._parts, self.size
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts, self.size = [], 0
        try:
            encoding = headers.get("content-encoding")
            if encoding is not None and body:
                body = inflated(body, encoding.lower(), self.bodies.largest)
                self.bodies.take(len(body))
                held += len(body)
            path, _, query = self._url.partition(b"?")
            path_text = path_of(path)
        except ProtocolError:
            self.bodies.held -= held
            raise
        found = Request(
            self.method, path_text, query.decode("latin-1"), headers, body, self.started, peer
        )
        return found, held

    @property
    def missing(self) -> int:
        """Bytes of the body that are still to come, as far as its head said."""
        return self._length - self.size if self.reading and self.headed else 0

    # What the parser calls, in the order of a message.

    def on_message_begin(self) -> None:
        """A request begins."""
        if self.deaf:
            return
        self.reading, self.headed, self.method = True, False, ""
        self._begun += 1
        self._url = b""
        self.headers = {}
        self._head_size = self._count = self._raw = self._length = 0
        self.started = time.perf_counter()

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        if self.deaf:
            return
        self._url += url
        if len(self._url) > URL_BYTES:
            self.connection.refuse(
                ProtocolError(414, f"The URL is longer than {URL_BYTES:,} bytes.")
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line, or a trailer."""
        if self.deaf:
            return
        self._head_size += len(name) + len(value) + 4
        self._count += 1
        if self._head_size > HEAD_BYTES or self._count > MOST_HEADERS:
            self.connection.refuse(_TOO_MUCH_HEAD)
        elif not self.headed:  # a trailer may not change what the head said
            key = _NAMES.get(name) or name.decode("latin-1").lower()
            text = value.decode("latin-1")
            known = self.headers.get(key)
            self.headers[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        """The head is whole: refuse before a byte of the body is kept."""
        self.headed = True
        if self.deaf:
            return
        self.method = self.parser.get_method().decode("latin-1")
        wrong = self._wrong_head()
        if wrong is not None:
            self.connection.refuse(wrong)
        elif "expect" in self.headers and not self.old:
            self.connection.go_ahead()

    def on_body(self, part: bytes) -> None:
        """A part of the body, counted as it comes."""
        if self.deaf:
            return
        bodies, size, count = self.bodies, self.size + len(part), len(self._parts)
        if size > bodies.largest:
            self.connection.refuse(_too_large(self.bodies.largest))
        elif count > MOST_PARTS and size < SMALLEST_PART * count:
            self.connection.refuse(
                ProtocolError(400, "The body comes in too many too small chunks.")
            )
        else:
            try:
                bodies.take(len(part))
            except ProtocolError as error:
                self.connection.refuse(error)
                return
            self._parts.append(part)
            self.size = size

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._behind:
            return
        self.reading = False
        self.keep_alive = self.parser.should_keep_alive()
        if not self.deaf:
            self.connection.arrived()

    def _learn(self) -> None:
        """Remember the head of the one request that all bytes since its first one were."""
        begin, self._begin = self._begin, b""
        length = self._length
        if self.deaf or self.old or not length or self.method != "POST" or not self.keep_alive:
            return
        path, _, query = self._url.partition(b"?")
        try:
            head = Head(path_of(path), query.decode("latin-1"), self.headers, length)
        except ProtocolError:  # the caller has been told
            return
        self._heads.learn(begin, self._fed - length, head)

    def _parse_anew(self) -> None:
        """Go on after an offer to upgrade as if it had not been made.

        Its parser gives up where the head ends. To take the body for the next request would let a
        caller hide a request from whoever stands before this server.
        """
        keep_alive = self.parser.should_keep_alive()
        self.parser = httptools.HttpRequestParser(self)
        if not self._behind:
            return
        framing = b"Content-Length: %d" % self._length if self._length else _CHUNKED
        ending = b"" if keep_alive else b"Connection: close\r\n"
        deaf, self.deaf = self.deaf, True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b%b\r\n\r\n" % (ending, framing))
        self.deaf, self._behind = deaf, False

    def _wrong_head(self) -> ProtocolError | None:
        headers = self.headers
        version = self.parser.get_http_version()
        self.old = version == "1.0"
        host = headers.get("host")
        if version not in ("1.1", "1.0"):
            return ProtocolError(400, "Wanted HTTP/1.1 or HTTP/1.0.")
        if (host is None and not self.old) or (host is not None and "," in host):
            return ProtocolError(400, "A request of HTTP/1.1 needs one Host header.")
        length, coding = headers.get("content-length"), headers.get("transfer-encoding")
        if length is not None:
            self._length = int(length)
            if self._length > self.bodies.largest:
                return _too_large(self.bodies.largest)
        if coding is not None and (self.old or coding.lower() != "chunked"):
            return ProtocolError(400, "Wanted Transfer-Encoding chunked of HTTP/1.1, or none.")
        encoding = headers.get("content-encoding")
        if encoding is not None and encoding.lower() not in ENCODINGS:
            return ProtocolError(415, "Wanted content-encoding gzip, deflate or none.")
        expect = headers.get("expect")
        if expect is not None and expect.lower() != "100-continue" and not self.old:
            return ProtocolError(417, "Wanted Expect: 100-continue, or none.")
        self._behind = "upgrade" in headers and self.parser.should_upgrade() and (
            self._length > 0 or coding is not None
        )  # fmt: skip
        if self.method == "CONNECT":
            return ProtocolError(405, "This server is no proxy.", allow="GET, HEAD, POST")
        return None


def _too_large(most: int) -> ProtocolError:
    return ProtocolError(413, f"The body is larger than {most:,} bytes.")


_CHUNKED = b"Transfer-Encoding: chunked"
_TOO_MUCH_HEAD = ProtocolError(
    431, f"The head is larger than {HEAD_BYTES:,} bytes or {MOST_HEADERS} lines."
)
