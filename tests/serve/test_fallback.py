"""Who answers instead of a version that fails, marked and counted; and constants that fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import modelwright as mw
from modelwright.core.errors import UsageError
from modelwright.core.schema import Schema, Target
from modelwright.release.audit import FILE
from modelwright.serve.fallback import Constant
from modelwright.serve.settings import Breaking, Source
from serve.running import Reply, Running, serving, until
from serve.versions import TRIGGER, Shop, row_of


def schema(task: str, kind: str = "number", levels: tuple[str, ...] = (), **more: float) -> Schema:
    return Schema((), Target("t", task, kind, levels, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "levels", "value", "answer"),
    [
        ("string", ("no", "yes"), "yes", "yes"),
        ("integer", ("0", "1"), 1, 1),
        ("integer", ("0", "1"), "1", 1),
        ("boolean", ("false", "true"), False, False),
        ("boolean", ("no", "yes"), True, True),
        ("string", ("a", "b", "c"), "b", "b"),
    ],
)
def test_a_label_in_the_type_of_the_data(
    kind: str, levels: tuple[str, ...], value: object, answer: object
) -> None:
    found = Constant(schema("binary", kind, levels), value).answer(3)  # type: ignore[arg-type]
    assert found.predictions() == [answer] * 3
    assert type(found.predictions()[0]) is type(answer)
    assert found.probabilities is not None
    assert found.probabilities.sum(axis=1).tolist() == [1.0] * 3


def test_a_value() -> None:
    assert Constant(schema("regression"), 3).answer(2).columns() == {"prediction": [3.0, 3.0]}
    found = Constant(schema("regression", interval=0.9), 3.5).answer(1)
    assert found.columns() == {"prediction": [3.5], "low": [3.5], "high": [3.5]}


@pytest.mark.parametrize(
    ("made", "value", "said"),
    [
        (schema("binary", "string", ("no", "yes")), "maybe", "Its labels: 'no', 'yes'"),
        (schema("binary", "integer", ("0", "1")), True, "no label of t"),
        (schema("binary", "boolean", ("false", "true")), 1, "no label of t"),
        (schema("binary", "string", ("no", "yes")), None, "no label of t"),
        (schema("regression"), "3", "t is a number"),
        (schema("regression"), True, "t is a number"),
        (schema("regression"), float("nan"), "t is a number"),
    ],
)
def test_what_does_not_fit_is_refused(made: Schema, value: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Constant(made, value)  # type: ignore[arg-type]


GOOD, BAD = row_of(10.0), row_of(TRIGGER)
NEVER = Breaking(least=100_000)
"""Here every answer is that of a run: no version is out."""


@pytest.fixture
def shop(project: Path) -> Shop:
    return Shop(project)


def served(shop: Shop, **settings: Any) -> Any:
    source = Source(name="shop", project=str(shop.project))
    return serving(shop.project, source, **{"breaker": NEVER, **settings})


def mark(reply: Reply) -> str:
    """Who stood in; the same in the header and in the body."""
    assert reply.status == 200, reply.body
    found = reply.headers.get("x-modelwright-fallback", "")
    assert reply.json().get("fallback", "") == found
    return found


def counted(running: Running, kind: str) -> float:
    return running.metric(f'modelwright_fallback_total{{kind="{kind}",model="shop"')


def test_without_a_champion_before_the_baseline_answers(shop: Shop) -> None:
    bad = shop.add(fails=True, baseline=True)
    shop.move(bad)
    (shop.project / FILE).unlink()  # as where the registry was changed from elsewhere
    folder = shop.template.with_name("baseline")
    [wanted] = mw.Artefact.load(folder).predict([BAD])
    with served(shop) as running:
        assert mark(running.predict(GOOD)) == "" and counted(running, "baseline") == 0
        replies = [running.predict(BAD) for _ in range(5)]
        assert {mark(reply) for reply in replies} == {"baseline"}
        for reply in replies:
            assert reply.json()["predictions"] == [pytest.approx(wanted)]
            assert reply.headers["x-modelwright-version"] == "baseline"
        assert counted(running, "baseline") == 5 and counted(running, "previous") == 0
        assert running.predict(BAD, x_modelwright_version=bad).status == 503  # pinned: nobody else


def test_a_canary_that_fails_falls_back_to_the_champion(shop: Shop) -> None:
    bad = shop.add(fails=True)
    with served(shop) as running:
        mw.canary("shop", bad, weight=0.5, folder=shop.project)
        until(lambda: running.predict(GOOD).headers.get("x-modelwright-arm") == "canary")
        replies = [running.predict(BAD) for _ in range(40)]
        stood_in = [reply for reply in replies if mark(reply)]
        assert {mark(reply) for reply in stood_in} == {"champion"}
        assert {reply.json()["version"] for reply in replies} == {"1"}
        assert {reply.json()["arm"] for reply in stood_in} == {"canary"}
        assert counted(running, "champion") == len(stood_in)


@pytest.mark.slow
def test_they_are_asked_in_the_order_of_the_spec(shop: Shop) -> None:
    good, failing = shop.add(), shop.add(fails=True)
    bad = shop.add(fails=True, baseline=True)

    def answers_by(*fallback: str) -> str:
        with served(shop, fallback=fallback, constant="no") as running:
            found = mark(running.predict(BAD))
            assert counted(running, found) == 1
            return found

    for version in (good, bad):
        mw.promote("shop", version, why="test", folder=shop.project)
    assert answers_by("previous", "baseline", "constant") == "previous"
    assert answers_by("baseline", "previous", "constant") == "baseline"
    for version in (failing, bad):  # now the one before fails as well
        mw.promote("shop", version, why="test", folder=shop.project)
    assert answers_by("previous", "baseline", "constant") == "baseline"
    assert answers_by("previous", "constant") == "constant"
