"""Limits on quality held against labelled rows, by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest

import modelwright as mw
from modelwright.core.limits import Limit
from modelwright.core.records import Interval
from modelwright.watch.answered import Answered
from modelwright.watch.quality_limits import finite, of_limits
from modelwright.watch.subject import Known, Subject
from watch.live import BEGIN, Live, copied


@pytest.fixture
def live(released: mw.Released, tmp_path: Path) -> Iterator[Live]:
    found = copied(released, tmp_path / "project")
    yield found
    found.close()


def under(live: Live, *limits: Limit) -> Subject:
    """The model as if it had been released under these limits."""
    known = live.library.get("1")
    known.artefact.manifest = msgspec.structs.replace(known.artefact.manifest, limits=limits)
    champion = Known(known.version, known.artefact, known.live)
    return dataclasses.replace(live.subject(BEGIN), champion=champion)


def labelled(hits: int, misses: int, colours: list[str], *, mixed: bool = True) -> Answered:
    """Answers "yes", all as sure as the others; the misses at any time, or all at the end."""
    rows = hits + misses
    order = np.random.default_rng(0).permutation(rows) if mixed else np.arange(rows)
    table = pa.table({"f_colour": [colours[place] for place in order]})
    answers = np.tile([0.2, 0.8], (rows, 1))
    truth = np.repeat([1, 0], [hits, misses])[order]
    return Answered(table, np.arange(rows) * 1.0, answers, np.ones(rows, int), truth, np.ones(rows))


def test_failures_come_first_and_small_slices_are_left_out(live: Live) -> None:
    subject = under(
        live,
        Limit("accuracy", "at_least", 0.5),
        Limit("accuracy", "at_least", 0.5, slice_column="colour"),
        Limit("accuracy", "at_least", 0.5, slice_column="not a column"),
    )
    colours = ["green"] * 300 + ["few"] * 10 + ["red"] * 190
    found = of_limits(labelled(310, 190, colours), "late", subject)
    verdicts = [(one.subject, one.verdict) for one in found if one.check == "limit"]
    assert verdicts == [
        ("accuracy where colour is red", "fail"),
        ("accuracy", "pass"),
        ("accuracy where colour is green", "pass"),
    ]
    assert found[0].severity == "error" and "roll back" in found[0].advice
    assert {one.why for one in found} == {"late"}


def test_misses_that_come_together_say_less_than_as_many_at_any_time(live: Live) -> None:
    subject, colours = under(live, Limit("accuracy", "at_least", 0.5)), ["red"] * 500
    for mixed, verdict in ((True, "pass"), (False, "undecided")):
        found = of_limits(labelled(310, 190, colours, mixed=mixed), "late", subject)
        assert found[0].verdict == verdict


def test_the_goal_is_shown_without_a_limit_on_it(live: Live) -> None:
    [goal] = of_limits(labelled(60, 40, ["red"] * 100), "late", under(live))
    assert (goal.check, goal.subject, goal.verdict) == ("metric", "roc_auc", "pass")


def test_the_goal_is_shown_for_slices_that_other_limits_declare(live: Live) -> None:
    sliced = Limit("accuracy", "at_least", 0.5, slice_column="colour")
    colours = ["green"] * 80 + ["few"] * 10 + ["red"] * 60
    found = of_limits(labelled(110, 40, colours), "late", under(live, sliced))
    shown = [(one.subject, one.verdict, one.severity) for one in found if one.check == "metric"]
    assert shown == [
        ("roc_auc", "pass", "info"),
        ("roc_auc where colour is green", "pass", "info"),
        ("roc_auc where colour is red", "pass", "info"),
    ]
    own = Limit("roc_auc", "at_least", 0.1, slice_column="colour")
    names = [one.subject for one in of_limits(labelled(110, 40, colours), "late", under(live, own))]
    assert len(names) == len(set(names)) == 3, "what a limit says is not said again"


def test_what_is_no_number_has_no_interval() -> None:
    assert finite(Interval(0.5, 0.4, 0.6)) == Interval(0.5, 0.4, 0.6)
    assert finite(Interval(math.nan, 0.0, 1.0)) is None
