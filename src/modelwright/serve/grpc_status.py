"""What gRPC puts around messages on HTTP/2: the head of a call, and how a call ends.

github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote_from_bytes

import msgspec

from modelwright.core.intake import TOLD_BRIEFLY
from modelwright.serve.http2_frames import END_HEADERS, END_STREAM, HEADERS, frame
from modelwright.serve.http2_headers import LIST_BYTES, Fields, list_size, written
from modelwright.serve.messages import ProtocolError

OK, CANCELLED, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND = 0, 1, 3, 4, 5
PERMISSION_DENIED, RESOURCE_EXHAUSTED, FAILED_PRECONDITION = 7, 8, 9
UNIMPLEMENTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 12, 13, 14, 16
CODES = {
    400: INVALID_ARGUMENT, 401: UNAUTHENTICATED, 403: PERMISSION_DENIED, 404: NOT_FOUND,
    408: DEADLINE_EXCEEDED, 409: FAILED_PRECONDITION, 413: INVALID_ARGUMENT, 422: INVALID_ARGUMENT,
    429: RESOURCE_EXHAUSTED, 501: UNIMPLEMENTED, 503: UNAVAILABLE, 504: DEADLINE_EXCEEDED,
}  # fmt: skip
"""HTTP code -> gRPC code; INTERNAL for the rest."""
ENCODINGS = ("identity", "gzip", "deflate")
LONGEST_DETAILS = 2000
"""gRPC sends the text of an error as a header, and clients take 8 KiB of those."""
_CONNECTION = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
)
"""Fields of HTTP/1.1 that no request of HTTP/2 may have."""
_PSEUDO = frozenset({":method", ":scheme", ":authority", ":path"})
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])", re.ASCII)
_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"[^\x00\r\n]*")
_PRINTED = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")

_KIND = (b"content-type", b"application/grpc")
_START = written((b":status", b"200"), _KIND)
_END = written((b"grpc-status", b"0"))
_START_HEAD = frame(HEADERS, END_HEADERS, 0, _START)[:5]
_END_HEAD = frame(HEADERS, END_HEADERS | END_STREAM, 0, _END)[:5]


_STATUSES = {INTERNAL: 400, RESOURCE_EXHAUSTED: 413, DEADLINE_EXCEEDED: 504, UNAVAILABLE: 503}


class Refusal(Exception):
    """A call that ends before it begins.

    Attributes:
        code: of gRPC.
        trailing: metadata of the end.
        status: HTTP code by which it is counted; gRPC calls a call that cannot be read `INTERNAL`.
    """

    def __init__(
        self,
        code: int,
        message: str,
        trailing: tuple[tuple[str, str], ...] = (),
        *,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.trailing = code, message, trailing
        self.status = status or _STATUSES.get(code, 501)


class CallHead(msgspec.Struct, frozen=True):
    """What the header fields of a request say.

    Attributes:
        path: the method's full name.
        entries: metadata; of a repeated entry the values joined by a comma.
        seconds: how long the caller waits, or None.
        encoding: of compressed messages.
        is_malformed: no HTTP/2 request at all.
        status: HTTP code for a request that is not gRPC, else 200.
        refusal: why the call cannot be answered whatever its method, or None.
    """

    path: str = ""
    entries: Mapping[str, str] = {}
    seconds: float | None = None
    encoding: str = "identity"
    is_malformed: bool = False
    status: int = 200
    refusal: Refusal | None = None


def call_head(fields: Fields) -> CallHead:
    """Read the header fields of a request.

    Example:
        >>> fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a.B/C"),
        ...           (b"te", b"trailers"), (b"content-type", b"application/grpc"),
        ...           (b"grpc-timeout", b"250m"), (b"x-request-id", b"7")]
        >>> head = call_head(fields)
        >>> head.path, head.seconds, head.entries["x-request-id"], head.refusal
        ('/a.B/C', 0.25, '7', None)
        >>> call_head(fields[:3]).status, call_head(fields[1:]).is_malformed
        (415, True)
    """
    if list_size(fields) > LIST_BYTES:
        told = f"The metadata has over {LIST_BYTES:,} bytes."
        return CallHead(refusal=Refusal(RESOURCE_EXHAUSTED, told, status=431))
    entries: dict[str, str] = {}
    for name, value in fields:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            return CallHead(is_malformed=True)
        key, text = name.decode("ascii"), value.decode("latin-1")
        if key.startswith(":") and (
            key not in _PSEUDO or key in entries or not all(k.startswith(":") for k in entries)
        ):
            return CallHead(is_malformed=True)
        entries[key] = f"{entries[key]},{text}" if key in entries else text
    path = entries.get(":path", "")
    if not path or not entries.keys() >= {":method", ":scheme"} or _CONNECTION & entries.keys():
        return CallHead(is_malformed=True)
    if entries[":method"] != "POST":
        return CallHead(path, status=405)
    kind = entries.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/grpc", "application/grpc+proto"):
        return CallHead(path, status=415)
    try:
        if entries.get("te") != "trailers":
            raise Refusal(
                INTERNAL, "A proxy on the way does not speak gRPC: 'te: trailers' is missing."
            )
        return CallHead(path, entries, _seconds(entries), _encoding(entries))
    except Refusal as refusal:
        return CallHead(path, refusal=refusal.with_traceback(None))


def _seconds(entries: Mapping[str, str]) -> float | None:
    text = entries.get("grpc-timeout")
    if text is None:
        return None
    found = _TIMEOUT.fullmatch(text)
    if not found:
        raise Refusal(INTERNAL, f"The grpc-timeout {text[:40]!r} is none.")
    return int(found[1]) * _UNITS[found[2]]


def _encoding(entries: Mapping[str, str]) -> str:
    found = entries.get("grpc-encoding", "identity")
    if found not in ENCODINGS:
        known = ", ".join(ENCODINGS)
        raise Refusal(
            UNIMPLEMENTED, f"Messages in {found[:40]!r} cannot be read; known: {known}.",
            (("grpc-accept-encoding", known.replace(" ", "")),), status=415,
        )  # fmt: skip
    return found


def status_of(error: ProtocolError) -> Refusal:
    """The gRPC status that means what the HTTP code means.

    Example:
        >>> found = status_of(ProtocolError(429, "Too many.", retry_after=0.5))
        >>> found.code, found.trailing
        (8, (('grpc-retry-pushback-ms', '500'),))
    """
    after = error.retry_after
    trailing = () if after is None else (("grpc-retry-pushback-ms", str(int(after * 1000))),)
    told = error.problems
    if len(told) > TOLD_BRIEFLY + 1:
        told = (*told[:TOLD_BRIEFLY], "... and more; over HTTP more of them are told")
    code = CODES.get(error.status, INTERNAL)
    return Refusal(code, "\n".join((error.message, *told)), trailing, status=error.status)


def start_frame(number: int) -> bytes:
    """The HEADERS frame before the first message."""
    return b"".join((_START_HEAD, number.to_bytes(4, "big"), _START))


def end_frame(number: int) -> bytes:
    """The HEADERS frame behind the last message of a call that went well."""
    return b"".join((_END_HEAD, number.to_bytes(4, "big"), _END))


def refusal_frame(number: int, refusal: Refusal, *, started: bool) -> bytes:
    """The HEADERS frame that ends a call with an error."""
    fields = [] if started else [(b":status", b"200"), _KIND]
    fields += [
        (b"grpc-status", str(refusal.code).encode()),
        (b"grpc-message", percent_encoded(refusal.message)),
    ]
    fields += [(name.encode(), value.encode("latin-1")) for name, value in refusal.trailing]
    return frame(HEADERS, END_HEADERS | END_STREAM, number, written(*fields))


def http_frame(number: int, status: int) -> bytes:
    """The answer to a request that is not gRPC."""
    code = (b":status", str(status).encode())
    return frame(HEADERS, END_HEADERS | END_STREAM, number, written(code))


def percent_encoded(text: str) -> bytes:
    """The text of an error as a header may hold it, cut where clients would not take it.

    Example:
        >>> percent_encoded("50 % of 'ä'")
        b"50 %25 of '%C3%A4'"
    """
    whole = text.encode("utf-8", "replace")[:LONGEST_DETAILS].decode("utf-8", "ignore")
    return quote_from_bytes(whole.encode(), safe=_PRINTED).encode("ascii")
