"""From bad windows to pages: one page for each model and cause, when it begins and when it is over.

A window that is bad is not news; that it begins to be bad is. An episode opens after two bad
windows in a row, at once for a broken contract, and is resolved after three quiet ones. A window
without enough rows says nothing and changes nothing. A pure state machine: the state is a record,
a window that was already taken changes nothing, so a watcher that was killed may go over it again.

Switch it off by `Pace(opens=1, resolves=1)`: each change of a window is then an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from modelwright.core.errors import DataError
from modelwright.core.records import Finding


class Pace(msgspec.Struct, frozen=True):
    """Bad windows in a row that open an episode, and quiet ones that resolve it."""

    opens: int = 2
    resolves: int = 3

    def __post_init__(self) -> None:
        if min(self.opens, self.resolves) < 1:
            raise DataError(
                f"Episodes can not open after {self.opens} and resolve after {self.resolves}.",
                hint="Both are 1 or more.",
            )


class Episode(msgspec.Struct, frozen=True):
    """A cause that is going on: `began` is its first bad window, `bad` how many there were.

    `worst` is the finding that opened it.
    """

    id: str
    began: str
    bad: int
    worst: Finding


class Streak(msgspec.Struct, frozen=True):
    """Of one cause: bad and quiet windows in a row up to now, and the episode if one is open."""

    bad: int = 0
    quiet: int = 0
    began: str = ""
    episode: Episode | None = None


class Watched(msgspec.Struct, frozen=True):
    """Everything remembered of one model; `last` is the newest window that was taken."""

    model: str
    last: str = ""
    causes: dict[str, Streak] = {}

    @property
    def open(self) -> dict[str, Episode]:
        """Cause -> episode that is going on."""
        return {name: s.episode for name, s in self.causes.items() if s.episode is not None}


class Event(msgspec.Struct, frozen=True):
    """What to tell a person: that an episode opened, or that it is over."""

    what: Literal["opened", "resolved"]
    cause: str
    at: str
    episode: Episode


class Window(msgspec.Struct, frozen=True):
    """A closed window: `at` is its end in a form that sorts by time, such as ISO 8601 in UTC.

    `bad`: cause -> its worst finding; `judged`: causes that could be judged at all, those that are
    bad included; `at_once`: causes whose finding is a broken contract.
    """

    at: str
    judged: frozenset[str]
    bad: dict[str, Finding] = {}
    at_once: frozenset[str] = frozenset()


def step(watched: Watched, window: Window, pace: Pace | None = None) -> tuple[Watched, list[Event]]:
    """Take one window, in order of time.

    Args:
        watched: the state.
        window: one that is not newer than the last is left out: it was taken before.
        pace: how many windows it takes.

    Returns:
        (the new state, events in order of their causes' names).

    Example:
        >>> bad = {"drift": Finding("drift", "age", "fail")}
        >>> state, events = Watched("income"), []
        >>> for hour in ("01", "02", "03"):
        ...     state, events = step(state, Window(hour, frozenset({"drift"}), bad))
        ...     print(hour, [event.what for event in events])
        01 []
        02 ['opened']
        03 []
    """
    if window.at <= watched.last:
        return watched, []
    pace = pace or Pace()
    causes, events = dict(watched.causes), list[Event]()
    for cause in sorted(window.judged | set(window.bad)):
        before = causes.get(cause, Streak())
        after = _bad(before, window, cause, watched.model, pace)
        if cause not in window.bad:
            after = _quiet(before, pace)
        if after.episode is not None and before.episode is None:
            events.append(Event("opened", cause, window.at, after.episode))
        if before.episode is not None and after.episode is None:
            events.append(Event("resolved", cause, window.at, before.episode))
        causes[cause] = after
    kept = {name: streak for name, streak in causes.items() if streak != Streak()}
    return Watched(watched.model, window.at, kept), events


def causes_of(findings: Mapping[str, list[Finding]]) -> dict[str, Finding]:
    """Cause -> the first of its findings that failed; causes without one are left out."""
    failed = {cause: [f for f in found if f.verdict == "fail"] for cause, found in findings.items()}
    return {cause: found[0] for cause, found in failed.items() if found}


def _bad(before: Streak, window: Window, cause: str, model: str, pace: Pace) -> Streak:
    finding = window.bad.get(cause)
    if finding is None:
        return before
    began = before.began if before.bad else window.at
    bad = before.bad + 1
    episode = before.episode
    if episode is not None:
        episode = msgspec.structs.replace(episode, bad=episode.bad + 1)
    elif bad >= pace.opens or cause in window.at_once:
        episode = Episode(f"{model}/{cause}/{began}", began, bad, finding)
    return Streak(bad, 0, began, episode)


def _quiet(before: Streak, pace: Pace) -> Streak:
    quiet = before.quiet + 1
    if before.episode is None or quiet >= pace.resolves:
        return Streak()
    return Streak(0, quiet, "", before.episode)
