"""Looking and acting: only what the spec names is done, once, with its line in the audit."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy

import modelwright as mw
from modelwright.core.errors import UsageError
from modelwright.core.records import Finding, Interval, ReleaseRecord
from modelwright.core.store import from_json
from modelwright.core.traffic import read_traffic
from modelwright.release.registry import Registry
from modelwright.watch.look import Advice, Looked
from modelwright.watch.loop import Look
from modelwright.watch.part_challenger import ChallengerPart
from modelwright.watch.subject import Subject
from modelwright.watching import act, watcher
from release.test_traffic import three as three  # the fixture
from serve.running import until
from ways_in.test_cli import cli

NOW = 1_795_000_000.0
EVIDENCE = Finding(
    "canary", "errors", "fail", "10 %", "at most 1 %", "the evidence for harm is 900 to 1",
    interval=Interval(0.1, 0.08, 0.12),
)  # fmt: skip
SAID = {
    "canary errors": "fail: 10 %, interval 0.08 to 0.12; wanted at most 1 %; the evidence for harm "
    "is 900 to 1"
}


def spec_of(folder: Path, watch: str = "") -> Path:
    """With a journal, and no limits to ask a server for."""
    path = folder / "modelwright.yaml"
    text = path.read_text(encoding="utf-8").split("\nserve:")[0].rstrip("\n")
    path.write_text(
        f"{text}\nserve: {{journal: {{to: journal}}}}\nwatch: {{every: 1 s, {watch}}}\n",
        encoding="utf-8",
    )
    return path


class Says:
    """A part that gives one advice again and again."""

    name = "says"
    causes: tuple[str, ...] = ()

    def __init__(self, act: Any, version: str = "2") -> None:
        self.advice = Advice(act, version, "because", (EVIDENCE,))

    def look(self, subject: Subject, state: bytes | None) -> Looked:
        return Looked(b"", advice=self.advice)


def looked(spec: Path, part: Any, times: int = 1) -> Look:
    with watcher(spec) as made:
        made.parts = [part]
        found = [made.look(NOW + 60 * number) for number in range(times)]
    return found[-1]


def audit(folder: Path) -> list[str]:
    return [f"{e.action} {e.version}: {e.why}" for e in mw.AuditLog(folder).lines("shop")][1:]


def remembered(spec: Path) -> list[str]:
    with watcher(spec) as made:
        return [said.done for said in made.memory.said("shop")]


@pytest.mark.parametrize("word", ["roll back", "promote", "canary"])
def test_what_is_not_named_is_advised_only(three: Path, word: str) -> None:
    others = {"roll back", "promote", "canary", "retrain"} - {word}
    spec = spec_of(three, f"act: [{', '.join(sorted(others))}]")
    if word != "canary":
        mw.canary("shop", "2", folder=three)
    before = read_traffic(three, "shop"), audit(three)
    found = looked(spec, Says(word))
    assert [one.act for one in found.advice] == [word] and found.done == ()
    assert (read_traffic(three, "shop"), audit(three)) == before


def test_a_canary_is_ended_and_the_audit_says_why(three: Path) -> None:
    mw.canary("shop", "2", folder=three)
    spec = spec_of(three)
    found = looked(spec, Says("roll back"), times=2)
    assert found.done == () and read_traffic(three, "shop") is None
    assert audit(three)[1:] == ["stop 2: watch: because"]
    shown = json.loads(cli(three, "audit", "--json").stdout)["lines"][-1]
    assert (shown["action"], shown["detail"]) == ("stop", SAID)
    assert remembered(spec) == ["ended canary 2"]


def test_a_champion_moved_by_hand_is_recorded(three: Path) -> None:
    spec = spec_of(three)
    Registry(three).set_alias("shop", "champion", "2")
    looked(spec, Says("promote"), times=2)
    assert audit(three) == [
        "moved 2: champion of shop found moved from v1 to v2 outside modelwright"
    ]


def test_a_canary_becomes_champion(three: Path) -> None:
    mw.canary("shop", "2", folder=three)
    found = looked(spec_of(three, "act: [promote]"), Says("promote"))
    assert found.done == ("made version 2 the champion in the place of 1",)
    champion = Registry(three).aliased("shop", "champion")
    assert champion is not None and champion.number == "2"
    assert read_traffic(three, "shop") is None
    assert audit(three)[-1] == "promote 2: watch: because"
    assert mw.AuditLog(three).lines("shop")[-1].detail == SAID
    assert mw.AuditLog(three).broken_at() is None


def test_a_challenger_gets_one_canary_and_no_second(three: Path) -> None:
    spec = spec_of(three, "act: [canary], canary: {weight: 0.25}")
    first = looked(spec, ChallengerPart())
    assert first.done == ("gave version 2 25% of the requests",)
    rule = read_traffic(three, "shop")
    assert rule is not None and rule.canary is not None and rule.canary.weight == 0.25
    assert looked(spec, ChallengerPart()).advice == ()
    mw.stop_traffic("shop", folder=three)
    again = looked(spec, ChallengerPart())
    assert again.advice == () and again.parts[0].waits == "no new challenger"
    Registry(three).set_alias("shop", "challenger", "3")
    assert looked(spec, ChallengerPart()).done == ("gave version 3 25% of the requests",)


def test_a_challenger_waits_while_others_are_tried(three: Path) -> None:
    spec = spec_of(three, "act: [canary]")
    mw.ab_test("shop", {"1": 0.5, "3": 0.5}, folder=three)
    found = looked(spec, ChallengerPart())
    assert found.advice == () and found.parts[0].waits == ""


def test_advice_that_came_too_late_changes_nothing(three: Path) -> None:
    registry = Registry(three)
    mw.canary("shop", "3", folder=three)
    before = read_traffic(three, "shop"), audit(three)
    for word in ("roll back", "promote", "canary"):
        late: Any = Advice(word, "2", "because")  # type: ignore[arg-type]
        assert act(late, registry, three, "shop") == ""
    assert (read_traffic(three, "shop"), audit(three)) == before
    mw.stop_traffic("shop", folder=three)
    registry.set_alias("shop", "challenger", "3")
    assert act(Advice("canary", "2", "because"), registry, three, "shop") == ""
    assert read_traffic(three, "shop") is None


def test_what_is_refused_is_said_at_each_look_and_remembered_once(three: Path) -> None:
    registry = Registry(three)
    first = registry.resolve("shop")
    run = three / "runs" / first.run
    record = from_json((run / "release.json").read_bytes(), ReleaseRecord)
    failed = msgspec.structs.replace(record, verdict="fail")
    registry.register(mw.Artefact.load(run / "artefact"), failed, first.mlflow_run)
    registry.set_alias("shop", "challenger", "4")
    spec = spec_of(three, "act: [canary]")
    with watcher(spec) as made:
        made.parts = [ChallengerPart()]
        found = [made.look(NOW + 60 * number) for number in range(3)]
        said = [one.done for one in made.memory.said("shop")]
    assert all("could not canary 4: Version 4 of shop did not pass" in one.done[0] for one in found)
    assert len(said) == 1 and read_traffic(three, "shop") is None


def test_a_second_watcher_and_a_missing_store_are_refused(
    three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(three)
    with watcher(spec), pytest.raises(mw.ModelwrightError, match="another process"), watcher(spec):
        pass
    with watcher(spec) as made:
        assert made.spec.name == "shop"
    monkeypatch.delenv("WATCH_DSN", raising=False)
    spec = spec_of(three, "store_env: WATCH_DSN")
    with pytest.raises(UsageError, match="WATCH_DSN is not set") as caught, watcher(spec):
        pass
    assert "postgresql+psycopg://" in str(caught.value.hint)


def test_postgres_remembers_as_well(
    three: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = f"watching_{uuid.uuid4().hex}"
    engine = sqlalchemy.create_engine(postgres)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"CREATE SCHEMA {schema}"))
    monkeypatch.setenv("WATCH_DSN", f"{postgres}?options=-csearch_path%3D{schema}")
    try:
        spec = spec_of(three, "store_env: WATCH_DSN")
        mw.canary("shop", "2", folder=three)
        with watcher(spec) as made:
            found = made.look(time.time())
            assert {part.part for part in found.parts if part.failed} == set()
        assert looked(spec, Says("roll back")).done == ("ended canary 2",)
        assert remembered(spec)[-1] == "ended canary 2"
        assert not (three / ".modelwright" / "watch.db").exists()
    finally:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"DROP SCHEMA {schema} CASCADE"))
        engine.dispose()


class Stops:
    """A part that ends the watch at its second look."""

    name = "stops"
    causes: tuple[str, ...] = ()

    def __init__(self, stop: threading.Event) -> None:
        self.stop, self.looks = stop, 0

    def look(self, subject: Subject, state: bytes | None) -> Looked:
        self.looks += 1
        if self.looks == 2:
            self.stop.set()
        return Looked(b"")


def test_what_stands_in_the_way_of_a_look_is_given_and_the_next_is_tried(three: Path) -> None:
    spec, stop = spec_of(three), threading.Event()
    with watcher(spec) as made:
        made.parts = [Stops(stop)]
        place = three / ".modelwright" / "traffic" / "shop.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("{broken")
        found = []
        for one in made.looks(stop):
            found.append(one)
            place.unlink(missing_ok=True)
    assert isinstance(found[0], mw.ModelwrightError) and "shop.json" in str(found[0])
    assert all(isinstance(one, Look) for one in found[1:]) and len(found) == 3


def test_a_database_that_is_away_does_not_end_the_watch(three: Path) -> None:
    spec, stop = spec_of(three), threading.Event()
    with watcher(spec) as made:
        made.parts = []
        found = []
        for one in made.looks(stop):
            found.append(one)
            if len(found) == 1:
                with made.database.engine.begin() as connection:
                    connection.execute(
                        sqlalchemy.text("ALTER TABLE modelwright_alerts RENAME TO x")
                    )
            elif len(found) == 2:
                with made.database.engine.begin() as connection:
                    connection.execute(
                        sqlalchemy.text("ALTER TABLE x RENAME TO modelwright_alerts")
                    )
            else:
                stop.set()
    assert [isinstance(one, Look) for one in found] == [True, False, True]
    assert "OperationalError" in str(found[1])


def test_with_postgres_a_second_watcher_is_refused_on_every_machine(
    three: Path, tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCH_DSN", postgres)
    spec = spec_of(three, "store_env: WATCH_DSN")
    elsewhere = Path(shutil.copytree(three, tmp_path / "elsewhere"))
    with watcher(spec) as made:
        made.parts = []
        with (
            pytest.raises(UsageError, match="shop is watched by another process"),
            watcher(elsewhere / "modelwright.yaml"),
        ):
            pass
        assert made.look(NOW).version == "1"
    with watcher(elsewhere / "modelwright.yaml") as made:
        made.parts = []
        assert made.look(NOW + 60).version == "1"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_last_look_shown(three: Path, number: int) -> None:
    spec_of(three)
    process = subprocess.Popen(
        [sys.executable, "-m", "modelwright", "watch", "--json"], cwd=three, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        database = three / ".modelwright" / "watch.db"
        until(lambda: _looked(database), "a look", 60)
        process.send_signal(number)
        said, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    shown = json.loads(said)
    assert shown["looks"] >= 1 and shown["look"]["model"] == "shop"
    assert {"part", "name"} <= {shown["look"]["lines"][0]["kind"], *shown["look"]["lines"][0]}


def _looked(database: Path) -> bool:
    if not database.exists():
        return False
    with sqlite3.connect(database) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        if ("modelwright_states",) not in tables:
            return False
        return bool(connection.execute("SELECT 1 FROM modelwright_states WHERE part LIKE 'drift%'")
                    .fetchall())  # fmt: skip
