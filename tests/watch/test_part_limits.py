"""A real server is watched over real HTTP; the clock is the test's."""

from __future__ import annotations

import json
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

import modelwright as mw
from modelwright.core.limits import METRICS
from modelwright.core.records import Finding
from modelwright.core.spec_watch import LiveLimit
from modelwright.core.traffic import Traffic
from modelwright.pack.artefact import Artefact
from modelwright.release.registry import Registry
from modelwright.serve.settings import Breaking, Source
from modelwright.watch.episodes import Event, Watched, step
from modelwright.watch.look import Looked
from modelwright.watch.part_limits import LimitsPart
from modelwright.watch.series_page import metric_of
from modelwright.watch.subject import Known, Library, Subject
from projects import spec_for, writable_copy
from serve.running import Running, serving, until
from serve.versions import TRIGGER, Shop, row_of

BEGIN = 2_000_000_000.0
"""Nothing may look at another clock."""
YOUNG = "age: 36500 d"


class Watcher:
    """Looks at one model, with its state and its episodes."""

    def __init__(self, folder: Path, known: Known, more: str = YOUNG, server: str = "") -> None:
        text = f"watch: {{server: [{server}], limits: {{{more}}}}}" if server else (
            f"watch: {{limits: {{{more}}}}}"
        )  # fmt: skip
        self._subject: dict[str, Any] = {
            "spec": spec_for(folder, "shop.csv", "bought", text).spec, "folder": folder,
            "library": Library(Registry(folder), "shop"), "traffic": Traffic("shop"),
            "journal": "", "store": None,
        }  # fmt: skip
        self.known, self.part, self.state = known, LimitsPart({}), None
        self.watched, self.events = Watched("shop"), list[Event]()

    def look(self, after: float) -> Looked:
        subject = Subject(**self._subject, champion=self.known, now=BEGIN + after)
        found = self.part.look(subject, self.state)
        self.state = found.state
        for window in found.windows:
            assert window.judged <= set(self.part.causes)
            self.watched, events = step(self.watched, window)
            self.events += events
        return found


def of(found: Looked) -> dict[str, Finding]:
    return {one.check if one.check != "limit" else one.subject: one for one in found.findings}


def known_of(folder: Path, number: str = "1", like: Path | None = None) -> Known:
    version = Registry(like or folder.parents[2]).resolve("shop")
    artefact = Artefact.load(folder)
    return Known(replace(version, number=number, digest=artefact.digest), artefact, None)


def with_limits(folder: Path, place: Path, **bounds: float) -> Path:
    """A copy of a model folder that was released under other limits."""
    copy = writable_copy(folder, place)
    path = copy / "manifest.json"
    path.chmod(0o644)
    about = json.loads(path.read_text())
    for limit in about["limits"]:
        limit["bound"] = bounds.get(limit["metric"], limit["bound"])
    about["limits"] += [
        {"metric": "throughput", "direction": "at_least", "bound": bounds["throughput"]}
    ] if "throughput" in bounds else []  # fmt: skip
    path.write_text(json.dumps(about))
    return copy


def predict(running: Running, count: int, size: float = 1.0) -> list[int]:
    return [running.predict(row_of(size)).status for _ in range(count)]


def url(running: Running) -> str:
    return f"http://127.0.0.1:{running.port}"


def test_a_healthy_server(released: mw.Released, tmp_path: Path) -> None:
    folder = released.run / "artefact"
    source = Source(name="shop", folder=str(folder), version="1", tried=True)
    with serving(tmp_path, source) as running:
        predict(running, 30)  # before anybody looked: they do not count
        watcher = Watcher(released.run.parents[1], known_of(folder), server=url(running))
        first = watcher.look(0)
        assert first.waits == "0 of 100 requests and 0 of 300 s of a window" and not first.points
        predict(running, 150)
        assert "150 of 100 requests and 60 of 300 s" in watcher.look(60).waits
        found = watcher.look(300)
    judged = of(found)
    assert {check for check, one in judged.items() if one.verdict == "fail"} == set()
    assert judged["latency_p95"].verdict == "pass"
    assert "of 150 answers took longer than 1 s" in judged["latency_p95"].measured
    assert "1 row a request" in judged["latency_p95"].why
    assert judged["memory"].verdict == "pass" and judged["breaker"].verdict == "pass"
    assert judged["errors"].measured.startswith("0 % (0 to ")
    assert "roc_auc" not in judged and "journal" not in judged
    [window] = found.windows
    assert {"server", "latency", "memory", "errors", "age", "restarts"} <= window.judged
    points = {name: one[0] for name, one in found.points.items()}
    assert set(points) == {"latency_p95", "rate", "error share", "memory"}
    drawn = {metric_of(name) for name in points} & METRICS.keys()
    assert drawn == {"latency_p95", "memory"}, "against its limit, by the report"
    assert points["rate"].value == 0.5 and points["rate"].at == BEGIN + 300
    p95 = points["latency_p95"]
    assert p95.rows == 150 and p95.low is not None and p95.high is not None
    assert p95.low <= p95.value <= p95.high <= 1.0
    memory = judged["memory"].interval
    assert memory is not None and memory.value > 1e7 and watcher.events == []
    assert (points["memory"].value, points["memory"].high) == (memory.value, memory.high)
    assert of(watcher.look(360))["latency_p95"] == judged["latency_p95"]  # the last window stays


def test_limits_that_are_broken_open_episodes(released: mw.Released, tmp_path: Path) -> None:
    project = released.run.parents[1]
    folder = with_limits(
        released.run / "artefact", tmp_path / "tight", latency_p95=1e-7, memory=1e6
    )
    known = known_of(folder, like=project)
    source = Source(name="shop", folder=str(folder), version="1", tried=True)
    breaking = Breaking(slower_than=60.0)
    with serving(tmp_path, source, breaker=breaking) as running:
        watcher = Watcher(project, known, server=url(running))
        watcher.look(0)
        for number in (1, 2):
            predict(running, 100)
            found = watcher.look(300.0 * number)
    judged = of(found)
    assert judged["latency_p95"].verdict == "fail" and judged["memory"].verdict == "fail"
    assert found.findings[0].verdict == "fail"
    assert [(one.what, one.cause) for one in watcher.events] == [
        ("opened", "latency"), ("opened", "memory")
    ]  # fmt: skip
    assert watcher.events[0].episode.began.startswith("2033-05-18T03:38:20")


def test_a_server_that_goes_away_and_comes_back_another(
    released: mw.Released, tmp_path: Path
) -> None:
    project, folder = released.run.parents[1], released.run / "artefact"
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    watcher = Watcher(project, known_of(folder), server=f"http://127.0.0.1:{port}")
    found = watcher.look(0)
    assert found.waits == "no server has answered yet"
    assert found.windows[0].judged == {"server", "age"} and not watcher.events
    finding = of(watcher.look(60))["server"]
    assert "cannot be read" in finding.measured and "watch.server" in finding.advice
    assert [(one.what, one.cause) for one in watcher.events] == [("opened", "server")]
    assert not watcher.watched.open.keys() - {"server"}
    source = Source(name="shop", folder=str(folder), version="1", tried=True)
    with serving(tmp_path, source, port=port) as running:
        for after in (120.0, 180.0, 240.0):
            watcher.look(after)
        predict(running, 120)
        assert "120 of 100 requests" in watcher.look(300).waits
    assert [(one.what, one.cause) for one in watcher.events[1:]] == [("resolved", "server")]
    with serving(tmp_path, source, port=port) as running:
        predict(running, 7)
        assert "127 of 100 requests" in watcher.look(360).waits
    other = Source(name="shop", folder=str(folder), version="2", tried=True)
    with serving(tmp_path, other, port=port):
        finding = of(watcher.look(500))["server"]
        assert finding.verdict == "fail" and finding.measured == "loaded: 2"
        assert finding.wanted == "an answer, with version 1 loaded"


def test_a_champion_that_fails_is_seen(project: Path, tmp_path: Path) -> None:
    shop = Shop(project)
    number = shop.add(fails=True)
    shop.move(number)
    known = known_of(shop.folders[number], number, like=project)
    breaking = Breaking(least=1000)
    constant = {"fallback": ("constant",), "constant": "no"}
    source = Source(name="shop", project=str(project))
    with serving(tmp_path, source, breaker=breaking, **constant) as running:
        watcher = Watcher(project, known, server=url(running))
        watcher.look(0)
        for after in (300, 600):
            predict(running, 60)
            failed = predict(running, 60, TRIGGER)
            found = watcher.look(after)
    judged = of(found)
    assert set(failed) == {200} and judged["errors"].verdict != "fail"
    assert judged["fallback"].verdict == "fail" and "50 % (" in judged["fallback"].measured
    assert [(one.what, one.cause) for one in watcher.events] == [("opened", "fallback")]


def test_an_open_breaker_and_errors(project: Path, tmp_path: Path) -> None:
    shop = Shop(project)
    number = shop.add(fails=True)
    shop.move(number)
    known = known_of(shop.folders[number], number, like=project)
    breaking = Breaking(least=5, pause=600.0)
    source = Source(name="shop", project=str(project))
    with serving(tmp_path, source, fallback=(), breaker=breaking) as running:
        watcher = Watcher(project, known, server=url(running))
        watcher.look(0)
        assert set(predict(running, 120, TRIGGER)) == {503}
        until(lambda: running.metric("modelwright_breaker_state") == 2)
        assert of(watcher.look(300))["breaker"].verdict == "fail"
        found = of(watcher.look(360))
    assert found["errors"].measured.startswith("100 % (")
    assert found["errors"].verdict == "fail"
    assert {one.cause for one in watcher.events} == {"breaker"}  # two looks; errors have one window


def test_rows_that_break_the_contract_are_told_at_the_next_look(
    released: mw.Released, tmp_path: Path
) -> None:
    project, folder = released.run.parents[1], released.run / "artefact"
    source = Source(name="shop", folder=str(folder), version="1", tried=True)
    with serving(tmp_path, source) as running:
        watcher = Watcher(project, known_of(folder), server=url(running))
        watcher.look(0)
        predict(running, 90)
        watcher.look(60)
        assert watcher.events == []
        wrong = {**row_of(1.0), "size, cm": "wide"}
        assert {running.predict(wrong).status for _ in range(10)} == {422}
        found = of(watcher.look(120))["contract"]
        assert found.measured.startswith("10 % (") and found.verdict == "fail"
        assert [(one.what, one.cause) for one in watcher.events] == [("opened", "contract")]
        for minute in range(3, 30):
            predict(running, 110)
            watcher.look(minute * 60.0)
    assert [(one.what, one.cause) for one in watcher.events[1:]] == [("resolved", "contract")]


def test_one_client_that_is_refused_pages_nobody(released: mw.Released, tmp_path: Path) -> None:
    """Nine bad bodies in a quiet night: shown at each look, but no page of one window."""
    project, folder = released.run.parents[1], released.run / "artefact"
    source = Source(name="shop", folder=str(folder), version="1", tried=True)
    with serving(tmp_path, source) as running:
        watcher = Watcher(project, known_of(folder), server=url(running))
        watcher.look(0)
        wrong = {**row_of(1.0), "size, cm": "wide"}
        assert {running.predict(wrong).status for _ in range(9)} == {422}
        for after in (60, 120, 180):
            found = of(watcher.look(after))["contract"]
            assert found.verdict == "fail" and found.measured.startswith("100 % (")
        predict(running, 100)
        assert of(watcher.look(300))["contract"].verdict == "fail"
        assert watcher.events == []
        assert {running.predict(wrong).status for _ in range(9)} == {422}
        predict(running, 100)
        watcher.look(600)
    assert [one.cause for one in watcher.events] == ["contract"], "two windows in a row are told"


def test_workers_that_keep_dying(released: mw.Released, tmp_path: Path) -> None:
    project, folder = released.run.parents[1], released.run / "artefact"
    source = Source(name="shop", folder=str(folder), version="1", tried=True)
    with serving(tmp_path, source) as running:
        more = f"{YOUNG}, restarts: 2"
        watcher = Watcher(project, known_of(folder), more, server=url(running))
        watcher.look(0)
        for number in (1, 2):
            [worker] = running.workers()
            os.kill(worker, signal.SIGKILL)
            until(lambda w=worker: running.workers() not in ([w], []))
            until(lambda n=number: running.metric("modelwright_worker_restarts_total") == n)
            found = of(watcher.look(60.0 * number))["restarts"]
        assert found.verdict == "fail" and found.measured == "2 ended in 15 minutes"
        assert of(watcher.look(961))["restarts"].measured == "1 ended in 15 minutes"
        assert of(watcher.look(2000))["restarts"].verdict == "pass"


def test_what_is_ignored_and_what_is_old(released: mw.Released, tmp_path: Path) -> None:
    project, folder = released.run.parents[1], released.run / "artefact"
    away = "http://127.0.0.1:9"
    watcher = Watcher(project, known_of(folder), "ignore: [server]", server=away)
    found = watcher.look(0)
    assert set(of(found)) == {"age"} and of(found)["age"].severity == "warning"
    assert "watch.limits.age" in of(found)["age"].wanted and "run" in of(found)["age"].advice
    watcher.look(60)
    assert {one.cause for one in watcher.events} == {"age"}


def test_two_servers_are_added_up(released: mw.Released, tmp_path: Path) -> None:
    project, folder = released.run.parents[1], released.run / "artefact"
    source = Source(name="shop", folder=str(folder), version="1", tried=True)
    with serving(tmp_path, source) as one, serving(tmp_path, source) as two:
        both = f"'{url(one)}', '{url(two)}'"
        watcher = Watcher(project, known_of(folder), server=both)
        watcher.look(0)
        predict(one, 70)
        predict(two, 50)
        found = watcher.look(300)
        assert found.points["rate"][0].value == pytest.approx(0.4)
        assert found.points["latency_p95"][0].rows == 120
        two.end()
        finding = of(watcher.look(360))["server"]
        assert finding.verdict == "fail" and finding.subject == f"{url(two)}/metrics"


def test_the_same_answers_are_not_counted_twice_after_a_kill(
    released: mw.Released, tmp_path: Path
) -> None:
    project, folder = released.run.parents[1], released.run / "artefact"
    source = Source(name="shop", folder=str(folder), version="1", tried=True)
    with serving(tmp_path, source) as running:
        watcher = Watcher(project, known_of(folder), server=url(running))
        watcher.look(0)
        predict(running, 20)
        kept = watcher.state
        watcher.look(60)
        watcher.state = kept  # the look before was never written down
        assert "20 of 100 requests" in watcher.look(61).waits
        watcher.known = replace(watcher.known, version=replace(watcher.known.version, number="2"))
        assert "0 of 100 requests and 0 of" in watcher.look(120).waits  # a new champion


def test_a_server_on_any_port_is_waited_for(released: mw.Released, tmp_path: Path) -> None:
    project, folder = released.run.parents[1], released.run / "artefact"
    watcher = Watcher(project, known_of(folder))
    watcher._subject["spec"] = spec_for(project, "shop.csv", "bought", "serve: {port: 0}\n").spec
    found = watcher.look(0)
    assert "watch.server" in found.waits and not found.windows


def test_every_cause_is_one_of_the_spec() -> None:
    assert set(LimitsPart.causes) == set(get_args(LiveLimit))
