"""Lines on standard error, and which of several processes they are of."""

from __future__ import annotations

import logging
from collections.abc import Iterable

_OF_WORKER = "worker="


def log_lines() -> None:
    """Write warnings and errors to standard error, as all that this command says there."""
    logging.basicConfig(level=logging.WARNING, format="modelwright: %(message)s")


def of_worker(number: int, workers: int) -> list[str]:
    """The words by which a process of a worker's own is told whose it is; none where there is one.

    Example:
        >>> of_worker(1, 4), of_worker(0, 1)
        (['worker=1'], [])
    """
    return [f"{_OF_WORKER}{number}"] if workers > 1 else []


def sign_lines(words: Iterable[str]) -> None:
    """From here on let lines begin with the worker that these words of `of_worker` name, if any."""
    for word in words:
        if word.startswith(_OF_WORKER):
            whose = f"worker {word.removeprefix(_OF_WORKER)}"
            for handler in logging.getLogger().handlers:
                handler.setFormatter(logging.Formatter(f"modelwright: {whose}: %(message)s"))
