"""A look in a few lines, for a terminal: how it is, part by part, and what to do."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from modelwright.core.records import Severity
from modelwright.serve.journal_segment import FEATURE
from modelwright.watch.episodes import Episode
from modelwright.watch.loop import Look, Status
from modelwright.watch.names import Names


class Line(msgspec.Struct, frozen=True):
    """One thing to know.

    Attributes:
        kind: of a part, of an episode that is open, or of what is advised.
        name: the part's, the episode's cause, or what to do.
        state: well, waits or failed; an episode's weight; empty for advice.
        says: what was measured, what is waited for, why it is advised.
        wanted: of an episode.
        advice: of an episode: what to do.
        began: of an episode, ISO 8601.
        new: whether it opened at this look.
    """

    kind: Literal["part", "episode", "advice"]
    name: str
    state: Literal["well", "waits", "failed"] | Severity | Literal[""]
    says: str = ""
    wanted: str = ""
    advice: str = ""
    began: str = ""
    new: bool = False


def watch_lines(look: Look) -> list[Line]:
    """Parts in their order, open episodes below theirs, then advice, the most urgent first.

    Example:
        >>> from modelwright.watch.loop import Look, Status
        >>> [(line.name, line.state) for line in watch_lines(Look("shop", "3", 0.0, 1, (
        ...     Status("drift"), Status("limits", failed="no server"))))]
        [('drift', 'well'), ('limits', 'failed')]
    """
    opened = {event.cause for event in look.events if event.what == "opened"}
    names = _names(look)
    found = list[Line]()
    for part in look.parts:
        found.append(_part(part, names))
        for cause, episode in part.open.items():
            found.append(_episode(cause, episode, cause in opened, names))
    for advice in look.advice:
        act = f"{advice.act} {advice.version}".strip()
        found.append(Line("advice", act, "", names.words(advice.why)))
    return found


def as_plain(look: Look) -> dict[str, Any]:
    """The look and its `lines` as dictionaries and lists, for every door."""
    plain: dict[str, Any] = msgspec.to_builtins(look)
    return {**plain, "lines": msgspec.to_builtins(watch_lines(look))}


def _part(part: Status, names: Names) -> Line:
    if part.failed:
        return Line("part", part.part, "failed", part.failed)
    failed = [f for f in part.findings if f.verdict == "fail"]
    if failed:
        first = f"{failed[0].check} of {names.shown(failed[0].subject)}"
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        return Line("part", part.part, "warning", first + more)
    if part.open:
        return Line("part", part.part, "warning", "nothing new, and it is not over yet")
    if part.waits:
        return Line("part", part.part, "waits", part.waits)
    return Line("part", part.part, "well")


def _episode(cause: str, episode: Episode, new: bool, names: Names) -> Line:
    worst = episode.worst
    says = f"{names.shown(worst.subject)}: {names.words(worst.measured)}"
    advice = names.words(worst.advice)
    return Line("episode", cause, worst.severity, says, worst.wanted, advice, episode.began, new)


def _names(look: Look) -> Names:
    """Columns that the look names, as far as they are features."""
    found = [f for part in look.parts for f in part.findings]
    found += [episode.worst for episode in look.open.values()]
    named = {name for f in found for name in (f.subject, *f.columns) if name.startswith(FEATURE)}
    return Names(tuple(named))
