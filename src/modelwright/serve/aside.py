"""Work that takes long, one piece after the other in a thread of its own: nobody's row waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from modelwright.serve.messages import ProtocolError

Found = TypeVar("Found")


class Aside:
    """A thread that is started when there is work for it.

    Args:
        loop: of this process.
        name: of the thread.
        what: the pieces, for whoever is refused.
        most: pieces that may wait or be under way; each may hold megabytes.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, name: str, what: str, most: int = 8
    ) -> None:
        self._loop, self._name, self._what, self._most = loop, name, what, most
        self._thread: ThreadPoolExecutor | None = None
        self._pieces = 0

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for it."""
        return not self._pieces

    async def do(self, work: Callable[[], Found], deadline: float | None) -> Found:
        """The outcome of a piece of work, which is not begun after its deadline.

        Args:
            work: to be done in the thread; it goes on when the deadline is over.
            deadline: by `time.perf_counter()`, or None.

        Raises:
            ProtocolError: 503, too many wait; 504, too late.
        """
        if self._pieces >= self._most:
            raise ProtocolError(
                503, f"{self._most} {self._what} are under way; try again.", retry_after=1,
                reason="queue_full",
            )  # fmt: skip
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, self._name)
        self._pieces += 1
        try:
            future = self._loop.run_in_executor(self._thread, work)
            left = None if deadline is None else max(0.0, deadline - time.perf_counter())
            return await asyncio.wait_for(future, left)
        except TimeoutError as error:
            raise ProtocolError(504, "The time for this request is over.") from error
        finally:
            self._pieces -= 1

    def close(self) -> None:
        """Free the thread; what was begun is still done."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None
