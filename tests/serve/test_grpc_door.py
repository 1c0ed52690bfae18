"""A real gRPC server in this process, asked by tritonclient, KServe's client and plain gRPC."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import uvloop
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

import modelwright as mw
from modelwright.core.errors import UsageError
from modelwright.pack.artefact import Artefact
from modelwright.serve import oip
from modelwright.serve.grpc_door import serve_grpc
from modelwright.serve.listening import listen
from modelwright.serve.messages import ProtocolError
from modelwright.serve.oip_proto import parsed
from modelwright.serve.settings import Settings
from serve.doors import (
    SECONDS,
    Desk,
    OneLive,
    Store,
    authorize,
    certificate,
    inputs,
    request,
    rows,
    serving,
    typed,
)

INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture(scope="module")
def desk(released: mw.Released) -> Desk:
    return Desk(OneLive(Artefact.load(released.run / "artefact")))


@pytest.fixture(scope="module")
def port(desk: Desk) -> Iterator[int]:
    with serving(desk, Settings(models=(), max_rows=500)) as (handle, _):
        yield handle.port


@pytest.fixture(scope="module")
def client(port: int) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as found:
        yield found


@pytest.fixture(scope="module")
def channel(port: int) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as found:
        yield found


def test_tritonclient_administers(client: triton.InferenceServerClient, desk: Desk) -> None:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("shop")
    assert client.is_model_ready("shop", "3")
    server = client.get_server_metadata(as_json=True)
    assert server["extensions"] == ["binary_tensor_data", "model_repository"]
    wanted = oip.model_metadata("shop", ["3"], desk.only.schema)
    for version in ("", "3"):
        about = client.get_model_metadata("shop", version)
        assert (about.name, list(about.versions), about.platform) == (
            "shop",
            ["3"],
            wanted["platform"],
        )
        for side in ("inputs", "outputs"):
            assert [(t.name, t.datatype, list(t.shape)) for t in getattr(about, side)] == [
                (t["name"], t["datatype"], t["shape"]) for t in wanted[side]
            ]
    [entry] = client.get_model_repository_index().models
    assert (entry.name, entry.version, entry.state) == ("shop", "3", "READY")


@pytest.mark.parametrize("count", [1, 7, 64])
def test_bytes_typed_fields_and_http_answer_the_same(
    client: triton.InferenceServerClient, channel: grpc.Channel, desk: Desk, count: int
) -> None:
    given_rows = rows(count)
    data = json.dumps(request(given_rows)).encode()
    question = oip.read_infer(desk.only.schema, data, {}, 1000)
    body = oip.write_infer("shop", "3", question, desk.only.run(question.feeds)).body
    wanted = {o["name"]: o["data"] for o in json.loads(body)["outputs"]}
    result = client.infer("shop", inputs(given_rows), request_id="a-7", model_version="3")
    assert [v.decode() for v in result.as_numpy("prediction")] == wanted["prediction"]
    shares = result.as_numpy("probabilities")
    assert shares.shape == (count, 2) and shares.ravel().tolist() == wanted["probabilities"]
    answer = result.get_response()
    assert (answer.id, answer.model_name, answer.model_version) == ("a-7", "shop", "3")
    stub = channel.unary_unary(
        INFER, service_pb2.ModelInferRequest.SerializeToString,
        service_pb2.ModelInferResponse.FromString,
    )  # fmt: skip
    assert stub(typed(given_rows, id="a-7")) == answer


def test_outputs_are_filtered(client: triton.InferenceServerClient) -> None:
    wanted = [triton.InferRequestedOutput("probabilities")]
    result = client.infer("shop", inputs(rows(2)), outputs=wanted, request_id="\u00e4" * 200)
    assert result.as_numpy("prediction") is None and result.as_numpy("probabilities").size == 4
    assert result.get_response().id == "\u00e4" * 200
    with pytest.raises(InferenceServerException, match="unknown output 'x'"):
        client.infer("shop", inputs(rows(2)), outputs=[triton.InferRequestedOutput("x")])
    with pytest.raises(InferenceServerException, match="'classification' is not taken"):
        first = triton.InferRequestedOutput("probabilities", class_count=2)
        client.infer("shop", inputs(rows(2)), outputs=[first])


def test_conditions_reach_the_dispatcher(client: triton.InferenceServerClient, desk: Desk) -> None:
    desk.calls.clear()
    entries = {"x-modelwright-key": "k7", "traceparent": "00-a-b-01", "x-request-id": "r1"}
    client.infer("shop", inputs(rows(1)), headers=entries, client_timeout=5)
    [call] = desk.calls
    assert (call.model, call.version, call.key, call.id) == ("shop", None, "k7", "r1")
    assert call.traceparent == "00-a-b-01" and call.deadline is not None
    assert 4 < call.deadline - call.received < 5.5
    for odd in ("r" * 129, "a b"):
        client.infer("shop", inputs(rows(1)), headers={"x-request-id": odd}, request_id="own")
        assert desk.calls[-1].id == "own"
    marked = client.infer("shop", inputs(rows(1)), request_id="fall back").get_response()
    assert marked.parameters["fallback"].string_param == "previous"


FAULTS: dict[str, tuple[Exception, str, str]] = {
    "busy": (ProtocolError(429, "Too many.", retry_after=0.5), "RESOURCE_EXHAUSTED", "Too many."),
    "away": (ProtocolError(503, "Not now."), "UNAVAILABLE", "Not now."),
    "late": (ProtocolError(504, "Too late."), "DEADLINE_EXCEEDED", "Too late."),
    "long": (ProtocolError(422, "\u00e4" * 9000), "INVALID_ARGUMENT", "\u00e4" * 1000),
    "fault": (KeyError("secret"), "INTERNAL", "a fault of its own"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_statuses_of_the_dispatcher(channel: grpc.Channel, desk: Desk, name: str) -> None:
    fault, code, said = FAULTS[name]
    desk.fails = {name: fault}
    stub = channel.unary_unary(INFER, service_pb2.ModelInferRequest.SerializeToString)
    with pytest.raises(grpc.RpcError) as caught:
        stub(typed(rows(1), id=name))
    assert caught.value.code().name == code and said in caught.value.details()
    assert "secret" not in caught.value.details() and len(caught.value.details()) <= 2000
    if name == "busy":
        assert ("grpc-retry-pushback-ms", "500") in list(caught.value.trailing_metadata())


def changed(change: Callable[[Any], object]) -> Any:
    message = typed(rows(2))
    change(message)
    return message


def raw(message: Any, *contents: bytes) -> None:
    for tensor in message.inputs:
        tensor.ClearField("contents")
    message.raw_input_contents.extend(contents)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda m: setattr(m, "model_name", "other"), "NOT_FOUND", "No model 'other'"),
        (lambda m: setattr(m, "model_version", "9"), "NOT_FOUND", "No model"),
        (lambda m: setattr(m, "id", "x" * 1025), "INVALID_ARGUMENT", "1,025 bytes"),
        (lambda m: m.inputs[0].shape.append(5), "INVALID_ARGUMENT", "'shape' must be"),
        (lambda m: m.inputs[0].shape.__setitem__(0, 3), "INVALID_ARGUMENT", "2 values"),
        (lambda m: setattr(m.inputs[0], "name", "sizee"), "INVALID_ARGUMENT", "unknown input"),
        (lambda m: setattr(m.inputs[0], "datatype", "FP32"), "INVALID_ARGUMENT", "wanted fp32"),
        (lambda m: setattr(m.inputs[0], "datatype", "FP16"), "INVALID_ARGUMENT", "raw_input_cont"),
        (lambda m: setattr(m.inputs[0], "datatype", "FLOAT"), "INVALID_ARGUMENT", "FLOAT"),
        (lambda m: m.inputs[0].ClearField("contents"), "INVALID_ARGUMENT", "0 values"),
        (lambda m: m.inputs[0].contents.fp64_contents.pop(), "INVALID_ARGUMENT", "1 values"),
        (lambda m: m.inputs[0].contents.int_contents.append(1), "INVALID_ARGUMENT", "wanted fp64"),
        (lambda m: m.inputs[1].contents.bytes_contents.__setitem__(1, b"\xff"), "INVALID_ARGUMENT",
         "row 1, column 'colour': wanted text in UTF-8"),
        (lambda m: m.raw_input_contents.append(bytes(16)), "INVALID_ARGUMENT", "5 inputs, but 1"),
        (lambda m: m.raw_input_contents.extend([b""] * 5), "INVALID_ARGUMENT", "Both 'contents'"),
        (lambda m: raw(m, bytes(15), b"", b"", b"", b""), "INVALID_ARGUMENT", "15 bytes"),
        (lambda m: m.inputs.pop(), "OK", ""),
        (lambda m: m.inputs.pop(2), "INVALID_ARGUMENT", "'big' is missing"),
        (lambda m: m.inputs.append(m.inputs[0]), "INVALID_ARGUMENT", "given twice"),
        (lambda m: m.ClearField("inputs"), "INVALID_ARGUMENT", "no rows"),
    ],
)  # fmt: skip
def test_wrong_messages(
    channel: grpc.Channel, change: Callable[[Any], object], code: str, said: str
) -> None:
    stub = channel.unary_unary(INFER, service_pb2.ModelInferRequest.SerializeToString)
    try:
        stub(changed(change))
    except grpc.RpcError as error:
        assert (error.code().name, said in error.details()) == (code, True), error.details()
    else:
        assert code == "OK"
    stub(typed(rows(1)))


def test_bytes_that_are_no_message(channel: grpc.Channel) -> None:
    for method in ("ModelInfer", "ModelMetadata", "ModelReady", "RepositoryIndex"):
        stub = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
        with pytest.raises(grpc.RpcError, match="is not a") as caught:
            stub(b"\x0a\xff\xff")
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/inference.GRPCInferenceService/Nothing")(b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_large_messages(channel: grpc.Channel, client: triton.InferenceServerClient) -> None:
    stub = channel.unary_unary(INFER, service_pb2.ModelInferRequest.SerializeToString)
    message = typed(rows(1))
    tensor = message.inputs[1].contents.bytes_contents
    tensor[0] = b"x" * (8 * 2**20)
    stub(message)
    tensor[0] = b"x" * (17 * 2**20)
    with pytest.raises(grpc.RpcError) as caught:
        stub(message)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(InferenceServerException, match="at most 500"):
        client.infer("shop", inputs(rows(501)))


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_requests_may_be_compressed(client: triton.InferenceServerClient, algorithm: str) -> None:
    found = client.infer("shop", inputs(rows(64)), compression_algorithm=algorithm)
    plain = client.infer("shop", inputs(rows(64)))
    assert found.get_response() == plain.get_response()


def test_many_calls_of_many_clients_at_once(port: int, desk: Desk) -> None:
    async def all_of_them() -> list[bytes]:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [
            grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) for _ in range(8)
        ]
        calls = [
            channel.unary_unary(INFER)(typed(rows(1, seed=n), id=str(n)).SerializeToString())
            for n, channel in enumerate(channels * 40)
        ]
        answers = await asyncio.gather(*calls)
        for channel in channels:
            await channel.close()
        return answers

    found = [service_pb2.ModelInferResponse.FromString(one) for one in asyncio.run(all_of_them())]
    assert [one.id for one in found] == [str(n) for n in range(320)]
    for n in (0, 7, 319):
        [wanted] = desk.only.artefact.predict(rows(1, seed=n))
        shares = np.frombuffer(found[n].raw_output_contents[1])
        assert shares[1] == pytest.approx(wanted["p_yes"], abs=1e-12)


def test_large_answers(client: triton.InferenceServerClient, desk: Desk) -> None:
    with serving(desk, Settings(models=())) as (handle, _):
        with triton.InferenceServerClient(f"127.0.0.1:{handle.port}") as asks:
            found = asks.infer("shop", inputs(rows(60_000)))
        assert found.as_numpy("probabilities").shape == (60_000, 2)
        first = client.infer("shop", inputs(rows(60_000)[:500])).as_numpy("probabilities")
        assert (found.as_numpy("probabilities")[:500] == first).all()


def test_tokens_and_the_repository(desk: Desk) -> None:
    store = Store()
    more = {"authorize": authorize, "repository": store}
    with (
        serving(desk, Settings(models=()), **more) as (handle, _),
        triton.InferenceServerClient(f"127.0.0.1:{handle.port}") as client,
        grpc.insecure_channel(f"127.0.0.1:{handle.port}") as channel,
    ):
        assert client.is_server_live() and client.is_server_ready()
        ask, ops = {"authorization": "Bearer ask"}, {"authorization": "Bearer ops"}
        for call in (
            lambda: client.infer("shop", inputs(rows(1))),
            lambda: client.get_model_metadata("shop"),
            lambda: client.get_server_metadata(headers={"authorization": "Bearer no"}),
            lambda: client.load_model("shop"),
            lambda: next(
                reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
                    iter([reflection_pb2.ServerReflectionRequest(list_services="")])
                )
            ),
        ):
            with pytest.raises(Exception, match="UNAUTHENTICATED"):
                call()
        assert client.infer("shop", inputs(rows(1)), headers=ask).as_numpy("prediction").size == 1
        for headers, calls in (
            (ask, (client.get_model_repository_index, partial(client.unload_model, "shop"))),
            (ops, (partial(client.infer, "shop", inputs(rows(1))),)),
            ({"authorization": "Bearer truth"}, (client.get_server_metadata,)),
        ):
            for refused in calls:
                with pytest.raises(InferenceServerException, match="PERMISSION_DENIED"):
                    refused(headers=headers)
        for headers in (ask, ops):  # as over HTTP
            assert client.get_model_metadata("shop", headers=headers).name == "shop"
            assert client.is_model_ready("shop", headers=headers)
        index = client.get_model_repository_index(headers=ops).models
        assert [(e.version, e.state) for e in index] == [("3", "READY"), ("4", "UNAVAILABLE")]
        client.load_model("shop", headers=ops)
        client.unload_model("shop", headers=ops)
        assert store.done == [("load", "shop", "ops"), ("unload", "shop", "ops")]
        with pytest.raises(InferenceServerException, match="No model 'other'"):
            client.load_model("other", headers=ops)
        with pytest.raises(InferenceServerException, match="'config' is refused"):
            client.load_model("shop", headers=ops, config="{}")


def test_without_a_repository_nothing_is_loaded(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="UNIMPLEMENTED"):
        client.load_model("shop")


def test_a_call_in_flight_ends_before_the_stop(desk: Desk) -> None:
    async def slow() -> tuple[bytes, bool]:
        entered, go = asyncio.Event(), asyncio.Event()

        class Slow(Desk):
            async def answer(self, call: Any, read: Any) -> Any:
                entered.set()
                await go.wait()
                return await super().answer(call, read)

        handle = await serve_grpc(
            Slow(desk.only), Settings(models=()), authorize=lambda _g, _s: None,
            listener=listen("127.0.0.1", 0, 1)[0],
        )  # fmt: skip
        async with grpc.aio.insecure_channel(f"127.0.0.1:{handle.port}") as channel:
            call = channel.unary_unary(INFER)(typed(rows(1)).SerializeToString())
            waiting = asyncio.ensure_future(call)
            await asyncio.wait_for(entered.wait(), SECONDS)
            stopped = asyncio.ensure_future(handle.stop(SECONDS))
            go.set()
            found = await waiting
            await stopped
            return found, stopped.done()

    found, stopped = uvloop.run(slow())
    assert len(parsed("ModelInferResponse", found).outputs) == 2 and stopped


def test_tls_and_a_new_certificate(desk: Desk, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "one")
    with serving(desk, Settings(models=(), certificate=cert, key_file=key)) as (handle, _):

        def live() -> bool:
            made = triton.InferenceServerClient(
                f"127.0.0.1:{handle.port}", ssl=True, root_certificates=cert,
                channel_args=[("grpc.use_local_subchannel_pool", 1)],
            )  # fmt: skip
            with made as client:
                return bool(client.is_server_live(client_timeout=SECONDS))

        assert live()
        certificate(tmp_path, "two")
        with pytest.raises(InferenceServerException):
            live()
        handle.reload_tls()
        assert live()
    with pytest.raises(UsageError, match="Cannot read"):
        missing = Settings(models=(), certificate=str(tmp_path / "no.pem"), key_file=key)
        with serving(desk, missing):
            pass
