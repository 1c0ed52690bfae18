"""The bodies of OIP v2: what must be read and written, and a 4xx for everything else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.http import InferResult

import modelwright as mw
from modelwright.core.schema import Column, Schema, Target
from modelwright.pack.artefact import Answers, Artefact
from modelwright.serve import oip
from modelwright.serve.messages import ProtocolError, Question, Response
from modelwright.serve.outputs import output_bytes, output_metadata, output_values, text_bytes
from serve.doors import KINDS, request, rows

SMALL = Schema(
    (Column("x", "number"), Column("t", "category", nullable=True)), Target("y", "regression")
)
X = {"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}


@pytest.fixture(scope="module")
def artefact(released: mw.Released) -> Artefact:
    return Artefact.load(released.run / "artefact")


def ask(
    artefact: Artefact, body: Any, headers: dict[str, str] | None = None
) -> tuple[Question, Response]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    question = oip.read_infer(artefact.schema, data, headers or {}, 1000)
    answers = artefact.answer(question.feeds)
    return question, oip.write_infer("shop", "3", question, answers)


def test_an_answer_has_model_version_and_all_outputs(artefact: Artefact) -> None:
    given_rows = rows(7)
    _, response = ask(artefact, request(given_rows))
    found = json.loads(response.body)
    assert (response.status, response.kind, response.headers) == (200, b"application/json", ())
    assert (found["model_name"], found["model_version"]) == ("shop", "3") and "id" not in found
    label, shares = found["outputs"]
    assert (label["name"], label["datatype"], label["shape"]) == ("prediction", "BYTES", [7])
    assert (shares["name"], shares["datatype"], shares["shape"]) == (
        "probabilities",
        "FP64",
        [7, 2],
    )
    assert shares["parameters"] == {"labels": ["no", "yes"]}
    wanted = artefact.predict(given_rows)
    assert label["data"] == [row["prediction"] for row in wanted]
    assert shares["data"][1::2] == [row["p_yes"] for row in wanted]
    assert [o["name"] for o in output_metadata(artefact.schema)] == ["prediction", "probabilities"]


def test_a_batch_is_answered_row_by_row_alike(artefact: Artefact) -> None:
    for count in (7, 64):
        given_rows = rows(count)
        _, whole = ask(artefact, request(given_rows))
        _, again = ask(artefact, request(given_rows))
        assert whole.body == again.body
        singles = [json.loads(ask(artefact, request([row]))[1].body) for row in given_rows]
        for place, output in enumerate(json.loads(whole.body)["outputs"]):
            alone = [v for one in singles for v in one["outputs"][place]["data"]]
            wanted = alone if output["datatype"] == "BYTES" else pytest.approx(alone, abs=1e-12)
            assert output["data"] == wanted


@pytest.mark.parametrize(
    "identity", ["a-7", "", "\u00e4\U0001f600" * 100, "a\r\nb\x00", "x" * 1024]
)
def test_the_id_comes_back(artefact: Artefact, identity: str) -> None:
    _, response = ask(artefact, request(rows(1), id=identity))
    assert json.loads(response.body)["id"] == identity
    assert not any(b"\n" in value for _, value in response.headers)


def test_outputs_are_filtered_in_the_order_they_were_asked_for(artefact: Artefact) -> None:
    for names, wanted in (
        (["probabilities"], ["probabilities"]),
        (["probabilities", "prediction"], ["probabilities", "prediction"]),
        (["prediction", "prediction"], ["prediction"]),
        ([], ["prediction", "probabilities"]),
    ):
        body = request(rows(2), outputs=[{"name": n, "parameters": {"any": 1}} for n in names])
        found = json.loads(ask(artefact, body)[1].body)
        assert [o["name"] for o in found["outputs"]] == wanted


@pytest.mark.parametrize("name", ["classification", "shared_memory_region"])
def test_who_asks_for_another_form_of_an_output_is_not_given_this_one(
    artefact: Artefact, name: str
) -> None:
    wanted = {"name": "probabilities", "parameters": {name: 2}}
    with pytest.raises(ProtocolError, match=f"output 'probabilities': the parameter '{name}'"):
        ask(artefact, request(rows(1), outputs=[{"name": "prediction"}, wanted]))


@pytest.mark.parametrize(
    "more", [{"parameters": {}}, {"parameters": {"timeout": 5, "x": "y", "z": [1]}}, {"id": None},
             {"parameters": None, "outputs": None}, {"model_name": "other", "unknown": {}}],
)  # fmt: skip
def test_parameters_and_unknown_keys_are_taken_and_not_repeated(
    artefact: Artefact, more: dict[str, Any]
) -> None:
    body = request(rows(1), **more)
    body["inputs"][0]["parameters"] = {"content_type": "np"}
    found = json.loads(ask(artefact, body)[1].body)
    assert found.keys() == {"model_name", "model_version", "outputs"}


def test_marks_of_an_answer_are_parameters(artefact: Artefact) -> None:
    question, _ = ask(artefact, request(rows(1)))
    answers = artefact.answer(question.feeds)
    found = oip.write_infer("shop", "3", question, answers, parameters={"fallback": "previous"})
    assert json.loads(found.body)["parameters"] == {"fallback": "previous"}


def binary(given_rows: list[dict[str, Any]], **more: Any) -> tuple[bytes, dict[str, str]]:
    """Every tensor behind the JSON, as tritonclient sends them."""
    inputs, raws = [], []
    for name, kind in KINDS.items():
        values = [row[name] for row in given_rows]
        if kind == "BYTES":
            raw = b"".join(text_bytes(v or "") for v in values)
        else:
            dtype = {"FP64": "<f8", "INT64": "<i8", "BOOL": "?"}[kind]
            raw = np.array([float("nan") if v is None else v for v in values], dtype).tobytes()
        size = {"binary_data_size": len(raw)}
        inputs.append({"name": name, "shape": [len(values)], "datatype": kind, "parameters": size})
        raws.append(raw)
    head = json.dumps({"inputs": inputs, **more}).encode()
    return b"".join([head, *raws]), {oip.HEADER_LENGTH: str(len(head))}


@pytest.mark.parametrize("count", [1, 7])
def test_binary_in_and_out_is_the_same_as_json(artefact: Artefact, count: int) -> None:
    given_rows = rows(count)
    _, plain = ask(artefact, request(given_rows))
    wanted = {o["name"]: o["data"] for o in json.loads(plain.body)["outputs"]}
    _, found = ask(artefact, *binary(given_rows))
    assert found.body == plain.body
    for body, headers in (
        binary(given_rows, parameters={"binary_data_output": True}),
        (json.dumps(request(given_rows, parameters={"binary_data_output": True})).encode(), {}),
    ):
        _, found = ask(artefact, body, headers)
        assert found.kind == b"application/octet-stream"
        [(name, length)] = found.headers
        assert name == b"inference-header-content-length"
        result = InferResult.from_response_body(found.body, header_length=int(length))
        labels = [v.decode() for v in result.as_numpy("prediction")]
        shares = result.as_numpy("probabilities")
        assert labels == wanted["prediction"] and shares.shape == (count, 2)
        assert shares.ravel().tolist() == wanted["probabilities"]


def test_one_output_binary_and_one_in_json(artefact: Artefact) -> None:
    outputs = [
        {"name": "prediction", "parameters": {"binary_data": False}},
        {"name": "probabilities"},
    ]
    body = request(rows(2), outputs=outputs, parameters={"binary_data_output": True})
    _, found = ask(artefact, body)
    head = json.loads(found.body[: int(found.headers[0][1])])
    label, shares = head["outputs"]
    assert len(label["data"]) == 2 and "data" not in shares
    assert shares["parameters"] == {"labels": ["no", "yes"], "binary_data_size": 32}


def head_and_tail(head: dict[str, Any], tail: bytes, length: str | None = None) -> Any:
    data = json.dumps(head).encode()
    return data + tail, {oip.HEADER_LENGTH: str(len(data)) if length is None else length}


def sized(size: Any, **more: Any) -> dict[str, Any]:
    return {
        "name": "x",
        "shape": [1],
        "datatype": "FP64",
        "parameters": {"binary_data_size": size},
        **more,
    }


@pytest.mark.parametrize(
    ("given_request", "said"),
    [
        (head_and_tail({"inputs": [sized(8)]}, bytes(7)), "7 bytes are left"),
        (head_and_tail({"inputs": [sized(8)]}, bytes(9)), "1 bytes behind the JSON"),
        (head_and_tail({"inputs": [sized(4)]}, bytes(4)), "4 bytes, but FP64"),
        (head_and_tail({"inputs": [sized(-8)]}, bytes(8)), "binary_data_size -8"),
        (head_and_tail({"inputs": [sized("8")]}, bytes(8)), "a whole number, found '8'"),
        (head_and_tail({"inputs": [sized(2**70)]}, bytes(8)), "8 bytes are left"),
        (head_and_tail({"inputs": [sized(True)]}, bytes(8)), "found 'True'"),
        (head_and_tail({"inputs": [sized(8, data=[1])]}, bytes(8)), "both 'data' and"),
        (head_and_tail({"inputs": [X]}, bytes(8)), "8 bytes behind the JSON"),
        ((json.dumps({"inputs": [sized(8)]}).encode(), {}), "0 bytes are left"),
        ((b'{"inputs": [NaN]}', {}), "it has NaN at byte 12; JSON has no NaN: send null"),
        *[
            (head_and_tail({"inputs": [sized(8)]}, bytes(8), length), "wanted the number of bytes")
            for length in ("abc", "-1", "99999999999", "9" * 5000, "", "1e2", "\u0663", "+5")
        ],
        (head_and_tail({"inputs": [sized(8)]}, bytes(8), "0"), "not JSON"),
        (head_and_tail({"inputs": [sized(8)]}, bytes(8), "5"), "not JSON"),
    ],
)  # fmt: skip
def test_wrong_binary_requests(given_request: tuple[bytes, dict[str, str]], said: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        oip.read_infer(SMALL, *given_request, 10)
    assert caught.value.status == 400 and said in caught.value.message


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "not JSON"), ("{", "not JSON"), (b"\xff", "not JSON"),
        ("[" * 250_000, "Wanted an object"),
        ({"inputs": [{**X, "data": "DEEP"}]}, "not JSON"),
        ('{"inputs": [NaN]}', "not JSON"), ('{"inputs": [-Infinity]}', "not JSON"),
        ([], "Wanted an object with a list 'inputs'"), ({}, "list 'inputs'"), (5, "list 'inputs'"),
        ({"inputs": {}}, "list 'inputs'"), ({"inputs": None}, "list 'inputs'"),
        ({"inputs": []}, "no rows"), ({"inputs": [5]}, "with a 'name'"),
        ({"inputs": [{**X, "name": 5}]}, "with a 'name'"),
        ({"inputs": [{k: v for k, v in X.items() if k != "name"}]}, "with a 'name'"),
        ({"inputs": [{k: v for k, v in X.items() if k != "shape"}]}, "'shape' must be"),
        ({"inputs": [{k: v for k, v in X.items() if k != "datatype"}]}, "'datatype' must be"),
        ({"inputs": [{k: v for k, v in X.items() if k != "data"}]}, "'data' is missing"),
        ({"inputs": [{**X, "shape": [1.5]}]}, "'shape' must be"),
        ({"inputs": [{**X, "shape": ["1"]}]}, "'shape' must be"),
        ({"inputs": [{**X, "shape": [True]}]}, "'shape' must be"),
        ({"inputs": [{**X, "shape": 1}]}, "'shape' must be"),
        ({"inputs": [{**X, "data": {}}]}, "'data' must be a list"),
        ({"inputs": [{**X, "datatype": 64}]}, "'datatype' must be"),
        ({"inputs": [{**X, "parameters": 5}]}, "'parameters' must be"),
        ({"inputs": [X], "parameters": []}, "'parameters' must be"),
        ({"inputs": [X], "id": 5}, "'id' must be text"),
        ({"inputs": [X], "id": "x" * 1025}, "1,025 bytes"),
        ({"inputs": [X], "id": "\u00e4" * 513}, "1,026 bytes"),
        ({"inputs": [X], "outputs": 5}, "'outputs' must be a list"),
        ({"inputs": [X], "outputs": [5]}, "with a 'name'"),
        ({"inputs": [X], "outputs": [{"name": "probabilities"}]}, "unknown output"),
        ({"inputs": [X], "outputs": [{"name": "prediction"}] * 1025}, "at most 1,024"),
        ({"inputs": [X], "parameters": {"binary_data_output": "yes"}}, "must be true or false"),
        ({"inputs": [X], "outputs": [{"name": "prediction", "parameters": {"binary_data": 1}}]},
         "must be true or false"),
    ],
)  # fmt: skip
def test_wrong_requests(body: Any, said: str) -> None:
    data = body if isinstance(body, (bytes, str)) else json.dumps(body)
    text = data if isinstance(data, bytes) else data.replace('"DEEP"', "[" * 250_000).encode()
    with pytest.raises(ProtocolError) as caught:
        oip.read_infer(SMALL, text, {}, 10)
    assert caught.value.status == 400 and said in caught.value.message


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["name", "shape", "datatype", "data", "parameters"]), inner, max_size=6
        ),
    ),
    max_leaves=20,
)  # fmt: skip
TENSOR = st.fixed_dictionaries(
    {
        "name": st.one_of(st.sampled_from(["x", "t", "numbers"]), JSON),
        "shape": st.one_of(st.just([1]), st.lists(st.integers(-1, 3), max_size=3), JSON),
        "datatype": st.one_of(st.sampled_from(["FP64", "FP16", "INT8", "BYTES", "BOOL"]), JSON),
    },
    optional={
        "data": st.one_of(st.lists(st.one_of(JSON, st.floats()), max_size=3), JSON),
        "parameters": st.one_of(
            st.fixed_dictionaries({"binary_data_size": st.integers(-1, 12)}), JSON
        ),
    },
)


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.fixed_dictionaries(
            {"inputs": st.lists(TENSOR, max_size=3)},
            optional={"id": JSON, "outputs": JSON, "parameters": JSON},
        ),
        JSON,
    ),
    st.binary(max_size=16),
    st.one_of(st.none(), st.integers(-5, 5), st.text(max_size=5)),
)
def test_any_request_is_a_question_or_a_fault_of_the_caller(
    content: Any, tail: bytes, shift: int | str | None
) -> None:
    head = json.dumps(content).encode()
    length = str(len(head) + shift) if isinstance(shift, int) else shift
    headers = {} if length is None else {oip.HEADER_LENGTH: length}
    for schema in (SMALL, Schema(SMALL.columns[:1], SMALL.target)):
        for body in (head + tail, head):
            try:
                question = oip.read_infer(schema, body, headers, 10)
            except ProtocolError as error:
                assert error.status in (400, 413, 422) and str(error)
            else:
                assert 0 < question.rows <= 10
                assert all(len(feed) == question.rows for feed in question.feeds.values())


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_fault_of_the_caller(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        oip.read_infer(SMALL, body, {}, 10)


def labels_of(kind: Any, levels: tuple[str, ...]) -> tuple[dict[str, Any], list[Any], bytes]:
    schema = Schema(SMALL.columns, Target("y", "multiclass", kind, levels))
    answers = Answers(schema, codes=np.array([1, 0]), probabilities=np.eye(2)[[1, 0]])
    described = output_metadata(schema)[0]
    return described, output_values(answers, "prediction"), output_bytes(answers, "prediction")


def test_labels_have_the_datatype_of_the_training_data() -> None:
    assert labels_of("string", ("a", "\u00e4")) == (
        {"name": "prediction", "datatype": "BYTES", "shape": [-1]},
        ["\u00e4", "a"],
        text_bytes("\u00e4") + text_bytes("a"),
    )
    described, values, raw = labels_of("integer", ("-1", "7"))
    assert (described["datatype"], values) == ("INT64", [7, -1])
    assert np.frombuffer(raw, "<i8").tolist() == [7, -1]
    described, values, raw = labels_of("boolean", ("False", "True"))
    assert (described["datatype"], values, raw) == ("BOOL", [True, False], b"\x01\x00")


def test_regression_with_intervals_and_what_a_stand_in_cannot_say() -> None:
    schema = Schema(SMALL.columns, Target("y", "regression", interval=0.9))
    question = oip.read_infer(schema, json.dumps({"inputs": [X]}).encode(), {}, 10)
    value, low, high = np.array([np.nan]), np.array([0.5]), np.array([2.0])
    whole = oip.write_infer("m", "1", question, Answers(schema, values=value, low=low, high=high))
    found = {o["name"]: o["data"] for o in json.loads(whole.body)["outputs"]}
    assert found == {"prediction": [None], "low": [0.5], "high": [2.0]}
    constant = oip.write_infer("m", "1", question, Answers(schema, values=low))
    assert [o["name"] for o in json.loads(constant.body)["outputs"]] == ["prediction"]
    assert output_bytes(Answers(schema, values=value), "prediction") == value.tobytes()


def test_metadata(artefact: Artefact) -> None:
    about = oip.model_metadata("shop", ["3", "2"], artefact.schema)
    assert (about["name"], about["versions"], about["platform"]) == (
        "shop",
        ["3", "2"],
        "onnx_onnxv1",
    )
    found = {i["name"]: (i["datatype"], i["shape"]) for i in about["inputs"]}
    assert found == {n: (k.replace("INT64", "FP64"), [-1]) for n, k in KINDS.items()}
    assert about["outputs"][1]["shape"] == [-1, 2]
    server = oip.server_metadata()
    assert server["name"] == "modelwright" and "binary_tensor_data" in server["extensions"]
    assert json.loads(oip.live_body()) == {"live": True}
    assert oip.ready_response(True).body == b'{"ready":true}'
    down = oip.ready_response(False, "shop")
    assert (down.status, json.loads(down.body)["ready"]) == (503, False)


def test_model_repository() -> None:
    entries = [oip.Entry("shop", "3"), oip.Entry("shop", "2", oip.UNAVAILABLE, "unloaded")]
    assert [e["version"] for e in json.loads(oip.write_index(entries))] == ["3", "2"]
    assert json.loads(oip.write_index(entries, ready=True)) == [
        {"name": "shop", "version": "3", "state": "READY", "reason": ""}
    ]
    assert not oip.read_index(b"{}") and oip.read_index(b'{"ready":true}')
    for body in (b"", b" ", b"{}", b'{"parameters": {"unload_dependents": false}}'):
        oip.read_repository(body)
    for body, said in (
        (b'{"parameters": {"config": "{}"}}', "refused"),
        (b'{"parameters": {"file:1/model.onnx": "aGk="}}', "refused"),
        (b'{"parameters": 5}', "'parameters' must be"),
        (b"{", "not JSON"),
    ):
        with pytest.raises(ProtocolError, match=said):
            oip.read_repository(body)
    with pytest.raises(ProtocolError, match="'ready' must be"):
        oip.read_index(b'{"ready": 1}')
