"""Retrainings beside a watcher: when they are due, and what a kill leaves of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelwright import retraining_process
from modelwright.core.records import ReleaseRecord
from modelwright.core.spec_file import parse_spec
from modelwright.core.store import append_line, from_json, locked_now, to_json, write_atomic
from modelwright.core.writer import writing
from modelwright.release.registry import Registry
from modelwright.retraining import past_retrainings, unfinished
from modelwright.retraining_process import Arrivals, Trainings, Tried
from modelwright.serve.journal_store import place_of
from modelwright.serve.labels import compact
from modelwright.watch.episodes import Episode
from modelwright.watch.loop import Look, Status
from modelwright.watch.triggers import Past
from modelwright.watching import watcher
from release.test_traffic import three as three  # the fixture
from serve.running import until
from test_watching import EVIDENCE, NOW, spec_of
from watch.answers import NOW as ANSWERED
from watch.answers import tell

ASKS = "act: [retrain], retrain: {on: [quality], data: source, most_a_day: %d}"


LATER = "2100-01-01T00:00:00+00:00"


def bad(now: float = NOW, began: str = LATER) -> Look:
    episode = Episode("shop/quality/1", began, 2, EVIDENCE)
    return Look("shop", "1", now, 0, (Status("quality", open={"quality": episode}),))


def trainings(folder: Path, most: int = 1) -> tuple[Trainings, Any]:
    text = spec_of(folder, ASKS % most).read_text(encoding="utf-8")
    found = Trainings(parse_spec(text, folder / "modelwright.yaml"))
    return found, Registry(folder).resolve("shop")


def wait(found: Trainings) -> str:
    return until(found.ended, "the end of the training", 120)


def test_no_more_than_so_many_a_day(three: Path) -> None:
    found, champion = trainings(three)
    journal = str(three / "journal")
    assert found.due(bad(), champion, journal).retrain
    ledger = three / ".modelwright" / "retrain" / "shop.jsonl"
    ledger.parent.mkdir(parents=True, exist_ok=True)
    append_line(ledger, Past(NOW - 3600, "0", "run-1", "because"))
    plan = found.due(bad(), champion, journal)
    assert not plan.retrain and "at most 1 in 24 hours" in plan.stopped
    more, _ = trainings(three, most=2)
    assert more.due(bad(), champion, journal).retrain
    assert found.due(bad(NOW + 86_400), champion, journal).retrain


def test_an_old_champion_is_retrained_again_once_there_are_new_labels(three: Path) -> None:
    text = spec_of(
        three, "act: [retrain], retrain: {on: [age], age: 1h, most_a_day: 9}"
    ).read_text()
    found = Trainings(parse_spec(text, three / "modelwright.yaml"))
    champion, journal = Registry(three).resolve("shop"), str(three / "journal")
    look = Look("shop", "1", time.time() + 86_400, 0, (Status("quality"),))
    assert found.due(look, champion, journal).retrain
    ledger = three / ".modelwright" / "retrain" / "shop.jsonl"
    ledger.parent.mkdir(parents=True, exist_ok=True)
    append_line(ledger, Past(time.time(), champion.number, "run-1", "because"))
    assert found.due(look, champion, journal).stopped.startswith("no new labels")
    tell(journal, ("a", "yes", round(time.time() - ANSWERED) + 60))
    assert found.due(look, champion, journal).retrain


def test_what_began_under_the_champion_before_asks_for_nothing(three: Path) -> None:
    found, champion = trainings(three)
    before = bad(began="2020-01-01T00:00:00+00:00")
    assert not found.due(before, champion, str(three / "journal")).retrain


@pytest.mark.slow
def test_one_that_could_not_begin_is_said_and_rests(three: Path) -> None:
    found, champion = trainings(three)
    (three / "shop.csv").unlink()
    assert found.begin("quality").startswith("began to retrain")
    said = wait(found)
    assert said.startswith("retraining ended: ") and "shop.csv" in said
    assert found.running is None
    plan = found.due(bad(), champion, str(three / "journal"))
    assert not plan.retrain and "could not begin" in plan.stopped


def test_one_that_was_killed_before_its_table_was_written_is_begun_once_more(three: Path) -> None:
    found, champion = trainings(three)
    journal = str(three / "journal")

    def killed(found: Trainings) -> None:
        found.begin("quality")
        assert found.running is not None
        found.running.kill()
        assert "exit code -9" in wait(found)

    killed(found)
    assert unfinished(three, "shop", "1") is None and past_retrainings(three, "shop") == ()
    other, _ = trainings(three)  # a watcher that was started again
    assert other.due(bad(), champion, journal).retrain, "nothing was trained, so nothing counts"
    killed(other)
    plan = found.due(bad(), champion, journal)
    assert not plan.retrain and "could not begin" in plan.stopped


def test_nothing_begins_while_somebody_else_writes(three: Path) -> None:
    found, champion = trainings(three)
    journal = str(three / "journal")
    with writing(three, "run"):
        plan = found.due(bad(), champion, journal)
        assert not plan.retrain and "writes in this project: run" in plan.stopped
    assert found.due(bad(), champion, journal).retrain


def test_one_that_looks_at_its_data_is_waited_for(three: Path) -> None:
    found, champion = trainings(three)
    found._keep(Tried(begun=time.time()))
    with locked_now(three / ".modelwright" / "retrain" / "shop.lock", "", ""):
        plan = found.due(bad(), champion, str(three / "journal"))
    assert not plan.retrain and "looks at its data" in plan.stopped


@pytest.mark.slow
def test_a_retraining_is_begun_once_and_goes_on_after_a_kill(three: Path) -> None:
    spec = spec_of(three, ASKS % 1)
    with watcher(spec) as made:
        made.parts = []
        made.trainings.begin("quality")
        process = made.trainings.running
        assert process is not None
        until(lambda: unfinished(three, "shop", "1"), "a run with its table", 120)
        process.kill()
        until(lambda: process.poll() is not None, "its end", 10)
        with writing(three, "run"):
            [said] = made.look(time.time()).done
        assert "exit code -9" in said, "its one resumption is not used up while it would be refused"
        found = made.look(time.time())
        assert "went on with retraining" in found.done[0] and not found.advice
        running = made.trainings.running
        assert running is not None
        again = made.look(time.time())
        assert again.done == () and made.trainings.running is running
        running.kill()
        until(lambda: running.poll() is not None, "its end", 10)
        last = made.look(time.time())
        assert len(last.done) == 1, "one that fails again is left to people"


def test_what_a_retraining_said_is_found_among_other_words() -> None:
    def in_words(text: str) -> str:
        return retraining_process._in_words(retraining_process._said(text))

    warned = "UserWarning: {not json\n{odd\n"
    done = json.dumps({"run": {"version": "4", "alias": "challenger", "verdict": "pass"}}, indent=2)
    assert in_words(warned + done) == "version 4 is challenger"
    failed = json.dumps({"error": {"message": "There is no shop.csv."}})
    assert in_words(failed + "\n") == "There is no shop.csv."
    told = "shop was not released: recent version 1 failed."
    refused = {"version": None, "verdict": "fail", "headline": told}
    assert in_words(json.dumps({"run": refused}, indent=2)) == told, "by which gate"
    assert in_words("Killed") == ""


# -- looks of which each is a process of its own, as under cron


LOOK = (
    "import sys, time\n"
    "from modelwright.watching import watcher\n"
    "with watcher(sys.argv[1]) as made:\n"
    "    made.parts = []\n"
    "    for why in sys.argv[2:]:\n"
    "        print(made.trainings.begin(why))\n"
    "    print(*made.look(time.time()).done, sep='\\n')\n"
)


def once(spec: Path, *begin: str) -> list[str]:
    """What a process says that looks once, and begins to retrain where it is told to."""
    found = subprocess.run(
        [sys.executable, "-c", LOOK, str(spec), *begin],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return [line for line in found.stdout.splitlines() if line]


def told_of(spec: Path) -> list[str]:
    """Endings that are remembered."""
    with watcher(spec) as made:
        said = [one.done for one in made.memory.said("shop")]
    return [one for one in said if one.startswith("retraining ended")]


def pid_of(folder: Path) -> int:
    """The process that retrains a project."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = place.read_bytes().split(b"\0")
            if b"retrain" in words and str(folder / "modelwright.yaml").encode() in words:
                found.append(int(place.parent.name))
    [pid] = found
    return pid


@pytest.mark.slow
def test_a_later_look_tells_once_how_it_ended(three: Path) -> None:
    spec = spec_of(three, ASKS % 1)
    (three / "shop.csv").unlink()
    assert once(spec, "quality") == ["began to retrain: quality"]
    found, champion = trainings(three)
    until(lambda: not found.is_alive, "its end", 120)
    [said] = once(spec)
    assert said.startswith("retraining ended: ") and "shop.csv" in said
    assert once(spec) == [] and told_of(spec) == [said]
    plan = found.due(bad(), champion, str(three / "journal"))
    assert not plan.retrain and "could not begin" in plan.stopped, "it ended by itself"


@pytest.mark.slow
def test_a_later_look_tells_once_that_it_was_killed(three: Path) -> None:
    spec = spec_of(three, ASKS % 1)
    assert once(spec, "quality") == ["began to retrain: quality"]
    found, _ = trainings(three)
    assert found.is_alive and found.ended() == "", "nobody tells of what goes on"
    os.kill(pid_of(three), signal.SIGKILL)
    until(lambda: not found.is_alive, "its end", 10)
    told = "retraining ended: it was killed, or the machine went down"
    assert once(spec) == [told] and once(spec) == []
    assert told_of(spec) == [told]


def test_one_that_was_killed_after_its_release_is_told_with_its_version(three: Path) -> None:
    found, _ = trainings(three)
    run = Registry(three).version("shop", "1").run
    place = three / "runs" / run / "release.json"
    record = from_json(place.read_bytes(), ReleaseRecord)
    write_atomic(place, to_json(msgspec.structs.replace(record, version="2", alias="challenger")))
    ledger = three / ".modelwright" / "retrain" / "shop.jsonl"
    ledger.parent.mkdir(parents=True, exist_ok=True)
    append_line(ledger, Past(NOW + 1, "1", run, "because"))
    found._keep(Tried(begun=NOW, started=NOW))
    with watcher(spec_of(three)) as made:
        told = "retraining ended: version 2 is challenger"
        assert [made.trainings.tell(made.memory, NOW + 9) for _ in range(2)] == [told, ""]


def test_a_look_that_is_killed_before_it_is_written_down_tells_again(three: Path) -> None:
    found, _ = trainings(three)
    found._keep(Tried(begun=NOW, started=NOW))
    spec = spec_of(three)
    with (
        watcher(spec) as made,
        pytest.raises(KeyboardInterrupt),
        made.memory.change() as connection,
    ):
        start, at = retraining_process.TOLD, repr(NOW).encode()
        made.memory.remember(connection, "shop", start, NOW, at)
        raise KeyboardInterrupt
    with watcher(spec) as made:
        assert made.trainings.tell(made.memory, NOW + 9).startswith("retraining ended: it was kil")
        assert made.trainings.tell(made.memory, NOW + 9) == ""


# -- the command


def test_labels_are_counted_once_however_they_are_merged(tmp_path: Path) -> None:
    to, found = str(tmp_path), Arrivals()
    assert found.since(to, "shop", 0.0) == 0
    tell(to, ("a", "yes", 10), ("b", "no", 11), ("b/1", "no", 11))
    assert found.since(to, "shop", 0.0) == 3
    tell(to, ("a", "no", 20), ("c", "no", 21))
    assert found.since(to, "shop", 0.0) == 4, "a correction is no other answer"
    assert found.since(to, "shop", ANSWERED + 15) == 2
    compact(place_of(to), "shop", ANSWERED + 2 * 86_400)
    assert found.since(to, "shop", ANSWERED + 15) == 2
    assert found.since(to, "shop", 0.0) == Arrivals().since(to, "shop", 0.0) == 4
