"""What a look at a live model consists of: parts that each remember, judge and advise.

A part is told the subject and its own state, and gives a new state, windows for episodes, findings
to show, points to draw and at most one advice. It changes nothing by itself; `loop` writes what it
gave in one transaction, and `lifecycle` acts on the advice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from modelwright.core.records import Finding
from modelwright.core.spec_watch import Act
from modelwright.watch.episodes import Event, Window
from modelwright.watch.state import Point
from modelwright.watch.subject import Subject


class Advice(msgspec.Struct, frozen=True):
    """What should be done with production, and why.

    Attributes:
        act: end a canary, make it champion, begin one, or train anew.
        version: of the canary or challenger; empty for training.
        why: one sentence, for the audit.
        evidence: the findings that led here, the deciding one first.
    """

    act: Act
    version: str
    why: str
    evidence: tuple[Finding, ...] = ()

    def detail(self) -> dict[str, str]:
        """The evidence in words, for the audit: what was looked at -> what was found.

        Example:
            >>> from modelwright.core.records import Interval
            >>> found = Finding("canary", "errors", "fail", "2% against 1%", "1.05",
            ...                 "900 to 1", interval=Interval(2, 1.5, 3))
            >>> Advice("roll back", "2", "worse", (found,)).detail()
            {'canary errors': 'fail: 2% against 1%, interval 1.5 to 3; wanted 1.05; 900 to 1'}
        """
        return {f"{f.check} {f.subject}".strip(): _in_words(f) for f in self.evidence}


def _in_words(finding: Finding) -> str:
    ends, measured = finding.interval, finding.measured or "not measured"
    if ends is not None and math.isfinite(ends.high - ends.low):
        measured += f", interval {ends.low:.4g} to {ends.high:.4g}"
    wanted = f"wanted {finding.wanted}" if finding.wanted else ""
    return f"{finding.verdict}: " + "; ".join(filter(None, (measured, wanted, finding.why)))


class Looked(msgspec.Struct, frozen=True):
    """What a part found.

    Attributes:
        state: to be given to the next look.
        windows: closed since the last look, in order of time, for episodes.
        findings: as things stand now, the worst first.
        points: series -> new points.
        advice: None for nothing to do.
        waits: what the part waits for, in words; empty where it judged.
    """

    state: bytes
    windows: tuple[Window, ...] = ()
    findings: tuple[Finding, ...] = ()
    points: dict[str, list[Point]] = {}
    advice: Advice | None = None
    waits: str = ""


class Shown(msgspec.Struct, frozen=True):
    """What a part said at its last look: kept for whoever asks between two looks.

    Attributes:
        at: Unix time of that look.
        version: the champion's then.
        findings, waits, advice: see `Looked`.
        failed: why it could not look; empty when it did.
    """

    at: float
    version: str
    findings: tuple[Finding, ...] = ()
    waits: str = ""
    failed: str = ""
    advice: Advice | None = None


SHOWN = "shown"
"""Behind a part's name and a slash: where its `Shown` is remembered."""


class Part(Protocol):
    """One of the questions asked of a live model."""

    name: str
    causes: tuple[str, ...]
    """Causes of episodes that it may open; no two parts have one in common."""

    def look(self, subject: Subject, state: bytes | None) -> Looked:
        """Judge what is new since the last look.

        Args:
            subject: the model now.
            state: what the last look gave; None at the first.
        """


class Telling(Protocol):
    """Where alerts wait until they are sent."""

    def queue_events(
        self, connection: Any, model: str, version: str, events: Sequence[Event], now: float
    ) -> None:
        """Put alerts of these events there, in the caller's transaction."""
