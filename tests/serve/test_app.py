"""The real server over real HTTP: right answers, and a 4xx with a reason for everything else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

import modelwright as mw
from projects import mixed_table


@contextmanager
def server(folder: Path, *more: str, **environment: str) -> Iterator[httpx.Client]:
    """The thin server process on a free port; ends with the block."""
    options = {"--artefact": str(folder), "--name": "shop", "--version": "3", "--port": "0",
               "--max-body": "200000", "--max-rows": "500"}  # fmt: skip
    words = [word for pair in options.items() for word in pair]
    command = [sys.executable, "-m", "modelwright.serve", *words, *more]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        with httpx.Client(base_url=line.rsplit(" ", 1)[1].strip(), timeout=20) as client:
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.fixture(scope="module")
def client(released: mw.Released) -> Iterator[httpx.Client]:
    """One server for the module."""
    with server(released.run / "artefact") as found:
        yield found


def rows(count: int) -> list[dict[str, Any]]:
    table = mixed_table(count, seed=5).drop("bought").to_dicts()
    return [
        {k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in r.items()} for r in table
    ]


def tensors(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds = {
        "size, cm": "FP64",
        "colour": "BYTES",
        "big": "INT64",
        "member": "BOOL",
        "start": "BYTES",
    }
    return [
        {"name": n, "shape": [len(given)], "datatype": k, "data": [row[n] for row in given]}
        for n, k in kinds.items()
    ]


def test_every_form_gives_the_answers_of_the_artefact(
    client: httpx.Client, released: mw.Released
) -> None:
    given = rows(40)
    wanted = released.predict(given)
    for body in (given, {"rows": given}):
        found = client.post("/predict", json=body).json()
        assert found["predictions"] == wanted and (found["model"], found["version"]) == (
            "shop",
            "3",
        )
    assert client.post("/predict", json=given[0]).json()["predictions"] == wanted[:1]
    columns = {name: [row[name] for row in given] for name in given[0]}
    by_column = client.post("/predict", json={"columns": columns}).json()["columns"]
    assert by_column["p_yes"] == [row["p_yes"] for row in wanted]
    for route in ("/v2/models/shop/infer", "/v2/models/shop/versions/3/infer"):
        found = client.post(route, json={"id": "a-7", "inputs": tensors(given)}).json()
        assert (found["id"], found["model_name"], found["model_version"]) == ("a-7", "shop", "3")
        labels, shares = found["outputs"]
        assert labels["data"] == [row["prediction"] for row in wanted] and labels["shape"] == [40]
        assert shares["data"][1::2] == by_column["p_yes"] and shares["shape"] == [40, 2]


def test_oip_outputs_filter_and_ranks(client: httpx.Client) -> None:
    given = tensors(rows(3))
    for tensor in given:
        tensor["shape"], tensor["data"] = [3, 1], [[value] for value in tensor["data"]]
    body = {"inputs": given, "outputs": [{"name": "probabilities"}]}
    found = client.post("/v2/models/shop/infer", json=body).json()
    assert [o["name"] for o in found["outputs"]] == ["probabilities"] and "id" not in found


def test_health_and_metadata(client: httpx.Client) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2").json()["name"] == "modelwright"
    about = client.get("/v2/models/shop/versions/3").json()
    assert about["versions"] == ["3"]
    assert {i["name"]: i["datatype"] for i in about["inputs"]} == {
        "size, cm": "FP64", "colour": "BYTES", "big": "FP64", "member": "BOOL", "start": "BYTES",
    }  # fmt: skip
    assert client.get("/v2/models/shop/ready").status_code == 200


def test_openapi_describes_the_columns_and_its_example_works(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    row = document["components"]["schemas"]["Row"]
    assert row["required"] == ["big", "member"]
    assert row["properties"]["colour"]["examples"][0] == "red"
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert client.post("/predict", json=content["example"]).status_code == 200


def test_metrics_count_and_have_an_edge_at_the_limit(client: httpx.Client) -> None:
    client.post("/predict", json={**rows(1)[0], "colour": "never seen"})
    client.get("/nothing/here")
    text = client.get("/metrics").text
    assert 'modelwright_requests_total{code="200",door="predict",model="shop",version="3"}' in text
    assert 'door="other"' in text and "/nothing/here" not in text
    assert (
        'modelwright_request_seconds_bucket{door="predict",le="1.0",model="shop",version="3"}'
        in text
    )
    assert 'modelwright_unseen_categories_total{column="colour"' in text
    assert "process_resident_memory_bytes" in text


GOOD = {"size, cm": 1.0, "colour": "red", "big": 5, "member": True, "start": None}


def infer(**changes: Any) -> dict[str, Any]:
    first, *others = tensors(rows(2))
    return {"inputs": [{**first, **changes}, *others]}


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/predict", "{", 400, "not JSON"),
        ("/predict", "", 400, "not JSON"),
        ("/predict", "[NaN]", 400, "not JSON"),
        ("/predict", b"\xff\xfe", 400, "not JSON"),
        ("/predict", "[" * 100_000, 400, "not JSON"),
        ("/predict", "5", 400, "Wanted a list of rows"),
        ("/predict", "[]", 400, "no rows"),
        ("/predict", '{"rows": []}', 400, "no rows"),
        ("/predict", '{"rows": {}}', 400, "'rows' must be a list of objects"),
        ("/predict", '{"rows": [{}], "columns": {}}', 400, "and stand alone"),
        ("/predict", '{"columns": [{}]}', 400, "'columns' must be an object of lists"),
        ("/predict", '{"instances": [{}]}', 400, "send it to /invocations"),
        ("/predict", '{"inputs": [], "id": "1"}', 400, "/v2/models/NAME/infer"),
        ("/predict", '{"rows": 1, "big": 1}', 422, "unknown column 'rows'"),
        ("/predict", "[5]", 422, "row 0: wanted an object"),
        ("/predict", [{**GOOD, "big": "five"}], 422, "row 0, column 'big': wanted a number"),
        ("/predict", [{**GOOD, "big": None}, {"colour": 1}], 422, "row 1: column 'big' is missing"),
        ("/predict", [{**GOOD, "color": "red"}], 422, "did you mean 'colour'?"),
        ("/predict", [{**GOOD, "start": "soon"}], 422, "wanted a date-time"),
        ("/predict", {"columns": {"big": [1, 2], "member": [True]}}, 422, "has 1 values"),
        ("/predict", [GOOD] * 501, 413, "at most 500"),
        ("/predict", " " * 300_000, 413, "larger than 200,000 bytes"),
        ("/v2/models/shop/infer", {}, 400, "list 'inputs'"),
        ("/v2/models/shop/infer", {"inputs": [5]}, 400, "with a 'name'"),
        ("/v2/models/shop/infer", {"inputs": []}, 400, "no rows"),
        ("/v2/models/shop/infer", infer(name="sizee"), 400, "unknown input 'sizee'"),
        ("/v2/models/shop/infer", infer(shape=[3]), 400, "2 values, but shape [3] wants 3"),
        ("/v2/models/shop/infer", infer(shape=[-1]), 400, "'shape' must be"),
        ("/v2/models/shop/infer", infer(shape=[2**60, 2**60]), 400, "'shape' must be"),
        ("/v2/models/shop/infer", infer(shape=None), 400, "'shape' must be"),
        ("/v2/models/shop/infer", infer(datatype="BYTES"), 400, "wanted a numeric type"),
        ("/v2/models/shop/infer", infer(datatype=["x"]), 400, "'datatype' must be text"),
        ("/v2/models/shop/infer", infer(data="xy"), 400, "'data' must be a list"),
        ("/v2/models/shop/infer", infer(data=[{}, 1]), 422, "wanted a number"),
        ("/v2/models/shop/infer", {**infer(), "id": 5}, 400, "'id' must be text"),
        ("/v2/models/shop/infer", {**infer(), "outputs": [{"name": "x"}]}, 400, "unknown output"),
        ("/v2/models/shop/infer", {**infer(), "outputs": 5}, 400, "'outputs' must be a list"),
        ("/v2/models/shop/infer", {"inputs": infer()["inputs"] * 2}, 400, "given twice"),
        ("/v2/models/other/infer", {}, 404, "this server has shop"),
        ("/v2/models/shop/versions/9/infer", {}, 404, "version 3"),
        ("/../../etc/passwd", {}, 404, "No such route"),
    ],
)  # fmt: skip
def test_wrong_requests(client: httpx.Client, path: str, body: Any, status: int, said: str) -> None:
    content = body if isinstance(body, (str, bytes)) else json.dumps(body)
    reply = client.post(path, content=content, headers={"content-type": "application/json"})
    assert reply.status_code == status, reply.text
    assert said in " ".join([reply.json()["error"], *reply.json().get("problems", [])])
    assert client.post("/predict", json=GOOD).status_code == 200


def test_methods_and_content_types(client: httpx.Client) -> None:
    reply = client.get("/predict")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert client.post("/metrics").headers["allow"] == "GET, HEAD"
    assert client.head("/v2").status_code == 200
    assert client.delete("/predict").status_code == 405
    body = json.dumps(GOOD)
    plain = client.post("/predict", content=body, headers={"content-type": "text/plain"})
    assert plain.status_code == 415 and "application/json" in plain.json()["error"]
    assert client.post("/predict", content=body).status_code == 200


def test_a_token_is_asked_for_everywhere_but_health(released: mw.Released) -> None:
    with server(released.run / "artefact", MODELWRIGHT_TOKEN="s3cret") as client:
        for path in ("/", "/openapi.json", "/metrics", "/v2", "/v2/models/shop", "/nothing"):
            assert client.get(path).status_code == 401, path
        assert client.post("/predict", json=GOOD).status_code == 401
        assert client.get("/v2/health/ready").status_code == 200
        wrong = {"authorization": "Bearer s3creT"}
        assert client.post("/predict", json=GOOD, headers=wrong).status_code == 401
        right = {"authorization": "Bearer s3cret"}
        assert client.post("/predict", json=GOOD, headers=right).status_code == 200


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "modelwright.serve",
        "--name",
        "shop",
        "--version",
        "1",
        *arguments,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_an_open_address_without_a_token_is_refused(released: mw.Released) -> None:
    done = start("--artefact", str(released.run / "artefact"), "--host", "0.0.0.0")
    assert done.returncode == 2 and "Refused to serve on 0.0.0.0 without a token" in done.stderr


def test_a_wrong_digest_or_folder_is_refused(released: mw.Released, tmp_path: Path) -> None:
    done = start("--artefact", str(released.run / "artefact"), "--digest", "0" * 64)
    assert done.returncode == 3 and "is not the model that was released" in done.stderr
    done = start("--artefact", str(tmp_path))
    assert done.returncode == 3 and "No file" in done.stderr and "Traceback" not in done.stderr


def test_a_taken_port_is_said(client: httpx.Client, released: mw.Released) -> None:
    port = str(client.base_url.port)
    done = start("--artefact", str(released.run / "artefact"), "--port", port)
    assert done.returncode == 2 and "Cannot listen" in done.stderr and "--port" in done.stderr


def test_the_server_imports_no_training_library() -> None:
    code = (
        "import sys, modelwright.serve.app, modelwright.serve.server\n"
        "bad = {'sklearn', 'optuna', 'pandas', 'polars', 'mlflow', 'lightgbm', 'catboost', 'torch',"
        "'onnx', 'scipy', 'typer', 'rich', 'pydantic'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_names_and_classes_that_json_has_to_escape(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    size = rng.normal(size=200)
    table = pl.DataFrame({
        'pipe, 5"': size,
        "C:\\share": rng.choice(["a\tb", 'a"b', "naïve 漢字"], 200),
        "answer": np.where(size + rng.normal(0, 0.3, 200) > 0, 'yes, "sure"', "no\nway"),
    })  # fmt: skip
    table.write_csv(tmp_path / "t.csv")
    (tmp_path / "modelwright.yaml").write_text(
        "name: shop\ndata: {source: t.csv, target: answer}\n"
        "fit: {budget: 2 trials, folds: 2, families: [linear]}\n"
    )
    run = mw.run(tmp_path / "modelwright.yaml").run
    model, given = mw.load(str(run / "artefact")), table.drop("answer").to_dicts()[:20]
    with server(run / "artefact") as client:
        for body in ({"rows": given}, given, given[0]):
            found = client.post("/predict", json=body)
            assert found.status_code == 200, found.text
            wanted = given if body is not given[0] else given[:1]
            assert found.json()["predictions"] == model.predict(wanted)
        wrong = client.post("/predict", json={**given[0], 'pipe, 5"': "wide"})
    assert wrong.status_code == 422
    assert 'pipe, 5"' in wrong.json()["problems"][0]
