"""The model card: complete, honest about gaps, and unharmed by whatever it is told."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from html.parser import HTMLParser

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from ruamel.yaml import YAML

import modelwright as mw
from modelwright.core.evaluation import Slice
from modelwright.core.records import Finding, Interval, Override
from modelwright.release.card import card_finding, card_html, card_markdown, missing_from_card
from modelwright.release.document import marked_down
from modelwright.release.practices import score_practices as score_of
from release.records import card_input, dataset_of, evaluation, with_columns

FILLED = {
    "intent": "Ranks visitors by their chance to buy.",
    "out_of_scope": "Prices and credit.",
    "owner": "Ann",
    "ethics": "Nobody is refused anything.",
    "license": "Apache-2.0",
}
SECTIONS = [
    "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
    "Quantitative analyses", "Ethical considerations", "Limitations found", "How to use",
]  # fmt: skip
VOID = {"meta", "rect", "line", "circle", "path"}
READER = MarkdownIt("commonmark").enable("table").enable("strikethrough")


class Page(HTMLParser):
    """Tags of a page, and whether each is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [name for name, _ in attrs if name in ("src", "href") or name[:2] == "on"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def front_matter(card: str) -> dict[str, object]:
    """What Hugging Face would read; YAML 1.1 and 1.2 must agree."""
    block = re.match(r"---\n(.*?)^---\n", card, flags=re.S | re.M)
    assert block
    old, new = yaml.safe_load(block[1]), YAML(typ="safe").load(block[1])
    assert old == new
    return old


def body(card: str) -> str:
    return card.split("\n---\n", 1)[1]


def section(card: str, title: str) -> str:
    return re.split(r"^## ", card.split(f"\n## {title}\n", 1)[1], flags=re.M)[0]


def test_front_matter_has_what_hugging_face_asks_for(released: mw.Released) -> None:
    found = front_matter(card_markdown(card_input(released, spec=FILLED)))
    assert found["license"] == "apache-2.0"
    assert found["library_name"] == "onnx"
    assert found["pipeline_tag"] == "tabular-classification"
    assert "onnx" in found["tags"]
    [model] = found["model-index"]
    [result] = model["results"]
    assert model["name"] == "shop"
    assert result["task"]["type"] == "tabular-classification"
    assert result["dataset"] == {
        "type": "tabular",
        "name": "shop.csv",
        "split": "holdout",
        "revision": dataset_of(released).fingerprint,
    }
    goal, *others = result["metrics"]
    evidence = released.record.evidence[0]
    assert evidence.interval is not None
    assert (goal["type"], goal["value"]) == ("roc_auc", evidence.interval.value)
    assert {metric["type"] for metric in others} >= {"accuracy", "f1", "log_loss"}
    assert all(isinstance(metric["value"], float) for metric in result["metrics"])


def test_the_card_says_how_often_the_sealed_rows_were_opened(released: mw.Released) -> None:
    often = msgspec.structs.replace(released.record, holdout_uses=7)
    given = card_input(released, release=often)
    for text in (card_markdown(given), card_html(given)):
        assert "Times they were opened so far: 7." in text


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ("", {"license": "unknown"}),
        ("MIT", {"license": "mit"}),
        ("no", {"license": "other", "license_name": "no"}),
        ("House: rules!", {"license": "other", "license_name": "house-rules"}),
    ],
)
def test_licence(released: mw.Released, told: str, wanted: dict[str, str]) -> None:
    found = front_matter(card_markdown(card_input(released, spec={"license": told})))
    assert {key: found[key] for key in found if str(key).startswith("license")} == wanted


def test_sections_come_in_the_order_of_the_paper(released: mw.Released) -> None:
    whole = card_input(released, spec=FILLED)
    whole = card_input(released, spec=FILLED, practices=score_of(whole))
    assert re.findall(r"^## (.*)", card_markdown(whole), re.M) == [*SECTIONS, "ML Test Score"]
    assert re.findall(r"<h2>(.*?)</h2>", card_html(whole)) == [*SECTIONS, "ML Test Score"]


def test_both_forms_say_the_same(released: mw.Released) -> None:
    whole = card_input(released, spec=FILLED)
    text = "".join(Page(card_html(whole)).text)
    for token in READER.parse(body(card_markdown(whole))):
        for child in token.children or []:
            assert child.type in ("text", "text_special", "softbreak")
        if token.type == "inline":
            assert "".join(child.content for child in token.children or []) in text


def test_metrics_limits_and_where_they_were_measured(released: mw.Released) -> None:
    part = section(card_markdown(card_input(released, spec=FILLED)), "Quantitative analyses")
    goal = released.record.evidence[0]
    assert f"| roc_auc | {goal.measured} |" in part
    assert "latency_p95 &lt;= 1 s | pass | measured on x86_64" in part
    assert "| colour is red | 60 | 0.8400 |" in part
    assert "| baseline | dummy |" in part


def test_the_examples_to_copy_work(released: mw.Released) -> None:
    part = section(card_markdown(card_input(released)), "How to use")
    python, serve, curl = re.findall(r"```\w+\n(.*?)\n```", part, flags=re.S)
    assert serve == "modelwright serve shop/1"
    assert json.loads(shlex.split(curl)[-1])["rows"][0]["size, cm"] > 0
    assert 'modelwright.load("shop/1")' in python
    answers = python.partition("model.predict(")[2].removesuffix(")")
    assert mw.load("shop/1", folder=released.run.parents[1]).predict(eval(answers))


def test_a_card_without_intent_says_so_and_the_gate_too(released: mw.Released) -> None:
    bare = card_input(released)
    assert missing_from_card(bare.spec) == ("intent", "out_of_scope", "owner", "ethics", "license")
    finding = card_finding(bare.spec)
    assert (finding.check, finding.verdict, finding.severity) == ("card", "fail", "warning")
    assert "intent:, out_of_scope:, owner:" in finding.advice
    assert card_markdown(bare).count("Not filled in yet by the owner") == 5
    assert "This card is incomplete" in card_html(bare)
    half = card_input(released, spec={"intent": "x", "out_of_scope": "  "})
    assert card_finding(half.spec).verdict == "fail"
    only = card_input(released, spec={"intent": "x", "out_of_scope": "y"})
    assert card_finding(only.spec).verdict == "pass"
    assert "owner" in card_finding(only.spec).advice
    full = card_finding(card_input(released, spec=FILLED).spec)
    assert (full.verdict, full.measured, full.advice) == ("pass", "complete", "")


def test_limitations_are_all_there(released: mw.Released) -> None:
    undecided = Finding("limit", "f1", "undecided", "0.70 (90%: 0.6 to 0.8)", why="few rows")
    drift = Finding("robustness", "noise", "fail", "loses 0.05", severity="warning")
    release = msgspec.structs.replace(
        released.record,
        evidence=(*released.record.evidence, undecided),
        overrides=(Override("limit", "f1", "ann", "small shop", "2026-11-20T10:00:00Z"),),
    )
    weak = Slice("size, cm over 90", ("size, cm",), 40, 0.6, Interval(0.4, 0.2, 0.6), 0.004)
    seen = evaluation(released, findings=(drift,), slices=(weak,))
    part = section(
        card_markdown(card_input(released, release=release, evaluation=seen)), "Limitations found"
    )
    for wanted in (
        r"limit f1 (undecided): 0.70 (90%: 0.6 to 0.8); few rows",
        "robustness noise: loses 0.05",
        "weak slice: size, cm over 90, 40 rows",
        "in the data: time order start",
        "let through by ann on 2026-11-20T10:00:00Z: limit f1; small shop",
        "robustness: not looked at",
    ):
        assert f"- {marked_down(wanted)}" in part


def test_values_of_private_columns_are_nowhere(released: mw.Released) -> None:
    level = "d\u00e9j\u00e0 vu"
    private = with_columns(dataset_of(released), "colour", private=True)
    seen = evaluation(
        released,
        slices=(Slice(f"colour is {level}", ("colour",), 30, 0.5, Interval(0.3, 0.2, 0.4), 0.001),),
        findings=(
            Finding("weak slice", f"colour is {level}", "fail", f"{level} is worse"),
            Finding("fairness", "group", "fail", f"{level} 0.2", level, columns=("colour",)),
        ),
        notes=(f"colour: too few rows of {level}",),
    )
    part = Finding("slice", f"roc_auc where colour is {level}", "fail", f"0.5 for {level}")
    release = msgspec.structs.replace(
        released.record,
        evidence=(*released.record.evidence, part),
        overrides=(Override("slice", part.subject, "ann", "known", "now"),),
    )
    manifest = card_input(released).manifest
    example = {**manifest.example, "colour": ""}
    whole = card_input(
        released,
        dataset=private,
        evaluation=seen,
        release=release,
        manifest=msgspec.structs.replace(manifest, example=example),
    )
    whole = dataclasses.replace(whole, practices=score_of(whole))
    for card in (card_markdown(whole), card_html(whole)):
        assert level not in card and "colour (private)" in card


TEXT = st.text(max_size=40) | st.text(
    st.sampled_from("|`\n\r\t\"'<>&:#-*_[]()!{}\\~%@,?$=0 aé\u2028\x85\x00"), max_size=30
)
HARD = [
    "a | b", "```\n# x", "<script>alert(1)</script>", "---\nlicense: mit\n---", "'; \"", "no",
    "&lt;", "[x](javascript:alert(1))", "![](http://x)", "- x", "1. x", "{{ x }}", "%YAML",
]  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    column=TEXT | st.sampled_from(HARD),
    owner_says=TEXT | st.sampled_from(HARD),
    level=TEXT | st.sampled_from(HARD),
)
def test_hostile_text_stays_text(
    released: mw.Released, column: str, owner_says: str, level: str
) -> None:
    told = dict.fromkeys(FILLED, owner_says)
    dataset = with_columns(dataset_of(released), "colour", name=column, levels=(level,))
    target = msgspec.structs.replace(dataset.schema.target, name=column, levels=(level, "no"))
    dataset = msgspec.structs.replace(
        dataset,
        source=f"data/{column}",
        schema=msgspec.structs.replace(dataset.schema, target=target),
    )
    manifest = msgspec.structs.replace(card_input(released).manifest, example={column: level})
    seen = evaluation(
        released,
        slices=(Slice(f"{column} is {level}", (column,), 3, 0.5, Interval(0.3, 0.2, 0.4), 0.01),),
        notes=(level,),
    )
    whole = card_input(released, spec=told, dataset=dataset, manifest=manifest, evaluation=seen)
    whole = dataclasses.replace(whole, practices=score_of(whole))
    card = card_markdown(whole)
    matter = front_matter(card)
    assert matter["model-index"][0]["results"][0]["task"]["name"] == f"predict {column}"
    headings, code = [], []
    for token in READER.parse(body(card)):
        assert "html" not in token.type and token.type != "hr"
        if token.type == "fence":
            code.append(token.content)
        for child in token.children or []:
            assert child.type in ("text", "text_special", "softbreak"), child
        if token.type == "heading_open" and token.tag == "h2":
            headings.append(token.tag)
    assert len(headings) == len(SECTIONS) + 1 and len(code) == 3
    assert json.loads(shlex.split(code[2])[-1]) == {"rows": [{column: level}]}
    page = Page(card_html(whole))
    assert "script" not in page.seen and not page.links
