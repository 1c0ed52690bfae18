"""Server reflection: what `grpcurl` and its like read to call methods without .proto files.

github.com/grpc/grpc/blob/master/doc/server-reflection.md. The versions v1alpha and v1 have the same
messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from modelwright.serve.grpc_calls import GrpcCall, Method
from modelwright.serve.grpc_status import INVALID_ARGUMENT, NOT_FOUND
from modelwright.serve.messages import ProtocolError
from modelwright.serve.protos import DecodeError, file_of, messages_of, new_pool

_VERSIONS = ("v1alpha", "v1")
_REQUEST, _RESPONSE = "ServerReflectionRequest", "ServerReflectionResponse"
_ASKED, _ANSWERED = "oneof message_request", "oneof message_response"
_FIELDS = {
    "ExtensionRequest": ("1 string containing_type", "2 int32 extension_number"),
    _REQUEST: (
        "1 string host", f"3 string file_by_filename {_ASKED}",
        f"4 string file_containing_symbol {_ASKED}",
        f"5 ExtensionRequest file_containing_extension {_ASKED}",
        f"6 string all_extension_numbers_of_type {_ASKED}", f"7 string list_services {_ASKED}",
    ),
    "FileDescriptorResponse": ("1 repeated bytes file_descriptor_proto",),
    "ExtensionNumberResponse": ("1 string base_type_name", "2 repeated int32 extension_number"),
    "ServiceResponse": ("1 string name",),
    "ListServiceResponse": ("1 repeated ServiceResponse service",),
    "ErrorResponse": ("1 int32 error_code", "2 string error_message"),
    _RESPONSE: (
        "1 string valid_host", f"2 {_REQUEST} original_request",
        f"4 FileDescriptorResponse file_descriptor_response {_ANSWERED}",
        f"5 ExtensionNumberResponse all_extension_numbers_response {_ANSWERED}",
        f"6 ListServiceResponse list_services_response {_ANSWERED}",
        f"7 ErrorResponse error_response {_ANSWERED}",
    ),
}  # fmt: skip


def _file(version: str) -> Any:
    return file_of(
        f"grpc/reflection/{version}/reflection.proto",
        f"grpc.reflection.{version}",
        _FIELDS,
        services={
            "ServerReflection": (f"ServerReflectionInfo stream {_REQUEST} stream {_RESPONSE}",)
        },
    )


def reflection_methods(files: Sequence[Any]) -> dict[str, Method]:
    """The methods by their full names.

    Args:
        files: what is described beside reflection itself, as `protos.file_of` makes it.
    """
    own = [_file(version) for version in _VERSIONS]
    pool = new_pool(*files, *own)
    names = [f"{f.package}.{s.name}" for f in (*files, *own) for s in f.service]
    return {
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo": Method(
            _answers(pool, names, f"grpc.reflection.{version}"), streams=True
        )
        for version in _VERSIONS
    }


def _answers(pool: Any, names: list[str], package: str) -> Callable[[GrpcCall, bytes], bytes]:
    kinds = messages_of(pool, package, (_REQUEST, _RESPONSE))

    def answer(_call: GrpcCall, body: bytes) -> bytes:
        try:
            asked = kinds[_REQUEST].FromString(body)
        except DecodeError as error:
            raise ProtocolError(400, f"The message is not a {_REQUEST}.") from error
        found = kinds[_RESPONSE](valid_host=asked.host, original_request=asked)
        try:
            _fill(found, asked, pool, names)
        except KeyError:
            found.error_response.error_code = NOT_FOUND
            found.error_response.error_message = "Nothing of that name is described here."
        data: bytes = found.SerializeToString()
        return data

    return answer


def _fill(found: Any, asked: Any, pool: Any, names: list[str]) -> None:
    """One answer to one request.

    Raises:
        KeyError: there is nothing of that name.
    """
    what = asked.WhichOneof("message_request")
    if what == "list_services":
        for name in names:
            found.list_services_response.service.add(name=name)
    elif what == "file_by_filename":
        file = pool.FindFileByName(asked.file_by_filename)
        found.file_descriptor_response.file_descriptor_proto.append(file.serialized_pb)
    elif what == "file_containing_symbol":
        file = pool.FindFileContainingSymbol(asked.file_containing_symbol)
        found.file_descriptor_response.file_descriptor_proto.append(file.serialized_pb)
    elif what == "all_extension_numbers_of_type":
        kind = pool.FindMessageTypeByName(asked.all_extension_numbers_of_type)
        found.all_extension_numbers_response.base_type_name = kind.full_name
    elif what == "file_containing_extension":
        raise KeyError(what)  # these files extend nothing
    else:
        found.error_response.error_code = INVALID_ARGUMENT
        found.error_response.error_message = "Nothing is asked for."
