"""A live model under watch: look, tell, and act as far as the spec allows.

`watch` advises, this acts. Whatever is done to production goes the way that a person's command
goes: checked, audited, with a way back.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from modelwright.core.errors import ModelwrightError, UsageError
from modelwright.core.records import Finding
from modelwright.core.spec import Spec
from modelwright.core.spec_file import DEFAULT_NAME, SpecFile, read_spec
from modelwright.core.store import locked_now
from modelwright.release import traffic
from modelwright.release.promote import promote
from modelwright.release.registry import CHALLENGER, CHAMPION, Registry
from modelwright.release.unfinished import settle
from modelwright.retraining_process import Trainings, advised
from modelwright.serve.journal_store import place_of
from modelwright.serve.labels import compact, sweep
from modelwright.watch.alerts import targets_of
from modelwright.watch.database import Database, Sole
from modelwright.watch.faults import in_words
from modelwright.watch.label_files import Sent, send_labels_file
from modelwright.watch.look import Advice, Part
from modelwright.watch.loop import Look, look
from modelwright.watch.outbox import Outbox
from modelwright.watch.part_canary import CanaryPart
from modelwright.watch.part_challenger import ChallengerPart
from modelwright.watch.part_drift import DriftPart
from modelwright.watch.part_limits import LimitsPart
from modelwright.watch.part_quality import QualityPart
from modelwright.watch.report import verdict, watch_report
from modelwright.watch.report_records import gather
from modelwright.watch.state import Memory, Said
from modelwright.watch.subject import Library, Subject, journal_place, subject
from modelwright.watch.summary_store import SummaryStore

Done = TypeVar("Done")
HOME = Path(".modelwright")
TIDY_EVERY = 60.0
SEND_EVERY = 5.0
"""Seconds between two rounds of alerts, while the next look is waited for."""


class NoChampion(UsageError):
    """Nothing is live, so there is nothing to watch."""


@dataclass
class Watcher:
    """Everything that watching one model needs, opened once.

    Attributes:
        spec_file: whose `watch:`, limits and journal are in force.
        parts: what is asked at each look.
        sole: sees that nobody else watches on another machine.
        tidied: Unix time of the last tidying.
        refused: the last thing that could not be done.
    """

    spec_file: SpecFile
    library: Library
    database: Database
    store: SummaryStore
    memory: Memory
    outbox: Outbox
    parts: Sequence[Part]
    trainings: Trainings
    sole: Sole
    tidied: float = 0.0
    refused: str = ""

    @property
    def spec(self) -> Spec:
        """The spec in force."""
        return self.spec_file.spec

    @property
    def folder(self) -> Path:
        """The project's."""
        return self.spec_file.folder

    def subject(self, now: float) -> Subject:
        """The model now.

        Raises:
            NoChampion: no version is champion yet.
        """
        found = subject(self.spec, self.folder, self.library, self.store, now)
        if found is None:
            raise NoChampion(
                f"{self.spec.name} has no champion, so there is nothing to watch.",
                hint="modelwright run makes the first one.",
            )
        return found

    def look(self, now: float) -> Look:
        """Look once, write it down, and do what the spec allows.

        Raises:
            ModelwrightError: the registry or the spec stands in the way, or somebody else
                watches by now.
            OSError: the journal cannot be read.
        """
        self.sole.check()
        settle(self.library.registry, self.folder, self.spec.name)
        seen = self.subject(now)
        found = look(seen, self.parts, self.memory, self.outbox)
        found, trained = self._training(found, seen)
        allowed = [one for one in found.advice if one.act in self.spec.watch.act]
        done = [*trained, *(self._act(advice, now) for advice in allowed)]
        self._tidy(seen)
        return msgspec.structs.replace(found, done=tuple(filter(None, done)))

    def looks(self, stop: threading.Event) -> Iterator[Look | ModelwrightError]:
        """Look again and again until told to stop; alerts go out in between.

        What stands in the way of one look, such as a registry or a database that is away, is given
        in its place, and the next look is tried as usual.
        """
        while not stop.is_set():
            began = time.time()
            yield _or_fault(partial(self.look, began))
            while True:
                sent = _or_fault(self.outbox.deliver)
                if isinstance(sent, ModelwrightError):
                    yield sent
                left = began + self.spec.watch.every - time.time()
                if left <= 0 or stop.wait(min(left, SEND_EVERY)):
                    break

    def close(self) -> None:
        """End the connections."""
        self.sole.close()
        self.database.close()

    def _act(self, advice: Advice, now: float) -> str:
        """Do it, and remember that it was done; a fault is remembered as well."""
        try:
            if advice.act == "retrain":
                done = self.trainings.begin(advice.why)
            else:
                weight = self.spec.watch.canary.weight
                done = act(advice, self.library.registry, self.folder, self.spec.name, weight)
        except ModelwrightError as error:
            done = f"could not {advice.act} {advice.version}: {error}"
            if done == self.refused:
                return done  # again: once is enough to remember
            self.refused = done
        if done:
            self._remember(done, now, advice.evidence[0] if advice.evidence else None)
        return done

    def _training(self, found: Look, seen: Subject) -> tuple[Look, list[str]]:
        """What became of a retraining, and whether one is due."""
        champion, done = seen.champion.version, list[str]()
        if ended := self.trainings.tell(self.memory, seen.now):
            done.append(ended)
        left = self.trainings.cut_off(champion)
        if left is not None and "retrain" in self.spec.watch.act:
            done.append(self.trainings.go_on(left))
            self._remember(done[-1], seen.now)
        if not self.trainings.is_alive and not self._on_trial(found, seen):
            advice = advised(self.trainings.due(found, champion, seen.journal))
            if advice is not None:
                found = msgspec.structs.replace(found, advice=(*found.advice, advice))
        return found, done

    def _on_trial(self, found: Look, seen: Subject) -> bool:
        """Whether a newer version has its canary, or is about to: first see what becomes of it."""
        coming = "canary" in self.spec.watch.act and any(a.act == "canary" for a in found.advice)
        return seen.traffic.canary is not None or coming

    def _remember(self, done: str, now: float, finding: Finding | None = None) -> None:
        with self.memory.change() as connection:
            said = Said(now, self.spec.name, done=done, finding=finding)
            self.memory.say(connection, [said])

    def _tidy(self, seen: Subject) -> None:
        """Merge small files of labels; forget what the journal does not hold any more."""
        if seen.now - self.tidied < TIDY_EVERY:
            return
        self.tidied = seen.now
        place = place_of(seen.journal)
        compact(place, seen.name, seen.now)
        sweep(place, seen.now, seen.journaling.keep, seen.name)
        before = seen.now - 2 * seen.journaling.keep
        self.store.forget(int(before), seen.name)
        self.memory.forget(before, seen.name)
        self.outbox.forget(before)


def _or_fault(work: Callable[[], Done]) -> Done | ModelwrightError:
    """What it gives, or what stood in its way."""
    try:
        return work()
    except ModelwrightError as error:
        return error
    except Exception as error:  # noqa: BLE001 - in_words() logs it; it is yielded
        return UsageError(in_words(error))


def act(advice: Advice, registry: Registry, folder: Path, model: str, weight: float = 0.05) -> str:
    """Change production as advised, unless it changed in the meantime.

    Args:
        advice: what a look came to.
        registry, folder, model: whose production it is.
        weight: of a new canary.

    Returns:
        What was done, in words; empty where nothing was left to do.

    Raises:
        ModelwrightError: the change is refused.
    """
    why, detail = f"watch: {advice.why}", advice.detail()
    rule = traffic.show(registry, folder, model).traffic
    mine = rule.canary is not None and rule.canary.version == advice.version
    if advice.act == "roll back" and mine:
        traffic.stop(registry, folder, model, "canary", why=why, detail=detail)
        return f"ended canary {advice.version}"
    if advice.act == "promote" and mine:
        change = promote(registry, folder, model, advice.version, why=why, detail=detail)
        return f"made version {change.version} the champion in the place of {change.replaces}"
    if advice.act == "canary" and rule.canary is None and rule.test is None:
        challenger = registry.aliased(model, CHALLENGER)
        if challenger is not None and challenger.number == advice.version:
            traffic.canary(
                registry, folder, model, advice.version, weight=weight, why=why, detail=detail
            )
            return f"gave version {advice.version} {weight:.0%} of the requests"
    return ""


@contextmanager
def watcher(spec: str | Path | SpecFile = DEFAULT_NAME) -> Iterator[Watcher]:
    """Everything that watching needs; only one process at a time may have it.

    Args:
        spec: the spec file of the model.

    Raises:
        UsageError: no journal, an environment variable is missing, or another process watches,
            here or, with PostgreSQL, anywhere.
        RegistryError: there is no registry.
    """
    spec_file = spec if isinstance(spec, SpecFile) else read_spec(Path(spec))
    journal_place(spec_file.spec, spec_file.folder)
    home = spec_file.folder / HOME
    home.mkdir(exist_ok=True)
    lock = home / f"watch-{spec_file.spec.name}.lock"
    with locked_now(lock, _told(spec_file.spec.name), _HINT):
        made = _open(spec_file)
        try:
            made.sole.check()
            yield made
        finally:
            made.close()


_HINT = "One watcher is enough; end the other one first."


def _told(name: str) -> str:
    return f"{name} is watched by another process already."


def _open(spec_file: SpecFile, *, tells: bool = True) -> Watcher:
    spec = spec_file.spec
    database = Database(database_of(spec_file))
    registry = Registry(spec_file.folder)
    outbox = Outbox(database, targets_of(spec.watch.alerts) if tells else (), spec.name)
    parts: list[Part] = [
        LimitsPart(),
        DriftPart(),
        QualityPart(),
        CanaryPart(),
        ChallengerPart(),
    ]
    return Watcher(
        spec_file, Library(registry, spec.name), database, SummaryStore(database),
        Memory(database), outbox, parts, Trainings(spec_file),
        Sole(database, f"watch {spec.name}", _told(spec.name), _HINT),
    )  # fmt: skip


def database_of(spec_file: SpecFile) -> str:
    """Where the watcher remembers: a file of the project, or the DSN of `watch.store_env`.

    Raises:
        UsageError: the variable is not set.
    """
    name = spec_file.spec.watch.store_env
    if name is None:
        return str(spec_file.folder / HOME / "watch.db")
    dsn = os.environ.get(name, "")
    if not dsn:
        raise UsageError(
            f"watch.store_env: {name} is not set.",
            hint="Set it to a DSN such as postgresql+psycopg://user@host/database.",
        )
    return dsn


def send_labels(spec: str | Path | SpecFile, path: str | Path) -> tuple[str, Sent]:
    """Take truths from a file; see `watch.label_files.send_labels_file`.

    Args:
        spec: the spec file of the model.
        path: the table.

    Returns:
        (the model, what became of the rows).

    Raises:
        NoChampion: whose classes the labels would have to be.
        DataError: it is no table of labels.
    """
    spec_file = spec if isinstance(spec, SpecFile) else read_spec(Path(spec))
    name, place = spec_file.spec.name, journal_place(spec_file.spec, spec_file.folder)
    registry = Registry(spec_file.folder)
    champion = registry.aliased(name, CHAMPION)
    if champion is None:
        raise NoChampion(f"{name} has no champion.", hint="modelwright run makes the first one.")
    target = Library(registry, name).get(champion.number).manifest.schema.target
    return name, send_labels_file(path, place, name, target)


def watch_page(spec: str | Path | SpecFile, *, since: float) -> tuple[str, str]:
    """A page of how a live model stands; see `watch.report`.

    Args:
        spec: the spec file of the model.
        since: Unix time from which on things are shown.

    Returns:
        (the model, HTML).

    Raises:
        NoChampion: no version is live.
    """
    spec_file = spec if isinstance(spec, SpecFile) else read_spec(Path(spec))
    made = _open(spec_file, tells=False)
    try:
        now = time.time()
        sent = made.outbox.sent(made.spec.name, since)
        seen = made.subject(now)
        return made.spec.name, watch_report(seen, made.memory, now, since=since, sent=sent)
    finally:
        made.close()


def watch_findings(spec: str | Path | SpecFile, *, since: float) -> dict[str, Any]:
    """How a live model stands, in figures about many rows.

    Args:
        spec: the spec file of the model.
        since: Unix time from which on things are counted.

    Returns:
        model, version, verdict (pass, undecided or fail), says, findings and open episodes.

    Raises:
        NoChampion: no version is live.
    """
    spec_file = spec if isinstance(spec, SpecFile) else read_spec(Path(spec))
    made = _open(spec_file, tells=False)
    try:
        now = time.time()
        found = gather(made.subject(now), made.memory, now, since, None)
        state, says = verdict(found)
        return {
            "model": made.spec.name,
            "version": found.subject.champion.version.number,
            "verdict": state,
            "says": says,
            "findings": msgspec.to_builtins(found.findings(*found.shown)),
            "episodes": msgspec.to_builtins(dict(found.open)),
        }
    finally:
        made.close()
