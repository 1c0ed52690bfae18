"""What long work tells while it runs; "off" is an object, not a flag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class BoardLine(NamedTuple):
    """One line of the leaderboard as it stands, in words; empty what is not known yet.

    `cost`: one row in process; it and the four after `note` begin with ~ where they are estimated.
    `seconds`: of training so far. `feasible`: yes or no, as far as costs are known; `note` names
    the limits that it breaks. `pareto`: yes where nothing is both better and faster.
    """

    number: str
    candidate: str
    score: str
    cost: str
    note: str = ""
    p95: str = ""
    throughput: str = ""
    memory: str = ""
    size: str = ""
    seconds: str = ""
    feasible: str = ""
    pareto: str = ""


class Progress(Protocol):
    """A listener to a run; every call returns at once and none may raise."""

    def stage(self, name: str, detail: str = "") -> None:
        """A stage begins; the one before it is over."""

    def step(self, done: float, total: float, note: str = "") -> None:
        """`done` of `total` (seconds, rows or trials) of the present stage."""

    def board(self, lines: Sequence[BoardLine]) -> None:
        """The leaderboard as it stands, best first."""

    def say(self, line: str) -> None:
        """One line worth keeping on the screen."""


class Silent:
    """Progress switched off.

    Example:
        >>> Silent().stage("fit")
    """

    def stage(self, name: str, detail: str = "") -> None:
        """Ignore it."""

    def step(self, done: float, total: float, note: str = "") -> None:
        """Ignore it."""

    def board(self, lines: Sequence[BoardLine]) -> None:
        """Ignore it."""

    def say(self, line: str) -> None:
        """Ignore it."""
