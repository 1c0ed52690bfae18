"""What the limit on latency has time for: who may join the queue, how many rows go into a run."""

from __future__ import annotations

import math
from collections import deque

from modelwright.pack.artefact import ROWS_A_RUN
from modelwright.serve.curve import Curve
from modelwright.serve.messages import Overloaded, ProtocolError
from modelwright.serve.settings import Seconds

LATELY = 5
"""Runs whose median says how much slower than expected the version is at present."""
ADMITTED = 0.75
"""Share of the limit that a request may be expected to take: half of all take longer than that."""
SURE_SECONDS = 0.01
"""Up to such a wait rows are let in without a look at the queue, if no deadline is nearer."""
WRITE_SECONDS = 40e-6
"""What reading and writing one request costs beside the graph, for the estimate of a queue."""


class Admission:
    """Of one version in one process.

    Args:
        curve: how long its runs take.
        budget: the spec's limit on p95 latency, or None.

    Example:
        >>> admission = Admission(Curve((0.004, 0.004, 0.004, 0.008)), 0.02)
        >>> admission.most_rows(waited=0.0), admission.most_rows(waited=0.009)
        (15, 10)
        >>> admission.check(rows=1, queued=3, requests=3, busy=0.005, left=None)
        >>> admission.check(rows=1, queued=3, requests=3, busy=0.015, left=None)
        Traceback (most recent call last):
        ...
        modelwright.serve.messages.Overloaded: Too busy: this request would wait about 19 ms, ...
    """

    def __init__(self, curve: Curve, budget: Seconds | None) -> None:
        self._curve, self._budget = curve, budget
        self._lately = deque([1.0] * LATELY, LATELY)
        self.slowness = 1.0

    def expected(self, rows: int) -> Seconds:
        """How long a run is going to take at present."""
        return self._curve.seconds(rows) * self.slowness

    def most_rows(self, waited: Seconds) -> int:
        """The largest batch by whose end the request that waited longest is within the limit.

        Where it has waited too long for that, as many rows as half of the limit has time for, or
        half as much again as a run takes at least: smaller runs would only make all that follow
        later.
        """
        if self._budget is None:
            return ROWS_A_RUN
        seconds = max(self._budget * ADMITTED - waited, self._budget / 2, 1.5 * self.expected(1))
        return self._curve.most_rows(seconds / self.slowness)

    def sure_rows(self) -> int:
        """As many rows as may wait, one a request and no run being under way, before any of them
        could wait longer than the limit or `SURE_SECONDS`."""
        half = min(SURE_SECONDS, (self._budget or math.inf) * ADMITTED) / 2
        return min(self._curve.most_rows(half / self.slowness), int(half / WRITE_SECONDS))

    def check(
        self, rows: int, queued: int, requests: int, busy: Seconds, left: Seconds | None
    ) -> None:
        """See whether a request may join the queue.

        Args:
            rows: of the request.
            queued, requests: rows and requests that wait already.
            busy: until the run that is under way is over.
            left: until its deadline, or None.

        Raises:
            Overloaded: it would wait longer than the limit or its deadline allows.
            ProtocolError: 504, that is over.
        """
        if left is not None and left <= 0:
            raise ProtocolError(504, "The time for this request is over.")
        # the limit is on requests of one row
        most = self._budget * ADMITTED if rows == 1 and self._budget else None
        if left is not None:
            most = left if most is None else min(most, left)
        wait = self.expected(queued + rows) + WRITE_SECONDS * requests + busy
        if most is not None and wait > most:
            raise Overloaded(
                f"Too busy: this request would wait about {wait * 1e3:.0f} ms, "
                f"at most {most * 1e3:.0f} ms are allowed.",
                max(1.0, wait),
                "shed",
            )

    def ran(self, rows: int, seconds: Seconds) -> None:
        """Learn from a run that was timed."""
        self._lately.append(seconds / self._curve.seconds(rows))
        self.slowness = max(1.0, sorted(self._lately)[LATELY // 2])
        self._curve.learn(rows, seconds)
