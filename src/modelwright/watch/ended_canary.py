"""The last canary that ended, kept until the next begins: a report tells what became of it."""

from __future__ import annotations

import msgspec

from modelwright.core.traffic import Canary
from modelwright.watch.canary import Decision


class Ended(msgspec.Struct, frozen=True):
    """A canary that is over.

    Attributes:
        rule: as it was in force last.
        against: number of the champion that it was held against.
        at: Unix time of the look that found it over.
        promoted: whether it is the champion now.
        decision: the last verdict, with its evidence; None where nobody looked meanwhile.
    """

    rule: Canary
    against: str
    at: float
    promoted: bool
    decision: Decision | None = None

    @property
    def outcome(self) -> str:
        """What became of it, in words.

        Example:
            >>> Ended(Canary("4", 0.05), "3", 9.0, promoted=True).outcome
            'promoted; no verdict was reached'
        """
        became = "promoted" if self.promoted else "ended without promotion"
        found = self.decision
        if found is None or (found.call == "hold" and not found.over):
            return f"{became}; no verdict was reached"
        said = "undecided" if found.call == "hold" else found.call
        return f"{became}; the verdict was {said}: {found.why}"
