"""The page on a live model: what it says first, that all of it is there, and in a real browser."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pyarrow as pa
import pytest

import modelwright as mw
from modelwright.core.errors import DataError
from modelwright.core.records import ColumnBaseline, Finding, Interval
from modelwright.core.schema import Column
from modelwright.core.traffic import ABTest, Canary, Step, Traffic
from modelwright.pack.artefact import Artefact
from modelwright.release.audit import AuditLog
from modelwright.watch.canary import Decision
from modelwright.watch.counted import Reference, to_json
from modelwright.watch.database import Database
from modelwright.watch.ended_canary import Ended
from modelwright.watch.lines import watch_lines
from modelwright.watch.look import SHOWN, Advice, Looked, Shown
from modelwright.watch.part_canary import CanaryState
from modelwright.watch.reference import Live as Kept
from modelwright.watch.reference import frame_of
from modelwright.watch.report import render, verdict, watch_report
from modelwright.watch.report_records import Records, gather
from modelwright.watch.state import Memory, Point, Said
from modelwright.watch.subject import Known, Subject
from modelwright.watch.summaries import SCORE
from pages import Reader, luminance, measured, picture
from watch.live import BEGIN, END, Live, copied, usual, with_drift

PARTS = [
    "Open episodes", "Limits", "Traffic", "Latency and cost", "Scores", "Columns that changed most",
    "All columns", "Quality", "Canary", "Alerts and events", "Versions", "Journal", "Watcher",
]  # fmt: skip
HOSTILE = "<script>alert(1)</script>'\"&"


@pytest.fixture(scope="module")
def live(released: mw.Released, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """With drift; not to be changed."""
    found = with_drift(copied(released, tmp_path_factory.mktemp("watched") / "project"))
    yield found
    found.close()


@pytest.fixture
def other(released: mw.Released, tmp_path: Path) -> Iterator[Live]:
    """A project of its own, to be changed."""
    found = copied(released, tmp_path / "project")
    yield found
    found.close()


def report(live: Live, now: float = END, **more: object) -> str:
    subject = dataclasses.replace(live.subject(now), **more)
    return watch_report(subject, live.memory, now, since=now - 86_400)


def section(text: str, name: str) -> str:
    """What a part of the page says, as text."""
    found = re.search(rf"<section id='{name}'>(.*?)</section>", text, re.S)
    assert found, name
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", found[1])).split())


def series(value: float, spread: float, many: int = 8) -> list[Point]:
    return [
        Point(BEGIN + 600 * (n + 1), value, value - spread, value + spread, 600, "1")
        for n in range(many)
    ]


def remember(live: Live, part: str, shown: Shown) -> None:
    with live.memory.change() as connection:
        live.memory.remember(connection, "shop", f"{part}/{SHOWN}", END, msgspec.json.encode(shown))


def test_how_it_is_stands_first_and_every_part_is_there(live: Live) -> None:
    text = report(live)
    page = Reader(text)
    first = "shop 1 needs you: 3 open episodes (data quality, drift, score drift); 4,800 answers"
    assert page.headings[0][0] == "h1" and page.headings[0][1].startswith(first)
    assert [name for tag, name in page.headings if tag == "h2"] == PARTS
    episodes = section(text, "open-episodes")
    assert "colour: 20.00% of rows" in episodes and "3 bad windows" in episodes
    assert "wait for labels before retraining" in episodes and "f_colour" not in text


def test_traffic_and_windows_are_those_of_the_journal(live: Live) -> None:
    text = report(live)
    traffic = section(text, "traffic")
    assert "Windows: 8 closed" in traffic and "1 4,800" in traffic
    assert re.search(r"12:07 UTC 600 1 [1-9]", traffic), "an alarm in the sixth window"
    assert re.search(r"11:57 UTC 600 1 0", traffic), "and none in the fifth"
    journal = section(text, "journal")
    assert "answers counted 4,800 files 8" in journal
    assert "oldest answer 2026-11-18 11:07 UTC" in journal


def test_columns_are_ranked_and_drawn_against_training(live: Live) -> None:
    text = report(live)
    ranking = section(text, "all-columns")
    order = [name for name in ("colour", "start", "size, cm", "big", "member") if name in ranking]
    assert sorted(order, key=ranking.index) == order, "the worst first"
    changed = section(text, "columns-that-changed-most")
    assert "(never seen in training)" in changed and "missing 22." in changed
    assert "size, cm : distance 0.1" in changed or "size, cm : distance 0.2" in changed
    assert "predicted class" in section(text, "scores") and "Numbers of score" in text


def test_nothing_yet_is_said_where_there_is_nothing(other: Live) -> None:
    text = report(other)
    assert Reader(text).headings[0][1].startswith("Nothing is known of shop 1 yet")
    for part in (
        "limits",
        "traffic",
        "latency-and-cost",
        "scores",
        "columns-that-changed-most",
        "all-columns",
        "quality",
        "canary",
        "alerts-and-events",
        "journal",
        "watcher",
    ):
        assert "Nothing yet: " in section(text, part), part
    assert "roc_auc >= 0.6000" in section(text, "limits")
    assert "nan" not in text and "None" not in text.replace("None is open", "")


def test_a_watcher_that_stopped_is_not_called_well(live: Live) -> None:
    later = END + 3 * 86_400
    first = Reader(report(live, later)).headings[0][1]
    assert first == "shop 1 is not watched: the last look was 3 days ago"


def test_a_quiet_model_is_well(other: Live) -> None:
    for number in range(2):
        other.answer(usual(number + 1), BEGIN + 600 * number)
    other.look(BEGIN + 1230)
    text = report(other, BEGIN + 1230)
    first = "shop 1 is well: no open episode, 1,200 answers in the last day"
    assert Reader(text).headings[0] == ("h1", first)
    assert "<h1 class='pass'>" in text


def test_nothing_is_called_well_before_it_is_judged(other: Live) -> None:
    other.answer(usual(1, 250), BEGIN)
    other.look(BEGIN + 630)
    first = Reader(report(other, BEGIN + 630)).headings[0][1]
    said = "250 of 400 answers and 624 of 600 s of a window"
    assert first == f"Nothing of shop 1 is judged yet: {said}"


def test_a_version_without_a_reference_shows_what_it_is_asked(live: Live) -> None:
    known = live.subject(END).champion
    text = report(live, champion=Known(known.version, known.artefact, None))
    assert "released without a reference" in section(text, "all-columns")
    scores = section(text, "scores")
    assert "against no reference" in scores and "yes 5" in scores


def test_other_shares_of_the_traffic_are_told(live: Live) -> None:
    both = Traffic("shop", test=ABTest({"1": 0.8, "2": 0.2}), shadow="3")
    canary = section(report(live, traffic=both), "canary")
    assert "version 1 80 %, version 2 20 %" in canary and "Version 3 answers a copy" in canary


def test_a_journal_that_cannot_be_read_hides_nothing_else(live: Live) -> None:
    text = report(live, journal="nosuch://user:secret@place/journal")
    assert "cannot be read" in section(text, "journal") and "secret" not in text
    assert "Windows: 8 closed" in section(text, "traffic")


def test_a_part_that_failed_is_said_until_it_looks_again(other: Live) -> None:
    class Broken:
        name, causes = "limits", ("limit",)

        def look(self, subject: Subject, state: bytes | None) -> Looked:
            raise DataError("the server's numbers cannot be read")

    class Mended(Broken):
        def look(self, subject: Subject, state: bytes | None) -> Looked:
            found = Finding("limit", "memory", "pass", "900 MB", "at most 2 GB")
            return Looked(b"{}", findings=(found,))

    other.answer(usual(1), BEGIN)
    look = other.look(BEGIN + 630, Broken())
    assert watch_lines(look)[0].state == "failed"
    text = report(other, BEGIN + 630)
    assert "limits could not be judged" in Reader(text).headings[0][1]
    assert "the server's numbers cannot be read" in section(text, "limits")
    other.look(BEGIN + 660, Mended())
    assert "900 MB" in section(report(other, BEGIN + 660), "limits")


@pytest.fixture(scope="module")
def full(released: mw.Released, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Records]:
    """With drift, and with all that other parts of the watcher write."""
    live = with_drift(copied(released, tmp_path_factory.mktemp("full") / "project"))
    latency = Interval(1.2, 1.1, 1.3)
    limits = (
        Finding("limit", "latency_p95", "fail", "1.2 s", "at most 1 s", interval=latency),
        Finding("limit", "memory", "undecided", "", "at most 2 GB", "no process answered"),
    )
    canary = Finding("canary", "errors", "undecided", "0.5%", severity="info")
    advice = Advice("roll back", "2", "errors: worse than tolerated")
    tested = Finding("back-test", "estimate", "pass", "error 0.01 against 0.03", severity="info")
    memory = Memory(live.database)
    for part, shown in {
        "limits": Shown(END, "1", limits),
        "canary": Shown(END, "1", (canary,), advice=advice),
        "estimate": Shown(END, "1", (tested,)),
        "age": Shown(END, "1", (Finding("age", "shop", "pass", "3 days"),)),
    }.items():
        remember(live, part, shown)
    with memory.change() as connection:
        memory.note(connection, "shop", {
            "latency_p95": series(0.9, 0.1), "quality roc_auc": series(0.7, 0.02),
            "labelled share": series(0.8, 0.01), "label delay": series(3600, 100),
            "estimate roc_auc": series(0.69, 0.01), "canary e-value errors": series(1.2, 0.1),
            "fallback share": series(0.01, 0.001), "journal dropped": series(7, 0),
        })  # fmt: skip
        memory.say(connection, [Said(END - 60, "shop", done="ended the canary 2")])
    log = AuditLog(live.folder)
    log.record("promote", "shop", "1", replaces="", why=HOSTILE)
    steps = (Step(0.05, 1200), Step(0.25, 1200))
    traffic = Traffic("shop", canary=Canary("2", 0.05, steps=steps, began=BEGIN + 1200.0))
    subject = dataclasses.replace(live.subject(END), traffic=traffic)
    champion = subject.champion
    plan = champion.plan
    minutes = subject.store.minutes(plan, "shop", "1", champion.digest, BEGIN, END)
    subject.store.add("canary", "shop", "2", "cd" * 32, dict(list(minutes.items())[25:40]))
    alert = SimpleNamespace(title=f"shop 1: drift of {HOSTILE}")
    sent = [SimpleNamespace(alert=alert, target="pager", state="failed", queued=END - 50.0,
                            sent=None, tries=3, why="503")]  # fmt: skip
    return gather(subject, live.memory, END, BEGIN - 3600, sent)


def test_a_server_that_is_away_is_over_no_limit(full: Records) -> None:
    away = Finding("server", "http://127.0.0.1:9/metrics", "fail", "Connection refused.")
    shown = {**full.shown, "limits": Shown(END, "1", (away,))}
    how, said = verdict(dataclasses.replace(full, shown=shown))
    assert how == "fail" and "http://127.0.0.1:9/metrics: Connection refused." in said
    assert "over its limit" not in said


def test_every_record_has_its_place(full: Records) -> None:
    text = render(full)
    assert "over its limit on latency_p95" in Reader(text).headings[0][1]
    limits = section(text, "limits")
    assert "1.2 s at most 1 s" in limits and "no process answered" in limits
    assert "roll back 2 errors: worse than tolerated" in section(text, "open-episodes")
    latency = section(text, "latency-and-cost")
    assert "latency_p95, ms, limit latency_p95 <= 1 s" in latency and "800 ms to 1 s" in latency
    quality = section(text, "quality")
    assert "limit roc_auc >= 0.6000" in quality and "0.6800 to 0.7200" in quality
    assert "label delay" in quality and "error 0.01 against 0.03" in quality
    assert "Nothing yet" not in quality
    canary = section(text, "canary")
    assert "Version 2 is to answer 25 %" in canary and "canary e-value errors" in canary
    assert "Share of the canary over time" in text and "fallback share" in text
    events = section(text, "alerts-and-events")
    assert "data quality opened colour" in events and "ended the canary 2" in events
    assert "pager failed" in events and "503" in events
    versions = section(text, "versions")
    assert "champion pass" in versions and "promote 1" in versions
    assert "dropped 7" in section(text, "journal")
    assert "3 days" in section(text, "other-findings")


def test_the_last_canary_is_shown_as_ended_with_its_verdict(full: Records) -> None:
    found = full.findings("canary")
    decision = Decision("roll back", 30.0, False, "errors: worse than tolerated", tuple(found))
    rule = full.subject.traffic.canary
    assert rule is not None
    state = CanaryState(ended=Ended(rule, "1", BEGIN + 3000, promoted=False, decision=decision))
    alone = dataclasses.replace(full.subject, traffic=Traffic("shop"))
    live = Memory(Database(full.subject.folder / "watch.db"))
    with live.change() as connection:
        live.remember(connection, "shop", "canary", END, msgspec.json.encode(state))
        shown = msgspec.json.encode(Shown(END, "1", waits="no canary"))
        live.remember(connection, "shop", f"canary/{SHOWN}", END, shown)
    page = section(render(gather(alone, live, END, BEGIN - 3600, None)), "canary")
    assert "The last one has ended: version 2 against version 1, 2026-11-18 11:27 UTC to" in page
    assert "the verdict was roll back: errors: worse than tolerated" in page
    assert "0.5%" in page and "canary e-value errors" in page and "Share of the canary" in page
    assert "12:07 UTC" not in page, "a point after its end"


def test_the_page_needs_nothing_runs_nothing_and_is_told_in_words(full: Records) -> None:
    text = render(full)
    page = Reader(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert all(source.startswith("#") for source in page.sources), page.sources
    assert "url(" not in text and "@import" not in text
    assert page.images
    assert all(image.get("role") == "img" and image.get("aria-label") for image in page.images)
    assert all(source[1:] in page.ids for source in page.sources)
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("summary") == page.tags.count("details") > 5
    assert len(re.findall(r"<div class='scroll' tabindex='0'>", text)) == page.tags.count("table")


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_runs_over_the_edge(full: Records, width: int, tmp_path: Path) -> None:
    path = tmp_path / "watch.html"
    text = render(full).replace("<details>", "<details open>")
    path.write_text(text, encoding="utf-8")
    found = json.loads(measured(path, width, tmp_path).replace("&quot;", '"'))
    assert found["window"] == width
    assert found["page"] <= width and not found["wide"], found
    assert not found["errors"], "nothing is fetched"
    assert not found["far"], "every verdict is seen without a swipe"
    for dark in (False, True):
        drawn = picture(path, tmp_path / "p.png", 1280, 1500, tmp_path / "profile", dark=dark)
        assert len(drawn.read_bytes()) > 20_000


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_lines_and_links_stand_out(full: Records, mode: str) -> None:
    style = re.findall(r":root\{([^}]*)\}", render(full))[0 if mode == "light" else 1]
    colours = dict(re.findall(r"--([a-z]+):(#[0-9a-f]+)", style))
    for name in ("ink", "soft", "good", "bad", "open", "bar"):
        pair = sorted((luminance(colours["page"]), luminance(colours[name])))
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (mode, name)


def wide(live: Live, columns: int = 60) -> Subject:
    """A champion of many columns, all of hostile names, with levels that are no better."""
    subject = live.subject(END)
    known, rng = subject.champion, np.random.default_rng(0)
    levels = tuple(f"{HOSTILE}{n}" for n in range(64))
    names = [f"{HOSTILE}{n}" for n in range(columns)]
    kinds = ["number" if n % 2 else "category" for n in range(columns)]
    schema = msgspec.structs.replace(known.manifest.schema, columns=tuple(
        Column(name, kind, levels=levels if kind == "category" else ())
        for name, kind in zip(names, kinds, strict=True)
    ))  # fmt: skip
    edges = tuple(np.linspace(-2.0, 2.0, 65).tolist())
    baseline = {
        name: ColumnBaseline(0.0, edges=edges) if kind == "number"
        else ColumnBaseline(0.0, levels=levels, shares=(1 / 64,) * 64)
        for name, kind in zip(names, kinds, strict=True)
    }  # fmt: skip
    manifest = msgspec.structs.replace(known.manifest, schema=schema, baseline=baseline)
    model = (known.artefact.folder / "model.onnx").read_bytes()
    artefact = Artefact(known.artefact.folder, manifest, "ef" * 32, model)
    champion = Known(known.version, artefact, None)

    def table(shift: float) -> pa.Table:
        rows = 3000
        found = {"time": pa.array(np.full(rows, BEGIN * 1_000_000)), SCORE: rng.random(rows),
                 "prediction": rng.choice(["yes", "no"], rows)}  # fmt: skip
        for name, kind in zip(names, kinds, strict=True):
            values = rng.normal(shift, 1, rows)
            texts = rng.choice([*levels[: int(40 + 10 * shift)], "new"], rows)
            found[f"f_{name}"] = values if kind == "number" else texts
        return pa.table(found)

    plan = champion.plan
    [summary] = plan.count(table(0.0)).values()
    shape = {b.name: "number" if b.kind == "number" else "category" for b in plan.bins}
    reference = Reference(shape, (frame_of(summary),), first=(SCORE, "prediction"))
    kept = Kept("ef" * 32, msgspec.Raw(to_json(reference)), Interval(0.1, 0.1, 0.1), 1.0, 3000)
    subject.store.add("wide", "shop", "1", "ef" * 32, plan.count(table(1.0)))
    return dataclasses.replace(subject, champion=Known(known.version, artefact, kept))


def test_sixty_hostile_columns_stay_text_and_small(other: Live) -> None:
    subject = wide(other)
    remember(other, "drift", Shown(END, "1", (
        Finding("drift", f"f_{HOSTILE}7", "fail", *[HOSTILE] * 3, f"look at f_{HOSTILE}7"),
    )))  # fmt: skip
    with other.memory.change() as connection:
        other.memory.note(connection, "shop", {f"quality {HOSTILE}": series(0.7, 0.02, 2000)})
        other.memory.say(connection, [Said(END, "shop", done=HOSTILE)])
    started = time.process_time()
    text = watch_report(subject, other.memory, END, since=BEGIN - 86_400)
    assert time.process_time() - started < 2.0
    assert "<script" not in text and "alert(1)" in text
    assert re.search(r"look at &lt;script&gt;", text), "columns go by their own names"
    assert len(text.encode()) < 300_000
    assert section(text, "all-columns").count("alert(1)") == 60
