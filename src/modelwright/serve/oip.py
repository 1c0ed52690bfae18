"""The Open Inference Protocol v2 over HTTP: bodies to questions and answers to bodies.

Pure functions, without a socket; every fault of the caller is a ProtocolError. Specification:
github.com/kserve/open-inference-protocol (inference_rest.md), with Triton's extensions
binary_tensor_data and model_repository.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from modelwright.core.schema import Schema
from modelwright.core.version import __version__
from modelwright.pack.artefact import Answers
from modelwright.serve import oip_heads
from modelwright.serve.datatypes import Raw, Tensor
from modelwright.serve.faults import not_json
from modelwright.serve.messages import ProtocolError, Question, Response
from modelwright.serve.outputs import check_parameters, output_metadata, outputs_json
from modelwright.serve.tensor_plan import MOST_TENSORS
from modelwright.serve.tensors import (
    DATATYPE,
    MOST_ID,
    check_tensors,
    key_from,
    prepare,
    read_checked,
)

HEADER_LENGTH = "inference-header-content-length"
EXTENSIONS = ("binary_tensor_data", "model_repository")
OCTETS = b"application/octet-stream"
PLATFORM = "onnx_onnxv1"
READY, UNAVAILABLE = "READY", "UNAVAILABLE"


class _Wanted(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Infer(msgspec.Struct):
    inputs: list[Tensor]
    id: str | None = None
    outputs: list[_Wanted] | None = None
    parameters: dict[str, Any] | None = None


class _Ask(msgspec.Struct):
    """What the calls of the model repository may say."""

    ready: bool = False
    parameters: dict[str, Any] | None = None


class Entry(msgspec.Struct, frozen=True, omit_defaults=False):
    """One version in the model repository's index; `state` is READY or UNAVAILABLE."""

    name: str
    version: str
    state: str = READY
    reason: str = ""


class Repository(Protocol):
    """The models that a server could serve, for the doors' index, load and unload."""

    def index(self) -> Sequence[Entry]:
        """Every version that is known, ready or not."""

    async def load(self, model: str, by: str = "") -> None:
        """Load the version that the registry names now; raises ProtocolError.

        Args:
            model: its name.
            by: name of the token that asks, for the audit.
        """

    async def unload(self, model: str, by: str = "") -> None:
        """Stop answering for a model; raises ProtocolError. See `load`."""


_INFER = msgspec.json.Decoder(_Infer)
_ASK = msgspec.json.Decoder(_Ask)
_AT = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_FORM = "Wanted an object with a list 'inputs'."
_FORMS = {
    "inputs": _FORM,
    "name": "Each input and output must be an object with a 'name'.",
    "shape": "'shape' must be [rows] or [rows, 1], in whole numbers.",
    "datatype": "'datatype' must be text, such as FP64.",
    "data": "'data' must be a list.",
    "id": "'id' must be text.",
    "outputs": "'outputs' must be a list of objects with a 'name'.",
    "parameters": "'parameters' must be an object.",
    "ready": "'ready' must be true or false.",
}


def read_infer(
    schema: Schema, body: bytes, headers: Mapping[str, str], max_rows: int, key: str | None = None,
    *, counts_unknown: bool = False,
) -> Question:  # fmt: skip
    """Read an inference request, JSON alone or JSON with tensors behind it.

    Args:
        schema: of the version that will answer.
        body: whole, and no longer compressed.
        headers: names in lower case; only `inference-header-content-length` is looked at.
        max_rows: most rows that are taken.
        key: column whose first value becomes the question's key.
        counts_unknown: see `tensors.check_tensors`; the same in all calls of a process.

    Raises:
        ProtocolError: 400 for what the protocol forbids, 413 for too many rows, 422 for values.

    Example:
        >>> from modelwright.core.schema import Column, Target
        >>> schema = Schema((Column("age", "number"),), Target("y", "regression"))
        >>> tensor = b'{"name": "age", "shape": [1], "datatype": "INT64", "data": [39]}'
        >>> read_infer(schema, b'{"id": "7", "inputs": [' + tensor + b"]}", {}, 10).feeds
        {'age': array([39.])}
    """
    length = headers.get(HEADER_LENGTH)
    if length is None:
        request, behind = _decoded(_INFER, body, _FORM), memoryview(b"")
    else:
        size = _header_length(length, len(body))
        head, behind = body[:size], memoryview(body)[size:]
        known = oip_heads.find(schema, head, len(behind), max_rows)
        if known is not None:
            return known.question(behind, key)
        request = _decoded(_INFER, head, _FORM)
    raws = _raws(request.inputs, behind)
    checked = check_tensors(schema, request.inputs, max_rows, counts_unknown=counts_unknown)
    feeds = read_checked(checked, raws)
    outputs, binary = _outputs(schema, request)
    identity = checked_id(request.id)
    sizes = [len(raw) for raw in raws if raw is not None]
    if length is not None and len(sizes) == len(raws) and identity is None:
        said = oip_heads.Head(schema, prepare(checked), tuple(sizes), outputs, binary)
        oip_heads.learn(head, said)
    caller = key_from(schema, key, request.inputs, raws)
    unknown = dict.fromkeys(checked.unknown, checked.rows)
    return Question(feeds, checked.rows, "infer", identity, outputs, binary, unknown, caller)


def _decoded(decoder: msgspec.json.Decoder[Any], body: bytes, form: str) -> Any:
    """JSON of a known form.

    Raises:
        ProtocolError: 400 that names the place.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise ProtocolError(400, _said(str(error), form)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(body, error) from error


def _said(error: str, form: str) -> str:
    """msgspec's message in the protocol's words, with its place."""
    missing = re.search(r"missing required field `(\w+)`", error)
    place = _AT.search(error)
    path = place["path"] if place else ""
    words = re.findall(r"[a-z]+", path)
    name = missing[1] if missing else (words[-1] if words else "")
    if not missing and path.endswith("]") and name in ("inputs", "outputs"):
        name = "name"
    return f"{_FORMS.get(name, form)} {_AT.sub('', error)} at ${path}."


def _header_length(text: str, size: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) <= size):
        raise ProtocolError(
            400,
            f"{HEADER_LENGTH} is {text[:40]!r}, wanted the number of bytes of the JSON, at most "
            f"the {size:,} of the body.",
        )
    return int(text)


def _raws(inputs: Sequence[Tensor], behind: memoryview) -> list[Raw | None]:
    """The bytes of each tensor that says how many it has, in the order of the JSON."""
    raws: list[Raw | None] = []
    at, whole = 0, len(behind)
    for tensor in inputs:
        size = tensor.parameters.get("binary_data_size") if tensor.parameters else None
        if size is None:
            raws.append(None)
            continue
        if type(size) is not int:
            raise ProtocolError(
                400, f"input {tensor.name[:80]!r}: binary_data_size must be a whole number, "
                f"found {str(size)[:40]!r}."
            )  # fmt: skip
        if not 0 <= size <= whole - at:
            raise ProtocolError(
                400, f"input {tensor.name[:80]!r}: binary_data_size {str(size)[:40]}, but "
                f"{whole - at:,} bytes are left behind the JSON."
            )  # fmt: skip
        if tensor.data is not None:
            raise ProtocolError(
                400, f"input {tensor.name[:80]!r}: both 'data' and binary_data_size are given."
            )
        raws.append(behind[at : at + size])
        at += size
    if at != whole:
        raise ProtocolError(400, f"{whole - at:,} bytes behind the JSON belong to no input.")
    return raws


def checked_id(identity: str | None) -> str | None:
    """A request id, if it is not longer than 1 KiB.

    Raises:
        ProtocolError: 400 when it is.
    """
    if identity is not None and len(identity) > MOST_ID // 4:
        size = len(identity.encode("utf-8", "surrogatepass"))
        if size > MOST_ID:
            raise ProtocolError(400, f"'id' has {size:,} bytes, at most {MOST_ID:,} are taken.")
    return identity


def wanted_outputs(schema: Schema, names: Sequence[str]) -> tuple[str, ...]:
    """The outputs that a request names, each once; none of them stands for all.

    Raises:
        ProtocolError: 400 for an output that the model does not have, and for too many.
    """
    if len(names) > MOST_TENSORS:
        raise ProtocolError(400, f"{len(names):,} outputs, at most {MOST_TENSORS:,} are taken.")
    known = [output["name"] for output in output_metadata(schema)]
    for name in names:
        if name not in known:
            raise ProtocolError(400, f"unknown output {name[:80]!r}; known: {', '.join(known)}")
    return tuple(dict.fromkeys(names))


def _outputs(schema: Schema, request: _Infer) -> tuple[tuple[str, ...], frozenset[str]]:
    """Names of the wanted outputs, and which of them as bytes."""
    parameters = request.parameters
    everything = _flag(parameters, "binary_data_output", False) if parameters else False
    if not request.outputs:
        binary = output_metadata(schema) if everything else ()
        return (), frozenset(output["name"] for output in binary)
    names = wanted_outputs(schema, [output.name for output in request.outputs])
    for output in request.outputs:
        check_parameters(output.name, output.parameters or ())
    return names, frozenset(
        output.name
        for output in request.outputs
        if _flag(output.parameters or {}, "binary_data", everything)
    )


def _flag(parameters: Mapping[str, Any], name: str, default: bool) -> bool:
    found = parameters.get(name, default)
    if type(found) is not bool:
        raise ProtocolError(400, f"the parameter {name!r} must be true or false.")
    return found


def write_infer(
    model: str,
    version: str,
    question: Question,
    answers: Answers,
    *,
    parameters: Mapping[str, str | int | float | bool] | None = None,
) -> Response:
    """The answer to an inference request: JSON, or JSON with the outputs wanted as bytes behind.

    Args:
        model, version: who answered.
        question: with the wanted outputs and the id to give back.
        parameters: of the answer, such as which stand-in gave it. Those of the request are not
            repeated.
    """
    text = msgspec.json.encode
    outputs, raws = outputs_json(answers, question.outputs, question.rows, question.binary)
    parts = [
        b'{"model_name":%b,"model_version":%b,"outputs":%b' % (text(model), text(version), outputs)
    ]
    if question.id is not None:
        parts.append(b',"id":%b' % text(question.id))
    if parameters:
        parts.append(b',"parameters":%b' % text(parameters))
    head = b"".join(parts) + b"}"
    if not raws:
        return Response(200, head)
    length = (HEADER_LENGTH.encode(), str(len(head)).encode())
    return Response(200, b"".join([head, *raws]), OCTETS, (length,))


def server_metadata() -> dict[str, Any]:
    """What `GET /v2` says.

    Example:
        >>> server_metadata()["extensions"]
        ['binary_tensor_data', 'model_repository']
    """
    return {"name": "modelwright", "version": __version__, "extensions": list(EXTENSIONS)}


def model_metadata(model: str, versions: Sequence[str], schema: Schema) -> dict[str, Any]:
    """What `GET /v2/models/NAME` says: versions, and the tensors in and out."""
    return {
        "name": model,
        "versions": list(versions),
        "platform": PLATFORM,
        "inputs": [
            {"name": column.name, "datatype": DATATYPE[column.kind], "shape": [-1]}
            for column in schema.features
        ],
        "outputs": list(output_metadata(schema)),
    }


def live_body() -> bytes:
    """What `GET /v2/health/live` says; that it says anything is the answer.

    Example:
        >>> live_body()
        b'{"live":true}'
    """
    return b'{"live":true}'


def ready_response(ready: bool, model: str | None = None) -> Response:
    """What `GET /v2/health/ready` and `GET /v2/models/NAME/ready` say: 200, or 503.

    Example:
        >>> ready_response(True, "income").body
        b'{"name":"income","ready":true}'
        >>> ready_response(False).status
        503
    """
    body: dict[str, Any] = {"name": model} if model is not None else {}
    body["ready"] = ready
    if not ready:
        body["error"] = "The model is not ready." if model else "The server is not ready."
    return Response(200 if ready else 503, msgspec.json.encode(body))


def read_index(body: bytes) -> bool:
    """Read `POST /v2/repository/index`: whether only ready models are wanted.

    Raises:
        ProtocolError: 400 for another form.

    Example:
        >>> read_index(b""), read_index(b'{"ready": true}')
        (False, True)
    """
    ready: bool = _decoded(_ASK, body, "Wanted an object.").ready if body.strip() else False
    return ready


def write_index(entries: Sequence[Entry], *, ready: bool = False) -> bytes:
    """The answer to `POST /v2/repository/index`.

    Example:
        >>> write_index([Entry("income", "3")])
        b'[{"name":"income","version":"3","state":"READY","reason":""}]'
    """
    return msgspec.json.encode([e for e in entries if not ready or e.state == READY])


def read_repository(body: bytes) -> None:
    """Check `POST /v2/repository/models/NAME/load` and `.../unload`.

    Nothing in it changes what is loaded: the registry says which version that is, and a model is
    never taken from a request.

    Raises:
        ProtocolError: 400 for another form, and for `config` or `file:` parameters.
    """
    if body.strip():
        check_load_parameters(_decoded(_ASK, body, "Wanted an object.").parameters or {})


def check_load_parameters(names: Mapping[str, Any]) -> None:
    """Refuse a model or a configuration within a load request.

    Raises:
        ProtocolError: 400 with the name of the parameter.
    """
    for name in names:
        if name == "config" or name.startswith("file:"):
            raise ProtocolError(
                400, f"the parameter {name[:40]!r} is refused: models come from the registry only."
            )
