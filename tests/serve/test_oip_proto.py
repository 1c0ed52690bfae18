"""The gRPC messages have the numbers of Triton's, and any bytes are a question or a 4xx."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

import modelwright as mw
from modelwright.pack.artefact import Artefact
from modelwright.serve.messages import ProtocolError
from modelwright.serve.oip_proto import MESSAGES, parsed, read_message, write_message
from serve.doors import Desk, OneLive, rows, typed


@pytest.fixture(scope="module")
def desk(released: mw.Released) -> Desk:
    return Desk(OneLive(Artefact.load(released.run / "artefact")))


def test_the_messages_are_those_of_triton() -> None:
    for path, found in MESSAGES.items():
        if path == "Infer":
            continue
        wanted = service_pb2
        for part in path.split("."):
            wanted = getattr(wanted, part)
        pairs = [
            {
                (f.name, f.number, f.type, f.message_type and f.message_type.full_name)
                for f in d.fields
            }
            for d in (found.DESCRIPTOR, wanted.DESCRIPTOR)  # type: ignore[attr-defined]
        ]
        assert pairs[0] == pairs[1], path


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, 400), st.binary(max_size=4))
def test_any_bytes_are_a_question_or_a_fault_of_the_caller(
    desk: Desk, body: bytes, at: int, junk: bytes
) -> None:
    good = typed(rows(1)).SerializeToString()
    bad = good[:at] + junk + good[at + len(junk) :]
    for data in (body, good[:at], bad):
        try:
            read_message(desk.only.schema, parsed("Infer", data), 10)
        except ProtocolError as error:
            assert error.status in (400, 413, 422)


def test_an_answer_is_a_message_however_often_it_is_written(desk: Desk) -> None:
    schema = desk.only.schema
    for count in (1, 3, 1, 200):
        message = typed(rows(count), id="i" * 300)
        question = read_message(schema, parsed("Infer", message.SerializeToString()), 1000)
        answers = desk.only.run(question.feeds)
        for marks in (None, {"fallback": "previous"}):
            data = write_message("shop", "3", question, answers, parameters=marks)
            found: Any = service_pb2.ModelInferResponse.FromString(data)
            assert (found.model_name, found.model_version, found.id) == ("shop", "3", "i" * 300)
            assert [list(o.shape) for o in found.outputs] == [[count], [count, 2]]
            assert [o.name for o in found.outputs] == ["prediction", "probabilities"]
            assert len(found.raw_output_contents[1]) == 16 * count
            assert ("fallback" in found.parameters) == bool(marks)


@pytest.mark.parametrize("kind", ["", "FLOAT", "BF16"])
def test_a_datatype_that_does_not_exist_is_named(desk: Desk, kind: str) -> None:
    message = typed(rows(1))
    message.inputs[0].datatype = kind
    with pytest.raises(ProtocolError, match=f"datatype '{kind}', wanted a numeric type"):
        read_message(desk.only.schema, parsed("Infer", message.SerializeToString()), 10)
