"""How long a caller may take for what it sends and reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """Seconds that callers may take.

    Attributes:
        idle: between requests.
        head, body: to send a head; a body beyond its size / `slowest`.
        slowest: bytes a second, both ways.
        linger: after a refusal, what still comes is read and dropped until nothing came for so
            long, so that the caller sees the answer; `linger_most` in all.
        write: to read an answer, beyond its size / `slowest`.
    """

    idle: float = 75.0
    head: float = 10.0
    body: float = 10.0
    slowest: float = 256 * 1024
    linger: float = 2.0
    linger_most: float = 30.0
    write: float = 20.0
