"""How long a run of a graph takes by the number of its rows: measured, not assumed to be a line.

A net may take as long for 32 rows as for one, a graph that leaves the cache of the processor twice
as long for one row more. So a ladder of sizes is timed when a version is loaded, and each run since
moves the part of the curve that it tells something about.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from modelwright.pack.artefact import ROWS_A_RUN
from modelwright.serve.settings import Seconds

KNOTS = ROWS_A_RUN.bit_length()
"""Sizes that the curve holds: 1, 2, 4, ... rows."""
LADDER_SECONDS, LADDER_RUNS, LADDER_MOST = 0.1, 8, 2.0
"""The timing ends after so long, or so many runs of one row, but in any case after the last."""
PASSES = 5
LEARNING = 0.01
"""Share by which one run moves what is expected of the next."""
LEAST_SECONDS = 1e-6


class Curve:
    """Seconds of a run by its rows: lines between knots at 1, 2, 4, ... that never fall.

    Beyond the last size that was measured a row is taken to cost what it did between the last two,
    or on average from the first one on, where that is more, until runs tell otherwise.

    Args:
        seconds: of runs of 1, 2, 4, ... rows, as far as they were measured; at least the first.

    Example:
        >>> curve = Curve((0.004, 0.004, 0.004, 0.005))
        >>> curve.seconds(4), round(curve.seconds(6), 4), round(curve.seconds(16), 4)
        (0.004, 0.0045, 0.007)
        >>> curve.most_rows(0.0045), curve.most_rows(0.001)
        (6, 1)
    """

    def __init__(self, seconds: Sequence[Seconds]) -> None:
        knots = [max(LEAST_SECONDS, one) for one in seconds[:KNOTS]]
        for at in range(len(knots) - 2, -1, -1):
            knots[at] = min(knots[at], knots[at + 1])  # what disturbs a run only makes it longer
        last, rows = knots[-1], 1 << (len(knots) - 1)
        a_row = max(
            (last - knots[0]) / max(1, rows - 1),
            (last - knots[-2]) / (rows / 2) if rows > 1 else last,
        )
        while len(knots) <= KNOTS:  # one more than is asked for: every size lies between two
            knots.append(last + a_row * ((1 << len(knots)) - rows))
        self._knots = knots
        self._scale = 1.0

    def seconds(self, rows: int) -> Seconds:
        """How long a run of so many rows is going to take; more than `ROWS_A_RUN` are several."""
        if rows > ROWS_A_RUN:
            whole, rest = divmod(rows, ROWS_A_RUN)
            return whole * self.seconds(ROWS_A_RUN) + (self.seconds(rest) if rest else 0.0)
        if rows < 1:
            return 0.0
        at = rows.bit_length() - 1
        low = self._knots[at]
        return self._scale * (low + (self._knots[at + 1] - low) * (rows / (1 << at) - 1.0))

    def most_rows(self, seconds: Seconds) -> int:
        """The most rows, from 1 to `ROWS_A_RUN`, whose run takes at most so long."""
        wanted, knots = seconds / self._scale, self._knots
        at = KNOTS - 1
        while at and knots[at] > wanted:
            at -= 1
        low, high = knots[at], knots[at + 1]
        if low > wanted:
            return 1
        if high <= wanted:
            return ROWS_A_RUN
        more = int((1 << at) * (wanted - low) / (high - low) + 1e-9)
        return min((1 << at) + more, ROWS_A_RUN)

    def learn(self, rows: int, seconds: Seconds) -> None:
        """Let a run that was timed move the expectation: it follows the median at each size.

        A mean would follow the few runs that the system held up, and once it believed that a run
        takes a millisecond, runs would go to a thread, where they wait for the interpreter. Half
        of a step moves the whole curve, since a machine that gets slower does so for every size.
        """
        if not 1 <= rows <= ROWS_A_RUN:
            return
        at, knots = rows.bit_length() - 1, self._knots
        above = rows / (1 << at) - 1.0
        expected = knots[at] + (knots[at + 1] - knots[at]) * above
        step = LEARNING / 2 if seconds > self._scale * expected else -LEARNING / 2
        self._scale *= 1.0 + step
        knots[at] *= 1.0 + step * (1.0 - above)
        knots[at + 1] *= 1.0 + step * above
        if step > 0:
            for place in range(at + 1, KNOTS + 1):
                if knots[place] >= knots[place - 1] and place > at + 1:
                    return
                knots[place] = max(knots[place], knots[place - 1])
        else:
            for place in range(at, -1, -1):
                if knots[place] <= knots[place + 1] and place < at:
                    return
                knots[place] = min(knots[place], knots[place + 1])


def measured(
    prepared: Callable[[int], Callable[[], object]],
    enough: Seconds,
    clock: Callable[[], Seconds] = time.thread_time,
) -> Curve:
    """Time a ladder of runs: up as far as the time allows, then again while there is some left.

    Args:
        prepared: gives a run of so many rows.
        enough: no longer run is ever wanted, so larger ones need not be known.
        clock: what time it is. A graph runs on the thread that asks, so the CPU time of that is
            what a run takes; unlike the time of day it knows nothing of others at work beside.
    """
    runs = [prepared(1)]
    began = clock()
    runs[0]()  # the first one allocates

    def timed(at: int) -> Seconds:
        started = clock()
        runs[at]()
        return clock() - started

    found = [timed(0)]
    most = min(max(LADDER_SECONDS, LADDER_RUNS * found[0]), LADDER_MOST)
    while len(found) < KNOTS and clock() - began + 2 * found[-1] <= most:
        at = len(found)
        runs.append(prepared(1 << at))
        found.append(timed(at))
        if found[at] > enough:
            found[at] = min(found[at], timed(at))  # the first one of a size allocates as well
            if found[at] > enough:
                break
    for _ in range(PASSES - 1):
        for at, took in enumerate(found):
            if clock() - began + took > most:
                return Curve(found)
            found[at] = min(took, timed(at))
    return Curve(found)
