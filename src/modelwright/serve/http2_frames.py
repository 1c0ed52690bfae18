"""HTTP/2 on the wire: frames, settings and the codes of what can go wrong. RFC 9113.

Pure functions, without a connection.
"""

from __future__ import annotations

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = range(8)
WINDOW_UPDATE, CONTINUATION = 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0x0, 0x1, 0x2, 0x3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = 0x5, 0x6, 0x7, 0x8
COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 0x9, 0xB

HEADER_TABLE_SIZE = 0x1
ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 0x2, 0x3, 0x4
MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 0x5, 0x6

FIRST_WINDOW = 65_535
LARGEST_WINDOW = 2**31 - 1
LAST_STREAM = 2**31 - 1
LARGEST_FRAME = 16_384
"""Bytes of a frame's content that either side takes, unless settings say otherwise; ours do not."""
LARGEST_FRAME_EVER = 2**24 - 1
HEAD_BYTES = 9
HEAD = struct.Struct(">HBBBI")
"""A frame's head: the length's upper 16 and lower 8 bits, kind, flags, stream."""
_SETTING = struct.Struct(">HI")


class Http2Error(Exception):
    """The connection cannot go on: GOAWAY with this code.

    Attributes:
        code: of RFC 9113 section 7.
        said: why, for who debugs the other side.
    """

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.code, self.said = code, said


class StreamError(Exception):
    """One stream cannot go on, the connection can: RST_STREAM with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    """A whole frame.

    Example:
        >>> frame(SETTINGS, ACK, 0)
        b'\\x00\\x00\\x00\\x04\\x01\\x00\\x00\\x00\\x00'
    """
    size = len(content)
    return HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + content


def settings_frame(*pairs: tuple[int, int]) -> bytes:
    """A SETTINGS frame.

    Example:
        >>> read_settings(settings_frame((MAX_CONCURRENT_STREAMS, 100))[HEAD_BYTES:])
        [(3, 100)]
    """
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in pairs))


def read_settings(content: bytes) -> list[tuple[int, int]]:
    """(identifier, value) of each setting, in order; unknown ones are among them.

    Raises:
        Http2Error: a value that is not allowed, or content that is no list of settings.
    """
    if len(content) % _SETTING.size:
        raise Http2Error(FRAME_SIZE_ERROR, "SETTINGS of a wrong length")
    found = list(_SETTING.iter_unpack(content))
    for name, value in found:
        if name == ENABLE_PUSH and value > 1:
            raise Http2Error(PROTOCOL_ERROR, "ENABLE_PUSH must be 0 or 1")
        if name == INITIAL_WINDOW_SIZE and value > LARGEST_WINDOW:
            raise Http2Error(FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is too large")
        if name == MAX_FRAME_SIZE and not LARGEST_FRAME <= value <= LARGEST_FRAME_EVER:
            raise Http2Error(PROTOCOL_ERROR, "MAX_FRAME_SIZE is not allowed")
    return found


def goaway_frame(last: int, code: int, said: str = "") -> bytes:
    """A GOAWAY frame.

    Args:
        last: the highest stream that is, or may have been, worked on.
    """
    return frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big") + said.encode())


def reset_frame(stream: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def window_frame(stream: int, more: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, more.to_bytes(4, "big"))


def unpadded(flags: int, content: bytes) -> bytes:
    """The content of DATA or HEADERS without its padding.

    Raises:
        Http2Error: there is more padding than content.
    """
    if not flags & PADDED:
        return content
    if not content or content[0] >= len(content):
        raise Http2Error(PROTOCOL_ERROR, "more padding than content")
    return content[1 : len(content) - content[0]]


def fragment(flags: int, content: bytes) -> bytes:
    """The part of a header block in a HEADERS frame; priorities are read over.

    Raises:
        Http2Error: padding or priority that does not fit.
    """
    block = unpadded(flags, content)
    if not flags & HAS_PRIORITY:
        return block
    if len(block) < 5:
        raise Http2Error(FRAME_SIZE_ERROR, "HEADERS too short for a priority")
    return block[5:]
