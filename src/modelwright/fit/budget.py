"""How long a search may go on."""

from __future__ import annotations

import re
import time

RELEASE_SECONDS, RELEASE_SHARE = 6.5, 0.12
"""Kept for proof, gates, report and registry: seconds at most, and part of the budget."""
EVIDENCE_SECONDS, EVIDENCE_SHARE = 3.0, 0.05
"""Kept for what no gate needs: learning curve and ablation."""
EACH = 0.5
"""Part of the seconds left for evidence that each piece of it may take."""


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

    @property
    def for_release(self) -> float:
        """Seconds that the release is expected to need."""
        return min(RELEASE_SECONDS, RELEASE_SHARE * self.total)

    @property
    def for_evidence(self) -> float:
        """Seconds that evidence which no gate needs should have."""
        return min(EVIDENCE_SECONDS, EVIDENCE_SHARE * self.total)

    def spare(self, without_limit: float) -> float:
        """Seconds that a piece of evidence may take before the release begins.

        Args:
            without_limit: so many, where the budget counts trials.
        """
        if self.trials is not None:
            return without_limit
        return EACH * max(0.0, self.left - self.for_release)
