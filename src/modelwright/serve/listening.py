"""Listening sockets that outlive workers, and how one ends without losing a caller."""

from __future__ import annotations

import contextlib
import mmap
import os
import socket

from modelwright.core.errors import UsageError

BACKLOG = 2048


class Signs:
    """What the supervisor and its workers tell each other: bytes in memory that all of them share.
    The supervisor makes it.

    Args:
        workers: how many there are.

    Example:
        >>> signs = Signs(2)
        >>> signs.started(1)
        >>> signs.has_started(0), signs.has_started(1), signs.is_ending
        (False, True, False)
    """

    def __init__(self, workers: int) -> None:
        self._bytes = mmap.mmap(-1, workers + 1)
        self._supervisor = os.getpid()

    def __len__(self) -> int:
        return len(self._bytes) - 1

    @property
    def is_ending(self) -> bool:
        """Whether nobody is going to be started again."""
        return self._bytes[0] == 1

    def end(self) -> None:
        """Say so."""
        self._bytes[0] = 1

    def is_orphan(self) -> bool:
        """Whether the supervisor of this child is gone, though it was killed right after the fork:
        nobody would start the child again, and whoever starts the next server wants the port."""
        return os.getppid() != self._supervisor

    def started(self, worker: int) -> None:
        """Say that a worker answers."""
        self._bytes[worker + 1] = 1

    def has_started(self, worker: int) -> bool:
        """Whether it has answered since `forget`."""
        return self._bytes[worker + 1] == 1

    def forget(self, worker: int) -> None:
        """It is to be started again."""
        self._bytes[worker + 1] = 0


def listen(host: str, port: int, workers: int, option: str = "--port") -> list[socket.socket]:
    """A listening socket for each worker, all on one port: the kernel spreads the callers.

    Args:
        option: that chooses the port, for whoever has to choose another.

    Raises:
        UsageError: the port is taken, or not allowed.
    """
    found: list[socket.socket] = []
    if workers > 1 and port:  # sockets that share a port would share it with another server's too
        bound(host, port, shared=False, option=option).close()
    for _ in range(workers):
        found.append(bound(host, port, shared=workers > 1, option=option))
        port = found[0].getsockname()[1]
    for listener in found:
        listener.listen(BACKLOG)
        listener.setblocking(False)
    return found


def bound(host: str, port: int, *, shared: bool, option: str = "--port") -> socket.socket:
    """A socket that has its port; see `listen`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}.",
            hint=f"Choose another with {option}, or 0 for a free one.",
        ) from error
    return listener


def shut(listener: socket.socket) -> list[socket.socket]:
    """Refuse callers from now on, in every process that has this socket; those who were let in.

    To close it would not do: while the supervisor holds it, the kernel goes on to let callers in,
    whom nobody answers. First no more than one may wait, so that next to nobody comes between the
    last look and the end.
    """
    found: list[socket.socket] = []
    with contextlib.suppress(OSError):  # nobody waits any more
        listener.listen(0)
        while True:
            found.append(listener.accept()[0])
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    return found
