"""Takes a version that fails or sleeps out of the way, and tries it again.

closed     every question goes to the version; its answers are counted in a window of time
open       none goes there for a pause
half-open  one at a time; a few good ones close it, a bad one opens it again

A run that is held up says one thing, however many questions share it: it counts for less than half
of what opens a breaker, so that it takes two or three. A version that sleeps on is told by the time
instead, when slow runs took such a share of the window as slow answers may have.

One object a version and process, without a thread or a lock: whoever asks brings the clock. Source:
Nygard, Release It!, 2007; counting in time buckets as in Hystrix.
"""

from __future__ import annotations

import itertools
import math

from modelwright.serve.settings import Breaking, Seconds

CLOSED, HALF_OPEN, OPEN = "closed", "half-open", "open"
BUCKETS = 20
"""Parts of the window; the current one comes on top, so that the window is never too short."""
TRIALS = 3
"""Good trials in a row that close it: one could be luck."""
TIMES_LIMIT = 5.0
"""How many times the limit on latency_p95, or the largest run without one, is slow, where nothing
else is said."""
LEAST_SLOW: Seconds = 1.0
"""Without a limit nothing shorter is slow: a busy machine holds up the fastest model as well."""


class Breaker:
    """Of one version.

    Args:
        settings: shares, window, pause.
        limit_p95: the limit on latency_p95 in seconds, if there is one.
        otherwise: what is slow without one; see `slow_without_limit`.
        most: what is slow in any case, unless the settings say otherwise: the deadline.

    Attributes:
        state: closed, open or half-open.
        opened: how often it has opened.
        why: what opened it last, in words.
        slower_than: seconds after which an answer is slow; infinite when nothing says so.

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
        otherwise: Seconds = math.inf,
        most: Seconds = math.inf,
    ) -> None:
        self._settings = settings
        given = settings.slower_than
        if given is None:
            given = min(most, otherwise if limit_p95 is None else TIMES_LIMIT * limit_p95)
        self.slower_than = given
        self.state = CLOSED
        self.opened = 0
        self.why = ""
        self._width = settings.window / BUCKETS
        self._answers = [0] * (BUCKETS + 1)
        self._failed = [0] * (BUCKETS + 1)
        self._slow = [0] * (BUCKETS + 1)
        self._slept = [0.0] * (BUCKETS + 1)
        self._heaviest = max(1, (settings.least - 1) // 2)
        self._bucket, self._at, self._ends = -1, 0, -math.inf
        self._fine = self.slower_than
        self._again = math.inf
        self._trial: float | None = None
        self._good = 0
        self._flight: dict[int, float] = {}
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

    def record(self, ok: bool, seconds: float, now: float, count: int = 1) -> None:
        """Count answers that came back.

        Args:
            ok: they were given; a caller's own mistake (422) is no failure.
            seconds: from the start of the run to now.
            count: questions that were answered in one run; of a slow one a few of them count.
        """
        if now >= self._ends:
            self._turn(now)
        self._answers[self._at] += count
        if ok and seconds <= self._fine:
            return
        self._look(ok, seconds, now, count)

    def started(self, now: float) -> int:
        """A run begins that may take long, in a thread; the number is for `ended`.

        Runs in the event loop need not be noted: while one sleeps nobody can look.
        """
        number = next(self._numbers)
        self._flight[number] = now
        return number

    def ended(self, number: int, ok: bool, now: float, count: int = 1) -> None:
        """The run came back, and is counted unless `overdue` has counted it already."""
        began = self._flight.pop(number, None)
        if began is not None:
            self.record(ok, now - began, now, count)
        elif number in self._late:
            self._sleep_on(now)
            del self._late[number], self._told[number]

    def overdue(self, now: float, waiting: int = 0) -> int:
        """Count runs that are still out after `slower_than` as slow; says how many.

        To be called every 0.1 s or so: a version that sleeps for ever answers nothing that could
        be counted.

        Args:
            waiting: questions that such a run leaves without an answer; a few of them count.
        """
        late = [n for n, began in self._flight.items() if now - began > self.slower_than]
        self._sleep_on(now)
        for number in late:
            self._late[number] = now
            self._told[number] = told = min(max(1, waiting), self._heaviest)
            self.record(True, now - self._flight.pop(number), now, told)
        for number, told in self._told.items():
            if told < min(waiting, self._heaviest) and self.state is CLOSED:
                self._told[number] = min(waiting, self._heaviest)
                self._answers[self._at] += self._told[number] - told
                self._slow[self._at] += self._told[number] - told
        if self._late and self.state is CLOSED:
            self._judge(now, waiting)
        return len(late)

    @property
    def in_flight(self) -> int:
        """Runs that have begun and are neither back nor counted as overdue."""
        return len(self._flight)

    def counts(self, now: float) -> tuple[int, int, int]:
        """Answers, failures and slow answers in the window."""
        if now >= self._ends:
            self._turn(now)
        return sum(self._answers), sum(self._failed), sum(self._slow)

    def _look(self, ok: bool, seconds: float, now: float, count: int) -> None:
        """Not a plain good answer, or not a plain time: what to make of it."""
        bad = not ok or seconds > self.slower_than
        if self.state is not CLOSED:
            # Answers to questions from before it opened say nothing about a trial.
            began = now - seconds
            if self.state is HALF_OPEN and self._trial is not None and began >= self._trial - 1e-9:
                self._judge_trial(bad, ok, now)
            return
        if not ok:
            self._failed[self._at] += count
        if seconds > self.slower_than:
            counted = min(count, self._heaviest) if ok else count
            self._answers[self._at] -= count - counted
            self._slow[self._at] += counted
            self._slept[self._at] += seconds
        self._judge(now)

    def _sleep_on(self, now: float) -> None:
        """Add the time since the last look of runs that are late."""
        for number, seen in self._late.items():
            if now >= self._ends:
                self._turn(now)
            self._slept[self._at] += now - seen
            self._late[number] = now

    def _judge(self, now: float, waiting: int = 0) -> None:
        settings, slower_than = self._settings, self.slower_than
        answers, failed, slow = self.counts(now)
        enough, slept = answers >= settings.least, sum(self._slept)
        if enough and failed >= settings.failures * answers and failed:
            self._open(now, f"{failed} of {answers} answers failed")
        elif enough and slow >= settings.slow * answers and slow:
            self._open(now, f"{slow} of {answers} answers took over {slower_than:g} s")
        elif answers + waiting >= settings.least and slept >= settings.slow * settings.window:
            told = f"{slept:.2g} of the last {settings.window:g} s"
            self._open(now, f"runs of over {slower_than:g} s took {told}")

    def _judge_trial(self, bad: bool, ok: bool, now: float) -> None:
        self._trial = None
        if bad:
            self._open(now, "its trial " + ("was too slow" if ok else "failed"))
            return
        self._good += 1
        if self._good >= TRIALS:
            self.state, self._fine = CLOSED, self.slower_than
            self._clear()

    def _open(self, now: float, why: str) -> None:
        self.state, self.why = OPEN, why
        self.opened += 1
        self._again = now + self._settings.pause
        self._trial = None
        self._fine = -1.0  # every answer is looked at until it is closed again

    def _turn(self, now: float) -> None:
        """Go to the bucket of this moment; those in between had nothing."""
        bucket = math.floor(now / self._width)
        if bucket <= self._bucket:  # rounding at an edge, or a clock that stood still
            self._ends = (self._bucket + 1) * self._width
            if now >= self._ends:
                self._ends = math.nextafter(now, math.inf)
            return
        for empty in range(max(self._bucket + 1, bucket - BUCKETS), bucket + 1):
            at = empty % (BUCKETS + 1)
            self._answers[at] = self._failed[at] = self._slow[at] = 0
            self._slept[at] = 0.0
        self._bucket, self._at = bucket, bucket % (BUCKETS + 1)
        self._ends = (bucket + 1) * self._width
        while math.floor((just := math.nextafter(self._ends, -math.inf)) / self._width) > bucket:
            self._ends = just  # a quotient is rounded up to the next bucket a little before

    def _clear(self) -> None:
        for counts in (self._answers, self._failed, self._slow):
            counts[:] = [0] * (BUCKETS + 1)
        self._slept[:] = [0.0] * (BUCKETS + 1)


def slow_without_limit(largest_run: Seconds) -> Seconds:
    """What is slow for a version whose spec sets no limit on latency.

    Args:
        largest_run: seconds that a run of as many rows as may share one is expected to take.

    Example:
        >>> slow_without_limit(0.007), slow_without_limit(1.1)
        (1.0, 5.5)
    """
    return max(LEAST_SLOW, TIMES_LIMIT * largest_run)
