"""Takes a version that fails or sleeps out of the way, and tries it again.

closed     every question goes to the version; its answers are counted in a window of time
open       none goes there for a pause
half-open  one at a time; a few good ones close it, a bad one opens it again

A run that is held up says one thing, however many questions share it: it counts for less than half
of what opens a breaker, so that it takes two or three. A version that sleeps on is told by the time
instead, when slow runs took such a share of the window as slow answers may have. And one that few
ask is told by as many bad answers in a row as the window needs answers, however long they take.

One object a version and process, without a thread or a lock: whoever asks brings the clock. Source:
Nygard, Release It!, 2007; counting in time buckets as in Hystrix.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from modelwright.serve.settings import Breaking, Seconds

CLOSED, HALF_OPEN, OPEN = "closed", "half-open", "open"
BUCKETS = 20
"""Parts of the window; the current one comes on top, so that the window is never too short."""
TRIALS = 3
"""Good trials in a row that close it: one could be luck."""
TIMES_LIMIT = 5.0
"""How many times the limit on latency_p95, and what is expected of a run of so many rows, is slow,
where nothing else is said."""
LEAST_SLOW: Seconds = 1.0
"""Without a limit nothing shorter is slow: a busy machine holds up the fastest model as well."""
WINDOWS_APART = 30
"""Bad answers further apart are no row: what is asked so rarely begins cold each time."""


class _Window:
    """What was counted lately, in a ring of buckets.

    Attributes:
        answers, failed, slow: answers, by bucket; slept: seconds of slow runs.
        at: the current bucket; it is over at `ends`.
    """

    def __init__(self, seconds: Seconds) -> None:
        self._width = seconds / BUCKETS
        self._bucket, self.at, self.ends = -1, 0, -math.inf
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.answers = [0] * (BUCKETS + 1)
        self.failed = [0] * (BUCKETS + 1)
        self.slow = [0] * (BUCKETS + 1)
        self.slept = [0.0] * (BUCKETS + 1)

    def turn(self, now: float) -> None:
        """Go to the bucket of this moment; those in between had nothing."""
        bucket = math.floor(now / self._width)
        if bucket <= self._bucket:  # rounding at an edge, or a clock that stood still
            self.ends = (self._bucket + 1) * self._width
            if now >= self.ends:
                self.ends = math.nextafter(now, math.inf)
            return
        for empty in range(max(self._bucket + 1, bucket - BUCKETS), bucket + 1):
            at = empty % (BUCKETS + 1)
            self.answers[at] = self.failed[at] = self.slow[at] = 0
            self.slept[at] = 0.0
        self._bucket, self.at = bucket, bucket % (BUCKETS + 1)
        self.ends = (bucket + 1) * self._width
        while math.floor((just := math.nextafter(self.ends, -math.inf)) / self._width) > bucket:
            self.ends = just  # a quotient is rounded up to the next bucket a little before


class Breaker:
    """Of one version.

    Args:
        settings: shares, window, pause.
        limit_p95: the limit on latency_p95 in seconds, if there is one.
        expected: how long a run of so many rows should take.
        most: what is slow in any case, unless the settings say otherwise: the deadline.

    Attributes:
        state: closed, open or half-open.
        opened: how often it has opened.
        why: what opened it last, in words.
        slower_than: seconds up to which no answer is slow; infinite when nothing says what is.

    Example:
        >>> breaker = Breaker(Breaking(least=2, pause=5.0), None)
        >>> for moment in (0.1, 0.2):
        ...     breaker.record(False, 0.01, moment)
        >>> breaker.state, breaker.allows(0.3), breaker.allows(5.3), breaker.allows(5.3)
        ('open', False, True, False)
    """

    def __init__(
        self,
        settings: Breaking,
        limit_p95: Seconds | None,
        *,
        expected: Callable[[int], Seconds] | None = None,
        most: Seconds = math.inf,
    ) -> None:
        self._settings = settings
        self._expected, self._most = expected, most
        if settings.slower_than is not None:
            self.slower_than, self._expected = settings.slower_than, None
        elif limit_p95 is not None:
            self.slower_than = min(most, TIMES_LIMIT * limit_p95)
        else:
            self.slower_than = min(most, LEAST_SLOW if expected else math.inf)
        self.state = CLOSED
        self.opened = 0
        self.why = ""
        self._window = _Window(settings.window)
        self._heaviest = max(1, (settings.least - 1) // 2)
        self._fine = self.slower_than
        self._again = math.inf
        self._trial: float | None = None
        self._good = 0
        self._in_a_row, self._bad_at = 0, -math.inf
        self._flight: dict[int, tuple[float, int]] = {}
        self._late: dict[int, float] = {}
        self._told: dict[int, int] = {}
        self._numbers = itertools.count()

    def allows(self, now: float) -> bool:
        """Whether a question may go to the version; when half-open, True begins the one trial.

        Args:
            now: `time.perf_counter()`, as in every method here.
        """
        if self.state is CLOSED:
            return True
        if self.state is OPEN:
            if now < self._again:
                return False
            self.state, self._good, self._trial = HALF_OPEN, 0, None
        # A trial of which nothing was heard, since its caller went away, holds up the next for a
        # pause at most.
        if self._trial is not None and now < self._trial + self._settings.pause:
            return False
        self._trial = now
        return True

    def slow_after(self, rows: int) -> Seconds:
        """Seconds after which a run of so many rows is slow."""
        if self._expected is None:
            return self.slower_than
        return min(self._most, max(self.slower_than, TIMES_LIMIT * self._expected(rows)))

    def record(self, ok: bool, seconds: float, now: float, count: int = 1, rows: int = 1) -> None:
        """Count answers that came back.

        Args:
            ok: they were given; a caller's own mistake (422) is no failure.
            seconds: from the start of the run to now.
            count: questions that were answered in one run; of a slow one a few of them count.
            rows: of the run.
        """
        window = self._window
        if now >= window.ends:
            window.turn(now)
        window.answers[window.at] += count
        if ok and seconds <= self._fine:
            self._in_a_row = 0
            return
        self._look(ok, seconds, now, count, seconds > self.slow_after(rows))

    def started(self, now: float, rows: int = 1) -> int:
        """A run begins that may take long, in a thread; the number is for `ended`.

        Runs in the event loop need not be noted: while one sleeps nobody can look.
        """
        number = next(self._numbers)
        self._flight[number] = now, rows
        return number

    def ended(self, number: int, ok: bool, now: float, count: int = 1) -> None:
        """The run came back, and is counted unless `overdue` has counted it already."""
        flight = self._flight.pop(number, None)
        if flight is not None:
            self.record(ok, now - flight[0], now, count, flight[1])
        elif number in self._late:
            self._sleep_on(now)
            del self._late[number], self._told[number]

    def overdue(self, now: float, waiting: int = 0) -> int:
        """Count runs that are still out after `slow_after` as slow; says how many.

        To be called every 0.1 s or so: a version that sleeps for ever answers nothing that could
        be counted.

        Args:
            waiting: questions that such a run leaves without an answer; a few of them count.
        """
        late = [
            n for n, (began, rows) in self._flight.items() if now - began > self.slow_after(rows)
        ]
        self._sleep_on(now)
        for number in late:
            self._late[number] = now
            self._told[number] = told = min(max(1, waiting), self._heaviest)
            began, rows = self._flight.pop(number)
            self.record(True, now - began, now, told, rows)
        for number, told in self._told.items():
            if told < min(waiting, self._heaviest) and self.state is CLOSED:
                self._told[number] = min(waiting, self._heaviest)
                more = self._told[number] - told
                self._window.answers[self._window.at] += more
                self._window.slow[self._window.at] += more
                self._in_a_row += more
        if self._late and self.state is CLOSED:
            self._judge(now, waiting)
        return len(late)

    def is_late(self, number: int) -> bool:
        """Whether a run that is still out has been counted as slow."""
        return number in self._late

    def counts(self, now: float) -> tuple[int, int, int]:
        """Answers, failures and slow answers in the window."""
        window = self._window
        if now >= window.ends:
            window.turn(now)
        return sum(window.answers), sum(window.failed), sum(window.slow)

    def _look(self, ok: bool, seconds: float, now: float, count: int, slow: bool) -> None:
        """Not a plain good answer, or not a plain time: what to make of it."""
        bad = not ok or slow
        if self.state is not CLOSED:
            # Answers to questions from before it opened say nothing about a trial.
            began = now - seconds
            if self.state is HALF_OPEN and self._trial is not None and began >= self._trial - 1e-9:
                self._judge_trial(bad, ok, now)
            return
        if not bad:
            self._in_a_row = 0
            return
        counted = min(count, self._heaviest) if ok else count
        window = self._window
        window.answers[window.at] -= count - counted
        if not ok:
            window.failed[window.at] += counted
        if slow:
            window.slow[window.at] += counted
            window.slept[window.at] += seconds
        apart = now - seconds - self._bad_at > WINDOWS_APART * self._settings.window
        self._in_a_row = counted + (0 if apart else self._in_a_row)
        self._bad_at = now
        self._judge(now)

    def _sleep_on(self, now: float) -> None:
        """Add the time since the last look of runs that are late."""
        window = self._window
        for number, seen in self._late.items():
            if now >= window.ends:
                window.turn(now)
            window.slept[window.at] += now - seen
            self._late[number] = now

    def _judge(self, now: float, waiting: int = 0) -> None:
        settings, slower_than = self._settings, self.slower_than
        answers, failed, slow = self.counts(now)
        enough, slept = answers >= settings.least, sum(self._window.slept)
        if enough and failed >= settings.failures * answers and failed:
            self._open(now, f"{failed} of {answers} answers failed")
        elif enough and slow >= settings.slow * answers and slow:
            self._open(now, f"{slow} of {answers} answers took over {slower_than:g} s")
        elif answers + waiting >= settings.least and slept >= settings.slow * settings.window:
            told = f"{slept:.2g} of the last {settings.window:g} s"
            self._open(now, f"runs of over {slower_than:g} s took {told}")
        elif self._in_a_row >= settings.least:
            self._open(now, f"{self._in_a_row} answers in a row failed or took over "
                            f"{slower_than:g} s")  # fmt: skip

    def _judge_trial(self, bad: bool, ok: bool, now: float) -> None:
        self._trial = None
        if bad:
            self._open(now, "its trial " + ("was too slow" if ok else "failed"))
            return
        self._good += 1
        if self._good >= TRIALS:
            self.state, self._fine, self._in_a_row = CLOSED, self.slower_than, 0
            self._window.clear()

    def _open(self, now: float, why: str) -> None:
        self.state, self.why = OPEN, why
        self.opened += 1
        self._again = now + self._settings.pause
        self._trial = None
        self._fine = -1.0  # every answer is looked at until it is closed again
