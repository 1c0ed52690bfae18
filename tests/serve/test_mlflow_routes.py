"""What MLflow's own client side writes is read, and answered as a pyfunc model would."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.models import convert_input_example_to_serving_input

import modelwright as mw
from modelwright.core.intake import feeds_from_rows
from modelwright.core.schema import Column, Schema, Target
from modelwright.serve.messages import Answered, ProtocolError, Question
from modelwright.serve.mlflow_routes import PAGES, read_invocations, write_invocations
from serve.alive import Loaded

SCHEMA = Schema(
    (Column("age", "number"), Column("job", "category", nullable=True, levels=("a", "b"))),
    Target("y", "binary", "string", ("no", "yes")),
)
FRAME = pd.DataFrame({"age": [39.0, float("nan")], "job": ["a", None]})
WANTED = feeds_from_rows(SCHEMA, [{"age": 39, "job": "a"}, {"age": None, "job": None}])


def read(body: str | bytes, kind: str = "application/json", **more: Any) -> Question:
    content = body if isinstance(body, bytes) else body.encode()
    return read_invocations(SCHEMA, kind, content, 100, **more)


def parquet(frame: pd.DataFrame) -> bytes:
    content: bytes = frame.to_parquet()
    return content


BODIES = {
    "mlflow": (convert_input_example_to_serving_input(FRAME), "application/json"),
    "split": (json.dumps({"dataframe_split": FRAME.to_dict("split"), "params": {"t": 1}}), ""),
    "records": (json.dumps({"dataframe_records": FRAME.to_dict(orient="records")}),
                "application/json; charset=utf-8"),
    "instances": ('{"instances": [{"age": 39, "job": "a"}, {"age": null}]}', "application/json"),
    "inputs": ('{"inputs": {"age": [39, NaN], "job": ["a", null]}}', "application/json"),
    "csv": (FRAME.to_csv(index=False), "text/csv"),
    "parquet": (parquet(FRAME), "application/x-parquet"),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_every_form_is_read(name: str) -> None:
    found = read(*BODIES[name])
    assert found.rows == 2
    for column, values in WANTED.items():
        np.testing.assert_array_equal(found.feeds[column], values)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("{", 400, "not JSON"),
        ("[1]", 400, "exactly one of dataframe_split"),
        ("{}", 400, "found none of them"),
        ('{"instances": [], "inputs": []}', 400, "found instances, inputs"),
        ('{"instances": [{"age": 1}], "signature_name": "x"}', 400, "only params may stand"),
        ('{"instances": [{"age": 1}], "params": 5}', 400, "params must be an object"),
        ('{"instances": [[1, "a"]]}', 400, "rows without names"),
        ('{"inputs": 5}', 400, "list of objects"),
        ('{"instances": []}', 400, "no rows"),
        ('{"inputs": [{"age": Infinity}]}', 400, "Infinity at byte"),
        ('{"inputs": [{"age": NaN}, {"age": -Infinity}]}', 400, "has -Infinity"),
        ('{"inputs": [NaN', 400, "not JSON"),
        ('{"dataframe_split": {"columns": ["age"]}}', 400, "'data'"),
        ('{"dataframe_split": {"data": [[1]]}}', 400, "'columns'"),
        ('{"dataframe_split": {"columns": ["age", "age"], "data": [[1, 2]]}}', 400, "more than"),
        ('{"dataframe_split": {"columns": ["age"], "data": [[1], [1, 2]]}}', 400, "row 1"),
        ('{"dataframe_split": {"columns": ["age"], "data": [["x"]]}}', 422, "row 0, column 'age'"),
        ('{"dataframe_split": {"columns": ["age"], "data": []}}', 400, "no rows"),
        ('{"dataframe_records": [{"job": "a"}]}', 422, "column 'age' is missing"),
        (json.dumps({"instances": [{"age": 1}] * 101}), 413, "at most 100"),
        ('{"inputs": ' + "[" * 100_000, 400, "not JSON"),
        ('{"inputs": [NaN, ' + "[" * 100_000, 400, "not JSON"),
        ('{"inputs": [{"age": NaN}, {"age": ' + "1" * 5000 + "}]}", 400, "not JSON"),
    ],
)
def test_what_is_refused(body: str, status: int, said: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        read(body)
    assert caught.value.status == status
    assert said in " ".join([caught.value.message, *caught.value.problems])


def test_other_content_types_are_refused() -> None:
    with pytest.raises(ProtocolError) as caught:
        read("{}", "application/xml")
    assert caught.value.status == 415


def test_the_answer_is_labels(released: mw.Released) -> None:
    live = Loaded(mw.load(str(released.run / "artefact")))
    feeds = feeds_from_rows(live.schema, [live.manifest.example] * 2)
    answers = live.run(feeds)
    found = write_invocations(Answered(Question(feeds, 2), answers, live))
    assert json.loads(found.body) == {"predictions": answers.predictions()}


def test_pages() -> None:
    assert {path: reply.status for path, reply in PAGES.items()} == dict.fromkeys(PAGES, 200)
    assert PAGES["/ping"].body == PAGES["/health"].body == b"\n"
