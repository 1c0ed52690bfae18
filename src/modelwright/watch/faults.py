"""Looks that fail: after two in a row somebody is told, as of any other episode.

A part that can not look says nothing, and nothing looks like all is well.
"""

from __future__ import annotations

import logging

import msgspec

from modelwright.core.errors import ModelwrightError
from modelwright.core.records import Finding
from modelwright.watch.episodes import Episode, Event, Pace, Watched, Window, step
from modelwright.watch.look import Telling
from modelwright.watch.state import Memory, Said
from modelwright.watch.subject import Subject
from modelwright.watch.times import iso, unix

FAULTS = "faults"
_LOG = logging.getLogger("modelwright.watch")


def in_words(error: Exception) -> str:
    """A fault for people: ours say what to do, others need their name; those are logged in full."""
    if isinstance(error, ModelwrightError):
        return str(error)
    _LOG.error("a look met a fault", exc_info=error)
    return f"{type(error).__name__}: {error}"


def noted(
    part: str, why: str, subject: Subject, memory: Memory, outbox: Telling
) -> tuple[dict[str, Episode], list[Event]]:
    """Remember whether a part could look, and tell when it begins or ends that it cannot.

    Args:
        part: its name.
        why: what stood in its way; empty where nothing did.
        subject, memory, outbox: of the look.

    Returns:
        (episodes that are going on, those that began or ended now).
    """
    model, now, key = subject.name, subject.now, f"{part}/{FAULTS}"
    data = memory.state(model, key)
    if not why and data is None:
        return {}, []
    cause = f"{part} cannot look"
    finding = Finding(
        "watch", part, "fail", why, "a look", why="what it watches is not watched meanwhile",
        advice="see the watcher's log", severity="error",
    )  # fmt: skip
    before = msgspec.json.decode(data, type=Watched) if data else Watched(model)
    window = Window(iso(now), frozenset({cause}), {cause: finding} if why else {})
    drift = subject.spec.watch.drift
    after, events = step(before, window, Pace(drift.opens, drift.resolves))
    with memory.change() as connection:
        memory.remember(connection, model, key, now, msgspec.json.encode(after))
        memory.say(connection, [Said(unix(event.at), model, event) for event in events])
        outbox.queue_events(connection, model, subject.champion.version.number, events, now)
    return after.open, events
