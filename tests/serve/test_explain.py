"""Contributions add up to the answer and are Shapley's where those are known."""

from __future__ import annotations

import time

import msgspec
import numpy as np
import pytest

import modelwright as mw
from modelwright.core.intake import feeds_from_rows
from modelwright.core.schema import Column, Schema, Target
from modelwright.serve.explain import explain
from modelwright.serve.messages import ProtocolError
from projects import mixed_table
from serve.alive import Formula, Loaded


def formula(released: mw.Released, columns: int) -> Formula:
    names = [*"abc", *(f"idle{number}" for number in range(columns - 3))]
    schema = Schema(tuple(Column(name, "number") for name in names), Target("y", "regression"))
    manifest = Loaded(mw.load(str(released.run / "artefact"))).manifest
    example = dict.fromkeys(names, 1.0)
    return Formula(schema, msgspec.structs.replace(manifest, schema=schema, example=example))


@pytest.mark.parametrize("columns", [3, 9, 30])
def test_a_formula_has_the_values_that_are_known(released: mw.Released, columns: int) -> None:
    live = formula(released, columns)
    rows = [{name: float(2 + number) for number, name in enumerate(live.manifest.example)}] * 2
    rows[1] = {**rows[0], "a": 1.0}
    feeds = feeds_from_rows(live.schema, rows)
    found = explain(live, feeds, live.run(feeds))
    # b and c: each gains half of what it gains before and after the other
    b, c = 3 * (3 - 1) * (1 + 4) / 2, 3 * (4 - 1) * (1 + 3) / 2
    wanted = np.zeros((2, columns))
    wanted[:, 0], wanted[:, 1], wanted[:, 2] = [2, 0], b, c
    np.testing.assert_allclose(found.contributions, wanted, atol=1e-9)
    np.testing.assert_allclose(found.base, 5)
    assert (found.errors == 0).all() or columns > 9
    assert found.errors.max() < 1e-9  # antithetic orders are exact for pairs of columns


def test_contributions_of_a_real_model_add_up(released: mw.Released) -> None:
    live = Loaded(mw.load(str(released.run / "artefact")))
    feeds = feeds_from_rows(live.schema, mixed_table(20, seed=3).drop("bought").to_dicts())
    answers = live.run(feeds)
    live.runs = 0
    for pairs in (16, 1):  # five columns are done exactly with the one, by orders with the other
        found = explain(live, feeds, answers, pairs=pairs)
        assert answers.probabilities is not None and answers.codes is not None
        given = answers.probabilities[np.arange(20), answers.codes]
        total = found.base + found.contributions.sum(axis=1)
        np.testing.assert_allclose(total, given, rtol=0, atol=1e-12)
    assert live.runs == 2 and found.names == ("size, cm", "colour", "big", "member", "start")


def test_samples_come_near_the_exact_values_and_their_errors_say_how_near(
    released: mw.Released,
) -> None:
    live = Loaded(mw.load(str(released.run / "artefact")))
    feeds = feeds_from_rows(live.schema, mixed_table(30, seed=4).drop("bought").to_dicts())
    answers = live.run(feeds)
    exact = explain(live, feeds, answers)
    sampled = explain(live, feeds, answers, pairs=2)
    assert (exact.errors == 0).all() and (sampled.errors > 0).any()
    apart = np.abs(sampled.contributions - exact.contributions)
    assert apart.max() < 0.2 and (apart <= 4 * sampled.errors + 1e-9).mean() > 0.7
    again = explain(live, feeds, answers, pairs=2)
    np.testing.assert_array_equal(again.contributions, sampled.contributions)


def test_the_typical_row_and_missing_values(released: mw.Released) -> None:
    live = Loaded(mw.load(str(released.run / "artefact")))
    feeds = feeds_from_rows(live.schema, [live.manifest.example])
    found = explain(live, feeds, live.run(feeds))
    assert not found.contributions.any()
    gaps = feeds_from_rows(live.schema, [{"big": 3e7, "member": None}])
    answers = live.run(gaps)
    found = explain(live, gaps, answers)
    assert np.isfinite(found.contributions).all() and found.contributions.any()


def test_it_ends_with_the_time_of_the_request(released: mw.Released) -> None:
    live = Loaded(mw.load(str(released.run / "artefact")))
    feeds = feeds_from_rows(live.schema, mixed_table(200, seed=3).drop("bought").to_dicts())
    answers = live.run(feeds)
    live.runs = 0
    whole = explain(live, feeds, answers, until=time.perf_counter() + 60)
    runs, live.runs = live.runs, 0
    assert runs > 1, "so many rows take several runs"
    part = explain(live, {name: v[:3] for name, v in feeds.items()}, live.run(
        {name: v[:3] for name, v in feeds.items()}))  # fmt: skip
    np.testing.assert_allclose(part.contributions, whole.contributions[:3], atol=1e-9)
    live.runs = 0
    with pytest.raises(ProtocolError, match="Ask for fewer rows") as late:
        explain(live, feeds, answers, until=time.perf_counter())
    assert late.value.status == 504 and live.runs == 0


def test_too_much_work_is_refused(released: mw.Released) -> None:
    live = Loaded(mw.load(str(released.run / "artefact")))
    feeds = feeds_from_rows(live.schema, [live.manifest.example] * 2000)
    with pytest.raises(ProtocolError, match="at most 1,041 rows are explained") as caught:
        explain(live, feeds, live.run(feeds))
    assert caught.value.status == 413
