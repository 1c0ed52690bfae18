"""The spec: five lines suffice, and everything wrong is said at once with its place."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from modelwright.core.errors import SpecError
from modelwright.core.limits import METRICS
from modelwright.core.spec_file import SpecFile, parse_spec, read_spec, spec_json_schema
from projects import EXAMPLES

FIVE_LINES = "name: a\ndata:\n  source: a.csv\n  target: y\ngoal: roc_auc\n"


def parse(text: str, *overrides: str) -> SpecFile:
    return parse_spec(text, Path("modelwright.yaml"), overrides)


def problems(text: str, *overrides: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse(text, *overrides)
    return str(caught.value)


def test_five_lines_suffice() -> None:
    spec = parse(FIVE_LINES).spec
    assert spec.data.split.method == "auto"
    assert spec.fit.budget == "60s"
    assert spec.serve.host == "127.0.0.1"


def test_everything_wrong_is_said_at_once_with_line_and_column() -> None:
    text = problems(
        "name: not ok!\ndat: 1\ndata:\n  source: a.csv\n  tagret: y\n"
        "goal: auc_roc\nlimits:\n  latency_p95: 10\n  f1: '<= 0.2'\nfit: {budget: soon}\n"
    )
    assert "line 1, column 1: name: wanted up to 64 letters" in text
    assert "line 2, column 1: unknown key 'dat'; did you mean 'data'?" in text
    assert "line 3, column 1: 'data.target' is missing" in text
    assert "line 5, column 3: unknown key 'data.tagret'; did you mean 'target'?" in text
    assert "line 6, column 1: goal: unknown metric 'auc_roc'" in text
    assert "line 8, column 3: limits.latency_p95: " in text and "has no unit" in text
    assert "line 9, column 3: limits.f1: higher is better, so write '>= 0.2'" in text
    assert "line 10, column 7: fit.budget: wanted a time such as '60s' or '40 trials'" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must hold keys"),
        ("- a\n- b\n", "must hold keys"),
        ("name: [a\n", "is not YAML"),
        ("name: a\nname: b\n", "duplicate key"),
        ("name: a\ndata: none\n", "data: "),
        (FIVE_LINES + "limits: 5\n", "limits: "),
        (FIVE_LINES + "limits: {speed: 5}\n", "unknown metric 'speed'"),
        (FIVE_LINES + "limits: {f1: {at_most: 5}}\n", "use at_least"),
        (FIVE_LINES + "limits: {size: {slices: {a: 1 MB}}}\n", "are for quality metrics"),
        (FIVE_LINES + "limits: {memory: 5 ms}\n", "unknown unit 'ms'"),
        (FIVE_LINES + "fit: {families: []}\n", "fit.families"),
        (FIVE_LINES + "fit: {budget: 0 trials}\n", "at least 1 trial"),
        (FIVE_LINES + "fit: {interval: 90}\n", "such as 0.9 or 90 %, found 90"),
        (FIVE_LINES + "fit: {interval: wide}\n", "such as 0.9 or 90 %, found 'wide'"),
        (FIVE_LINES + "fit: {interval: 100 %}\n", "such as 0.9 or 90 %, found '100 %'"),
        (FIVE_LINES + "fit: {interval: true}\n", "such as 0.9 or 90 %, found True"),
        (FIVE_LINES + "limits: {accuracy: 85}\n", "did you mean '85 %'?"),
        (FIVE_LINES + "limits: {accuracy: true}\n", "wanted a quantity"),
        (FIVE_LINES + "release: {alpha: 0.9}\n", "less than 0.5"),
        (FIVE_LINES.replace("name: a", 'name: "a\\n"'), "wanted up to 64 letters"),
        (FIVE_LINES + "serve: {port: 99999}\n", "serve.port"),
    ],
)
def test_each_mistake_has_a_message(text: str, said: str) -> None:
    assert said in problems(text)


@pytest.mark.parametrize("split", ["{method: group}", "{method: random, by: a}", "{holdout: 1.5}"])
def test_splits_that_make_no_sense(split: str) -> None:
    text = FIVE_LINES.replace("  target: y\n", f"  target: y\n  split: {split}\n")
    assert "line 5, column" in problems(text) and ": data.split" in problems(text)


def test_units_become_base_units() -> None:
    more = (
        "limits:\n  latency_p95: 10 ms\n  throughput: 1000 /s\n  memory: 500 MB\n  size: 2 MiB\n"
        "  accuracy: 92 %\n  "
        "log_loss: {at_most: 0.5, slices: {sex: 0.6}, worse_than_champion: 0.01}\n"
    )
    found = parse(FIVE_LINES + more).spec.parsed_limits()
    assert [limit.bound for limit in found] == [0.01, 1000, 5e8, 2**21, 0.92, 0.5, 0.6, 0.01]
    assert found[6].slice_column == "sex" and found[7].relative


def swelling(start: str, each: str) -> str:
    """Eight lines that aliases make a billion entries of; `each` holds the line above nine times"""
    lines = [f"k0: &k0 {start}"]
    for n in range(1, 9):
        above = ", ".join([f"*k{n - 1}"] * 9)
        lines.append(f"k{n}: &k{n} {each.format(above)}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        swelling("[x, x, x, x, x, x, x, x, x]", "[{}]"),
        swelling("{x: 1}", "{{<<: [{}]}}"),
        swelling("[x, x, x, x, x, x, x, x, x]", f"{'[' * 20}{{}}{']' * 20}"),
        FIVE_LINES + "fit: {params: {lightgbm: &a [*a, *a]}}\n",
    ],
    ids=["lists", "merged", "deep", "circle"],
)
def test_aliases_do_not_swell(text: str) -> None:
    assert "aliases repeat more than 10,000 entries" in problems(text)


def test_aliases_are_taken() -> None:
    found = parse(FIVE_LINES + "fit:\n  budget: &a 5 trials\nintent: *a\n").spec
    assert found.intent == "5 trials"


def test_words_that_yaml_1_1_would_change() -> None:
    spec = parse("name: a\ndata: {source: a.csv, target: y, positive: yes}\n").spec
    assert spec.data.positive == "yes"


def test_every_key_can_be_overridden_and_is_recorded() -> None:
    found = parse(FIVE_LINES, "fit.budget=10s", "data.drop=[a, b]", "limits.f1=0.5")
    assert found.spec.fit.budget == "10s"
    assert found.spec.data.drop == ["a", "b"]
    assert found.overrides == {"fit.budget": "10s", "data.drop": "[a, b]", "limits.f1": "0.5"}
    assert found.digest != parse(FIVE_LINES).digest


@pytest.mark.parametrize("override", ["budget", "=1", "fit.threads=many", "fit.nothing=1", "a.b=["])
def test_wrong_overrides_are_named(override: str) -> None:
    text = FIVE_LINES + "fit: {threads: 2}\n"
    assert "--set" in problems(text, override)
    assert "--set" in problems(FIVE_LINES, override)


def test_digest_does_not_depend_on_layout() -> None:
    assert parse(FIVE_LINES).digest == parse("goal: roc_auc\n\n" + FIVE_LINES[:-14]).digest


def test_absent_file_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="modelwright init"):
        read_spec(tmp_path / "modelwright.yaml")


def test_json_schema_is_published_and_current() -> None:
    schema = spec_json_schema()
    assert set(schema["properties"]) >= {"name", "data", "limits", "fit", "serve", "watch"}
    published = Path(__file__).parents[2] / "docs" / "modelwright.schema.json"
    assert json.loads(published.read_text()) == schema, "run: make docs"


@given(st.text(max_size=200))
def test_no_text_makes_anything_but_a_spec_error(text: str) -> None:
    with pytest.raises(SpecError):
        parse(text + "\n{")


@given(
    st.sampled_from(sorted(METRICS)), st.one_of(st.text(max_size=20), st.floats(), st.integers())
)
def test_no_limit_makes_anything_but_a_spec_error(metric: str, value: object) -> None:
    document = json.dumps(
        {"name": "a", "data": {"source": "a", "target": "b"}, "limits": {metric: value}}
    )
    with contextlib.suppress(SpecError):
        parse(document)


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.glob("*/modelwright.yaml")), ids=lambda p: p.parent.name
)
def test_the_json_schema_takes_what_the_parser_takes(path: Path) -> None:
    Draft202012Validator.check_schema(spec_json_schema())
    validator = Draft202012Validator(spec_json_schema())
    validator.validate(YAML(typ="safe", pure=True).load(path.read_text()))
    short = {"name": "a", "data": {"source": "a", "target": "b", "split": "auto", "drop": "c"},
             "serve": {"max_body": "16 MiB"}}  # fmt: skip
    validator.validate(short)
    assert not validator.is_valid({**short, "nmae": 1})


@pytest.mark.parametrize(("given", "level"), [("0.9", 0.9), ("90 %", 0.9), ("95%", 0.95)])
def test_the_level_of_intervals_is_a_share_or_a_percentage(given: str, level: float) -> None:
    assert parse(FIVE_LINES + f"fit: {{interval: {given}}}\n").spec.fit.interval == level


def test_metrics_of_another_task_are_refused_before_the_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "modelwright.yaml"
    path.write_text(
        "name: y\ndata: {source: t.csv, target: y, task: regression}\ngoal: accuracy\n"
        "limits: {roc_auc: 0.9, mae: 3, size: 1 MB}\n"
    )
    with pytest.raises(SpecError) as error:
        read_spec(path)
    goal, limit = error.value.problems
    assert "line 3" in goal and "accuracy is no metric of regression models; known: mae" in goal
    assert "line 4" in limit and "roc_auc is no metric" in limit
