"""Windows of a real journal against the reference of a real model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

import modelwright as mw
from modelwright.core.spec_data import SplitSpec
from modelwright.core.spec_watch import DriftColumnSpec, DriftSpec, WatchSpec
from modelwright.watch.look import Looked
from modelwright.watch.part_drift import CHECKED, CONSTANT, DriftPart, DriftState, policy_of
from modelwright.watch.subject import Known
from modelwright.watch.summary_store import count_journal
from modelwright.watch.times import iso, unix
from modelwright.watch.windows import closed, waiting
from watch.live import BEGIN, Live, copied, drifted, usual


@pytest.fixture
def live(released: mw.Released, tmp_path: Path) -> Iterator[Live]:
    found = copied(released, tmp_path / "project")
    yield found
    found.close()


def look(live: Live, seconds: float, state: bytes | None = None, **more: object) -> Looked:
    subject = dataclasses.replace(live.subject(BEGIN + seconds), **more)
    count_journal(live.store, subject.journal, live.library.manifest_of, "shop", 60)
    return DriftPart().look(subject, state)


def kept(found: Looked) -> DriftState:
    return msgspec.json.decode(found.state, type=DriftState)


def test_a_window_closes_by_rows_and_time_and_only_when_settled(live: Live) -> None:
    live.answer(usual(1), BEGIN)
    early = look(live, 605)  # a file of the last minute may be open
    assert early.windows == () and early.waits == "600 of 400 answers and 599 of 600 s of a window"
    found = look(live, 606.1, early.state)
    assert [window.at for window in found.windows] == [iso(BEGIN + 600)]
    assert kept(found).until == BEGIN + 600
    live.answer(usual(2, 300), BEGIN + 600)
    few = look(live, 1300, found.state)
    said = "300 of 400 answers and 694 of 600 s of a window"
    assert (few.windows, few.waits) == ((), said)
    assert few.findings == found.findings
    live.answer(usual(3, 300), BEGIN + 1200)
    [window] = look(live, 1900, few.state).windows
    assert BEGIN + 1200 < unix(window.at) <= BEGIN + 1800


def test_the_cuts_between_looks_do_not_matter(live: Live) -> None:
    for number in range(4):
        live.answer(usual(number + 1) if number < 2 else drifted(number), BEGIN + 600 * number)
    at_once = look(live, 2500)
    state, windows = None, []
    for seconds in range(0, 2500, 250):
        found = look(live, seconds + 250, state)
        state = found.state
        windows += found.windows
    whole = [window for window in windows if window.judged == set(CHECKED)]
    assert tuple(whole) == at_once.windows and len(whole) == 4
    assert kept(found).last == kept(at_once).last
    assert [bool(window.bad) for window in whole] == [False, False, True, True]
    early = [window for window in windows if window not in whole]
    assert [window.at_once for window in early] == [{"data quality"}] * 2, "one for each open one"


def test_a_broken_contract_is_told_at_the_next_look(live: Live) -> None:
    """Long before the window of ten minutes and 400 answers closes; one page, and its end."""
    live.answer(usual(1), BEGIN)
    assert live.look(BEGIN + 620).events == ()
    strange = drifted(2, 60).with_columns(pl.lit("mauve").alias("colour"))
    live.answer(strange, BEGIN + 600, 60)
    seen = live.look(BEGIN + 670)
    assert [(e.what, e.cause) for e in seen.events] == [("opened", "data quality")]
    [event] = seen.events
    worst = event.episode.worst
    assert (worst.check, worst.subject, worst.severity) == ("unseen category", "colour", "error")
    assert worst.measured.startswith("60 of 60 rows since ")
    assert worst in seen.parts[0].findings and "f_colour" not in worst.advice
    live.answer(drifted(3, 60), BEGIN + 660, 60)
    later = live.look(BEGIN + 730)
    assert later.events == () and later.parts[0].findings, "still shown, not told again"
    for number in range(2, 6):
        live.answer(usual(number), BEGIN + 120 + 600 * number)
    events = live.look(BEGIN + 60 * 60).events
    assert [e.what for e in events if e.cause == "data quality"] == ["resolved"]


def odd_colour(rows: int) -> pl.DataFrame:
    return usual(2, rows).with_columns(pl.lit("mauve").alias("colour"))


@pytest.mark.parametrize(("requests", "pages"), [(1, False), (9, False), (10, True)])
def test_one_request_of_many_odd_rows_pages_nobody(live: Live, requests: int, pages: bool) -> None:
    """A thousand rows of one body: found and shown at the next look; nobody is woken, neither then
    nor when the window closes. Ten requests wake somebody."""
    live.answer(usual(1, 300), BEGIN, 200)
    live.answer(odd_colour(1000), BEGIN + 240, 1, requests)
    seen = live.look(BEGIN + 310)
    worst = seen.parts[0].findings[0]
    assert (worst.check, worst.subject, worst.verdict) == ("unseen category", "colour", "fail")
    assert f"{requests} of {300 + requests} requests have such rows" in worst.why
    assert ("watch.drift.requests" in worst.why) is not pages
    assert [event.what for event in seen.events] == ["opened"] * pages
    live.answer(usual(3, 300), BEGIN + 300, 290)
    assert live.look(BEGIN + 670).events == (), "nor does the window that closes"
    for number in range(1, 4):
        live.answer(usual(number + 3), BEGIN + 600 * number)
    assert [e.what for e in live.look(BEGIN + 2500).events] == ["resolved"] * pages


def test_two_windows_of_one_odd_request_each_are_told(live: Live) -> None:
    for number in (0, 1):
        live.answer(odd_colour(900), BEGIN + 600 * number, 599, requests=1)
    events = live.look(BEGIN + 1300).events
    assert "data quality" in {e.cause for e in events}


def test_how_many_requests_it_takes_is_the_owners(live: Live) -> None:
    path = live.folder / "modelwright.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("rows: 400}", "rows: 400, drift: {requests: 7}}"), "utf-8")
    live.answer(usual(1, 100), BEGIN, 100)
    live.answer(odd_colour(300), BEGIN + 120, 1, requests=7)
    assert [e.cause for e in live.look(BEGIN + 310).events] == ["data quality"]


def test_one_odd_row_or_two_are_no_news(live: Live) -> None:
    first = pl.Series(np.arange(30) < 2)
    odd = usual(1, 30).with_columns(
        pl.when(first).then(pl.lit("mauve")).otherwise(pl.col("colour")).alias("colour")
    )
    live.answer(odd, BEGIN, 120)
    assert live.look(BEGIN + 300).parts[0].findings == ()


def test_findings_name_columns_as_the_table_does(live: Live) -> None:
    live.answer(drifted(1), BEGIN)
    found = look(live, 700)
    subjects = {f.subject: f for f in found.findings if f.verdict == "fail"}
    assert {"size, cm", "colour"} <= set(subjects)
    assert not any(name.startswith("f_") for name in subjects)
    assert not any("f_size" in f.measured + f.advice for f in found.findings)
    assert "f_colour" in subjects["colour"].columns
    [window] = found.windows
    assert "data quality" in window.at_once, "a category that was never seen"


def test_a_constant_answer_opens_at_once(live: Live) -> None:
    one = usual(1, 1)
    live.answer(pl.concat([one] * 600), BEGIN)
    found = look(live, 700)
    [window] = found.windows
    assert CONSTANT in window.at_once and window.bad[CONSTANT].severity == "error"
    assert window.bad[CONSTANT].subject == "score of the answer"
    assert found.findings[0].check == CONSTANT


def test_one_request_of_equal_rows_is_no_constant_answer(live: Live) -> None:
    live.answer(pl.concat([usual(1, 1)] * 600), BEGIN, requests=1)
    [window] = look(live, 700).windows
    assert CONSTANT in window.bad and CONSTANT not in window.at_once


def test_a_columns_policy_goes_by_its_plain_name(live: Live) -> None:
    path = live.folder / "modelwright.yaml"
    text = path.read_text(encoding="utf-8")
    ignored = "drift: {columns: {'size, cm': {ignore: true}, colour: {ignore: true}}}"
    path.write_text(text.replace("rows: 400}", "rows: 400, " + ignored + "}"), encoding="utf-8")
    live.answer(drifted(1), BEGIN)
    found = look(live, 700)
    assert not {"size, cm", "colour"} & {f.subject for f in found.findings}
    assert "start" in {f.subject for f in found.findings}
    drift = DriftSpec(columns={"age": DriftColumnSpec(distance=0.3)})
    policy = policy_of(WatchSpec(drift=drift), SplitSpec())
    assert policy.columns["f_age"].distance == 0.3


def test_what_a_split_by_time_goes_by_is_ignored_unless_it_is_named() -> None:
    by_day, named = SplitSpec(method="time", by="day"), {"day": DriftColumnSpec(distance=0.3)}
    assert policy_of(WatchSpec(), by_day).columns["f_day"].ignore
    assert not policy_of(WatchSpec(drift=DriftSpec(columns=named)), by_day).columns["day"].ignore
    assert not policy_of(WatchSpec(), SplitSpec()).columns


def test_another_champion_begins_a_new_window(live: Live) -> None:
    live.answer(drifted(1), BEGIN)
    before = DriftState("7", "f" * 64, until=BEGIN)
    found = look(live, 700, msgspec.json.encode(before))
    assert found.windows == () and kept(found).version == "1"
    assert BEGIN + 600 <= kept(found).until <= BEGIN + 700
    live.answer(usual(2), BEGIN + 700)
    [window] = look(live, 1400, found.state).windows
    assert not window.bad


def test_without_a_reference_it_waits(live: Live) -> None:
    known = live.library.get("1")
    found = look(live, 700, champion=Known(known.version, known.artefact, None))
    assert found.windows == () and "version 1 was released without a reference" in found.waits


def test_a_gap_in_the_answers_makes_a_window_longer() -> None:
    rows = {0: 300, 60: 0, 6000: 300, 6060: 300}
    found = closed(rows, 0, seconds=120, least=500, settled=7000, grain=60)
    assert found == [(0, 6060)] and waiting(rows, 6060) == 300
    assert closed(rows, 60, seconds=120, least=500, settled=6119, grain=60) == []
