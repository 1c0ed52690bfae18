"""Everything that a watch report shows, read once: what the page says is true of one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import msgspec

from modelwright.core.errors import ModelwrightError
from modelwright.core.limits import Limit
from modelwright.core.records import AuditLine, Finding
from modelwright.release.audit import AuditLog
from modelwright.release.registry import Version
from modelwright.serve.journal_files import files
from modelwright.serve.journal_store import File
from modelwright.watch.counted import Counts
from modelwright.watch.ended_canary import Ended
from modelwright.watch.episodes import Episode, Watched
from modelwright.watch.look import SHOWN, Shown
from modelwright.watch.loop import EPISODES
from modelwright.watch.names import Names
from modelwright.watch.part_canary import CANARY, CanaryState
from modelwright.watch.part_drift import policy_of
from modelwright.watch.ranking import Ranked, ranked
from modelwright.watch.reference import frame_of
from modelwright.watch.state import Memory, Point, Said
from modelwright.watch.subject import Subject

DAY = 86_400


class Told(Protocol):
    """What became of an alert at one target, as the outbox records it."""

    @property
    def alert(self) -> Any:
        """With `title`."""

    @property
    def target(self) -> str:
        """Its name in the spec."""

    @property
    def state(self) -> str:
        """waiting, sent or failed."""

    @property
    def queued(self) -> float:
        """Unix time."""

    @property
    def sent(self) -> float | None:
        """Unix time; None where it never arrived."""

    @property
    def tries(self) -> int:
        """How often."""

    @property
    def why(self) -> str:
        """The last error."""


@dataclass(frozen=True)
class Lately:
    """The last day that has answers of the champion.

    Attributes:
        begin, end: Unix times.
        columns: counts now, by name in the journal.
        then: of the reference.
        ranking: columns, those that changed most first.
    """

    begin: int
    end: int
    rows: int
    columns: Mapping[str, Counts]
    then: Mapping[str, Counts] = field(default_factory=dict)
    then_rows: int = 0
    ranking: Sequence[Ranked] = ()


@dataclass(frozen=True)
class Records:
    """What there is to show.

    Attributes:
        now, since: Unix times of the report and of the earliest that it shows.
        shown: part -> what it said last.
        open: cause -> episode.
        series: name -> points.
        minutes: version -> Unix time of a minute -> answers.
        lately: None without any answer of the champion.
        audit_broken: number of the first audit line that does not follow; None when whole.
        files: of the journal; None where it cannot be read, `unread` says why.
        sent: what became of alerts; None where nobody sends any.
        ended: the canary that ended last, while there is none.
    """

    subject: Subject
    now: float
    since: float
    shown: Mapping[str, Shown]
    open: Mapping[str, Episode]
    said: Sequence[Said]
    series: Mapping[str, Sequence[Point]]
    minutes: Mapping[str, Mapping[int, int]]
    lately: Lately | None
    versions: Sequence[Version]
    audit: Sequence[AuditLine]
    audit_broken: int | None
    files: Sequence[File] | None
    unread: str = ""
    sent: Sequence[Told] | None = None
    ended: Ended | None = None

    @cached_property
    def names(self) -> Names:
        """Of columns."""
        return Names([bins.name for bins in self.subject.champion.plan.bins])

    @cached_property
    def earliest(self) -> float:
        """Unix time of the first answer or point that is shown; all plots begin there."""
        minutes = [min(found) for found in self.minutes.values() if found]
        points = [found[0].at for found in self.series.values() if found]
        return max(self.since, min([*minutes, *points], default=self.since))

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Of the spec, as the champion was released."""
        return self.subject.champion.manifest.limits

    def findings(self, *parts: str) -> list[Finding]:
        """What these parts said last."""
        return [f for part in parts if part in self.shown for f in self.shown[part].findings]


def gather(
    subject: Subject, memory: Memory, now: float, since: float, sent: Sequence[Told] | None
) -> Records:
    """Read everything.

    Raises:
        RegistryError: the registry cannot be reached.
        sqlalchemy.exc.SQLAlchemyError: the watch database cannot be reached.
    """
    name, registry = subject.name, subject.library.registry
    shown, episodes = dict[str, Shown](), dict[str, Episode]()
    states = memory.states(name)
    for key, data in states.items():
        part, _, what = key.rpartition("/")
        if part and what == SHOWN:
            shown[part] = msgspec.json.decode(data, type=Shown)
        elif part and what == EPISODES:
            episodes |= msgspec.json.decode(data, type=Watched).open
    found, unread = None, ""
    try:
        found = files(subject.journal, name)
    except (OSError, ModelwrightError) as error:
        unread = str(error)
    log = AuditLog(subject.folder)
    return Records(
        subject, now, since, shown, episodes, memory.said(name, since),
        memory.series(name, since), _minutes(subject, now), _lately(subject, now),
        registry.versions(name), log.lines(name), log.broken_at(), found, unread, sent,
        _ended(states.get(CANARY)),
    )  # fmt: skip


def _ended(state: bytes | None) -> Ended | None:
    return msgspec.json.decode(state, type=CanaryState).ended if state else None


def _minutes(subject: Subject, now: float) -> dict[str, dict[int, int]]:
    """Answers of every version; one that was released anew under its number counts as one."""
    found: dict[str, dict[int, int]] = {}
    for model, version, digest in sorted(subject.store.versions()):
        if model == subject.name:
            minutes = found.setdefault(version, {})
            for minute, rows in subject.store.rows(model, version, digest).items():
                if minute <= now:
                    minutes[minute] = minutes.get(minute, 0) + rows
    return found


def _lately(subject: Subject, now: float) -> Lately | None:
    champion, grain = subject.champion, subject.spec.watch.grain
    where = subject.name, champion.version.number, champion.digest
    rows = [m for m, count in subject.store.rows(*where).items() if count and m <= now]
    if not rows:
        return None
    end = max(rows) + grain
    summary = subject.store.window(champion.plan, *where, end - DAY, end)
    frame = frame_of(summary)
    begin = min(minute for minute in rows if minute >= end - DAY)
    if champion.live is None:
        return Lately(begin, end, summary.rows, frame.columns)
    reference = champion.live.reference
    policy = policy_of(subject.spec.watch, subject.spec.data.split)
    whole = reference.whole
    ranking = ranked(frame, reference, policy)
    return Lately(begin, end, summary.rows, frame.columns, whole.columns, whole.rows, ranking)
