"""Exact by construction, and proved: the packed graph answers as the library does."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit import exam
from modelwright.core.schema import MISSING_TIME, Column, Schema, Target
from modelwright.core.table import Table
from modelwright.data.kinds import describe
from modelwright.fit.calendar import calendar
from modelwright.fit.decision import Affine
from modelwright.fit.families.catboost import before_float32
from modelwright.fit.families.lightgbm import ZERO, flushed
from modelwright.fit.family import FAMILIES, FitJob, family_of
from modelwright.fit.features import Encoder, NumberSource, fit_encoder
from modelwright.fit.pipeline import Member, Pipeline
from modelwright.pack.convert import convert
from modelwright.pack.guard import ALLOWED
from modelwright.pack.inputs import matrices
from modelwright.pack.parity import TIE, edge_rows

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize("task", exam.TASKS)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_converts_exactly(name: str, task: str) -> None:
    pipeline, table = exam.train(family_of(name), task)
    converted = convert(pipeline)
    session = ort.InferenceSession(converted.model.SerializeToString())
    output = "value" if task == "regression" else "probabilities"
    for feeds in (table.feeds, edge_rows(pipeline, table.feeds, seed=0)):
        given = matrices(feeds, converted.inputs)
        [found] = session.run([converted.outputs[output]], given)
        wanted = pipeline.answer(feeds)
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12, equal_nan=True)
        if task != "regression":
            [labels] = session.run([converted.outputs["label"]], given)
            levels = np.array(pipeline.schema.target.levels)
            top = np.sort(wanted, axis=1)
            clear = top[:, -1] - top[:, -2] > TIE
            assert (labels == levels[wanted.argmax(axis=1)])[clear].all()


def towns(task: str, rows: int = 1500) -> tuple[Schema, Table]:
    """Two categories of many levels whose sets decide, one with gaps, and a number."""
    rng = np.random.default_rng(4)
    names = np.array([f"town {n}" for n in range(40)] + [""], dtype=object)
    town, shop = rng.integers(0, 41, rows), rng.integers(0, 12, rows)
    number = rng.normal(size=rows)
    score = np.isin(town, rng.permutation(41)[:20]) * 2.0 + np.isin(shop, (1, 4, 7)) + number
    feeds = {"town": names[town], "number": number, "shop": names[shop],
             "rare": np.where(rng.random(rows) < 0.5, "x", "y").astype(object)}  # fmt: skip
    kinds = ("category", "number", "category", "category")
    columns = tuple(
        describe(Column(name, kind), values)
        for (name, values), kind in zip(feeds.items(), kinds, strict=True)
    )
    levels = {"binary": ("n", "y"), "multiclass": ("a", "b", "c"), "regression": ()}[task]
    target = np.digitize(score, [1.0, 2.0][: len(levels) - 1]) if levels else score
    return Schema(columns, Target("y", task, "string", levels)), Table(feeds, target)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("most", [15, 255])
def test_splits_on_sets_of_levels_convert_exactly(task: str, most: int) -> None:
    """Native categories beside one-hot columns and target means: known, missing, unseen levels."""
    schema, table = towns(task)
    family = family_of("lightgbm")
    encoder, x = fit_encoder(schema, table, family.encoding.changed({"native_levels": most}), 0)
    assert len(encoder.categories) == (3 if most == 255 else 2)
    job = FitJob(x=x, y=table.target, task=schema.target.task, seed=0, threads=1, rounds=40,
                 classes=max(1, len(schema.target.levels)), params={"max_cat_to_onehot": 2},
                 categories=encoder.categories)  # fmt: skip
    model = family.fit(job)
    assert len(model.decision().subsets) > 5
    pipeline = Pipeline(schema, (Member("lightgbm", encoder, model),))
    converted = convert(pipeline)
    session = ort.InferenceSession(converted.model.SerializeToString())
    debug = convert(pipeline, with_features=True)
    shown = ort.InferenceSession(debug.model.SerializeToString())
    for feeds in (table.feeds, edge_rows(pipeline, table.feeds, seed=0)):
        given = matrices(feeds, converted.inputs)
        output = "value" if task == "regression" else "probabilities"
        [found] = session.run([converted.outputs[output]], given)
        np.testing.assert_allclose(found, pipeline.answer(feeds), rtol=1e-9, atol=1e-12)
        [features] = shown.run([debug.outputs["features 0"]], given)
        np.testing.assert_array_equal(features, encoder.transform(feeds))
    operators = {node.op_type for node in converted.model.graph.node}
    assert operators <= ALLOWED[""] | ALLOWED["ai.onnx.ml"]


@given(FINITE, st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_catboost_thresholds_decide_as_float32_does(x: float, border: float) -> None:
    with np.errstate(over="ignore"):
        assert (x <= before_float32(border)) == (np.float32(x) <= np.float32(border))


@given(st.floats(-1e-34, 1e-34), st.floats(-1e-34, 1e-34))
def test_lightgbm_thresholds_decide_as_its_reader_does(x: float, threshold: float) -> None:
    read = 0.0 if abs(x) <= ZERO else x
    assert (x <= flushed(threshold)) == (read <= threshold)


def calendar_graph() -> tuple[ort.InferenceSession, Pipeline]:
    """A graph that gives the parts of a date-time as its features."""
    parts = calendar(np.array([0]))
    sources = tuple(NumberSource("t", part) for part in parts)
    schema = Schema((Column("t", "datetime"), Column("u", "number")), Target("y", "regression"))

    class Model:
        rounds = 0
        settled: dict[str, float] = {}

        def answer(self, x: np.ndarray) -> np.ndarray:
            return x.sum(axis=1)

        def decision(self) -> Affine:
            return Affine(np.ones((len(sources), 1)), np.zeros(1), "identity")

    pipeline = Pipeline(schema, (Member("sum", Encoder(sources, None, ()), Model()),))
    converted = convert(pipeline, with_features=True)
    return ort.InferenceSession(converted.model.SerializeToString()), pipeline


GRAPH, CALENDAR = calendar_graph()


@settings(max_examples=300)
@given(st.datetimes())
def test_the_calendar_is_the_same_in_numpy_in_the_graph_and_in_python(moment: object) -> None:
    value = np.array([np.datetime64(moment, "us")]).astype(np.int64)
    found = {name: values[0] for name, values in calendar(value).items()}
    assert (found["year"], found["month"], found["day"], found["hour"], found["minute"]) == (
        moment.year, moment.month, moment.day, moment.hour, moment.minute,
    )  # fmt: skip
    assert found["weekday"] == moment.weekday()
    [graph] = GRAPH.run(["features_0"], {"times": value[:, None], "numbers": np.zeros((1, 1))})
    np.testing.assert_array_equal(graph[0], list(found.values()))


def test_a_missing_moment_has_no_parts() -> None:
    assert all(np.isnan(v[0]) for v in calendar(np.array([MISSING_TIME])).values())
