"""The last part of the graph: raw scores to what a caller wants. It repeats `fit.decision.link_of`
and `fit.outputs` step by step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from modelwright.core.schema import Target
from modelwright.fit.decision import Link
from modelwright.fit.outputs import TINY, Calibration, Outputs, Reach, Transform
from modelwright.pack.graph import GraphWriter, strings


def linked(writer: GraphWriter, scores: str, link: Link) -> str:
    """Probabilities [rows, classes] or values [rows, 1] from raw scores."""
    if link == "sigmoid":
        return _with_rest(writer, writer.add("Sigmoid", scores))
    if link == "softmax":
        return writer.add("Softmax", scores, axis=1)
    return scores  # values, or leaves that hold shares already


def _with_rest(writer: GraphWriter, positive: str) -> str:
    """[1 - p, p] from p [rows, 1]."""
    negative = writer.add("Sub", writer.constant(1.0, np.float64), positive)
    return writer.add("Concat", negative, positive, axis=1)


def transformed_back(writer: GraphWriter, transform: Transform, raw: str) -> str:
    """Values on the target's own scale."""
    if transform.kind == "none":
        return raw
    shift = writer.constant(transform.shift, np.float64)
    if transform.kind == "log":
        capped = writer.add("Min", raw, writer.constant(700.0, np.float64))
        return writer.add("Sub", writer.add("Exp", capped), shift)
    positive = writer.add("Max", raw, writer.constant(0.0, np.float64))
    return writer.add("Sub", writer.add("Mul", positive, positive), shift)


def mixed(writer: GraphWriter, answers: Sequence[str], weights: Sequence[float]) -> str:
    """The weighted mean, added up one after the other."""
    if len(answers) == 1:
        return answers[0]
    parts = [
        writer.add("Mul", writer.constant(weight, np.float64), answer)
        for answer, weight in zip(answers, weights, strict=True)
    ]
    total = parts[0]
    for part in parts[1:]:
        total = writer.add("Add", total, part)
    return total


def written(writer: GraphWriter, target: Target, answer: str, outputs: Outputs) -> dict[str, str]:
    """Declare the graph's outputs: value (with low and high), or label and probabilities.

    Returns:
        What each output is -> its name in the graph.
    """
    if target.task == "regression":
        flat = writer.add("Reshape", answer, writer.constant([-1], np.int64))
        tensors = {"value": flat}
        if outputs.reach is not None:
            tensors["low"], tensors["high"] = _around(writer, outputs.reach, flat)
        for what, tensor in tensors.items():
            writer.output(tensor, what, "float64", [None])
        return {what: what for what in tensors}
    shares = _calibrated(writer, outputs.calibration, answer)
    label, kind = _label(writer, target, outputs, shares)
    writer.output(label, "label", kind, [None])
    writer.output(shares, "probabilities", "float64", [None, len(target.levels)])
    return {"label": "label", "probabilities": "probabilities"}


def _around(writer: GraphWriter, reach: Reach, values: str) -> tuple[str, str]:
    width = writer.constant(reach.amount, np.float64)
    if reach.relative:
        floor = writer.constant(reach.floor, np.float64)
        width = writer.add("Mul", width, writer.add("Max", writer.add("Abs", values), floor))
    return writer.add("Sub", values, width), writer.add("Add", values, width)


def _calibrated(writer: GraphWriter, calibration: Calibration, shares: str) -> str:
    if calibration.kind == "temperature":
        safe = writer.add("Max", shares, writer.constant(TINY, np.float64))
        cool = writer.constant(calibration.temperature, np.float64)
        return writer.add("Softmax", writer.add("Div", writer.add("Log", safe), cool), axis=1)
    if calibration.kind == "isotonic":
        return _with_rest(writer, _on_curve(writer, calibration, _positive(writer, shares)))
    return shares


def _positive(writer: GraphWriter, shares: str) -> str:
    """The chance of class 1, [rows, 1]."""
    return writer.add("Gather", shares, writer.constant([1], np.int64), axis=1)


def _on_curve(writer: GraphWriter, calibration: Calibration, p: str) -> str:
    """The straight piece that p lies on, by counting the pieces that begin at or below it."""
    place, slope, start = calibration.lines()
    reached = writer.add("GreaterOrEqual", p, writer.constant(place[1:], np.float64))
    numbers = writer.add("Cast", reached, to=onnx.TensorProto.INT64)
    piece = writer.add("ReduceSum", numbers, writer.constant([1], np.int64), keepdims=1)
    low, high = (writer.constant(v, np.float64) for v in (place[0], calibration.knots[-1]))
    x = writer.add("Clip", p, low, high)
    begins, rises, starts = (
        writer.add("Gather", writer.constant(values, np.float64), piece, axis=0)
        for values in (place, slope, start)
    )
    return writer.add("Add", writer.add("Mul", rises, writer.add("Sub", x, begins)), starts)


def _label(writer: GraphWriter, target: Target, outputs: Outputs, shares: str) -> tuple[str, str]:
    """(the label in the type of the training data, its element type)."""
    if outputs.costs:
        expected = writer.add("MatMul", shares, writer.constant(outputs.costs, np.float64))
        index = writer.add("ArgMin", expected, axis=1, keepdims=0)
    elif outputs.threshold is not None:
        flat = writer.add("Reshape", _positive(writer, shares), writer.constant([-1], np.int64))
        enough = writer.add("GreaterOrEqual", flat, writer.constant(outputs.threshold, np.float64))
        index = writer.add("Cast", enough, to=onnx.TensorProto.INT64)
    else:
        index = writer.add("ArgMax", shares, axis=1, keepdims=0)
    whole = target.label_type == "integer"
    levels = [int(v) for v in target.levels] if whole else strings(list(target.levels))
    label = writer.add("Gather", writer.constant(levels, np.int64 if whole else None), index)
    return label, "int64" if whole else "string"
