"""The document is valid OpenAPI 3.1, and what it says of bodies is what the readers take."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import msgspec
import pytest
import schemathesis

import modelwright as mw
from modelwright.core.intake import feeds_from_rows
from modelwright.core.records import Manifest
from modelwright.core.schema import Column
from modelwright.serve.bodies import CSV, read_table
from modelwright.serve.explain import explain
from modelwright.serve.messages import Answered, Question
from modelwright.serve.mlflow_routes import read_invocations, write_invocations
from modelwright.serve.openapi import Described, document
from modelwright.serve.protocol import read_predict
from modelwright.serve.replies import Options, write_answer
from modelwright.serve.scopes import ROUTES
from serve.alive import Loaded


@pytest.fixture(scope="module")
def live(released: mw.Released) -> Loaded:
    return Loaded(mw.load(str(released.run / "artefact")))


@pytest.fixture(scope="module")
def found(live: Loaded) -> dict[str, Any]:
    return document([Described("shop", ("3", "2"), live.manifest)])


def schema_in(found: dict[str, Any], path: str, kind: str = "request") -> dict[str, Any]:
    about = found["paths"][path]["post"]
    part = about["requestBody"] if kind == "request" else about["responses"]["200"]
    return {**part["content"]["application/json"]["schema"], "components": found["components"]}


def fits(value: Any, schema: dict[str, Any]) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def test_it_is_openapi(found: dict[str, Any]) -> None:
    loaded = schemathesis.openapi.from_dict(found)
    loaded.validate()
    operations = [one.ok() for one in loaded.get_all_operations()]
    assert len(operations) == sum(map(len, found["paths"].values()))
    for route in (about for path in found["paths"].values() for about in path.values()):
        assert {"401", "405", "500", "503"} <= set(route["responses"])


def test_every_route_that_takes_rows_is_described(found: dict[str, Any]) -> None:
    described = {re.sub(r"\{\w+\}|(?<=/models/)shop", "{}", path) for path in found["paths"]}
    posted = {path for methods, path, _ in ROUTES if "POST" in methods}
    assert posted and posted <= described


def test_examples_are_what_the_readers_take(found: dict[str, Any], live: Loaded) -> None:
    content = found["paths"]["/predict"]["post"]["requestBody"]["content"]
    example = content["application/json"]["example"]
    assert fits(example, schema_in(found, "/predict"))
    assert read_predict(live.schema, json.dumps(example).encode(), 10).rows == 1
    assert read_table(live.schema, CSV, content[CSV]["example"].encode(), 10).rows == 1
    asked = found["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]
    assert fits(asked["example"], schema_in(found, "/invocations"))
    body = json.dumps(asked["example"]).encode()
    assert read_invocations(live.schema, "application/json", body, 10).rows == 1


def test_a_list_is_described_as_the_readers_take_it(live: Loaded) -> None:
    tags = Column("tags", "list", format=";")
    schema = msgspec.structs.replace(live.schema, columns=(*live.schema.columns, tags))
    example = {**live.manifest.example, "tags": "a;b"}
    manifest = msgspec.structs.replace(live.manifest, schema=schema, example=example)
    found = document([Described("shop", ("3",), manifest)])
    wanted = schema_in(found, "/predict")
    content = found["paths"]["/predict"]["post"]["requestBody"]["content"]
    given = content["application/json"]["example"]
    assert given["rows"][0]["tags"] == ["a", "b"] and fits(given, wanted)
    assert fits(example, wanted) and fits({**example, "tags": None}, wanted)
    assert not fits({**example, "tags": 5}, wanted) and not fits({**example, "tags": [5]}, wanted)
    feeds = [read_predict(schema, json.dumps(b).encode(), 9).feeds for b in (given, example)]
    table = read_table(schema, CSV, content[CSV]["example"].encode(), 9).feeds
    assert [f["tags"].tolist() for f in (*feeds, table)] == [["a;b"]] * 3
    for name in ("Row", "Columns"):
        part = found["components"]["schemas"][name]
        assert fits(part["example"], {**part, "components": found["components"]})


@pytest.mark.parametrize("options", [Options(), Options(top_k=1), Options(explain=True)])
@pytest.mark.parametrize("shape", ["rows", "columns"])
def test_answers_are_as_described(
    found: dict[str, Any], live: Loaded, options: Options, shape: str
) -> None:
    feeds = feeds_from_rows(live.schema, [live.manifest.example])
    answered = Answered(Question(feeds, 1, shape), live.run(feeds), live)
    explained = explain(live, feeds, answered.answers) if options.explain else None
    reply = json.loads(write_answer(answered, options, explained).body)
    assert fits(reply, schema_in(found, "/predict", "answer"))
    labels = json.loads(write_invocations(answered).body)
    assert fits(labels, schema_in(found, "/invocations", "answer"))


def test_wrong_bodies_do_not_fit(found: dict[str, Any], live: Loaded) -> None:
    good = {**live.manifest.example}
    for wrong in ({**good, "colur": "red"}, {**good, "big": "x"}, {}, [], {"rows": []}, 5):
        assert not fits(wrong, schema_in(found, "/predict")), wrong
    for right in ([good], {**good, "bought": "yes"}, {**good, "big": None}):
        assert fits(right, schema_in(found, "/predict")), right


def test_columns_say_what_training_saw(found: dict[str, Any]) -> None:
    row = found["components"]["schemas"]["Row"]["properties"]
    assert row["colour"]["x-training"]["levels"][0] == "red"
    assert row["start"]["x-training"]["minimum"].startswith("2020-01-0")
    assert row["big"]["x-training"]["minimum"] >= 2**24 and "x-training" not in row["bought"]


def test_what_the_policy_refuses_does_not_fit(live: Loaded) -> None:
    models = [Described("shop", ("3",), live.manifest)]
    good = dict(live.manifest.example)
    odd = ({**good, "colour": "never seen"}, {**good, "big": 1}, {**good, "size, cm": 1e9})
    counted = schema_in(document(models), "/predict")
    assert all(fits(row, counted) for row in (good, *odd))
    levels = schema_in(document(models, refused=["unseen_levels"]), "/predict")
    assert [fits(row, levels) for row in odd] == [False, True, True]
    ranges = schema_in(document(models, refused=["out_of_range"]), "/predict")
    assert [fits(row, ranges) for row in odd] == [True, False, False]
    for refused in (levels, ranges):
        for right in (good, {**good, "colour": None}, {**good, "size, cm": None}):
            assert fits(right, refused)
        assert fits({"columns": {n: [v] for n, v in good.items()}}, refused)
        columns = [{"columns": {n: [v] for n, v in row.items()}} for row in odd]
        assert not all(fits(body, refused) for body in columns)


def test_several_models_have_their_own_routes_and_columns(live: Loaded) -> None:
    manifest: Manifest = live.manifest
    models = [Described(name, ("1",), manifest) for name in ("shop", "other")]
    found = document(models, protected=True, refuse_unknown=False, max_rows=7)
    assert {"/predict", "/models/shop/predict", "/models/other/predict"} <= set(found["paths"])
    assert "other.Row" in found["components"]["schemas"]
    assert "additionalProperties" not in found["components"]["schemas"]["Row"]
    assert found["security"] == [{"token": []}]
    assert found["paths"]["/v2/health/live"]["get"]["security"] == []
    assert not fits([dict(manifest.example)] * 8, schema_in(found, "/predict"))
    operations = [r["operationId"] for p in found["paths"].values() for r in p.values()
                  if "operationId" in r]  # fmt: skip
    assert len(operations) == len(set(operations))
