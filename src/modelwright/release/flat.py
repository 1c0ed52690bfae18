"""The model file in the shape that MLflow's own onnx flavour wants: one input a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from modelwright.pack.artefact import MODEL, Artefact

INNER = "modelwright::"
"""Prefix of all tensors of ours, since a column may have any name."""


def flat_graph(artefact: Artefact) -> Any:
    """The same graph with one input a column, and one-dimensional outputs: `prediction` and a
    `p_<label>` a class, or `low` and `high`. MLflow makes DataFrames of both.
    """
    model = onnx.load_model_from_string((artefact.folder / MODEL).read_bytes())
    graph, outputs = model.graph, artefact.manifest.outputs
    kinds = {o.name: o.type.tensor_type.elem_type for o in (*graph.input, *graph.output)}
    _rename_all(graph)
    _one_input_a_column(graph, artefact.manifest.inputs, kinds)
    label = outputs.get("label") or outputs["value"]
    wanted = [("prediction", kinds[label], "Identity", [INNER + label])]
    for end in ("low", "high"):
        if end in outputs:
            wanted.append((end, kinds[label], "Identity", [INNER + outputs[end]]))
    for code, level in enumerate(artefact.schema.target.levels):
        index = onnx.numpy_helper.from_array(np.int64(code), f"{INNER}class_index_{code}")
        graph.initializer.append(index)
        double = onnx.TensorProto.DOUBLE
        shares = INNER + outputs["probabilities"]
        wanted.append((f"p_{level}", double, "Gather", [shares, index.name]))
    taken = {column.name for column in artefact.schema.columns}
    del graph.output[:]
    for name, element, operator, inputs in wanted:
        while name in taken:
            name += "_"
        taken.add(name)
        axis = {"axis": 1} if operator == "Gather" else {}
        graph.node.append(onnx.helper.make_node(operator, inputs, [name], **axis))
        graph.output.append(onnx.helper.make_tensor_value_info(name, element, [None]))
    return model


def _rename_all(graph: Any) -> None:
    """Give every tensor the prefix."""
    for constant in graph.initializer:
        constant.name = INNER + constant.name
    for node in graph.node:
        node.input[:] = [INNER + name for name in node.input]
        node.output[:] = [INNER + name for name in node.output]


def _one_input_a_column(
    graph: Any, inputs: Mapping[str, Sequence[str]], kinds: Mapping[str, int]
) -> None:
    """Put the matrices together from columns; a lone column comes as [rows, 1] from MLflow."""
    alone = sum(map(len, inputs.values())) == 1
    shape = onnx.numpy_helper.from_array(np.array([-1, 1]), f"{INNER}column_shape")
    graph.initializer.append(shape)
    steps = []
    del graph.input[:]
    for group, columns in inputs.items():
        parts = [f"{INNER}{group}_{number}" for number in range(len(columns))]
        for column, part in zip(columns, parts, strict=True):
            steps.append(onnx.helper.make_node("Reshape", [column, shape.name], [part]))
            graph.input.append(
                onnx.helper.make_tensor_value_info(
                    column, kinds[group], [None, 1] if alone else [None]
                )
            )
        steps.append(onnx.helper.make_node("Concat", parts, [INNER + group], axis=1))
    steps += graph.node
    del graph.node[:]
    graph.node.extend(steps)
