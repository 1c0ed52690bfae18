"""Real answers and the document name the same headers and fields, under traffic and stand-ins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import modelwright as mw
from modelwright.serve.settings import Breaking, Caching, Source
from serve.running import Reply, Running, serving, until
from serve.test_app import tensors
from serve.versions import TRIGGER, Shop, row_of

Json = dict[str, Any]
GOOD, BAD = row_of(10.0), row_of(TRIGGER)
OWN = re.compile(r"x-(request|modelwright)-")
MARKS = ("x-modelwright-arm", "x-modelwright-fallback", "x-modelwright-cache")


@pytest.fixture
def shop(project: Path) -> Shop:
    return Shop(project)


@pytest.fixture
def running(shop: Shop) -> Iterator[Running]:
    """A server whose canary cannot answer `BAD`, with a cache."""
    bad = shop.add(fails=True)
    source = Source(name="shop", project=str(shop.project))
    with serving(
        shop.project,
        source,
        breaker=Breaking(least=100_000),
        cache=Caching(rows=9),
        access_log=True,
    ) as found:
        mw.canary("shop", bad, weight=0.5, folder=shop.project)
        until(lambda: found.predict(GOOD).headers.get("x-modelwright-arm") == "canary")
        yield found


def bodies(row: Json) -> dict[str, Json]:
    """Route -> a request for this row."""
    inputs = {"inputs": tensors([row])}
    return {
        "/predict": {"rows": [row]},
        "/models/shop/predict": {"columns": {name: [value] for name, value in row.items()}},
        "/models/shop/versions/{version}/predict": row,
        "/invocations": {"dataframe_records": [row]},
        "/v2/models/{model}/infer": inputs,
        "/v2/models/{model}/versions/{version}/infer": inputs,
    }


def place(path: str) -> str:
    return path.replace("{model}", "shop").replace("{version}", "1")


def resolved(document: Json, about: Json) -> Json:
    """What a reference stands for."""
    for key in about["$ref"][2:].split("/") if "$ref" in about else ():
        document = document[key]
    return document if "$ref" in about else about


def parameters(document: Json, path: str, method: str = "post") -> dict[str, Json]:
    found = [resolved(document, one) for one in document["paths"][path][method]["parameters"]]
    return {one["name"]: one for one in found if one["in"] == "header"}


def forms(document: Json, about: Json) -> list[Json]:
    """The objects that a schema allows."""
    schema = resolved(document, about)
    return [one for each in schema["anyOf"] for one in forms(document, each)] if (
        "anyOf" in schema
    ) else [schema]  # fmt: skip


def is_as_described(document: Json, path: str, method: str, reply: Reply) -> None:
    """Every header of ours and every field of a body is in the document, and what it promises is
    there."""
    route = resolved(document, document["paths"][path][method]["responses"][str(reply.status)])
    headers = {name: resolved(document, one) for name, one in route["headers"].items()}
    given = {name for name in reply.headers if OWN.match(name)}
    promised = {name for name, one in headers.items() if one.get("required")}
    assert promised <= given <= {name.lower() for name in headers}, (path, given)
    validator = jsonschema.Draft202012Validator
    for name in given:
        assert validator(headers[name]["schema"]).is_valid(reply.headers[name]), name
    about = route["content"].get("application/json")
    if about is None or method == "get":
        return
    whole = {**about["schema"], "components": document["components"]}
    body = reply.json()
    assert validator(whole).is_valid(body), (path, body)
    known = [form["properties"] for form in forms(document, about["schema"])]
    assert any(set(body) <= set(names) for names in known), (path, set(body))


def test_answers_have_what_is_described_and_nothing_else(running: Running) -> None:
    document = running.ask("/openapi.json").json()
    seen: dict[str, set[str]] = {}
    fields: dict[str, set[str]] = {}
    for row in (GOOD, BAD):
        for path, body in bodies(row).items():
            for number in range(12):
                reply = running.ask(place(path), body, x_modelwright_key=f"user-{number}")
                assert reply.status == 200, reply.body
                is_as_described(document, path, "post", reply)
                seen.setdefault(path, set()).update(reply.headers)
                said = reply.json()
                fields.setdefault(path, set()).update(said, said.get("parameters", ()))
    for path, headers in seen.items():
        by_path = "{version}" in path
        assert headers.issuperset(MARKS[-1:] if by_path else MARKS), path
        marked = not by_path and path != "/invocations"
        assert ({"arm", "fallback"} & fields[path]) == ({"arm", "fallback"} if marked else set())


def test_errors_and_pages_name_the_request(running: Running) -> None:
    document = running.ask("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method in methods:
            known = set(parameters(document, path, method))
            assert {"x-request-id", "traceparent"} <= known
            if method == "get":
                reply = running.ask(place(path), x_request_id="page-7")
                assert reply.status == 200, path
            else:
                reply = running.ask(place(path), [5], x_request_id="page-7")
            is_as_described(document, path, method, reply)
            assert reply.headers["x-request-id"] == "page-7", path


def test_each_header_works_where_it_is_described(running: Running) -> None:
    document = running.ask("/openapi.json").json()
    answers = bodies(GOOD)
    posted = [path for path, methods in document["paths"].items() if "post" in methods]
    for path in (one for one in posted if "/repository/" not in one):
        assert "x-request-timeout-ms" in parameters(document, path)
        label = {"request_id": "1", "label": "yes"}
        reply = running.ask(place(path), answers.get(path, label), x_request_timeout_ms="soon")
        assert reply.status == 400 and "milliseconds" in reply.json()["error"], path
    for path, body in answers.items():
        known = parameters(document, path)
        reply = running.ask(place(path), body, x_modelwright_version="99")
        assert reply.status == (404 if "x-modelwright-version" in known else 200), path
        if "x-modelwright-version" not in known:
            assert "x-modelwright-key" not in known
            continue
        assert set(known["x-modelwright-version"]["schema"]["enum"]) == {"1", "2"}
        for version in ("1", "2"):
            reply = running.ask(place(path), body, x_modelwright_version=version)
            assert reply.headers["x-modelwright-version"] == version
        arms = [
            {running.ask(place(path), body, x_modelwright_key=f"user-{number}").headers.get(
                "x-modelwright-arm") for _ in range(4)}
            for number in range(12)
        ]  # fmt: skip
        assert all(len(one) == 1 for one in arms) and {None} in arms and {"canary"} in arms


def test_arms_of_a_test_are_described(running: Running, shop: Shop) -> None:
    document = running.ask("/openapi.json").json()
    mw.stop_traffic("shop", why="test", folder=shop.project)
    mw.ab_test("shop", {"1": 0.5, "2": 0.5}, folder=shop.project)
    until(lambda: running.predict(GOOD).headers.get("x-modelwright-arm") == "b")
    for path, body in bodies(GOOD).items():
        is_as_described(document, path, "post", running.ask(place(path), body))
