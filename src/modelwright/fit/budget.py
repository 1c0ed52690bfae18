"""How long a search may go on."""

from __future__ import annotations

import re
import time


class Budget:
    """Time or trials; the time includes the reading of the table, and all that comes after the
    search.

    Args:
        text: "60s", or "40 trials".
        already: seconds that an earlier process used.
        since: moment of `time.monotonic` from which time counts; now by default. However long ago
            that is, half of the time is left.
    """

    def __init__(self, text: str, already: float = 0.0, since: float | None = None) -> None:
        trials = re.match(r"^(\d+) trials$", text)
        self.text = text
        self.trials = int(trials[1]) if trials else None
        self.total = float("inf") if trials else float(text.removesuffix("s"))
        now = time.monotonic()
        before = 0.0 if since is None else min(now - since, self.total / 2)
        self.start = now - before - already

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    @property
    def left(self) -> float:
        """Seconds until the end; infinite for a budget of trials."""
        return max(0.0, self.total - self.spent)
