"""The champion against late truths; a real model, a real journal, the clock is the test's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

import modelwright as mw
from modelwright.core.limits import Limit
from modelwright.serve import journal_files
from modelwright.serve.journal_store import Folder
from modelwright.serve.labels import Labels, Sender
from modelwright.watch.answered import answered
from modelwright.watch.episodes import Event, Watched, step
from modelwright.watch.look import Looked
from modelwright.watch.part_quality import ALARM, ESTIMATE, QUALITY, QualityPart, QualityState
from modelwright.watch.subject import Known, Subject
from modelwright.watch.summary_store import count_journal
from projects import mixed_table
from watch.live import BEGIN, Live, copied

WATCH = """
watch:
  window: 10 min
  rows: 400
  quality: {rows: 190, margin: 0.05, patience: 1 d}
"""
HOUR = 3600.0


@pytest.fixture
def live(released: mw.Released, tmp_path: Path) -> Iterator[Live]:
    found = copied(released, tmp_path / "project")
    path = found.folder / "modelwright.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("\nwatch:")] + WATCH, encoding="utf-8")
    yield found
    found.close()


class Truths:
    """Answers of hours, and who tells what was true of them."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.sender = Sender(Folder(live.folder / "journal"))

    def answer(self, hour: int, rows: int = 400) -> list[tuple[str, str]]:
        """(id, what is true) of each answer, in order of time."""
        table, begin = mixed_table(rows, hour + 1), BEGIN + HOUR * hour
        self.live.answer(table.drop("bought"), begin, HOUR - 60)
        truth = table["bought"].to_list()
        return [(f"{begin:.0f}-{number}", truth[number]) for number in range(rows)]

    def tell(self, given: Sequence[tuple[str, str]], hour: float) -> None:
        """Labels that arrive then, a millisecond apart."""
        if not given:
            return
        ids, texts = zip(*given, strict=True)
        first = int((BEGIN + HOUR * hour) * 1e6)
        moments = [first + 1000 * number for number in range(len(ids))]
        self.sender.send("shop", Labels(
            list(ids), [0] * len(ids), list(texts), [None] * len(ids), moments, moments
        ))  # fmt: skip


def other(given: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The contrary of what is true: the world changed."""
    return [(id, "no" if text == "yes" else "yes") for id, text in given]


def look(live: Live, hour: float, state: bytes | None = None, **more: object) -> Looked:
    subject = dataclasses.replace(live.subject(BEGIN + HOUR * hour + 60), **more)
    count_journal(live.store, subject.journal, live.library.manifest_of, "shop", 60)
    return QualityPart().look(subject, state)


def kept(found: Looked) -> QualityState:
    return msgspec.json.decode(found.state, type=QualityState)


def windows_of(found: Looked, cause: str) -> list[bool]:
    """Of each window of a cause: whether it is bad."""
    return [cause in window.bad for window in found.windows if cause in window.judged]


def limited(live: Live, hour: float, *limits: Limit) -> Subject:
    """The model as if it had been released under other limits."""
    subject = live.subject(BEGIN + HOUR * hour + 60)
    known = live.library.get("1")
    artefact = known.artefact
    artefact.manifest = msgspec.structs.replace(artefact.manifest, limits=limits)
    return dataclasses.replace(subject, champion=Known(known.version, artefact, known.live))


def test_without_news_a_look_reads_no_old_answers(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    truths = Truths(live)
    for hour in range(5):
        truths.answer(hour)
    first = look(live, 5)
    read: list[str] = []

    def watched(place: Folder, name: str) -> bytes:
        read.append(name)
        return (place.root / name).read_bytes()

    monkeypatch.setattr(Folder, "get", watched)
    found = look(live, 5.1, first.state)
    assert found.waits == "0 of 190 labels of a window"
    assert windows_of(found, QUALITY) == windows_of(found, ALARM) == []
    assert read == []


@pytest.mark.slow
def test_a_window_closes_however_few_answers_have_a_truth(live: Live) -> None:
    path = live.folder / "modelwright.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("rows: 190", "rows: 50"))
    truths, state, found = Truths(live), None, list[bool]()
    for hour in range(26):  # each with five answers of 12,500 whose truth comes, a day later
        truths.tell(truths.answer(hour, 12_500)[::2500], hour + 24.0)
    for hour in range(24, 52):
        one = look(live, hour + 0.1, state)
        state, found = one.state, found + windows_of(one, QUALITY)
        assert len(one.state) < 40_000
    assert found == [False] * 2
    last = kept(one).windows[-1]
    assert last.share == pytest.approx(1 / 2500, rel=0.1) and last.answers > 100_000
    [limit] = kept(one).findings
    assert limit.why.startswith(f"0.04% of {last.answers:,} answers have a truth")
    assert not kept(one).labelled or sum(kept(one).labelled.values()) < 50


def test_a_good_model_is_quiet_and_its_metrics_are_drawn(live: Live) -> None:
    truths = Truths(live)
    for hour in range(3):
        truths.tell(truths.answer(hour), hour + 1)
    found = look(live, 4.1)
    assert windows_of(found, QUALITY) == [False] * 6
    assert windows_of(found, ALARM) == [False] * 6
    assert found.waits == ""
    points = found.points["quality roc_auc"]
    assert len(points) == 6 and all(p.low <= p.value <= p.high for p in points if p.low and p.high)
    assert [p.value for p in found.points["labelled share"]] == pytest.approx([1.0] * 6, abs=0.01)
    [limit] = [f for f in found.findings if f.check == "limit"]
    assert (limit.subject, limit.verdict) == ("roc_auc", "pass")
    assert "have a truth, median" in limit.why
    again = look(live, 4.2, found.state)
    assert windows_of(again, QUALITY) == windows_of(again, ALARM) == []


def changed(live: Live) -> tuple[Truths, list[tuple[str, str]]]:
    truths = Truths(live)
    given = [truths.answer(hour) for hour in range(6)]
    return truths, [*given[0], *given[1], *other([*given[2], *given[3]]), *given[4], *given[5]]


def sounded(live: Live, cuts: Sequence[int]) -> tuple[list[bool], list[str]]:
    """Windows of the alarm and its events, where labels come in several looks."""
    truths, given = changed(live)
    state, found, watched, events = None, list[bool](), Watched("shop"), list[Event]()
    for begin, end in zip([0, *cuts], [*cuts, len(given)], strict=True):
        truths.tell(given[begin:end], 7 + begin / 1e4)
        one = look(live, 9 + begin / 1e4, state)
        state = one.state
        found += windows_of(one, ALARM)
        for window in one.windows:
            if ALARM in window.judged:
                watched, more = step(watched, window)
                events += more
    return found, [event.what for event in events]


@pytest.mark.parametrize("cuts", [(), (801,), (400, 830, 850, 1500, 1501, 2399)])
def test_the_alarm_is_the_same_however_labels_are_cut_into_looks(
    live: Live, cuts: Sequence[int]
) -> None:
    found, events = sounded(live, cuts)
    assert found[:4] == [False] * 4 and found[4] and not any(found[-3:])
    assert events == ["opened", "resolved"]
    assert found == _AS_ONE.setdefault("found", found)


_AS_ONE: dict[str, list[bool]] = {}


def test_an_alarm_says_how_many_answers_have_a_truth_and_how_late(live: Live) -> None:
    truths = Truths(live)
    given = [truths.answer(hour) for hour in range(2)]
    truths.tell(other([*given[0], *given[1]])[::2], 3)
    found = look(live, 3.1)
    alarms = [f for f in found.findings if f.check == ALARM]
    assert alarms and all("; 50% of 8" in f.why for f in alarms)
    delay = float(np.median(kept(found).delays))
    assert all(f"answers have a truth, median {delay:,.0f} s later" in f.why for f in alarms)
    assert 1.9 * HOUR < delay < 2.1 * HOUR


def test_an_alarm_on_truths_of_a_closed_window_tells_its_share(live: Live) -> None:
    truths = Truths(live)
    given = truths.answer(0)
    truths.tell(given[:384:2], 1)
    first = look(live, 1.5)
    assert windows_of(first, QUALITY) == [False] and sum(kept(first).labelled.values()) < 5
    truths.tell(other(given[1:384:2]), 2)
    alarms = [f for f in look(live, 2.5, first.state).findings if f.check == ALARM]
    assert alarms and all("; 50% of 38" in f.why for f in alarms)


def test_a_window_counts_once_it_has_its_labels_or_was_waited_for(live: Live) -> None:
    truths = Truths(live)
    truths.tell(truths.answer(0), 1)
    first = look(live, 1.5)
    assert windows_of(first, QUALITY) == [False] * 2
    late = truths.answer(1, 1000)
    truths.tell(late[::4], 2.1)
    found = look(live, 2.2, first.state)
    assert windows_of(found, QUALITY) == [], "a quarter of the labels is not what windows get"
    truths.tell(late[1::4] + late[2::4] + late[3::4], 3.0)
    assert len(windows_of(look(live, 3.1, found.state), QUALITY)) >= 4


def test_an_immature_window_is_not_waited_for_longer_than_patience(live: Live) -> None:
    truths = Truths(live)
    truths.tell(truths.answer(0), 1)
    first = look(live, 1.5)
    late = truths.answer(1, 1000)
    truths.tell(late[::4], 2.1)
    second = look(live, 2.2, first.state)
    found = look(live, 27.1, second.state)  # no label came since
    assert windows_of(found, QUALITY) == [False]
    assert kept(found).windows[-1].share == pytest.approx(0.25, abs=0.05)


def test_a_window_is_over_before_it_counts(live: Live) -> None:
    truths = Truths(live)
    given = truths.answer(0)
    truths.tell(given, 0.5)
    found = look(live, 0.5)
    assert kept(found).until <= BEGIN + HOUR / 2 + 60
    assert sum(one.answers for one in kept(found).windows) < 300


def test_a_broken_limit_is_said_and_a_wide_interval_is_not(live: Live) -> None:
    truths = Truths(live)
    truths.tell(other(truths.answer(0)), 1)
    truths.tell(truths.answer(1), 2)
    subject = limited(live, 3, Limit("roc_auc", "at_least", 0.6))
    found = QualityPart().look(subject, None)
    assert windows_of(found, QUALITY) == [True, True, False, False]
    bad = found.windows[[QUALITY in w.judged for w in found.windows].index(True)].bad[QUALITY]
    assert bad.severity == "error" and bad.interval is not None and bad.interval.high < 0.6
    value = kept(found).findings[0].interval
    assert value is not None
    near = QualityPart().look(limited(live, 3, Limit("roc_auc", "at_least", value.value)), None)
    assert kept(near).findings[0].verdict == "undecided"


def test_each_slice_has_its_limit(live: Live) -> None:
    truths = Truths(live)
    table = mixed_table(700, 1)
    live.answer(table.drop("bought"), BEGIN, HOUR - 60)
    flipped = table.select(
        pl.when(pl.col("colour") == "green")
        .then(pl.when(pl.col("bought") == "yes").then(pl.lit("no")).otherwise(pl.lit("yes")))
        .otherwise(pl.col("bought")).alias("bought")
    )["bought"].to_list()  # fmt: skip
    truths.tell([(f"{BEGIN:.0f}-{n}", text) for n, text in enumerate(flipped)], 1)
    path = live.folder / "modelwright.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("rows: 190", "rows: 650"))
    found = QualityPart().look(
        limited(live, 2, Limit("accuracy", "at_least", 0.6, slice_column="colour")), None
    )
    verdicts = {f.subject: f.verdict for f in kept(found).findings if f.check == "limit"}
    assert verdicts["accuracy where colour is green"] == "fail"
    assert verdicts["accuracy where colour is red"] == "pass"
    assert "accuracy where colour is d\u00e9j\u00e0 vu" not in verdicts, "too few rows"
    assert windows_of(found, QUALITY) == [True]


def test_answers_of_before_a_change_of_the_champion_are_no_news(live: Live) -> None:
    truths = Truths(live)
    truths.tell(other(truths.answer(0)), 1)
    other_one = QualityState("f" * 64, until=int(BEGIN), windows=kept(look(live, 2)).windows)
    found = look(live, 2, msgspec.json.encode(other_one))
    assert windows_of(found, QUALITY) == [] and not kept(found).windows
    assert windows_of(found, ALARM) == []
    assert kept(found).digest == live.library.get("1").digest
    truths.tell(truths.answer(3), 4)
    after = look(live, 5, found.state)
    assert windows_of(after, QUALITY) == [False, False]


def test_without_a_reference_nothing_is_judged(live: Live) -> None:
    known = live.library.get("1")
    bare = Known(known.version, known.artefact, None)
    truths = Truths(live)
    truths.tell(truths.answer(0), 1)
    found = look(live, 2, champion=bare)
    assert found.windows == () and "without a reference; run again" in found.waits


def test_the_estimate_is_trusted_only_with_its_record(live: Live) -> None:
    truths = Truths(live)
    truths.answer(0, 3000)
    found = look(live, 1)
    estimated, matrix = [f for f in found.findings if f.check != "limit"]
    assert estimated.interval is not None and estimated.verdict != "fail"
    assert (matrix.subject, matrix.why) == ("confusion matrix", estimated.why)
    assert "not trusted" in matrix.why
    assert windows_of(found, ESTIMATE) == [False]
    again = look(live, 1.05, found.state)
    assert windows_of(again, ESTIMATE) == [], "most of its answers were in the window before"
    assert [f.check for f in again.findings] == [estimated.check, matrix.check]


def test_rows_are_in_order_of_time_whatever_the_order_of_files(live: Live) -> None:
    truths = Truths(live)
    for hour in (3, 0, 2, 1):
        truths.answer(hour, 100)
    found = answered(live.subject(BEGIN + 5 * HOUR), BEGIN, BEGIN + 5 * HOUR)
    assert len(found.time) == 400 and (np.diff(found.time) >= 0).all()
    columns = ["time", "version", "prediction", "p_no", "p_yes"]
    on_record = journal_files.rows(live.folder / "journal", "shop", columns=columns)
    assert found.table.select(columns).to_pylist() == on_record.to_pylist()


def test_truths_that_are_all_alike_say_nothing_of_a_ranking(live: Live) -> None:
    truths = Truths(live)
    truths.tell([(id, "no") for id, _ in truths.answer(0)], 1)
    found = look(live, 2)
    [limit] = [f for f in kept(found).findings if f.check == "limit"]
    assert (limit.verdict, limit.measured, limit.interval) == (
        "undecided", "no value on these rows", None
    )  # fmt: skip
    assert "quality roc_auc" not in found.points
    assert look(live, 3, found.state).waits == ""
