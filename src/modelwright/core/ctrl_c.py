"""Ctrl-C while something is made that should be whole: noted the first time, obeyed the second."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def first_press_noted(then: Callable[[], object] = bool) -> Iterator[Callable[[], bool]]:
    """Only note the first Ctrl-C; the second raises KeyboardInterrupt as ever.

    A program with a handler of its own keeps it, and outside the main thread there is no Ctrl-C.

    Args:
        then: called at the first one, between two steps of whatever is going on; must not wait.

    Yields:
        Whether it was pressed so far.
    """
    pressed = threading.Event()
    usual = signal.default_int_handler
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not usual:
        yield pressed.is_set
        return

    def note(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, usual)
        pressed.set()
        then()

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, usual)
