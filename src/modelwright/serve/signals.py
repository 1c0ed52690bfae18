"""Signals that wait until a process can take them, so that none falls into a gap at its start."""

from __future__ import annotations

import signal

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_told: list[int] = []


def hold_signals() -> None:
    """From now on signals wait until they are asked for, in this process and its children.

    A thread that a library has started before is given them all the same: so they have a handler,
    which notes them, in place of the default that kills.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: _told.append(number))
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def let_signals_in() -> None:
    """The handlers of an event loop are set: what has waited comes now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def awaited(seconds: float) -> int:
    """The signal that came, or 0 after so long; for a process that holds them."""
    found = signal.sigtimedwait(SIGNALS, 0.0 if _told else seconds)
    if found is not None:
        return found.si_signo
    return _told.pop(0) if _told else 0
