"""The pages of a judged run: complete, self-contained, readable in a real browser."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from pathlib import Path

import msgspec
import pytest

import modelwright as mw
from modelwright.core.evaluation import Curve
from modelwright.core.limits import Limit
from modelwright.core.records import Finding, Interval
from modelwright.release.compare_page import compare_page, lines
from modelwright.release.model_page import curves_page, learning_in_words
from modelwright.release.report import render, sections, to_judge
from modelwright.release.run_records import RunRecords
from pages import Reader, contrast, luminance, measured, mixed, pdf_pages, picture
from release.records import evaluation

PARTS = [
    "Limits", "Quality on the holdout", "Gates", "What a person must still judge", "Candidates",
    "Curves", "What the model uses", "Weak slices", "Worst errors", "Cost", "Data",
    "ML Test Score", "How to get this again",
]  # fmt: skip


@pytest.fixture(scope="module")
def records(released: mw.Released) -> RunRecords:
    return RunRecords.read(released.run)


def test_every_part_is_there_the_verdict_first(records: RunRecords) -> None:
    page = Reader(render(records))
    assert page.headings[0] == ("h1", mw.headline(records.release))
    assert [text for tag, text in page.headings if tag == "h2"] == PARTS


def test_the_page_needs_nothing_from_outside_and_runs_nothing(records: RunRecords) -> None:
    for text in (render(records), (records.folder / "card.html").read_text(encoding="utf-8")):
        page = Reader(text)
        assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
        assert all(source.startswith("#") for source in page.sources), page.sources
        assert "url(" not in text and "@import" not in text
        assert len(text.encode()) <= 3_000_000


def test_every_picture_has_words_and_every_link_a_goal(records: RunRecords) -> None:
    page = Reader(render(records))
    assert page.images
    assert all(image.get("role") == "img" and image.get("aria-label") for image in page.images)
    assert all(source[1:] in page.ids for source in page.sources)
    assert len(page.ids) == len(set(page.ids))


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["report.html", "card.html"])
def test_nothing_runs_over_the_edge(
    records: RunRecords, width: int, name: str, tmp_path: Path
) -> None:
    found = json.loads(measured(records.folder / name, width, tmp_path).replace("&quot;", '"'))
    assert found["window"] == width
    assert found["page"] <= width and not found["wide"], found
    assert not found["errors"], "nothing is fetched"
    assert not found["far"], "every verdict is seen without a swipe"


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_stands_out_from_the_page(records: RunRecords, mode: str) -> None:
    """Contrast of at least 4.5 in light and in dark (WCAG AA)."""
    text = render(records)
    style = re.findall(r":root\{([^}]*)\}", text)[0 if mode == "light" else 1]
    colours = dict(re.findall(r"--([a-z]+):(#[0-9a-f]+)", style))
    page = luminance(colours["page"])
    assert "a{color:var(--bar)}" in text
    for name in ("ink", "soft", "good", "bad", "open", "bar"):
        assert contrast(luminance(colours[name]), page) >= 4.5, (mode, name)
    for name in ("ink", "soft", "good", "bad", "open"):
        assert contrast(luminance(colours[name]), luminance(colours["chosen"])) >= 4.5, name
    most = re.search(r"\.cell\{background:color-mix\(in srgb,var\(--bar\) "
                     r"calc\(var\(--share\)\*(\d+)%\)", text)  # fmt: skip
    assert most
    for share in (0.0, 0.5, 1.0):
        cell = mixed(colours["bar"], colours["page"], share * int(most[1]) / 100)
        assert contrast(luminance(colours["ink"]), luminance(cell)) >= 4.5, (mode, share)


def test_a_table_that_scrolls_is_reached_by_keyboard(records: RunRecords) -> None:
    for text in (render(records), (records.folder / "card.html").read_text(encoding="utf-8")):
        tables = text.count("<table")
        assert tables
        assert len(re.findall(r"<div class='scroll' tabindex='0'>\s*<table", text)) == tables
        assert ":focus-visible{outline:" in text, "where the keyboard is can be seen"


@pytest.mark.parametrize("name", ["report.html", "card.html"])
def test_a_page_can_be_printed(records: RunRecords, name: str, tmp_path: Path) -> None:
    assert pdf_pages(records.folder / name, tmp_path) > 0


def test_a_report_of_a_wide_table_and_many_trials_is_small(records: RunRecords) -> None:
    """250 columns and 500 trials."""
    names = [f"a rather long name of column {n}" for n in range(250)]
    column, trial = records.dataset.schema.features[0], records.fit.trials[0]
    schema = msgspec.structs.replace(
        records.dataset.schema,
        columns=tuple(msgspec.structs.replace(column, name=name) for name in names),
    )
    seen = records.dataset.baseline[column.name]
    found = records.evaluation
    important = found.importance[0]
    wide = dataclasses.replace(
        records,
        dataset=msgspec.structs.replace(
            records.dataset, schema=schema, baseline=dict.fromkeys(names, seen),
            relations=dict.fromkeys(names, 0.1),
        ),
        fit=msgspec.structs.replace(
            records.fit,
            trials=(*records.fit.trials, *(
                msgspec.structs.replace(trial, number=100 + n, score=0.5 + n / 2000)
                for n in range(500)
            )),
        ),
        evaluation=msgspec.structs.replace(
            found,
            importance=tuple(
                msgspec.structs.replace(important, subject=name, columns=(name,)) for name in names
            ),
            failures=tuple(
                msgspec.structs.replace(
                    one, values=dict.fromkeys(names, 1.5), nearest=dict.fromkeys(names, 2.5)
                )
                for one in found.failures
            ),
        ),
    )  # fmt: skip
    started = time.monotonic()
    text = render(wide)
    assert time.monotonic() - started < 5.0
    assert names[0] in text and len(text.encode()) <= 3_000_000


def test_hostile_names_stay_text(records: RunRecords) -> None:
    bad = "<script>alert(1)</script>"
    slices = tuple(msgspec.structs.replace(one, where=bad) for one in records.evaluation.slices)
    importance = tuple(
        msgspec.structs.replace(one, subject=bad) for one in records.evaluation.importance
    )
    evaluation = msgspec.structs.replace(
        records.evaluation, slices=slices, importance=importance, notes=(bad,)
    )
    hostile = msgspec.structs.replace(
        records.release,
        evidence=tuple(
            msgspec.structs.replace(f, subject=bad, measured=bad) if f.check != "limit" else f
            for f in records.release.evidence
        ),
    )
    changed = RunRecords(**{**vars(records), "evaluation": evaluation, "release": hostile})
    assert "<script" not in render(changed)


def test_a_report_is_made_within_a_second(records: RunRecords) -> None:
    started = time.monotonic()
    render(records)
    assert time.monotonic() - started < 1.0


def test_what_people_must_judge(records: RunRecords) -> None:
    found = " ".join(to_judge(records))
    assert "fill intent, out_of_scope" in found and "none is marked in data.protected" in found


def test_a_curve_that_was_not_measured_is_said(released: mw.Released) -> None:
    plain = evaluation(released)
    told = learning_in_words(plain)
    assert plain.curve("learning") is None and "was not measured" in told
    assert told in curves_page(plain)


@pytest.mark.parametrize(
    ("last", "said"),
    [(0.95, "linear improved roc_auc by 0.2500 (each known to 0.1000): more rows would help"),
     (0.75, "may help a little"), (0.705, "would hardly help"),
     (0.65, "worsened roc_auc by 0.0500")],
)  # fmt: skip
def test_what_a_learning_curve_tells(released: mw.Released, last: float, said: str) -> None:
    curve = Curve("learning", (1000.0, 2000.0), (0.7, last), (0.6, last - 0.1), (0.8, last + 0.1),
                  of="linear")  # fmt: skip
    told = learning_in_words(msgspec.structs.replace(evaluation(released), curves=(curve,)))
    assert told.startswith("From 1,000 to 2,000 rows") and said in told


def test_two_runs_side_by_side(records: RunRecords, tmp_path: Path) -> None:
    text = compare_page(records, records, lines(records, records))
    page = Reader(text)
    assert page.headings[0][0] == "h1" and "Differences" in [t for _, t in page.headings]
    out = tmp_path / "compare.html"
    out.write_text(text, encoding="utf-8")
    for width in (1280, 390):
        found = json.loads(measured(out, width, tmp_path).replace("&quot;", '"'))
        assert found["page"] <= width, found


def test_costs_that_are_written_alike_are_not_called_better(records: RunRecords) -> None:
    """Memory and size have no interval; costs are of the hour in which they were measured."""
    one = dataclasses.replace(records, measured=msgspec.structs.replace(
        records.measured, size=33_701, memory=Interval(62.01e6, 62.01e6, 62.01e6),
        latency_p95=Interval(0.005, 0.004, 0.006),
    ))  # fmt: skip
    other = dataclasses.replace(records, measured=msgspec.structs.replace(
        one.measured, size=33_702, memory=Interval(62.02e6, 62.02e6, 62.02e6),
        latency_p95=Interval(0.002, 0.001, 0.003),
    ))  # fmt: skip
    found = {line.what: line for line in lines(one, other)}
    assert found["size"].better == found["memory"].better == "equal as far as is written"
    assert found["latency_p95"].better == "the second is better, measured at different times"
    assert found["latency_p95"].texts[0] == "5 ms (95%: 4 ms to 6 ms)"
    assert "5 ms (95%: 4 ms to 6 ms)" in dict(sections(one))["Cost"]


def test_each_slice_is_drawn_against_its_own_line(records: RunRecords) -> None:
    whole, slices = (Limit("rmse", "at_most", bound, of) for bound, of in ((1.0, None), (3.0, "z")))
    found = Interval(0.9, 0.8, 0.95)
    told = tuple(
        Finding(check, subject, "pass", "0.9", str(limit), interval=found)
        for check, subject, limit in (
            ("limit", "rmse", whole),
            ("slice", "rmse where z is a", slices),
        )
    )
    drawn = dict(sections(dataclasses.replace(
        records,
        release=msgspec.structs.replace(records.release, evidence=told),
        manifest=msgspec.structs.replace(records.manifest, limits=(whole, slices)),
    )))["Limits"]  # fmt: skip
    lines = re.findall(r"<rect x='([\d.]+)' y='0' width='2'", drawn)
    assert lines == [f"{220 / 1.15 - 1:.1f}"] * 2  # each bound is the largest of its scale
    dots = [float(x) for x in re.findall(r"<circle cx='([\d.]+)'", drawn)]
    assert dots[0] > 2.5 * dots[1]


def test_the_loss_of_a_quantile_is_compared_too(records: RunRecords) -> None:
    def losing(low: float) -> RunRecords:
        loss = Interval(low + 0.1, low, low + 0.2)
        told = Finding("metric", "pinball 0.05", "pass", severity="info", interval=loss)
        release = msgspec.structs.replace(records.release, evidence=(told,))
        return dataclasses.replace(records, release=release)

    found = {line.what: line.better for line in lines(losing(1.0), losing(2.0))}
    assert found["pinball 0.05"] == "the first is better"


def test_the_pages_look_like_something(released: mw.Released, tmp_path: Path) -> None:
    """Screenshots; with MODELWRIGHT_PICTURES they are kept for the README."""
    keep = os.environ.get("MODELWRIGHT_PICTURES")
    run = Path(os.environ.get("MODELWRIGHT_PICTURES_OF", released.run)).resolve()
    out = Path(keep).resolve() if keep else tmp_path
    for name in ("report", "card"):
        for dark in (False, True):
            path = out / f"{name}{'-dark' if dark else ''}.png"
            profile = tmp_path / "profile"
            page = run / f"{name}.html"
            data = picture(page, path, 1200, 1500, profile, dark=dark).read_bytes()
            assert data.startswith(b"\x89PNG") and len(data) > 20_000
