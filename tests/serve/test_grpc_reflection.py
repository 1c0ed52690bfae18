"""Reflection, asked by grpcio's own client."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import modelwright as mw
from modelwright.pack.artefact import Artefact
from serve.doors import Desk, OneLive, channel_to


@pytest.fixture(scope="module")
def desk(released: mw.Released) -> Desk:
    return Desk(OneLive(Artefact.load(released.run / "artefact")))


@pytest.fixture(scope="module")
def channel(desk: Desk) -> Iterator[grpc.Channel]:
    with channel_to(desk) as found:
        yield found


def test_reflection_describes_the_service_as_triton_does(channel: grpc.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="inference.GRPCInferenceService"
        ),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="grpc.health.v1.Health"),
    ]
    services, own, health = stub.ServerReflectionInfo(iter(asked))
    names = {service.name for service in services.list_services_response.service}
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= names
    file = descriptor_pb2.FileDescriptorProto.FromString(
        own.file_descriptor_response.file_descriptor_proto[0]
    )
    assert file.package == "inference" and len(file.service[0].method) == 9
    assert health.file_descriptor_response.file_descriptor_proto


def test_reflection_has_both_versions_and_says_what_it_does_not_know(
    channel: grpc.Channel,
) -> None:
    kind = reflection_pb2.ServerReflectionRequest
    for version in ("v1alpha", "v1"):
        ask = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            kind.SerializeToString, reflection_pb2.ServerReflectionResponse.FromString,
        )  # fmt: skip
        asked = [
            kind(file_by_filename="grpc/health/v1/health.proto"),
            kind(file_by_filename="nothing.proto"),
            kind(file_containing_symbol="inference.ModelInferRequest.InferInputTensor"),
            kind(all_extension_numbers_of_type="inference.ModelInferRequest"),
            kind(file_containing_extension={"containing_type": "x", "extension_number": 1}),
            kind(),
        ]
        file, none, symbol, numbers, extension, empty = ask(iter(asked))
        [data] = file.file_descriptor_response.file_descriptor_proto
        wanted = descriptor_pb2.FileDescriptorProto.FromString(health_pb2.DESCRIPTOR.serialized_pb)
        found = descriptor_pb2.FileDescriptorProto.FromString(data)
        kinds = [[(f.name, f.number, f.type) for m in d.message_type for f in m.field]
                 for d in (found, wanted)]  # fmt: skip
        assert kinds[0] == kinds[1][: len(kinds[0])]
        assert none.error_response.error_code == extension.error_response.error_code == 5
        assert symbol.original_request == asked[2] and symbol.file_descriptor_response
        assert numbers.all_extension_numbers_response.base_type_name.endswith("InferRequest")
        assert empty.error_response.error_code == 3
    with pytest.raises(grpc.RpcError, match="is not a ServerReflectionRequest"):
        next(channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        )(iter([b"\xff"])))  # fmt: skip
