"""How fast a busy server says no: at once, but to a storm of callers only so often a second.

Who is told 503 and comes back at once costs the server each time what it could have answered
others with: with 256 callers on one worker a third to a half of all answers. A caller can ask
nothing while it waits for its refusal, so beyond an allowance refusals are held back, the oldest
first, none longer than the second that `Retry-After` asks for anyway. A token bucket, as in RFC
2697; that it must be the server who slows callers down is in Nygard, Release It!, 2nd ed., 2018.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from modelwright.serve.settings import Seconds

A_SECOND = 1000.0
"""Refusals; they take about a twentieth of a core."""
BURST = 100.0
"""Refusals that are told at once after a quiet time."""
LONGEST: Seconds = 1.0
EVERY: Seconds = 0.005
"""Held refusals are told in groups, so that a timer serves several."""


class Refusals:
    """Of one door of a process. Not safe over threads: for the event loop's thread only.

    Args:
        loop: of this process.
        clock: what time it is.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], Seconds] = time.perf_counter,
    ) -> None:
        self._loop, self._clock = loop, clock
        self._held: deque[Callable[[], None]] = deque()
        self._allowed, self._at = BURST, clock()
        self._is_timed = False

    def __len__(self) -> int:
        """Callers whose refusal is held back."""
        return len(self._held)

    def tell(self, refuse: Callable[[], None], deadline: Seconds | None = None) -> None:
        """Refuse somebody, now or within a second.

        Args:
            refuse: tells the caller, and does not raise.
            deadline: of its request, by the clock; one that would be over is told at once.
        """
        now = self._earn()
        soon = now + min(len(self._held) / A_SECOND, LONGEST)
        if (self._allowed >= 1.0 and not self._held) or (deadline is not None and deadline < soon):
            self._allowed = max(0.0, self._allowed - 1.0)
            refuse()
            return
        self._held.append(refuse)
        if len(self._held) > A_SECOND * LONGEST:
            self._held.popleft()()
        if not self._is_timed:
            self._is_timed = True
            self._loop.call_later(EVERY, self._release)

    def _release(self) -> None:
        self._earn()
        self._is_timed = False
        while self._held and self._allowed >= 1.0:
            self._allowed -= 1.0
            self._held.popleft()()
        if self._held:
            self._is_timed = True
            self._loop.call_later(EVERY, self._release)

    def _earn(self) -> Seconds:
        now = self._clock()
        self._allowed = min(BURST, self._allowed + (now - self._at) * A_SECOND)
        self._at = now
        return now
