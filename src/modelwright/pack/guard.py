"""What an ONNX file may hold, checked on its bytes before ONNX Runtime sees them.

A model from elsewhere can name files outside its folder (external data: CVE-2022-25882,
CVE-2024-27318 and three incomplete fixes), call custom operators, or ask for any amount of memory.
Here only operators that `pack.convert` writes are let through. The protobuf wire format is read
directly, so that serving needs no onnx package.
"""

from __future__ import annotations

from collections.abc import Iterator

from modelwright.core.errors import ArtefactError

ALLOWED = {
    "": frozenset({
        "Abs", "Add", "ArgMax", "ArgMin", "Cast", "Clip", "Concat", "Div", "Equal", "Exp", "Gather",
        "GreaterOrEqual", "Identity", "IsNaN", "Log", "MatMul", "Max", "Min", "Mod", "Mul",
        "ReduceSum", "RegexFullMatch", "Reshape", "Sigmoid", "Softmax", "Sub", "Transpose", "Where",
    }),
    "ai.onnx.ml": frozenset({"LabelEncoder", "TreeEnsemble"}),
}  # fmt: skip

_MODEL_GRAPH, _MODEL_OPSET, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 8, 20, 25
_GRAPH_NODE, _GRAPH_CONSTANT, _GRAPH_SPARSE = 1, 5, 15
_NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS = 5, 10
_ATTRIBUTE_GRAPHS = frozenset({6, 11, 22, 23})
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14


def check_onnx(data: bytes) -> None:
    """Refuse a model that is not of the kind `pack` writes.

    Raises:
        ArtefactError: not ONNX, external data, a foreign domain or operator, a nested graph.
    """
    seen_graph = False
    for number, value in _fields(data):
        if number == _MODEL_GRAPH and isinstance(value, bytes):
            seen_graph = True
            _check_graph(value)
        elif number == _MODEL_OPSET and isinstance(value, bytes):
            _check_domain(_text(value, 1))
        elif number in (_MODEL_TRAINING, _MODEL_FUNCTIONS):
            raise ArtefactError("The model holds functions or training graphs, which are refused.")
    if not seen_graph:
        raise ArtefactError("The model file is not ONNX: it has no graph.")


def _check_graph(data: bytes) -> None:
    for number, value in _fields(data):
        if number == _GRAPH_NODE and isinstance(value, bytes):
            _check_node(value)
        elif number == _GRAPH_CONSTANT and isinstance(value, bytes):
            _check_tensor(value)
        elif number == _GRAPH_SPARSE:
            raise ArtefactError("The model holds sparse constants, which are refused.")


def _check_node(data: bytes) -> None:
    domain, operator = _text(data, _NODE_DOMAIN), _text(data, _NODE_OP)
    _check_domain(domain)
    if operator not in ALLOWED[domain]:
        raise ArtefactError(f"The model uses the operator {operator[:40]!r}, which is refused.")
    for number, value in _fields(data):
        if number == _NODE_ATTRIBUTE and isinstance(value, bytes):
            for kind, inner in _fields(value):
                if kind in _ATTRIBUTE_GRAPHS:
                    raise ArtefactError("The model nests graphs, which is refused.")
                if kind in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS) and isinstance(inner, bytes):
                    _check_tensor(inner)


def _check_tensor(data: bytes) -> None:
    for number, value in _fields(data):
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value != 0):
            raise ArtefactError(
                "The model keeps data in another file, which is refused.",
                hint="A release is one self-contained .onnx file.",
            )


def _check_domain(domain: str) -> None:
    if domain not in ALLOWED:
        raise ArtefactError(f"The model uses operators of {domain[:60]!r}, which is refused.")


def _text(data: bytes, wanted: int) -> str:
    found = b""
    for number, value in _fields(data):
        if number == wanted and isinstance(value, bytes):
            found = value
    return found.decode("utf-8", "replace")


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Field number and value of each entry of a protobuf message."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        size, at = (8, at) if wire == 1 else (4, at) if wire == 5 else _varint(data, at)
        if wire not in (1, 2, 5) or at + size > end:
            raise ArtefactError("The model file is not ONNX, or it is cut short.")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return result, at
        shift += 7
    raise ArtefactError("The model file is not ONNX, or it is cut short.")
