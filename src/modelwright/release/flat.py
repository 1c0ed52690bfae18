"""The model file in the shape that MLflow's own onnx flavour wants: one input a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from modelwright.pack.artefact import MODEL, Artefact


def flat_graph(artefact: Artefact) -> Any:
    """The same graph with one input a column, and one-dimensional outputs: `prediction` and a
    `p_<label>` a class, or `low` and `high`. MLflow makes DataFrames of both.
    """
    model = onnx.load_model_from_string((artefact.folder / MODEL).read_bytes())
    outputs, graph = artefact.manifest.outputs, model.graph
    taken = {column.name for column in artefact.schema.columns} | set(outputs.values())
    _one_input_a_column(graph, artefact.manifest.inputs)
    label = outputs.get("label") or outputs["value"]
    kind = next(o.type.tensor_type.elem_type for o in graph.output if o.name == label)
    wanted = [("prediction", kind, "Identity", [label])]
    for end in ("low", "high"):
        if end in outputs:
            wanted.append((end, kind, "Identity", [outputs[end]]))
    for code, level in enumerate(artefact.schema.target.levels):
        index = onnx.numpy_helper.from_array(np.int64(code), f"class_index_{code}")
        graph.initializer.append(index)
        double = onnx.TensorProto.DOUBLE
        wanted.append((f"p_{level}", double, "Gather", [outputs["probabilities"], index.name]))
    del graph.output[:]
    for name, element, operator, inputs in wanted:
        while name in taken:
            name += "_"
        axis = {"axis": 1} if operator == "Gather" else {}
        graph.node.append(onnx.helper.make_node(operator, inputs, [name], **axis))
        graph.output.append(onnx.helper.make_tensor_value_info(name, element, [None]))
    return model


def _one_input_a_column(graph: Any, inputs: Mapping[str, Sequence[str]]) -> None:
    """Put the matrices together from columns; a lone column comes as [rows, 1] from MLflow."""
    kinds = {given.name: given.type.tensor_type.elem_type for given in graph.input}
    alone = sum(map(len, inputs.values())) == 1
    taken = {column for columns in inputs.values() for column in columns}
    for node in graph.node:  # a column may have the name of an inner tensor
        for place, name in enumerate(node.input):
            node.input[place] = f"{name}__" if name in taken and name not in inputs else name
        for place, name in enumerate(node.output):
            node.output[place] = f"{name}__" if name in taken else name
    shape = onnx.numpy_helper.from_array(np.array([-1, 1]), "column_shape")
    graph.initializer.append(shape)
    added = []
    for group, columns in inputs.items():
        parts = []
        for number, column in enumerate(columns):
            parts.append(f"{group}__{number}")
            added.append(onnx.helper.make_node("Reshape", [column, shape.name], [parts[-1]]))
        added.append(onnx.helper.make_node("Concat", parts, [f"{group}__all"], axis=1))
        for node in graph.node:
            for place, name in enumerate(node.input):
                node.input[place] = f"{group}__all" if name == group else name
    steps = [*added, *graph.node]
    del graph.node[:]
    graph.node.extend(steps)
    del graph.input[:]
    dimensions = [None, 1] if alone else [None]
    for group, columns in inputs.items():
        graph.input.extend(
            onnx.helper.make_tensor_value_info(column, kinds[group], dimensions)
            for column in columns
        )
