"""The operation `watch`: look, take labels, or write the page."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

import modelwright as mw
from modelwright.core.errors import ModelwrightError, UsageError
from modelwright.core.limits import parse_quantity
from modelwright.core.progress import Progress
from modelwright.watch.lines import as_plain
from modelwright.watch.loop import Look
from modelwright.ways_in import arguments, results
from modelwright.ways_in.lines import in_a_line
from modelwright.ways_in.named_files import write_named


def watch(given: arguments.WatchArguments, progress: Progress) -> results.WatchResult:
    """Do what was asked for."""
    if (given.file is None) == (given.what == "labels"):
        wrong = "labels needs a FILE" if given.file is None else f"{given.what} takes no FILE"
        raise UsageError(f"watch {wrong}.", hint="Such as: modelwright watch labels truth.csv")
    if given.what == "labels":
        return _labels(given)
    if given.what == "report":
        return _report(given, progress)
    return _live(given, progress)


def _labels(given: arguments.WatchArguments) -> results.WatchResult:
    model, sent = mw.send_labels(given.spec, str(given.file))
    found = results.LabelsResult(**msgspec.to_builtins(sent))
    return results.WatchResult(model=model, labels=found)


def _report(given: arguments.WatchArguments, progress: Progress) -> results.WatchResult:
    progress.stage("report", given.spec)
    try:
        since, _ = parse_quantity(given.since, "seconds")
    except ValueError as error:
        raise UsageError(f"--since: {error}.", hint="Such as '7 d' or '12 h'.") from error
    if not 0 < since < float("inf"):
        raise UsageError(f"--since: {given.since!r} is no length of time.", hint="Such as '7 d'.")
    model, page = mw.watch_page(given.spec, since=time.time() - since)
    write_named("--out", given.out, page.encode())
    return results.WatchResult(model=model, report=given.out)


def _live(given: arguments.WatchArguments, progress: Progress) -> results.WatchResult:
    looks, last = 0, None
    _hear_alerts()
    with mw.watcher(given.spec) as made:
        model = made.spec.name
        progress.stage("watch", model)
        if given.once:
            last, looks = made.look(time.time()), 1
            _say_unlike(None, last, progress)
            made.outbox.deliver()
        else:
            with _until_told() as stop:
                for found in made.looks(stop):
                    _tell(found, last, progress)
                    if isinstance(found, Look):
                        _say_unlike(last, found, progress)
                        last, looks = found, looks + 1
    shown = dict(as_plain(last)) if last else None
    return results.WatchResult(model=model, looks=looks, look=shown)


def _going_on(found: Look) -> list[str]:
    """What is so at each look until somebody does something about it."""
    failed = [f"! {part.part}: {part.failed}" for part in found.parts if part.failed]
    return failed + [f"-> {a.act} {a.version}: {a.why}" for a in found.advice]


def _say_unlike(before: Look | None, now: Look, progress: Progress) -> None:
    """Where file and champion disagree: at the first look, and when that changed."""
    if before is None or before.unlike != now.unlike:
        for finding in now.unlike:
            progress.say(f"! {in_a_line(finding)}")


def _hear_alerts() -> None:
    """Show what `to: log` writes, that an episode is over included, which is information only."""
    log = logging.getLogger("modelwright.watch")
    if not log.hasHandlers():
        log.addHandler(logging.StreamHandler())
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)


def _tell(found: Look | ModelwrightError, before: Look | None, progress: Progress) -> None:
    """A line for whatever is new since the look before."""
    if isinstance(found, ModelwrightError):
        progress.say(f"! could not look: {found}")
        return
    known = set(_going_on(before)) if before else set()
    for line in _going_on(found):
        if line not in known:
            progress.say(line)
    for event in found.events:
        worst = event.episode.worst
        progress.say(f"{event.what} {event.cause}: {worst.subject} {worst.measured}")
    for done in found.done:
        progress.say(f"done: {done}")
    files = f"{found.files} new files, {len(found.open)} open episodes"
    progress.step(1, 1, f"version {found.version}: {files}")


@contextmanager
def _until_told() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set: the look that is going on is ended in peace."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda *_: stop.set())
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
