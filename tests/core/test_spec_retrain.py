"""What `watch.retrain` takes and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelwright.core.errors import SpecError
from modelwright.core.spec_file import parse_spec
from modelwright.core.spec_retrain import RetrainSpec

HEAD = "name: m\ndata: {source: t.csv, target: y}\nwatch: {retrain: {%s}}\n"


def read(text: str) -> RetrainSpec:
    return parse_spec(HEAD % text, Path("modelwright.yaml")).spec.watch.retrain


def test_what_is_not_said() -> None:
    found = read("")
    assert found.on == ["quality", "limit"] and found.most_a_day == 1
    assert (found.data, found.window, found.recent_rows) == ("journal", None, 1000)
    assert found.recent_seconds is None


def test_times_and_rows() -> None:
    found = read("on: [age, schedule, labels], age: 30 d, every: 7 d, labels: 500, window: 12 h")
    assert (found.age, found.every, found.window) == (30 * 86_400, 7 * 86_400, 12 * 3600)
    assert read("recent: '2,500 rows'").recent_rows == 2500
    by_time = read("recent: 36 h")
    assert by_time.recent_seconds == 36 * 3600 and by_time.recent_rows is None


def test_it_is_the_same_after_json() -> None:
    for text in ("recent: 0.1 s", "recent: 1 row", "on: [age], age: 1 d"):
        found = read(text)
        assert RetrainSpec.model_validate(found.model_dump(mode="json")) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("on: [age]", "on names age, so give watch.retrain.age"),
        ("on: [schedule]", "give watch.retrain.every"),
        ("on: [labels]", "give watch.retrain.labels"),
        ("on: [limit, limit]", "one of them twice"),
        ("on: [feature drift]", "feature drift"),
        ("recent: 1000", "wanted '1000 rows' or a time"),
        ("recent: 0 rows", "at least 1 row"),
        ("recent: 0 s", "longer than 0 s"),
        ("recent: 5 apples", "wanted '1000 rows'"),
        ("most_a_day: -1", "most_a_day"),
        ("labels: 0, on: [labels]", "labels"),
        ("dta: source", "did you mean 'data'"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(text)
    assert said in str(caught.value)


def test_a_column_of_sealed_rows_needs_no_method_of_its_own() -> None:
    text = "name: m\ndata: {source: t.csv, target: y, split: {method: time, sealed: s}}\n"
    split: Any = parse_spec(text, Path("modelwright.yaml")).spec.data.split
    assert (split.method, split.sealed) == ("time", "s")
