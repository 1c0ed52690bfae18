"""Equal after the intake is equal, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelwright.core.intake import feeds_from_columns, feeds_from_rows
from modelwright.core.schema import Column, Schema, Target
from modelwright.pack.artefact import Answers
from modelwright.serve.cache import LONGEST_ROW, Cache, NoCache, cache_of
from modelwright.serve.settings import Caching, Source
from serve.running import Running, serving, until
from serve.versions import Shop, row_of

SCHEMA = Schema(
    (
        Column("age", "number", nullable=True, missing=("-999",)),
        Column("job", "category", nullable=True, spellings={"Nurse": "nurse"}),
        Column("member", "boolean", nullable=True),
        Column("since", "datetime", nullable=True),
    ),
    Target("y", "regression"),
)
NAMES = [column.name for column in SCHEMA.features]
ROW = {"age": 39, "job": "nurse", "member": True, "since": "2020-01-01T00:00:00"}


def answer(value: float) -> Answers:
    return Answers(SCHEMA, values=np.array([value]))


def cache(rows: int = 3, ttl: float = 10.0) -> Cache:
    return Cache(NAMES, rows, ttl)


def key(row: dict[str, object]) -> object:
    return cache().key(feeds_from_rows(SCHEMA, [row]), 1)


@pytest.mark.parametrize(
    "same",
    [
        {"age": 39.0}, {"job": " Nurse "}, {"member": "yes"}, {"member": 1},
        {"since": "2020-01-01T01:00:00+01:00"},
    ],
)  # fmt: skip
def test_spellings_of_one_row_are_one_entry(same: dict[str, object]) -> None:
    assert key(ROW | same) == key(ROW)


def test_the_kinds_of_missing_are_one_and_zeros_have_no_sign() -> None:
    missing = [key(ROW | {"age": age}) for age in (None, float("nan"), -999)]
    assert missing[0] == missing[1] == missing[2] != key(ROW)
    assert key({k: v for k, v in ROW.items() if k != "age"}) == missing[0]
    assert key(ROW | {"job": ""}) == key(ROW | {"job": None})
    assert key(ROW | {"age": -0.0}) == key(ROW | {"age": 0})
    columns = feeds_from_columns(SCHEMA, {name: [ROW[name]] for name in reversed(NAMES)})
    assert cache().key(dict(reversed(columns.items())), 1) == key(ROW)


@pytest.mark.parametrize(
    "other", [{"age": 39.0000001}, {"job": "Nurse2"}, {"member": None}, {"since": "2020-01-02"}]
)
def test_other_rows_are_other_entries(other: dict[str, object]) -> None:
    assert key(ROW | other) != key(ROW)


def test_it_forgets_the_oldest_use_first_and_what_is_old() -> None:
    kept = cache(rows=2, ttl=10.0)
    one, two, three = (kept.key(feeds_from_rows(SCHEMA, [ROW | {"age": a}]), 1) for a in (1, 2, 3))
    kept.put(one, answer(1), 0.0)
    kept.put(two, answer(2), 0.0)
    assert kept.get(one, 1.0) is not None
    kept.put(three, answer(3), 1.0)
    assert kept.get(two, 1.0) is None and len(kept) == 2
    found = kept.get(one, 9.9)
    assert found is not None and found.values is not None and found.values.tolist() == [1]
    assert kept.get(one, 10.0) is None and kept.get(three, 10.0) is not None
    assert (kept.hits, kept.misses) == (3, 2)
    kept.put(one, answer(4), 10.0)
    assert kept.get(one, 19.0) is not None


def test_an_answer_is_kept_apart_from_its_batch_and_cannot_be_changed() -> None:
    kept = cache()
    batch = np.arange(1000.0)
    kept.put(("x",), Answers(SCHEMA, values=batch[3:4]), 0.0)
    batch[:] = -1
    found = kept.get(("x",), 1.0)
    assert found is not None and found.values is not None
    assert found.values.tolist() == [3.0] and found.values.base is None
    with pytest.raises(ValueError, match="read-only"):
        found.values[0] = 5


def test_several_rows_and_very_long_ones_are_not_remembered() -> None:
    kept = cache()
    assert kept.key(feeds_from_rows(SCHEMA, [ROW, ROW]), 2) is None
    assert kept.get(None, 0.0) is None and kept.misses == 0
    kept.put(None, answer(1), 0.0)
    kept.put(("x" * (LONGEST_ROW + 1),), answer(1), 0.0)
    assert len(kept) == 0


def test_off_is_an_object() -> None:
    off = cache_of(Caching(), NAMES)
    assert isinstance(off, NoCache) and not off.is_on and len(off) == 0
    assert off.key(feeds_from_rows(SCHEMA, [ROW]), 1) is None
    off.put(("x",), answer(1), 0.0)
    assert off.get(("x",), 0.0) is None and (off.hits, off.misses) == (0, 0)
    assert isinstance(cache_of(Caching(rows=5, ttl=1.0), NAMES), Cache)


def asked(running: Running, row: dict[str, object]) -> tuple[str, bool, object]:
    """Who answered a row, whether from the cache, and what."""
    reply = running.predict(row)
    assert reply.status == 200
    marked = reply.headers.get("x-modelwright-cache", "")
    assert marked in ("", "hit")
    body = reply.json()
    return body["version"], bool(marked), body["predictions"]


def test_over_http_a_second_ask_is_a_hit_until_another_version_answers(project: Path) -> None:
    shop = Shop(project)
    shop.add()
    source = Source(name="shop", project=str(project))
    row = row_of(3.0)
    with serving(project, source, cache=Caching(rows=100, ttl=3600.0)) as running:
        first = asked(running, row)
        assert first[:2] == ("1", False)
        assert asked(running, dict(reversed(row.items()))) == ("1", True, first[2])
        assert asked(running, row_of(4.0))[:2] == ("1", False)
        shop.move("2")
        ready = row_of(99.0)
        until(lambda: asked(running, ready)[0] == "2")
        after = asked(running, row)
        assert after[:2] == ("2", False) and after[2] != first[2]
        assert asked(running, row) == ("2", True, after[2])
        hits = 'modelwright_cache_hits_total{model="shop",version="%s"'
        assert running.metric(hits % "1") >= 2 and running.metric(hits % "2") >= 1
        misses = 'modelwright_cache_misses_total{model="shop",version="2"'
        assert running.metric(misses) == 2
