"""What of the spec agents may write."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents import call
from modelwright.core.errors import Refused, SpecError
from modelwright.ways_in.mcp.spec_guard import checked_spec


def text_of(shop: Path, more: str = "") -> str:
    return (shop / "modelwright.yaml").read_text() + more


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ("release: {policy: {champion: 'off'}}\n", "release.policy"),
        ("release: {undecided: allow, reason: x}\n", "release.undecided"),
        ("release: {champion_margin: 9}\n", "release.champion_margin"),
        ("release: {calibration_error: 0.9}\n", "release.calibration_error"),
        ("release: {fairness_difference: 0.9}\n", "release.fairness_difference"),
        ("expect: {colour: {regex: '(a|a)*z'}}\n", "expect.colour.regex"),
        ("watch: {alerts: [{to: webhook, url_env: X}]}\n", "watch.alerts"),
        ("watch: {act: [retrain]}\n", "watch.act"),
        ("serve: {host: 0.0.0.0}\n", "serve.host"),
        ("serve: {journal: {to: 's3://bucket/j'}}\n", "serve.journal.to"),
        ("watch: {server: 'http://10.0.0.7:1'}\n", "watch.server"),
    ],
)
def test_what_is_for_people(shop: Path, more: str, key: str) -> None:
    with pytest.raises((Refused, SpecError)) as refused:
        checked_spec(text_of(shop, more), shop)
    if isinstance(refused.value, Refused):
        assert refused.value.evidence["key"] == key
    else:
        pytest.fail(f"{more} is no spec: {refused.value}")
    (shop / "modelwright.yaml").write_text(text_of(shop, more))
    checked_spec(text_of(shop), shop)  # a person wrote it, so it may stay


@pytest.mark.parametrize(
    "read", ["skip_rows: 561", "skip_footer: 9", "header: false", "comment: s", "quote: m"]
)
def test_no_row_is_made_the_names_of_columns(shop: Path, read: str) -> None:
    text = text_of(shop).replace("source:", f"read: {{{read}}}, source:")
    with pytest.raises(Refused) as refused:
        checked_spec(text, shop)
    assert refused.value.evidence["key"] == f"data.read.{read.split(':')[0]}"
    (shop / "modelwright.yaml").write_text(text)
    checked_spec(text, shop)
    checked_spec(text.replace(f"read: {{{read}}}, ", ""), shop)


def test_a_wrong_kind_tells_no_values(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    text = text_of(shop).replace("target: bought, positive: 'yes'", "target: member")
    text = text.replace("source:", "kinds: {bought: number}, source:")
    (shop / "modelwright.yaml").write_text(text)  # another target is a person's to name
    found = call("check")
    assert found["problems"][0] == "row 0, column 'bought': wanted a number, found (value left out)"
    assert "'no'" not in str(found)
    assert "'yes'" not in str(found)


def test_findings_of_the_data_are_accepted_by_people(shop: Path) -> None:
    text = text_of(shop).replace("source:", "accept: {leakage: all}, source:")
    with pytest.raises(Refused) as refused:
        checked_spec(text, shop)
    assert refused.value.evidence["key"] == "data.accept"


@pytest.mark.parametrize("key", ["private", "protected"])
def test_columns_that_people_named_stay_named(shop: Path, key: str) -> None:
    more = text_of(shop).replace("source:", f"{key}: [colour, member], source:")
    checked_spec(more, shop)
    (shop / "modelwright.yaml").write_text(more)
    with pytest.raises(Refused) as refused:
        checked_spec(more.replace("[colour, member]", "[colour]"), shop)
    assert refused.value.evidence["key"] == f"data.{key}"
    checked_spec(more.replace("[colour, member]", "[colour, member, big]"), shop)


@pytest.mark.parametrize(
    "more", ["canary: {minimum: 0 s, alpha: 0.9}", "retrain: {on: [labels], labels: 1}"]
)
def test_a_watch_that_acts_is_for_people(shop: Path, more: str) -> None:
    checked_spec(text_of(shop, f"watch: {{{more}}}\n"), shop)
    acts = "watch: {act: [canary, promote, retrain]"
    (shop / "modelwright.yaml").write_text(text_of(shop, f"{acts}}}\n"))
    text = text_of(shop)
    checked_spec(text, shop)
    with pytest.raises(Refused) as refused:
        checked_spec(text.replace(acts, f"{acts}, {more}"), shop)
    assert refused.value.evidence["key"] == "watch"


@pytest.mark.parametrize(
    "source", ["/etc/passwd", "../x.csv", "https://e.example/t.csv", "*.csv", "os:id"]
)
def test_a_source_outside_of_the_project(shop: Path, source: str) -> None:
    text = text_of(shop).replace("shop.csv", source)
    with pytest.raises(Refused) as refused:
        checked_spec(text.replace(f"source: {source}", f"source: '{source}'"), shop)
    assert refused.value.rule == "scratch_only"


def test_own_code_is_for_people(shop: Path) -> None:
    text = text_of(shop).replace("[lightgbm]", "['os:system']")
    with pytest.raises((Refused, SpecError)):
        checked_spec(text, shop)
    made, changed = checked_spec(text_of(shop).replace("[lightgbm]", "[linear]"), shop)
    assert made.spec.fit.families == ["linear"]
    assert changed == ["fit.families: ['lightgbm'] -> ['linear']"]


def test_the_tool_tells_every_problem_and_writes_nothing(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop)
    before = text_of(shop)
    found = call("spec_write", {"text": "name: 3 x\ndata: {sorce: a}\nfit: {bugdet: 1}\n"})
    assert found["status"] == "refused"
    assert found["code"] == "SpecError"
    assert len(found["problems"]) >= 3
    assert text_of(shop) == before
    found = call("spec_write", {"text": before + "intent: Ranks.\n"})
    assert found["changed"] == ["intent: '' -> 'Ranks.'"]
    assert text_of(shop).endswith("intent: Ranks.\n")


def test_a_first_spec(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,2\n")
    made, changed = checked_spec("name: m\ndata: {source: t.csv, target: y}\n", tmp_path)
    assert made.spec.name == "m"
    assert changed
    with pytest.raises(Refused):
        text = "name: m\ndata: {source: t.csv, target: y}\nserve: {host: 0.0.0.0}\n"
        checked_spec(text, tmp_path)
