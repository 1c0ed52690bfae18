"""Retrainings beside a watcher: when they are due, and what a kill leaves of them."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from modelwright.core.spec_file import parse_spec
from modelwright.core.store import append_line, locked_now
from modelwright.core.writer import writing
from modelwright.release.registry import Registry
from modelwright.retraining import past_retrainings, unfinished
from modelwright.retraining_process import Arrivals, Trainings, Tried
from modelwright.retraining_process import _in_words as in_words
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
        found.running.process.kill()
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
        os.kill(process.process.pid, signal.SIGKILL)
        until(lambda: process.process.poll() is not None, "its end", 10)
        with writing(three, "run"):
            [said] = made.look(time.time()).done
        assert "exit code -9" in said, "its one resumption is not used up while it would be refused"
        found = made.look(time.time())
        assert "went on with retraining" in found.done[0] and not found.advice
        running = made.trainings.running
        assert running is not None
        again = made.look(time.time())
        assert again.done == () and made.trainings.running is running
        running.process.kill()
        until(lambda: running.process.poll() is not None, "its end", 10)
        last = made.look(time.time())
        assert len(last.done) == 1, "one that fails again is left to people"


def test_what_a_retraining_said_is_found_among_other_words() -> None:
    warned = "UserWarning: {not json\n{odd\n"
    done = json.dumps({"run": {"version": "4", "alias": "challenger", "verdict": "pass"}}, indent=2)
    assert in_words(warned + done, 0) == "version 4 is challenger"
    failed = json.dumps({"error": {"message": "There is no shop.csv."}})
    assert in_words(failed + "\n", 2) == "There is no shop.csv."
    told = "shop was not released: recent version 1 failed."
    refused = {"version": None, "verdict": "fail", "headline": told}
    assert in_words(json.dumps({"run": refused}, indent=2), 1) == told, "by which gate"
    assert in_words("Killed", -9) == "exit code -9"


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
