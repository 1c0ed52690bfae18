"""A line of JSON a request, written by a thread of its own so that no request waits for it."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from modelwright.serve.metrics import Cell

ROOM = 20_000
"""Lines that wait at most; what comes after is dropped and counted."""
EVERY = 0.1
"""Seconds between two looks at what waits."""
_BATCH = 64
"""Lines that are written at once: between two writes the thread keeps the loop off the CPU."""
_LONGEST_PATH = 512
_SANE = re.compile(r"[!-~]{1,128}")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


class Line(msgspec.Struct, omit_defaults=True):
    """One request. Fields at their default are left out of the line.

    Attributes:
        time: unix time of the answer.
        id: request id, as in the answer's header.
        ms: from the first byte of the request to the answer.
        arm, fallback, cached: see `messages.Answered`.
        bytes_in, bytes_out: of the bodies.
        token: its name, never its secret.
        trace: W3C trace id.
        reason: why it was refused, as in `modelwright_errors_total`.
    """

    time: float
    id: str
    method: str
    path: str
    status: int
    ms: float
    model: str = ""
    version: str = ""
    arm: str = ""
    fallback: str = ""
    cached: bool = False
    rows: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    peer: str = ""
    token: str = ""
    trace: str = ""
    reason: str = ""


class Log(Protocol):
    """What is told of every request; when it is off nobody needs to make a line."""

    is_on: bool

    def write(self, line: Line) -> None:
        """Take a line; it returns at once."""

    def close(self) -> None:
        """Write what waits."""


class Off:
    """No access log."""

    is_on = False

    def write(self, line: Line) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class AccessLog:
    """Writes lines to a file descriptor in batches; make it after the fork.

    The reader may be slow or gone: then lines wait, and beyond `room` are dropped and counted.

    Args:
        dropped: the cell of `Counts.log_dropped`.
        descriptor: 2 for standard error.
        room: lines that may wait.
    """

    is_on = True

    def __init__(self, dropped: Cell, *, descriptor: int = 2, room: int = ROOM) -> None:
        self._dropped = dropped
        self._descriptor = descriptor
        self._room = room
        self._lines: deque[Line] = deque()
        self._ending = threading.Event()
        self._encoder = msgspec.json.Encoder()
        self._thread = threading.Thread(target=self._go_on, name="access log", daemon=True)
        self._thread.start()

    def write(self, line: Line) -> None:
        """Take a line."""
        if len(self._lines) >= self._room:
            self._dropped[0] += 1
        else:
            self._lines.append(line)

    def close(self, seconds: float = 1.0) -> None:
        """Write what waits, for so long at most."""
        self._ending.set()
        self._thread.join(seconds)

    def _go_on(self) -> None:
        while not self._ending.wait(EVERY):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        while self._lines:
            batch = [self._lines.popleft() for _ in range(min(len(self._lines), _BATCH))]
            for line in batch:
                line.path = shown(line.path)
                line.ms = round(line.ms, 3)
                line.time = round(line.time, 3)
            text = b"\n".join(map(self._encoder.encode, batch)) + b"\n"
            with contextlib.suppress(OSError):  # the reader went away: as if it was off
                self._write_all(text)

    def _write_all(self, text: bytes) -> None:
        view = memoryview(text)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:  # somebody made the descriptor non-blocking
                time.sleep(0.01)


def access_log(wanted: bool, dropped: Cell) -> Log:
    """The log of `serve.access_log`, on standard error, or none."""
    return AccessLog(dropped) if wanted else Off()


def shown(text: str) -> str:
    """A path as it may stand in a terminal: control characters escaped, and not too long.

    Example:
        >>> shown("/a\\nb\\x1b[31m")
        '/a\\\\x0ab\\\\x1b[31m'
    """
    text = text[:_LONGEST_PATH]
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def new_ids() -> Callable[[], str]:
    """A source of request ids: random for the process, then a counter. Make it after the fork.

    Example:
        >>> new_id = new_ids()
        >>> one, two = new_id(), new_id()
        >>> one[:17] == two[:17], one == two
        (True, False)
    """
    prefix, number = f"{secrets.token_hex(8)}-", itertools.count()
    return map(f"{prefix}%x".__mod__, number).__next__


def id_of(headers: Mapping[str, str], new_id: Callable[[], str]) -> str:
    """The id of a request: the caller's if it can stand in a header and a log, else a new one.

    Args:
        headers: names in lower case; `x-request-id`, or else the trace of `traceparent`.
        new_id: of `new_ids`.

    Example:
        >>> id_of({"x-request-id": "a-7"}, lambda: "new")
        'a-7'
        >>> id_of({"x-request-id": "a b"}, lambda: "new")
        'new'
    """
    given = headers.get("x-request-id")
    if given and sane_id(given):
        return given
    parent = headers.get("traceparent")
    return (parent and trace_of(parent)) or new_id()


def sane_id(given: str) -> str:
    """An id if it can stand in a header and a log, else nothing.

    Example:
        >>> sane_id("a-7"), sane_id("a b")
        ('a-7', '')
    """
    return given if _SANE.fullmatch(given) else ""


def trace_of(traceparent: str) -> str:
    """The trace id of a W3C traceparent; empty when it is none. w3.org/TR/trace-context.

    Example:
        >>> trace_of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        '4bf92f3577b34da6a3ce929d0e0e4736'
        >>> trace_of("00-00000000000000000000000000000000-00f067aa0ba902b7-01")
        ''
    """
    found = _TRACEPARENT.fullmatch(traceparent) if len(traceparent) <= 512 else None
    if found is None or (found[4] is not None and traceparent[:2] == "00"):
        return ""
    real = found[1].strip("0") and found[2].strip("0")
    return found[1] if real else ""
