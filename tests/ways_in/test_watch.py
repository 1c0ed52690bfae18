"""`modelwright watch` as people type it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest

from modelwright.core.errors import ModelwrightError
from modelwright.core.progress import Silent
from modelwright.serve.journal_store import place_of
from modelwright.serve.labels import read
from modelwright.watch.look import Advice
from modelwright.watch.loop import Look, Status
from modelwright.ways_in.arguments import WatchArguments
from modelwright.ways_in.watch import _tell, watch
from watch.live import BEGIN, Live, drifted, usual
from ways_in.test_cli import cli, refused


@pytest.fixture
def live(project: Path) -> Path:
    found = Live.of(project)
    found.answer(usual(1), BEGIN)
    found.close()
    (project / "watch.db").unlink()
    return project


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"what": "labels"}, "watch labels needs a FILE"),
        ({"file": "truth.csv"}, "watch live takes no FILE"),
        ({"what": "report", "file": "truth.csv"}, "watch report takes no FILE"),
        ({"what": "report", "since": "a week"}, "--since"),
        ({"what": "report", "since": "5 apples"}, "--since"),
        ({"what": "report", "since": "-1 d"}, "--since: '-1 d' is no length of time"),
        ({"what": "report", "since": "0 s"}, "--since: '0 s' is no length of time"),
        ({"what": "labels", "file": "none.csv"}, "none.csv"),
        ({"spec": "none.yaml"}, "none.yaml"),
    ],
)
def test_mistakes(live: Path, given: dict[str, str], said: str) -> None:
    with pytest.raises(ModelwrightError) as caught:
        watch(WatchArguments.model_validate(given), Silent())
    assert said in str(caught.value) and caught.value.exit_code == 2
    assert not (live / "watch.html").exists()


def test_a_mistake_at_the_command_line(live: Path) -> None:
    refused(cli(live, "watch", "labels"), 2, "watch labels needs a FILE", "truth.csv")


def test_one_look_as_json_has_lines(live: Path) -> None:
    done = cli(live, "watch", "--once", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["model"], found["looks"]) == ("shop", 1)
    lines = {line["name"]: line for line in found["look"]["lines"] if line["kind"] == "part"}
    assert list(lines) == ["limits", "drift", "quality", "canary", "challenger"]
    assert lines["canary"]["state"] == "waits" and lines["canary"]["says"] == "no canary"
    assert found["look"]["files"] == 1
    shown = cli(live, "watch", "--once")
    assert shown.returncode == 0 and "no new challenger" in shown.stdout


def test_where_file_and_champion_disagree_is_told_and_stands_in_json(live: Path) -> None:
    spec = live / "modelwright.yaml"
    spec.write_text(spec.read_text().replace("serve: {", "serve: {port: 9000, "))
    done = cli(live, "watch", "--once")
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("! serve.")]
    assert len(told) == 1, "and nothing of the journal, into which the version does answer"
    assert told[0].startswith("! serve.port: version 1: 8000, file: 9000; the watcher looks for")
    said = " ".join(done.stderr.split())
    assert "What to do: serve with --port 9000, or release what the file says" in said
    found = json.loads(cli(live, "watch", "--once", "--json").stdout)["look"]["unlike"]
    assert [one["subject"] for one in found] == ["serve.port"]


class Heard(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_a_watcher_says_what_goes_on_when_it_begins_and_not_at_each_look() -> None:
    advice = Advice("retrain", "", "quality: episode open", ())
    away = Look("shop", "1", 1.0, 0, (Status("limits", failed="no server"),), advice=(advice,))
    well = Look("shop", "1", 2.0, 0, (Status("limits"),))
    both = ["! limits: no server", "-> retrain : quality: episode open"]
    for looks, said in (([away], both), ([away, away], both), ([away, well, away], both * 2)):
        heard, before = Heard(), None
        for found in looks:
            _tell(found, before, heard)
            before = found
        assert heard.lines == said
    heard = Heard()
    for done in ("began to retrain", "began to retrain"):
        _tell(msgspec.structs.replace(well, done=(done,)), well, heard)
    assert heard.lines == ["done: began to retrain"] * 2


def test_what_was_done_is_shown_once_under_cron(live: Path) -> None:
    place = live / ".modelwright" / "retrain" / "shop.tried.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text('{"begun": 1.0, "started": 1.0}')
    said = "→ done: retraining ended: it was killed, or the machine went down"
    first, second = (cli(live, "watch", "--once").stdout for _ in range(2))
    assert said in first and "done" not in second


def test_an_alert_to_the_log_is_heard_when_it_is_over_too(project: Path) -> None:
    found = Live.of(project)
    spec = project / "modelwright.yaml"
    spec.write_text(spec.read_text().replace("rows: 400}", "rows: 400, alerts: [{to: log}]}"))
    begin = int(time.time()) // 600 * 600 - 7200
    for number in range(8):
        rows = drifted(number) if number < 2 else usual(number)
        found.answer(rows, begin + 600 * number)
    found.close()
    done = cli(project, "watch", "--once", "--json")
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("alert {")]
    said = {one["what"] for line in told if (one := json.loads(line[6:]))["cause"] == "drift"}
    assert said == {"opened", "resolved"}


def test_labels_come_from_a_file_and_the_page_is_written(live: Path) -> None:
    rows = "".join(f"{BEGIN}-{n},yes\n" for n in range(3))
    (live / "truth.csv").write_text(f"request_id,label\n{rows}{BEGIN}-9,maybe\n")
    asked = WatchArguments(what="labels", file="truth.csv")
    found = watch(asked, Silent()).labels
    assert found is not None
    assert (found.new, found.refused) == (3, 1) and "maybe" in found.problems[0]
    again = watch(asked, Silent()).labels
    assert again is not None and (again.new, again.repeated) == (0, 3)
    assert read(place_of(str(live / "journal")), "shop").num_rows == 3
    page = watch(WatchArguments(what="report", since="12 h", out="page.html"), Silent())
    assert page.report == "page.html"
    assert (live / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_page_that_has_no_place_is_refused(live: Path) -> None:
    with pytest.raises(ModelwrightError, match=r"--out runs: Is a directory"):
        watch(WatchArguments(what="report", out="runs"), Silent())
