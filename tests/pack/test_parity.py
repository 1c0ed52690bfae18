"""Exact by construction, and proved: the packed graph answers as the library does."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit import exam
from modelwright.core.schema import MISSING_TIME, Column, Schema, Target
from modelwright.fit.calendar import calendar
from modelwright.fit.decision import Affine
from modelwright.fit.families.catboost import before_float32
from modelwright.fit.families.lightgbm import ZERO, flushed
from modelwright.fit.family import FAMILIES, family_of
from modelwright.fit.features import Encoder, NumberSource
from modelwright.fit.pipeline import Member, Pipeline
from modelwright.pack.convert import convert
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
