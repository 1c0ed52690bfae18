"""A column that the model never saw, by every door: refused, or left out and counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.http as triton_http
from grpc import RpcError
from tritonclient.utils import InferenceServerException

from modelwright.core.schema import Column, Schema, Target
from modelwright.serve.messages import ProtocolError
from modelwright.serve.settings import Source
from modelwright.serve.tensors import Tensor, check_tensors, prepare, read_prepared
from serve.doors import inputs, request, typed
from serve.running import Running, free_port, serving, until
from serve.versions import Shop, row_of

ROW = row_of(10.0, member=True)
MORE = {"name": "weight", "shape": [1], "datatype": "FP32", "data": [2.5]}


def counted(running: Running) -> float:
    return running.metric('modelwright_unknown_columns_total{column="weight",model="shop"')


def with_weight(kind: Any) -> list[Any]:
    """The row as bytes, and behind it a tensor that the model never saw."""
    found = []
    for one in [*inputs([ROW]), None]:
        name, shape, datatype = ("weight", [1], "FP32") if one is None else (
            one.name(), [1], one.datatype())  # fmt: skip
        tensor = kind.InferInput(name, shape, datatype)
        if one is None:
            tensor.set_data_from_numpy(np.array([2.5], np.float32))
        else:
            tensor.set_data_from_numpy(_values(one, datatype))
        found.append(tensor)
    return found


def _values(tensor: Any, datatype: str) -> np.ndarray[Any, Any]:
    value = ROW[tensor.name()]
    if datatype == "BYTES":
        return np.array([(value or "").encode()], np.object_)
    return np.array([value], {"FP64": "f8", "INT64": "i8", "BOOL": "?"}[datatype])


def by_every_door(running: Running, port: int) -> dict[str, Callable[[], Any]]:
    """Door -> a request with a column more than the model has; each gives the class."""
    whole = request([ROW])
    whole["inputs"].append(MORE)
    message = typed([ROW])
    more = message.inputs.add(name="weight", datatype="FP32", shape=[1])
    more.contents.fp32_contents.append(2.5)
    over_http = triton_http.InferenceServerClient(f"127.0.0.1:{running.port}")
    over_grpc = triton.InferenceServerClient(f"127.0.0.1:{port}")

    def predict() -> Any:
        reply = running.predict({**ROW, "weight": 2.5})
        assert reply.status == 200, reply.body
        return reply.json()["predictions"][0]["prediction"]

    def infer() -> Any:
        reply = running.ask("/v2/models/shop/infer", whole)
        assert reply.status == 200, reply.body
        return reply.json()["outputs"][0]["data"][0]

    def text(found: Any) -> str:
        return str(found.as_numpy("prediction")[0].decode())

    return {
        "predict": predict, "infer": infer,
        "bytes": lambda: text(over_http.infer("shop", with_weight(triton_http))),
        "gRPC bytes": lambda: text(over_grpc.infer("shop", with_weight(triton))),
        "gRPC typed": lambda: over_grpc._client_stub.ModelInfer(message).model_name,
    }  # fmt: skip


def test_where_unknown_columns_are_counted_every_door_leaves_them_out(project: Path) -> None:
    source, port = Source(name="shop", project=str(Shop(project).project)), free_port()
    with serving(project, source, grpc_port=port, unknown_columns="count") as running:
        usual = running.predict(ROW).json()["predictions"][0]["prediction"]
        doors = by_every_door(running, port)
        for number, (door, ask) in enumerate(doors.items()):
            for again in (1, 2):  # heads that were read before are not read again
                assert ask() in (usual, "shop"), door
                wanted = 2 * number + again
                until(lambda wanted=wanted: counted(running) == wanted, door)


def test_where_they_are_refused_every_door_says_so(project: Path) -> None:
    source, port = Source(name="shop", project=str(Shop(project).project)), free_port()
    with serving(project, source, grpc_port=port) as running:
        for door, ask in by_every_door(running, port).items():
            with pytest.raises((AssertionError, InferenceServerException, RpcError)) as refused:
                ask()
            assert "weight" in str(refused.value), door
        assert counted(running) == 0


def test_unknown_tensors_are_named_and_their_datatype_is_looked_at() -> None:
    schema = Schema((Column("age", "number"),), Target("y", "regression"))
    known, more = Tensor("age", [2], "FP64"), Tensor("agee", [2], "INT8")
    checked = check_tensors(schema, [known, more], 9, counts_unknown=True)
    assert checked.unknown == ("agee",) and checked.columns == (schema.features[0], None)
    raws = [np.array([1.0, 2.0]).tobytes(), b"\x01\x02"]
    assert read_prepared(prepare(checked), raws)["age"].tolist() == [1.0, 2.0]
    assert check_tensors(schema, [known], 9, counts_unknown=True).unknown == ()
    for wrong, said in ((Tensor("x", [2], "FP8"), "FP8"), (Tensor("x", [3], "INT8"), "3 rows")):
        with pytest.raises(ProtocolError, match=said):
            check_tensors(schema, [known, wrong], 9, counts_unknown=True)


def test_what_the_policy_refuses_is_told_with_what_does_not_fit(project: Path) -> None:
    source = Source(name="shop", project=str(Shop(project).project))
    rows = [{**ROW, "colour": "mauve"}, ROW]
    wrong = [rows[0], {**ROW, "big": "x"}]
    columns = {name: [row[name] for row in wrong] for name in ROW}
    tensors = request(rows)
    start = next(one for one in tensors["inputs"] if one["name"] == "start")
    start["data"] = [start["data"][0], "someday"]
    bodies = {
        "/predict": {"rows": wrong}, "/models/shop/predict": {"columns": columns},
        "/invocations": {"dataframe_records": wrong}, "/v2/models/shop/infer": tensors,
    }  # fmt: skip
    with serving(project, source, unseen_levels="refuse") as running:
        for path, body in bodies.items():
            reply = running.ask(path, body)
            assert reply.status == 422, reply.body
            found = reply.json()["problems"]
            assert len(found) == 2 and found[1].startswith("row 1, column "), (path, found)
            assert found[0] == "row 0, column 'colour': 'mauve' was never seen in training", path
        table = b"colour,member,big\n\nmauve,true,1\nred,true,x\n"
        for path in ("/predict", "/invocations"):  # as an editor counts
            told = running.ask(path, table, content_type="text/csv").json()["problems"]
            assert [one.partition(":")[0] for one in told] == [
                "line 3, column 'colour'", "line 4, column 'big'",
            ], told  # fmt: skip
            told = running.ask(path, table[:-2] + b"2\n", content_type="text/csv").json()
            assert told["problems"] == [
                "line 3, column 'colour': 'mauve' was never seen in training"
            ]
