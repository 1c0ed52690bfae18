"""The same caller is the same to every door: JSON, CSV, Arrow, tensors and gRPC."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

import modelwright as mw
from modelwright.core.schema import Column, Schema, Target
from modelwright.serve.bodies import ARROW_STREAM, CSV, PARQUET, read_table
from modelwright.serve.keys import is_read, key_in
from modelwright.serve.messages import Question
from modelwright.serve.mlflow_routes import read_invocations
from modelwright.serve.oip import read_infer
from modelwright.serve.oip_proto import parsed, read_message
from modelwright.serve.outputs import text_bytes
from modelwright.serve.protocol import read_predict
from modelwright.serve.replies import write_table
from modelwright.serve.settings import Source
from serve.doors import inputs, request
from serve.running import free_port, serving
from serve.versions import Shop, row_of

SCHEMA = Schema(
    (
        Column("age", "number", nullable=True),
        Column("job", "category", nullable=True, spellings={"Dr": "doctor"}),
        Column("customer", "id", unused="id-like"),
        Column("shop", "number", unused="dropped"),
        Column("till", "category", unused="dropped"),
    ),
    Target("y", "regression"),
)
KINDS = {"age": "FP64", "job": "BYTES", "customer": "INT64", "shop": "FP32", "till": "BYTES"}
ROW = {"age": 39, "job": " Dr", "customer": 2**60 + 1, "shop": 12, "till": " 7b "}
WANTED = {"age": "39", "job": "doctor", "customer": str(2**60 + 1), "shop": "12", "till": "7b"}


def typed(name: str, message: Any) -> None:
    tensor = message.inputs.add(name=name, datatype=KINDS[name], shape=[1])
    field = {"FP64": "fp64", "FP32": "fp32", "INT64": "int64", "BYTES": "bytes"}[KINDS[name]]
    value = ROW[name]
    given = value.encode() if isinstance(value, str) else value
    getattr(tensor.contents, f"{field}_contents").append(given)


def asked(key: str) -> dict[str, Question]:
    """One row by every door."""
    columns = {name: [value] for name, value in ROW.items()}
    schema = SCHEMA

    def predict(body: Any) -> Question:
        return read_predict(schema, json.dumps(body).encode(), 9, key=key)

    def invoke(body: Any) -> Question:
        return read_invocations(schema, "", json.dumps(body).encode(), 9, key=key)

    def table(kind: str) -> Question:
        return read_table(schema, kind, write_table(kind, columns, {}).body, 9, key=key)

    tensors = [
        {"name": name, "datatype": KINDS[name], "shape": [1], "data": [value]}
        for name, value in ROW.items()
    ]
    message = service_pb2.ModelInferRequest()
    for name in ROW:
        typed(name, message)
    raw = service_pb2.ModelInferRequest()
    for name, value in ROW.items():
        raw.inputs.add(name=name, datatype=KINDS[name], shape=[1])
        kind = {"FP64": pa.float64(), "FP32": pa.float32(), "INT64": pa.int64()}.get(KINDS[name])
        text = isinstance(value, str)
        raw.raw_input_contents.append(
            text_bytes(value) if text else pa.array([value], kind).to_numpy().tobytes()
        )
    sized = [
        {"name": t["name"], "datatype": t["datatype"], "shape": [1],
         "parameters": {"binary_data_size": len(content)}}
        for t, content in zip(tensors, raw.raw_input_contents, strict=True)
    ]  # fmt: skip
    head = json.dumps({"inputs": sized}).encode()
    binary = head + b"".join(raw.raw_input_contents)
    length = {"inference-header-content-length": str(len(head))}
    split = {"columns": list(ROW), "data": [list(ROW.values())]}
    return {
        "row": predict(ROW), "rows": predict({"rows": [ROW]}),
        "columns": predict({"columns": columns}), "split": invoke({"dataframe_split": split}),
        "records": invoke({"dataframe_records": [ROW]}), "inputs": invoke({"inputs": ROW}),
        "csv": table(CSV), "arrow": table(ARROW_STREAM), "parquet": table(PARQUET),
        "infer": read_infer(schema, json.dumps({"inputs": tensors}).encode(), {}, 9, key),
        "bytes": read_infer(schema, binary, length, 9, key),
        "bytes again": read_infer(schema, binary, length, 9, key),  # its head is remembered
        "grpc": read_message(schema, parsed("Infer", message.SerializeToString()), 9, key),
        "raw": read_message(schema, parsed("Infer", raw.SerializeToString()), 9, key),
    }  # fmt: skip


@pytest.mark.parametrize("name", WANTED)
def test_every_door_finds_the_same_key(name: str) -> None:
    read = is_read(SCHEMA, name)
    assert read == (name in ("age", "job"))
    found = {
        door: key_in(question.feeds, name) if read else question.key
        for door, question in asked(name).items()
    }
    assert found == dict.fromkeys(found, WANTED[name])
    assert all(question.feeds.keys() == {"age", "job"} for question in asked(name).values())


def test_without_a_value_chance_decides() -> None:
    csv = read_table(SCHEMA, CSV, b"age,shop\n1,n/a\n", 9, key="shop")
    assert csv.key is None and key_in(csv.feeds, "job") is None
    assert read_predict(SCHEMA, b'{"age": null}', 9, key="till").key is None


def test_a_version_is_pinned_and_an_arm_told_as_over_http(project: Path) -> None:
    shop, port = Shop(project), free_port()
    second = shop.add()
    mw.ab_test("shop", {"1": 0.5, second: 0.5}, folder=project)
    given = inputs([row_of(10.0, member=True)])
    with (
        serving(
            project, Source(name="shop", project=str(project)), grpc_port=port, key="big"
        ) as running,
        triton.InferenceServerClient(f"127.0.0.1:{port}") as asks,
    ):
        arms = {"1": "a", second: "b"}
        for key in map(str, range(8)):
            found = asks.infer("shop", given, headers={"x-modelwright-key": key}).get_response()
            over_http = running.predict(row_of(10.0), x_modelwright_key=key).json()
            assert found.model_version == over_http["version"]
            assert found.parameters["arm"].string_param == over_http["arm"]
            assert over_http["arm"] == arms[found.model_version]
        for big in range(8):  # the key is a value: the same by every door
            row = row_of(10.0, big=big)
            given_too = asks.infer("shop", inputs([row])).get_response().model_version
            columns = {name: [value] for name, value in row.items()}
            for path, body in (
                ("/predict", row), ("/predict", {"columns": columns}),
                ("/invocations", {"inputs": columns}),
                ("/v2/models/shop/infer", request([row], model="shop")),
            ):  # fmt: skip
                over_http = running.ask(path, body)
                assert over_http.status == 200, over_http.body
                assert over_http.headers["x-modelwright-version"] == given_too, path
        for version in arms:
            pin = {"x-modelwright-version": version, "x-modelwright-key": "k"}
            pinned = asks.infer("shop", given, headers=pin).get_response()
            assert pinned.model_version == version and "arm" not in pinned.parameters
        with pytest.raises(InferenceServerException, match="No such version '9'"):
            asks.infer("shop", given, headers={"x-modelwright-version": "9"})
        named = asks.infer("shop", given, second, headers={"x-modelwright-version": "9"})
        assert named.get_response().model_version == second
