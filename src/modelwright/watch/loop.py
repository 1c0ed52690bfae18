"""One look at a live model: count what is new, ask every part, and write down what came of it.

Everything that a part gives is written in one transaction: its state, its windows' episodes, the
events and the alerts that wait to be sent. A watcher that is killed goes over the same answers
again and finds the same; nothing is sent twice for it, since episodes have names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from modelwright.core.records import Finding
from modelwright.watch.episodes import Episode, Event, Pace, Watched, step
from modelwright.watch.faults import in_words, noted
from modelwright.watch.look import SHOWN, Advice, Looked, Part, Shown, Telling
from modelwright.watch.state import Memory, Said
from modelwright.watch.subject import Subject
from modelwright.watch.summary_store import count_journal
from modelwright.watch.times import iso, unix
from modelwright.watch.unlike import unlike_now

EPISODES = "episodes"


class Status(msgspec.Struct, frozen=True):
    """One part after a look.

    Attributes:
        failed: why it could not look; empty when it did.
        open: cause -> the episode that is going on.
    """

    part: str
    findings: tuple[Finding, ...] = ()
    open: dict[str, Episode] = {}
    waits: str = ""
    failed: str = ""


class Look(msgspec.Struct, frozen=True):
    """A look at one model.

    Attributes:
        at: Unix time.
        files: of the journal that were counted now.
        events: episodes that began or ended now.
        advice: what should be done now, the most urgent first.
        done: what was done about it, in words.
        unlike: what the spec file says that the champion does not go by.
    """

    model: str
    version: str
    at: float
    files: int
    parts: tuple[Status, ...]
    events: tuple[Event, ...] = ()
    advice: tuple[Advice, ...] = ()
    done: tuple[str, ...] = ()
    unlike: tuple[Finding, ...] = ()

    @property
    def open(self) -> dict[str, Episode]:
        """Every episode that is going on."""
        return {cause: one for part in self.parts for cause, one in part.open.items()}


def look(subject: Subject, parts: Sequence[Part], memory: Memory, outbox: Telling) -> Look:
    """Look once.

    Args:
        subject: the model now.
        parts: what is asked.
        memory: what is remembered from look to look.
        outbox: where alerts of new episodes wait to be sent.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the watch database cannot be reached.
    """
    grain = subject.spec.watch.grain
    known = subject.library.manifest_of
    files, why = 0, ""
    try:
        files = count_journal(subject.store, subject.journal, known, subject.name, grain)
    except OSError as error:  # what needs no journal is asked all the same
        why = in_words(error)
    going, told = noted("journal", why, subject, memory, outbox)
    statuses = tuple[Status, ...]()
    if why or going:
        statuses = (Status("journal", open=going, failed=why),)
    found = [_ask(part, subject, memory, outbox) for part in parts]
    statuses += tuple(status for status, _, _ in found)
    events = (*told, *(event for _, some, _ in found for event in some))
    advice = sorted((a for _, _, a in found if a is not None), key=lambda a: URGENT.index(a.act))
    version = subject.champion.version.number
    return Look(
        subject.name, version, subject.now, files, statuses, events, tuple(advice),
        unlike=unlike_now(subject),
    )  # fmt: skip


URGENT = ("roll back", "promote", "canary", "retrain")
OF_A_CHAMPION = ("drift", "quality")
"""Parts whose episodes tell of one version."""


def _ask(
    part: Part, subject: Subject, memory: Memory, outbox: Telling
) -> tuple[Status, list[Event], Advice | None]:
    model = subject.name
    before = _episodes(memory, model, part.name)
    try:
        looked = part.look(subject, memory.state(model, part.name))
    except Exception as error:  # noqa: BLE001 - logged and told by noted()
        why = in_words(error)
        failed = Shown(subject.now, subject.champion.version.number, failed=why)
        with memory.change() as connection:
            _show(connection, memory, subject, part, failed)
        going, events = noted(part.name, why, subject, memory, outbox)
        return Status(part.name, open={**before.open, **going}, failed=why), events, None
    going, told = noted(part.name, "", subject, memory, outbox)
    watched, events = _of_this_champion(before, part, subject, memory)
    drift = subject.spec.watch.drift
    pace = Pace(drift.opens, drift.resolves)
    for window in looked.windows:
        watched, more = step(watched, window, pace)
        events += more
    _write(part, looked, watched, events, subject, memory, outbox)
    status = Status(part.name, looked.findings, {**watched.open, **going}, looked.waits)
    return status, [*told, *events], looked.advice


def _of_this_champion(
    before: Watched, part: Part, subject: Subject, memory: Memory
) -> tuple[Watched, list[Event]]:
    """What goes on of the champion that is in force: episodes of the one before are over."""
    data = memory.state(subject.name, f"{part.name}/{SHOWN}")
    last = msgspec.json.decode(data, type=Shown).version if data else ""
    if part.name not in OF_A_CHAMPION or last in ("", subject.champion.version.number):
        return before, []
    at = iso(subject.now)
    over = [Event("resolved", cause, at, one) for cause, one in sorted(before.open.items())]
    return Watched(subject.name, before.last), over


def _episodes(memory: Memory, model: str, part: str) -> Watched:
    data = memory.state(model, f"{part}/{EPISODES}")
    return msgspec.json.decode(data, type=Watched) if data else Watched(model)


def _write(
    part: Part,
    looked: Looked,
    watched: Watched,
    events: Sequence[Event],
    subject: Subject,
    memory: Memory,
    outbox: Telling,
) -> None:
    model, now = subject.name, subject.now
    with memory.change() as connection:
        memory.remember(connection, model, part.name, now, looked.state)
        episodes = msgspec.json.encode(watched)
        memory.remember(connection, model, f"{part.name}/{EPISODES}", now, episodes)
        number = subject.champion.version.number
        said = Shown(now, number, looked.findings, looked.waits, advice=looked.advice)
        _show(connection, memory, subject, part, said)
        memory.say(connection, [Said(unix(event.at), model, event) for event in events])
        memory.note(connection, model, looked.points)
        outbox.queue_events(connection, model, number, events, now)


def _show(connection: Any, memory: Memory, subject: Subject, part: Part, shown: Shown) -> None:
    key = f"{part.name}/{SHOWN}"
    memory.remember(connection, subject.name, key, subject.now, msgspec.json.encode(shown))
