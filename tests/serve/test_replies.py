"""The same answer in every form."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import modelwright as mw
from modelwright.core.intake import feeds_from_rows
from modelwright.core.schema import Schema, Target
from modelwright.pack.artefact import Answers
from modelwright.serve.bodies import ARROW_FILE, ARROW_STREAM, CSV, PARQUET
from modelwright.serve.explain import explain
from modelwright.serve.messages import Answered, ProtocolError, Question
from modelwright.serve.replies import (
    Options,
    check_options,
    flat_columns,
    form_of,
    options_of,
    write_answer,
)
from projects import mixed_table
from serve.alive import Loaded


def answered(released: mw.Released, rows: int = 3, shape: str = "rows") -> Answered:
    live = Loaded(mw.load(str(released.run / "artefact")))
    feeds = feeds_from_rows(live.schema, mixed_table(rows, seed=3).drop("bought").to_dicts())
    return Answered(Question(feeds, rows, shape), live.run(feeds), live)


def body(found: Any) -> Any:
    return json.loads(found.body)


@pytest.mark.parametrize(
    ("query", "accept", "wanted"),
    [
        ("", "", Options()),
        ("", "*/*", Options()),
        ("", "application/xml", Options()),
        ("top_k=2", "", Options(top_k=2)),
        ("explain=True&top_k=1", "*/*", Options(1, True)),
        ("explain", "", Options(explain=True)),
        ("explain=false", CSV, Options(form=CSV)),
        ("", "application/x-parquet", Options(form=PARQUET)),
        ("", "text/csv;q=0.2, application/vnd.apache.arrow.stream", Options(form=ARROW_STREAM)),
        ("", "text/csv;q=x, application/json;q=0.1, text/csv;q=0", Options()),
    ],
)
def test_options(query: str, accept: str, wanted: Options) -> None:
    assert options_of(query, accept) == wanted and options_of(query, accept).form == wanted.form


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("top_k=0", "from 1 to"), ("top_k=-1", "from 1 to"), ("top_k=\u0663", "from 1 to"),
        ("top_k=99999999999", "from 1 to"), ("explain=maybe", "true or false"),
        ("topk=3", "did you mean 'top_k'?"), ("zzz=3", "known: top_k, explain"),
        ("top_k=1&top_k=2", "twice"), ("&".join(["a=1"] * 99), "cannot be read"),
        ("top_k=%ff", "cannot be read"),
    ],
)  # fmt: skip
def test_options_that_are_refused(query: str, said: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        options_of(query)
    assert caught.value.status == 400 and said in caught.value.message


def test_what_the_schema_refuses() -> None:
    with pytest.raises(ProtocolError, match="predicts a number"):
        check_options(Schema((), Target("y", "regression")), Options(top_k=1), 1)
    with pytest.raises(ProtocolError, match="at most 6,250 rows are explained"):
        check_options(Schema((), Target("y", "regression")), Options(explain=True), 6251)


def test_json_with_the_best_labels(released: mw.Released) -> None:
    given = answered(released)
    found = body(write_answer(given, Options(top_k=1), marks={"fallback": "previous"}))
    assert (found["model"], found["version"], found["fallback"]) == ("shop", "3", "previous")
    for row, whole in zip(found["predictions"], given.live.artefact.predict(  # type: ignore[attr-defined]
        mixed_table(3, seed=3).drop("bought").to_dicts()), strict=True):  # fmt: skip
        [top] = row["top"]
        assert top["probability"] == max(whole["p_no"], whole["p_yes"])
        assert whole[f"p_{top['label']}"] == top["probability"] and set(row) == {
            "prediction",
            "top",
        }
    many = body(write_answer(given, Options(top_k=9)))
    assert [len(row["top"]) for row in many["predictions"]] == [2, 2, 2]


def test_ties_keep_the_order_of_the_levels() -> None:
    schema = Schema((), Target("y", "multiclass", "integer", ("3", "1", "2")))
    shares = np.array([[0.4, 0.4, 0.2]])
    answers = Answers(schema, codes=np.array([0]), probabilities=shares)
    flat = flat_columns(answers, Options(top_k=3))
    assert [flat[f"label_{n}"] for n in (1, 2, 3)] == [[3], [1], [2]]


@pytest.mark.parametrize("shape", ["rows", "columns"])
def test_json_with_explanations(released: mw.Released, shape: str) -> None:
    given = answered(released, shape=shape)
    explained = explain(given.live, given.question.feeds, given.answers)
    found = body(write_answer(given, Options(explain=True), explained))
    if shape == "columns":
        found["predictions"] = [
            dict(zip(found["columns"], row, strict=True))
            for row in zip(*found["columns"].values(), strict=True)
        ]
    for row in found["predictions"]:
        why = row["explanation"]
        total = why["base"] + sum(why["contributions"].values())
        assert total == pytest.approx(row[f"p_{row['prediction']}"], abs=1e-12)
        assert set(why["standard_errors"]) == set(why["contributions"])


def test_tables(released: mw.Released) -> None:
    given = answered(released)
    explained = explain(given.live, given.question.feeds, given.answers)
    wanted = flat_columns(given.answers, Options(), explained)
    for kind in (CSV, ARROW_STREAM, ARROW_FILE, PARQUET):
        reply = write_answer(given, Options(explain=True, form=kind), explained)
        assert reply.kind.decode().split(";")[0] == kind
        assert reply.headers == ()  # every answer has those that say who gave it
        for name, values in columns_in(kind, reply.body).items():
            assert list(values) == list(wanted[name]), name


def columns_in(kind: str, content: bytes) -> dict[str, list[Any]]:
    if kind == CSV:
        names, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
        cells = [list(column) for column in zip(*rows, strict=True)]
        return {
            name: values if name == "prediction" else [float(v) for v in values]
            for name, values in zip(names, cells, strict=True)
        }
    if kind == PARQUET:
        table = pq.read_table(io.BytesIO(content))
    else:
        opened = pa.ipc.open_file if kind == ARROW_FILE else pa.ipc.open_stream
        table = opened(content).read_all()
    assert table.schema.metadata[b"model"] == b"shop"
    return dict(table.to_pydict())


def test_labels_of_a_csv_are_true_and_false() -> None:
    schema = Schema((), Target("y", "binary", "boolean", ("false", "true")))
    answers = Answers(schema, codes=np.array([1]), probabilities=np.array([[0.25, 0.75]]))
    live: Any = type("Named", (), {"model": "m", "version": "1"})
    found = write_answer(Answered(Question({}, 1), answers, live), Options(form=CSV))
    assert found.body == b"prediction,p_false,p_true\r\ntrue,0.25,0.75\r\n"


def test_the_form_of_an_accept_header() -> None:
    assert form_of("application/csv") == CSV and form_of(",;,q=1") == "application/json"
