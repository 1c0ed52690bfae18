"""A small writer of ONNX graphs that names its own tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelwright.core.intake import Array

OPSET = 21
ML_OPSET = 5
IR_VERSION = 10
ML = "ai.onnx.ml"

ELEMENT = {
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "string": TensorProto.STRING,
    "bool": TensorProto.BOOL,
}


@dataclass
class GraphWriter:
    """Collects nodes and constants; every method returns the name of what it added.

    Inputs and outputs have plain names; all others end in a number.
    """

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    _known: dict[bytes, str] = field(default_factory=dict)
    _added: dict[bytes, str] = field(default_factory=dict)
    _count: int = 0

    def fresh(self, stem: str) -> str:
        """A name that no other tensor has."""
        self._count += 1
        return f"{stem}_{self._count}"

    def constant(self, values: Any, dtype: Any = None) -> str:
        """A constant tensor; equal ones are stored once."""
        array = np.asarray(values, dtype)
        tensor = numpy_helper.from_array(array)
        key = tensor.SerializeToString()
        if key not in self._known:
            tensor.name = self._known[key] = self.fresh("constant")
            self.constants.append(tensor)
        return self._known[key]

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output; the same step on the same inputs is written once."""
        node = helper.make_node(op, list(inputs), [], domain=domain, **attributes)
        key = node.SerializeToString(deterministic=True)
        if key not in self._added:
            node.name = self._added[key] = self.fresh(op.lower())
            node.output.append(node.name)
            self.nodes.append(node)
        return self._added[key]

    def input(self, name: str, kind: str, shape: list[Any]) -> str:
        """Declare a graph input."""
        self.inputs.append(helper.make_tensor_value_info(name, ELEMENT[kind], shape))
        return name

    def output(self, tensor: str, name: str, kind: str, shape: list[Any]) -> None:
        """Give a tensor out under a name of its own."""
        self.nodes.append(helper.make_node("Identity", [tensor], [name], name=f"{name}_out"))
        self.outputs.append(helper.make_tensor_value_info(name, ELEMENT[kind], shape))

    def finish(self, name: str) -> onnx.ModelProto:
        """The checked model."""
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.constants)
        model = helper.make_model(
            graph,
            producer_name="modelwright",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)],
        )
        onnx.checker.check_model(model)
        return model


def strings(values: list[str]) -> Array:
    """A constant of strings in the dtype that ONNX wants."""
    return np.array(values, dtype=object)
