"""What an ONNX file may hold, checked on its bytes before ONNX Runtime sees them.

A model from elsewhere can name files outside its folder (external data: CVE-2022-25882,
CVE-2024-27318 and three incomplete fixes), call custom operators, or ask for any amount of memory.
Here only operators that `pack.convert` writes are let through. The protobuf wire format is read
directly, so that serving needs no onnx package.
"""

from __future__ import annotations

import math

from modelwright.core.errors import ArtefactError
from modelwright.pack.wire import NUMBERS_7_8, fields, integers, text

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
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_TEXTS, _TENSOR_RAW = 1, 2, 6, 9
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14
_FIXED = {4: 4, 10: 8}
"""Lists of numbers of so many bytes each: float_data, double_data."""
_VARIED = frozenset({5, 7, 11})
"""Lists of numbers in as few bytes as each needs: int32_data, int64_data, uint64_data."""
_CONTINUED = bytes(range(128, 256))
"""Bytes of such a number but its last."""
_TEXT = 8
_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8}
"""Kinds of numbers in a constant, and the bytes of one; `_TEXT` is the only other kind."""


def check_onnx(data: bytes) -> None:
    """Refuse a model that is not of the kind `pack` writes.

    Raises:
        ArtefactError: not ONNX, external data, a foreign domain or operator, a nested graph, a
            constant that says it is larger, or smaller, than its data.
    """
    seen_graph = False
    for number, value in fields(data):
        if number == _MODEL_GRAPH and isinstance(value, bytes):
            seen_graph = True
            _check_graph(value)
        elif number == _MODEL_OPSET and isinstance(value, bytes):
            _check_domain(text(value, 1))
        elif number in (_MODEL_TRAINING, _MODEL_FUNCTIONS):
            raise ArtefactError("The model holds functions or training graphs, which are refused.")
    if not seen_graph:
        raise ArtefactError("The model file is not ONNX: it has no graph.")


def _check_graph(data: bytes) -> None:
    for number, value in fields(data):
        if number == _GRAPH_NODE and isinstance(value, bytes):
            _check_node(value)
        elif number == _GRAPH_CONSTANT and isinstance(value, bytes):
            _check_tensor(value)
        elif number == _GRAPH_SPARSE:
            raise ArtefactError("The model holds sparse constants, which are refused.")


def _check_node(data: bytes) -> None:
    domain, operator = text(data, _NODE_DOMAIN), text(data, _NODE_OP)
    _check_domain(domain)
    if operator not in ALLOWED[domain]:
        raise ArtefactError(f"The model uses the operator {operator[:40]!r}, which is refused.")
    for number, value in fields(data):
        if number == _NODE_ATTRIBUTE and isinstance(value, bytes):
            for kind, inner in fields(value, without=NUMBERS_7_8):
                if kind in _ATTRIBUTE_GRAPHS:
                    raise ArtefactError("The model nests graphs, which is refused.")
                if kind in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS) and isinstance(inner, bytes):
                    _check_tensor(inner)


def _check_tensor(data: bytes) -> None:
    for number, value in fields(data):
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value != 0):
            raise ArtefactError(
                "The model keeps data in another file, which is refused.",
                hint="A release is one self-contained .onnx file.",
            )
    dims, given = integers(data, _TENSOR_DIMS), _count(data)
    wanted = math.prod(dims)
    if wanted != given or any(size < 0 for size in dims):
        raise ArtefactError(
            f"A constant of the model says that it has {wanted:,} values, but {given:,} are there.",
            hint="The runtime would set memory aside for what it says.",
        )


def _count(data: bytes) -> int:
    """How many values a tensor holds."""
    kind = [0, *integers(data, _TENSOR_TYPE)][-1]
    if kind != _TEXT and kind not in _BYTES:
        raise ArtefactError(f"The model holds a constant of type {kind}, which is refused.")
    found, raw = 0, 0
    for number, value in fields(data):
        if number == _TENSOR_TEXTS:
            found += 1
        elif number in _VARIED:
            found += 1 if isinstance(value, int) else len(value.translate(None, _CONTINUED))
        elif number in _FIXED and isinstance(value, bytes):
            found += len(value) // _FIXED[number]
        elif number == _TENSOR_RAW and isinstance(value, bytes):
            raw = len(value) // _BYTES.get(kind, 1)
    return found + raw


def _check_domain(domain: str) -> None:
    if domain not in ALLOWED:
        raise ArtefactError(f"The model uses operators of {domain[:60]!r}, which is refused.")
