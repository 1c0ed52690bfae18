"""The messages of OIP v2's gRPC service, made at import, and requests and answers in them.

Field numbers are those of open_inference_grpc.proto and Triton's grpc_service.proto. Clients in
the same process bring theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelwright.core.schema import Schema
from modelwright.pack.artefact import Answers
from modelwright.serve.datatypes import DTYPE, Tensor, text_or_bytes
from modelwright.serve.messages import ProtocolError, Question
from modelwright.serve.oip import checked_id, wanted_outputs
from modelwright.serve.outputs import check_parameters, given_outputs, output_bytes
from modelwright.serve.protos import DecodeError, file_of, messages_of, new_pool
from modelwright.serve.tensors import (
    Prepared,
    check_tensors,
    key_from,
    prepare,
    read_checked,
    read_prepared,
)

PACKAGE = "inference"
SERVICE = "inference.GRPCInferenceService"
FILE = "modelwright/inference.proto"

_CHOICE = "oneof parameter_choice"
_PARAMETERS = "4 map InferParameter parameters"
_FIELDS: dict[str, tuple[str, ...]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("1 bool live",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("1 bool ready",),
    "ModelReadyRequest": ("1 string name", "2 string version"),
    "ModelReadyResponse": ("1 bool ready",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": ("1 string name", "2 string version", "3 repeated string extensions"),
    "ModelMetadataRequest": ("1 string name", "2 string version"),
    "ModelMetadataResponse": (
        "1 string name", "2 repeated string versions", "3 string platform",
        "4 repeated ModelMetadataResponse.TensorMetadata inputs",
        "5 repeated ModelMetadataResponse.TensorMetadata outputs",
    ),
    "ModelMetadataResponse.TensorMetadata": (
        "1 string name", "2 string datatype", "3 repeated int64 shape",
    ),
    "InferParameter": (
        f"1 bool bool_param {_CHOICE}", f"2 int64 int64_param {_CHOICE}",
        f"3 string string_param {_CHOICE}", f"4 double double_param {_CHOICE}",
        f"5 uint64 uint64_param {_CHOICE}",
    ),
    "InferTensorContents": (
        "1 repeated bool bool_contents", "2 repeated int32 int_contents",
        "3 repeated int64 int64_contents", "4 repeated uint32 uint_contents",
        "5 repeated uint64 uint64_contents", "6 repeated float fp32_contents",
        "7 repeated double fp64_contents", "8 repeated bytes bytes_contents",
    ),
    "ModelInferRequest": (
        "1 string model_name", "2 string model_version", "3 string id", _PARAMETERS,
        "5 repeated ModelInferRequest.InferInputTensor inputs",
        "6 repeated ModelInferRequest.InferRequestedOutputTensor outputs",
        "7 repeated bytes raw_input_contents",
    ),
    "ModelInferRequest.InferInputTensor": (
        "1 string name", "2 string datatype", "3 repeated int64 shape", _PARAMETERS,
        "5 InferTensorContents contents",
    ),
    "ModelInferRequest.InferRequestedOutputTensor": (
        "1 string name", "2 map InferParameter parameters",
    ),
    "ModelInferResponse": (
        "1 string model_name", "2 string model_version", "3 string id", _PARAMETERS,
        "5 repeated ModelInferResponse.InferOutputTensor outputs",
        "6 repeated bytes raw_output_contents",
    ),
    "ModelInferResponse.InferOutputTensor": (
        "1 string name", "2 string datatype", "3 repeated int64 shape", _PARAMETERS,
        "5 InferTensorContents contents",
    ),
    "ModelRepositoryParameter": (
        f"1 bool bool_param {_CHOICE}", f"2 int64 int64_param {_CHOICE}",
        f"3 string string_param {_CHOICE}", f"4 bytes bytes_param {_CHOICE}",
    ),
    "RepositoryIndexRequest": ("1 string repository_name", "2 bool ready"),
    "RepositoryIndexResponse": ("1 repeated RepositoryIndexResponse.ModelIndex models",),
    "RepositoryIndexResponse.ModelIndex": (
        "1 string name", "2 string version", "3 string state", "4 string reason",
    ),
    "RepositoryModelLoadRequest": (
        "1 string repository_name", "2 string model_name",
        "3 map ModelRepositoryParameter parameters",
    ),
    "RepositoryModelLoadResponse": (),
    "RepositoryModelUnloadRequest": (
        "1 string repository_name", "2 string model_name",
        "3 map ModelRepositoryParameter parameters",
    ),
    "RepositoryModelUnloadResponse": (),
}  # fmt: skip
_LEAN = {
    "Infer": (
        "1 string model_name", "2 string model_version", "3 string id",
        "5 repeated bytes inputs", "6 repeated bytes outputs",
        "7 repeated bytes raw_input_contents",
    ),
}  # fmt: skip
"""ModelInferRequest with its tensors left as bytes, which are the same in request after request."""
METHODS = (
    "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer",
    "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload",
)  # fmt: skip
_CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents",
    "INT32": "int_contents", "INT64": "int64_contents", "UINT8": "uint_contents",
    "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
_SEEN: dict[tuple[bytes, ...], Prepared] = {}
_MOST_SEEN, LONGEST_SEEN = 256, 64 * 1024
_HEADS: dict[tuple[Any, ...], tuple[Schema, bytes]] = {}
_MOST_HEADS = 1024


DESCRIBED = file_of(
    FILE, PACKAGE, _FIELDS,
    services={"GRPCInferenceService": tuple(f"{m} {m}Request {m}Response" for m in METHODS)},
)  # fmt: skip
"""The .proto file of the service; reflection shows it."""
_LEAN_POOL = new_pool(file_of("modelwright/lean.proto", PACKAGE, _LEAN))
MESSAGES: dict[str, Any] = {
    **messages_of(new_pool(DESCRIBED), PACKAGE, _FIELDS), **messages_of(_LEAN_POOL, PACKAGE, _LEAN)
}  # fmt: skip
"""Name -> message class, as in `MESSAGES["ModelInferRequest"]`."""


def parsed(kind: str, data: bytes) -> Any:
    """A message out of bytes.

    Raises:
        ProtocolError: 400 when they are not one.
    """
    try:
        return MESSAGES[kind].FromString(data)
    except DecodeError as error:
        raise ProtocolError(400, f"The message is not a {kind}.") from error


def read_message(
    schema: Schema,
    request: Any,
    max_rows: int,
    key: str | None = None,
    *,
    counts_unknown: bool = False,
) -> Question:
    """Read an inference request; `oip.read_infer` for gRPC.

    Args:
        request: `parsed("Infer", ...)`, with its tensors as bytes in `raw_input_contents`, or each
            in its own `contents`.
        max_rows: most rows that are taken.
        key: column whose first value becomes the question's key.
        counts_unknown: see `tensors.check_tensors`; the same in all calls of a process.

    Raises:
        ProtocolError: 400 for what the protocol forbids, 413 for too many rows, 422 for values.
    """
    inputs, raws = tuple(request.inputs), list(request.raw_input_contents)
    if raws:
        if len(raws) != len(inputs):
            raise ProtocolError(400, f"{len(inputs)} inputs, but {len(raws)} raw_input_contents.")
        prepared = _prepared(schema, inputs, max_rows, counts_unknown)
        feeds, checked = read_prepared(prepared, raws), prepared.checked
        caller = key_from(schema, key, checked.tensors, raws)
    else:
        tensors = [_typed(parsed("ModelInferRequest.InferInputTensor", data)) for data in inputs]
        none = [None] * len(tensors)
        checked = check_tensors(schema, tensors, max_rows, counts_unknown=counts_unknown)
        feeds = read_checked(checked, none)
        caller = key_from(schema, key, tensors, none)
    outputs: tuple[str, ...] = ()
    if request.outputs:
        kind = "ModelInferRequest.InferRequestedOutputTensor"
        wanted = [parsed(kind, data) for data in request.outputs]
        outputs = wanted_outputs(schema, [output.name for output in wanted])
        for output in wanted:
            check_parameters(output.name, output.parameters)
    identity = checked_id(request.id) or None
    unknown = dict.fromkeys(checked.unknown, checked.rows)
    return Question(feeds, checked.rows, "infer", identity, outputs, unknown=unknown, key=caller)


def _prepared(
    schema: Schema, inputs: tuple[bytes, ...], max_rows: int, counts_unknown: bool
) -> Prepared:
    """Names, shapes and datatypes, which are the same in request after request of a client."""
    found = _SEEN.get(inputs)
    if found is not None:
        checked = found.checked
        if checked.plan.schema is schema and checked.rows <= max_rows:
            return found
    tensors = []
    for data in inputs:
        tensor = parsed("ModelInferRequest.InferInputTensor", data)
        if tensor.HasField("contents"):
            raise ProtocolError(400, "Both 'contents' and raw_input_contents are given.")
        tensors.append(Tensor(tensor.name, list(tensor.shape), tensor.datatype))
    checked = check_tensors(schema, tensors, max_rows, counts_unknown=counts_unknown)
    prepared = prepare(checked)
    if sum(map(len, inputs)) <= LONGEST_SEEN:
        if len(_SEEN) >= _MOST_SEEN:
            _SEEN.clear()
        _SEEN[inputs] = prepared
    return prepared


def _typed(tensor: Any) -> Tensor:
    """A tensor whose values stand in the field for its datatype."""
    name, datatype, contents = tensor.name, tensor.datatype, tensor.contents
    field = _CONTENTS.get(datatype)
    given = [described.name for described, _ in contents.ListFields()]
    known = field is not None or datatype in DTYPE  # else `check_tensors` names it
    if given and given != [field] and known:
        wanted = field or "raw_input_contents"
        raise ProtocolError(
            400, f"input {name[:80]!r}: {datatype[:20]} in {', '.join(given)}, wanted {wanted}."
        )
    values: list[Any] = list(getattr(contents, field)) if field else []
    if datatype == "BYTES":
        values = list(map(text_or_bytes, values))
    return Tensor(name, list(tensor.shape), datatype, values)


def write_message(
    model: str,
    version: str,
    question: Question,
    answers: Answers,
    *,
    parameters: Mapping[str, str] | None = None,
) -> bytes:
    """A ModelInferResponse, serialised, with its tensors as bytes: all that tritonclient reads.

    Protobuf messages one after the other are one message, so what does not change from request to
    request is made once.
    """
    described = given_outputs(answers, question.outputs)
    names = tuple(output["name"] for output in described)
    key = (model, version, question.rows, names)
    schema, head = _HEADS.get(key, (None, b""))
    if schema is not answers.schema:
        head = _head(model, version, question.rows, described)
        if len(_HEADS) >= _MOST_HEADS:
            _HEADS.clear()
        _HEADS[key] = (answers.schema, head)
    parts = [head]
    if question.id:
        parts += _field(b"\x1a", question.id.encode())
    if parameters:
        response = MESSAGES["ModelInferResponse"]()
        for name, value in parameters.items():
            response.parameters[name].string_param = value
        parts.append(response.SerializeToString())
    for name in names:
        parts += _field(b"\x32", output_bytes(answers, name))
    return b"".join(parts)


def _head(model: str, version: str, rows: int, described: Sequence[Mapping[str, Any]]) -> bytes:
    response = MESSAGES["ModelInferResponse"](model_name=model, model_version=version)
    for output in described:
        shape = [rows, *output["shape"][1:]]
        response.outputs.add(name=output["name"], datatype=output["datatype"], shape=shape)
    head: bytes = response.SerializeToString()
    return head


def _field(tag: bytes, data: bytes) -> tuple[bytes, bytes, bytes]:
    """A field of bytes: tag, length as a varint, bytes."""
    size, length = len(data), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return tag, bytes(length), data


def metadata_message(about: Mapping[str, Any]) -> Any:
    """`oip.model_metadata` as a ModelMetadataResponse, which has no place for labels."""
    message = MESSAGES["ModelMetadataResponse"](
        name=about["name"], versions=about["versions"], platform=about["platform"]
    )
    for side in ("inputs", "outputs"):
        for tensor in about[side]:
            getattr(message, side).add(
                name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"]
            )
    return message
