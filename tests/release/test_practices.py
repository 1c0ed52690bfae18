"""The ML Test Score: points only for what the records prove."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from markdown_it import MarkdownIt

import modelwright as mw
from modelwright.core.evaluation import Importance, Practice, Slice
from modelwright.core.records import AuditLine, Finding, Override, Reproduced
from modelwright.core.schema import Expect
from modelwright.core.spec_release import PRACTICES
from modelwright.release.practice_rules import objection
from modelwright.release.practices import practices_html, practices_markdown
from modelwright.release.practices import score_practices as score_of
from release.records import (
    CLEAR,
    UNCLEAR,
    card_input,
    dataset_of,
    evaluation,
    found,
    with_columns,
)


def practice(code: str, released: mw.Released, **changes: Any) -> Practice:
    score = score_of(card_input(released, **changes))
    return next(p for p in score.practices if p.code == code)


def points(code: str, released: mw.Released, **changes: Any) -> float:
    return practice(code, released, **changes).score


def evidence(released: mw.Released, *more: Finding, without: str = "") -> dict[str, Any]:
    kept = [f for f in released.record.evidence if f.check != without]
    return {"release": msgspec.structs.replace(released.record, evidence=(*kept, *more))}


def test_all_28_in_the_papers_order_and_the_minimum(released: mw.Released) -> None:
    score = score_of(card_input(released))
    assert tuple(p.code for p in score.practices) == PRACTICES
    assert set(score.sections) == {"data", "model", "infrastructure", "monitoring"}
    for name, total in score.sections.items():
        mine = [p for p in score.practices if p.section == name]
        assert len(mine) == 7 and total == sum(p.score for p in mine)
    assert score.score == min(score.sections.values()) == score.sections["monitoring"] < 3.5
    assert all(p.why and p.score in (0, 0.5, 1) for p in score.practices)


def test_a_declaration_is_worth_half_a_point(released: mw.Released) -> None:
    told = {"practices": dict.fromkeys(PRACTICES, "in the wiki, see https://wiki.example/ml")}
    before = {p.code: p for p in score_of(card_input(released)).practices}
    score = score_of(card_input(released, spec=told))
    assert score.score == score.sections["monitoring"] == 3.5
    for now in score.practices:
        assert now.score >= before[now.code].score
        assert now.score == 0.5 or now.why == before[now.code].why or now.code in ("D5", "MD1")
    assert practice("M1", released, spec=told).why == (
        "declared: in the wiki, see https://wiki.example/ml"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yes", "says neither what is done nor where"),
        ("all is well", "says neither what is done nor where"),
        ("TODO", "says neither what is done nor where"),
        ("every change is reviewed, see docs/reviews.md", "names docs/reviews.md, which is not in"),
    ],
)
def test_words_that_say_nothing_are_worth_nothing(
    released: mw.Released, text: str, said: str
) -> None:
    told = {"practices": dict.fromkeys(PRACTICES, text)}
    before = {p.code: p.score for p in score_of(card_input(released)).practices}
    score = score_of(card_input(released, spec=told))
    assert {p.code: p.score for p in score.practices} == before
    assert all(said in p.why for p in score.practices)


def test_a_file_that_is_there_counts(released: mw.Released, tmp_path: Path) -> None:
    assert objection("rows are logged, see shop.csv", released.run.parents[1]) == ""
    assert objection("see shop.csv", tmp_path) == "names shop.csv, which is not in the project"


def test_no_declaration_speaks_against_evidence(released: mw.Released) -> None:
    told = {"practices": dict.fromkeys(PRACTICES, "our team looks at it each month")}
    idle = (Importance("big", ("big",), UNCLEAR),)
    failed = msgspec.structs.replace(
        found("baseline", "undecided", subject="linear"), advice="linear is simpler"
    )
    refuted = score_of(
        card_input(
            released,
            spec=told,
            evaluation=evaluation(released, importance=idle, findings=(found("weak slice"),)),
            reproduced=Reproduced("r", False, ("a", "b"), ("versions: numpy",)),
            **evidence(released, failed),
        )
    )
    zero = {p.code for p in refuted.practices if p.score == 0}
    assert zero == {"D2", "MD5", "MD6", "I1"}


def test_schema(released: mw.Released) -> None:
    assert points("D1", released) == 0.5
    dataset = dataset_of(released)
    for name in ("colour", "big", "member"):
        dataset = with_columns(dataset, name, expect=Expect(required=True))
    assert "3 of 5" in practice("D1", released, dataset=dataset).why
    assert points("D1", released, dataset=dataset) == 1


def test_features_are_beneficial(released: mw.Released) -> None:
    assert points("D2", released) == 1
    names = [c.name for c in dataset_of(released).schema.features]
    mixed = tuple(Importance(n, (n,), UNCLEAR if n == "big" else CLEAR) for n in names)
    told = practice("D2", released, evaluation=evaluation(released, importance=mixed))
    assert told.score == 0 and "1 of 5" in told.why and "big" in told.why
    group = (Importance("big, start", ("big", "start"), CLEAR),)
    both = evaluation(released, importance=mixed, groups=group)
    assert points("D2", released, evaluation=both) == 1
    some = evaluation(released, importance=mixed[:1])
    assert points("D2", released, evaluation=some) == 0.5
    assert points("D2", released, evaluation=evaluation(released, importance=())) == 0


def test_forbidden_features_and_privacy(released: mw.Released) -> None:
    assert points("D4", released) == 0
    drop = {"data": {**card_input(released).spec.model_dump()["data"], "drop": ["ssn"]}}
    assert points("D4", released, spec=drop) == 0.5
    told = {**drop, "practices": {"D4": "rule 7 of our data policy"}}
    assert points("D4", released, spec=told) == 1
    proxy = msgspec.structs.replace(dataset_of(released), findings=(found("proxy"),))
    assert points("D4", released, spec=drop, dataset=proxy) == 0
    assert points("D5", released) == 0.5
    assert points("D5", released, spec={"practices": {"D5": "kept 90 days, on one server"}}) == 1
    open_one = msgspec.structs.replace(
        dataset_of(released), findings=(found("personal data", subject="mail"),)
    )
    assert "mail" in practice("D5", released, dataset=open_one).why
    assert points("D5", released, dataset=open_one, spec={"practices": {"D5": "kept"}}) == 0


def test_code_of_features(released: mw.Released) -> None:
    assert points("D7", released) == 1
    data = card_input(released).spec.model_dump()["data"]
    own = {"data": {**data, "source": "mine.read:Orders"}}
    assert points("D7", released, spec=own) == 0
    told = {**own, "practices": {"D7": "the reader has tests of its own"}}
    assert points("D7", released, spec=told) == 0.5
    manifest = card_input(released).manifest
    off = msgspec.structs.replace(manifest.parity, label_flips=1)
    assert points("D7", released, manifest=msgspec.structs.replace(manifest, parity=off)) == 0


@pytest.mark.parametrize(
    ("code", "told", "wanted"),
    [("", False, 0), ("abc+changes", True, 0.5), ("abc", False, 0.5), ("abc", True, 1)],
)
def test_version_control(released: mw.Released, code: str, told: bool, wanted: float) -> None:
    manifest = msgspec.structs.replace(card_input(released).manifest, code=code)
    spec = {"practices": {"MD1": "pull requests, two people each"}} if told else {}
    assert points("MD1", released, manifest=manifest, spec=spec) == wanted


def test_tuning(released: mw.Released) -> None:
    some = practice("MD3", released)
    assert some.score == 0.5 and "the best default" in some.why
    trial = next(t for t in released.fit.trials if t.origin == "preset")
    searched = tuple(
        msgspec.structs.replace(trial, number=100 + n, origin="search") for n in range(10)
    )
    fit = msgspec.structs.replace(released.fit, trials=(*released.fit.trials, *searched))
    assert points("MD3", released, fit=fit) == 1
    defaults = tuple(t for t in released.fit.trials if t.origin == "default")
    assert points("MD3", released, fit=msgspec.structs.replace(fit, trials=defaults)) == 0


def test_staleness_slices_and_inclusion(released: mw.Released) -> None:
    assert points("MD4", released) == 1
    assert points("MD4", released, evaluation=evaluation(released, curves=())) == 0
    assert points("MD6", released) == 1
    blind = evaluation(released, slices=(), findings=())
    assert (
        points("MD6", released, evaluation=blind, **evidence(released, without="weak slice")) == 0
    )
    declared = found("slice", "pass", subject="roc_auc where colour is red")
    assert points("MD6", released, evaluation=blind, **evidence(released, declared)) == 1
    assert points("MD7", released) == 0
    protected = with_columns(dataset_of(released), "member", protected=True)
    fair = evaluation(released, findings=(found("fairness", "pass", subject="member"),))
    unfair = evaluation(released, findings=(found("fairness", subject="member"),))
    assert points("MD7", released, dataset=protected) == 0
    assert points("MD7", released, dataset=protected, evaluation=unfair) == 0
    assert points("MD7", released, dataset=protected, evaluation=fair) == 0.5
    few = evaluation(released, findings=(found("fairness", "undecided", subject="member"),))
    for seen, wanted in ((few, 0.5), (unfair, 0)):
        told = {"practices": {"MD7": "looked at by hand"}}
        assert points("MD7", released, dataset=protected, evaluation=seen, spec=told) == wanted
    ethics = {"ethics": "Members are not favoured."}
    assert points("MD7", released, dataset=protected, evaluation=fair, spec=ethics) == 1


def test_baselines(released: mw.Released) -> None:
    linear = found("baseline", "pass", subject="linear")
    boosted = msgspec.structs.replace(released.fit, family="lightgbm")
    assert points("MD5", released, fit=boosted, **evidence(released, linear)) == 1
    alone = msgspec.structs.replace(released.fit, family="linear")
    assert "linear model itself" in practice("MD5", released, fit=alone).why
    assert points("MD5", released, **evidence(released, without="baseline")) == 0


def test_infrastructure(released: mw.Released) -> None:
    manifest = card_input(released).manifest
    clean = msgspec.structs.replace(manifest, code="0123456789abcdef")
    assert points("I1", released) == 0
    assert points("I1", released, manifest=clean) == 0.5
    assert points("I1", released, reproduced=Reproduced("r", True, ("a", "a"))) == 1
    assert points("I2", released) == 0.5
    assert points("I3", released) == 0.5
    inside = msgspec.structs.replace(released.measured, latency_p95=None)
    assert points("I3", released, measured=inside) == 0
    assert points("I6", released) == 0


def test_gates_before_serving(released: mw.Released) -> None:
    assert points("I4", released) == 1
    unlimited = msgspec.structs.replace(card_input(released).manifest, limits=())
    assert points("I4", released, manifest=unlimited) == 0.5
    over = Override("limit", "f1", "ann", "few rows", "now")
    waved = msgspec.structs.replace(released.record, overrides=(over,))
    assert points("I4", released, release=waved) == 0.5


def test_a_rollback_counts_when_it_was_used(released: mw.Released) -> None:
    assert points("I7", released) == 0
    line = AuditLine("2026-11-20T10:00:00Z", "ann", "rollback", "shop", "1", "2", "drill", "")
    assert points("I7", released, audit=(line,)) == 0.5


def test_both_forms_show_every_test(released: mw.Released) -> None:
    told = {"practices": {"M1": "a | b <b>"}}
    score = score_of(card_input(released, spec=told))
    page, text = practices_html(score), practices_markdown(score)
    assert page.count("<tr>") == 28 + 4 and page.count("scope='row'") == 28
    assert "a | b &lt;b&gt;" in page and "<b>" not in page
    reader = MarkdownIt("commonmark").enable("table")
    rows = [t for t in reader.parse(text) if t.type == "tr_open"]
    assert len(rows) == 28 + 4 and "<b>" not in text
    assert f"{score.score:g} of 7" in text


def test_a_private_slice_is_not_named(released: mw.Released) -> None:
    private = with_columns(dataset_of(released), "colour", private=True)
    weak = found("weak slice", subject="colour is teal", columns=("colour",))
    part = Slice("colour is teal", ("colour",), 9, 0.5, CLEAR, 0.001)
    seen = evaluation(released, findings=(weak,), slices=(part,))
    why = practice("MD6", released, dataset=private, evaluation=seen).why
    assert "teal" not in why and "colour (private)" in why
