"""Pipeline to ONE ONNX graph, exact by construction.

Everything is float64 from the raw column to the answer, as the libraries themselves compute:
tree thresholds stay in raw units, CatBoost's float32 comparisons are taken back to float64
thresholds (`before_float32`), and integers keep all digits up to 2**53. Measured on 2 cores, a
float64 TreeEnsemble costs the same as a float32 one (6.6 us a row at 200 trees).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from modelwright.core.errors import PackError
from modelwright.core.schema import MISSING_TIME, Column, Schema
from modelwright.fit import calendar as cal
from modelwright.fit.calendar import Part
from modelwright.fit.decision import Affine, Decision, Forest, Layers, Stored, scale_of, small_of
from modelwright.fit.features import Encoder, ListTable, Scaling
from modelwright.fit.pipeline import Pipeline
from modelwright.pack.answers import linked, mixed, transformed_back, written
from modelwright.pack.categories import category_features
from modelwright.pack.graph import ML, GraphWriter
from modelwright.pack.inputs import NUMBERS, TEXTS, TIMES, inputs_of
from modelwright.pack.narrow import narrowed
from modelwright.pack.shrink import nodes_of, smallest
from modelwright.pack.subsets import spelled_out

ELEMENT_OF = {NUMBERS: "float64", TEXTS: "string", TIMES: "int64"}
INPUT_TYPE = {
    "number": "float64",
    "boolean": "float64",
    "category": "string",
    "list": "string",
    "datetime": "int64",
}


@dataclass(frozen=True)
class Converted:
    """A model, the columns of each input, the names of its outputs (label and probabilities, or
    value), and how many splits and weights are in it."""

    model: onnx.ModelProto
    inputs: dict[str, tuple[str, ...]]
    outputs: dict[str, str]
    nodes: int


def convert(pipeline: Pipeline, *, with_features: bool = False) -> Converted:
    """Write a trained pipeline as one graph from raw columns to answers.

    Args:
        pipeline: the trained pipeline.
        with_features: give the encoded features out as well, to find the step that differs.

    Raises:
        PackError: the model does not fit one file (over 2 GB).
    """
    schema = pipeline.schema
    writer = GraphWriter()
    inputs = _Inputs(writer, schema)
    answers, nodes = [], 0
    encoded = {}
    parts = [spelled_out(m.encoder, smallest(m.decision())) for m in pipeline.members]
    if not with_features:
        parts = narrowed(parts)
    for number, (member, (encoder, decision)) in enumerate(
        zip(pipeline.members, parts, strict=True)
    ):
        features = _encode(writer, encoder, inputs)
        nodes += nodes_of(decision)
        answer = linked(writer, _decide(writer, decision, features), decision.link)
        answers.append(transformed_back(writer, member.transform, answer))
        if with_features:
            shown = features if encoder.width == member.encoder.width else _encode(
                writer, member.encoder, inputs
            )  # fmt: skip
            encoded[number] = (shown, member.encoder.width)
    whole = mixed(writer, answers, pipeline.weights)
    outputs = written(writer, schema.target, whole, pipeline.outputs)
    if with_features:
        for number, (features, width) in encoded.items():
            outputs[f"features {number}"] = f"features_{number}"
            writer.output(features, outputs[f"features {number}"], "float64", [None, width])
    try:
        model = writer.finish(schema.target.name or "model")
        return Converted(model, inputs.groups, outputs, nodes)
    except (ValueError, onnx.checker.ValidationError) as error:
        raise PackError(f"The model cannot be written as ONNX: {error}.") from error


class _Inputs:
    """The graph's inputs, and single columns of them where a step needs one."""

    def __init__(self, writer: GraphWriter, schema: Schema) -> None:
        self._writer = writer
        self.groups = inputs_of(schema)
        self.names = {
            group: writer.input(group, ELEMENT_OF[group], [None, len(columns)])
            for group, columns in self.groups.items()
        }
        self._place = {
            column: (group, place)
            for group, columns in self.groups.items()
            for place, column in enumerate(columns)
        }

    def column(self, name: str) -> str:
        """One column, [rows]."""
        group, place = self._place[name]
        at = self._writer.constant(place, np.int64)
        return self._writer.add("Gather", self.names[group], at, axis=1)

    def numbers(self, columns: Sequence[str]) -> str:
        """Number columns side by side, [rows, columns]."""
        return self._side_by_side(NUMBERS, columns)

    def texts(self, columns: Sequence[str]) -> str:
        """Text columns side by side, [rows, columns]."""
        return self._side_by_side(TEXTS, columns)

    def _side_by_side(self, group: str, columns: Sequence[str]) -> str:
        wanted = [self._place[column][1] for column in columns]
        if wanted == list(range(len(self.groups[group]))):
            return self.names[group]
        at = self._writer.constant(wanted, np.int64)
        return self._writer.add("Gather", self.names[group], at, axis=1)


def _encode(writer: GraphWriter, encoder: Encoder, inputs: _Inputs) -> str:
    parts = []
    if encoder.sources:
        parts += _numbers(writer, encoder, inputs)
    parts += category_features(writer, encoder.tables, inputs.texts)
    parts += [_items(writer, table, inputs.column(table.column)) for table in encoder.lists]
    return parts[0] if len(parts) == 1 else writer.add("Concat", *parts, axis=1)


def _numbers(writer: GraphWriter, encoder: Encoder, inputs: _Inputs) -> list[str]:
    """Numbers as they are, then date parts, put into the encoder's order."""
    whole = [n for n, source in enumerate(encoder.sources) if not source.part]
    parted = [n for n, source in enumerate(encoder.sources) if source.part]
    pieces = [inputs.numbers([encoder.sources[n].column for n in whole])] if whole else []
    calendars: dict[str, _Calendar] = {}
    shape = writer.constant([-1, 1], np.int64)
    for number in parted:
        source = encoder.sources[number]
        if source.column not in calendars:
            calendars[source.column] = _Calendar(writer, inputs.column(source.column))
        assert source.part is not None
        pieces.append(writer.add("Reshape", calendars[source.column].part(source.part), shape))
    matrix = pieces[0] if len(pieces) == 1 else writer.add("Concat", *pieces, axis=1)
    order = np.argsort([*whole, *parted])
    if (order != np.arange(len(order))).any():
        matrix = writer.add("Gather", matrix, writer.constant(order, np.int64), axis=1)
    return [matrix] if encoder.scaling is None else _scaled(writer, encoder.scaling, matrix)


def _scaled(writer: GraphWriter, scaling: Scaling, matrix: str) -> list[str]:
    missing = writer.add("IsNaN", matrix)
    filled = writer.add("Where", missing, writer.constant(scaling.fill), matrix)
    centered = writer.add("Sub", filled, writer.constant(scaling.center))
    scaled = writer.add("Div", centered, writer.constant(scaling.scale))
    low, high = (writer.constant(sign * scaling.clip, np.float64) for sign in (-1, 1))
    parts = [writer.add("Clip", scaled, low, high)]
    if len(scaling.indicators):
        flags = writer.add("Gather", missing, writer.constant(scaling.indicators, np.int64), axis=1)
        parts.append(writer.add("Cast", flags, to=onnx.TensorProto.DOUBLE))
    return parts


def _items(writer: GraphWriter, table: ListTable, name: str) -> str:
    """A column for each item: whether the list has it."""
    column = writer.add("Reshape", name, writer.constant([-1, 1], np.int64))
    found = [
        writer.add("RegexFullMatch", column, pattern=item_pattern(item, table.separator))
        for item in table.items
    ]
    joined = found[0] if len(found) == 1 else writer.add("Concat", *found, axis=1)
    return writer.add("Cast", joined, to=onnx.TensorProto.DOUBLE)


def item_pattern(item: str, separator: str) -> str:
    """An RE2 pattern for lists that have an item.

    Example:
        >>> item_pattern("a.b", "|")
        '(?s)(.*\\\\|)?a\\\\.b(\\\\|.*)?'
    """
    own, mark = (
        "".join(c if c.isalnum() or ord(c) > 127 else f"\\x{{{ord(c):x}}}"
                if ord(c) < 33 else f"\\{c}" for c in text)
        for text in (item, separator)
    )  # fmt: skip
    return f"(?s)(.*{mark})?{own}({mark}.*)?"


class _Calendar:
    """The steps of `fit.calendar.calendar`, each written when a part first needs it."""

    def __init__(self, writer: GraphWriter, moments: str) -> None:
        self._writer = writer
        missing = writer.add("Equal", moments, self._int(MISSING_TIME))
        self._missing = missing
        self._safe = writer.add("Where", missing, self._int(0), moments)
        self._steps: dict[str, str] = {}

    def part(self, part: Part) -> str:
        if part in cal.CYCLES:
            whole, circle = cal.CYCLES[part]
            table = self._writer.constant(circle, np.float64)
            number = self._writer.add("Gather", table, self._step(whole), axis=0)
        else:
            number = self._writer.add("Cast", self._step(part), to=onnx.TensorProto.DOUBLE)
        nan = self._writer.constant(np.nan, np.float64)
        return self._writer.add("Where", self._missing, nan, number)

    def _step(self, name: str) -> str:
        if name not in self._steps:
            self._steps[name] = getattr(self, f"_{name}")()
        return self._steps[name]

    def _int(self, value: int) -> str:
        return self._writer.constant(value, np.int64)

    def _op(self, op: str, a: str, b: str | int) -> str:
        return self._writer.add(op, a, b if isinstance(b, str) else self._int(b))

    def _z(self) -> str:
        """Days since 0000-03-01, shifted so far that the truncating Div of ONNX floors."""
        shift = (719_468 + cal.SHIFT_ERAS * cal.ERA_DAYS) * cal.MICROSECONDS_A_DAY
        return self._op("Div", self._op("Add", self._safe, shift), cal.MICROSECONDS_A_DAY)

    def _days(self) -> str:
        return self._op("Sub", self._step("z"), 719_468 + cal.SHIFT_ERAS * cal.ERA_DAYS)

    def _minutes(self) -> str:
        shift = cal.SHIFT_ERAS * cal.ERA_DAYS * cal.MICROSECONDS_A_DAY
        of_day = self._op("Mod", self._op("Add", self._safe, shift), cal.MICROSECONDS_A_DAY)
        return self._op("Div", of_day, 60_000_000)

    def _era(self) -> str:
        return self._op("Div", self._step("z"), cal.ERA_DAYS)

    def _day_of_era(self) -> str:
        return self._op("Sub", self._step("z"), self._op("Mul", self._step("era"), cal.ERA_DAYS))

    def _year_of_era(self) -> str:
        doe = self._step("day_of_era")
        days = self._op("Sub", doe, self._op("Div", doe, 1460))
        days = self._op("Add", days, self._op("Div", doe, 36_524))
        days = self._op("Sub", days, self._op("Div", doe, 146_096))
        return self._op("Div", days, 365)

    def _days_since_march(self) -> str:
        yoe = self._step("year_of_era")
        past = self._op("Add", self._op("Mul", yoe, 365), self._op("Div", yoe, 4))
        past = self._op("Sub", past, self._op("Div", yoe, 100))
        return self._op("Sub", self._step("day_of_era"), past)

    def _shifted_month(self) -> str:
        five = self._op("Mul", self._step("days_since_march"), 5)
        return self._op("Div", self._op("Add", five, 2), 153)

    def _day(self) -> str:
        month = self._op("Add", self._op("Mul", self._step("shifted_month"), 153), 2)
        before = self._op("Div", month, 5)
        return self._op("Add", self._op("Sub", self._step("days_since_march"), before), 1)

    def _month(self) -> str:
        shifted = self._step("shifted_month")
        wrapped = self._op("Mul", self._op("Div", shifted, 10), 12)
        return self._op("Sub", self._op("Add", shifted, 3), wrapped)

    def _year(self) -> str:
        era = self._op("Sub", self._step("era"), cal.SHIFT_ERAS)
        year = self._op("Add", self._step("year_of_era"), self._op("Mul", era, cal.ERA_YEARS))
        return self._op("Add", year, self._op("Div", self._step("shifted_month"), 10))

    def _weekday(self) -> str:
        return self._op("Mod", self._op("Add", self._step("z"), 2), 7)

    def _hour(self) -> str:
        return self._op("Div", self._step("minutes"), 60)

    def _minute(self) -> str:
        return self._op("Mod", self._step("minutes"), 60)


def _decide(writer: GraphWriter, decision: Decision, features: str) -> str:
    if isinstance(decision, Affine):
        product = writer.add("MatMul", features, writer.constant(decision.coefficients, np.float64))
        return writer.add("Add", product, writer.constant(decision.intercept, np.float64))
    if isinstance(decision, Layers):
        return _through_layers(writer, decision, features)
    if decision.tree_output is None:
        scores = _vector_leaves(writer, decision, features)
    else:
        weights = decision.leaves[:, 0]
        leaf_output = _leaf_trees(decision, decision.tree_output)
        scores = _trees(writer, decision, features, leaf_output, weights, decision.outputs)
    if not decision.intercept.any():
        return scores
    return writer.add("Add", scores, writer.constant(decision.intercept, np.float64))


def _through_layers(writer: GraphWriter, layers: Layers, features: str) -> str:
    zero = writer.constant(0.0, np.float64)
    steps = [(layers.coefficients, layers.intercept), *layers.further]
    at = features
    for number, (weights, biases) in enumerate(steps):
        product = writer.add("MatMul", at, _weights(writer, weights, layers.stored))
        at = writer.add("Add", product, writer.constant(biases, np.float64))
        if number < len(steps) - 1:
            at = writer.add("Max", at, zero)
    return at


def _weights(writer: GraphWriter, weights: np.ndarray, stored: Stored) -> str:
    """Weights as they are kept, and the steps back to float64, which ONNX Runtime does at load."""
    if stored == "float64":
        return writer.constant(weights, np.float64)
    kept = writer.constant(small_of(weights, stored))
    whole = writer.add("Cast", kept, to=onnx.TensorProto.DOUBLE)
    return writer.add("Mul", whole, writer.constant(scale_of(weights, stored), np.float64))


def _vector_leaves(writer: GraphWriter, forest: Forest, features: str) -> str:
    """Leaves with a value for each class: find each tree's leaf, then add up their rows."""
    trees = len(forest.roots)
    tree_of_leaf = _leaf_trees(forest, np.arange(trees))
    numbers = np.arange(len(forest.leaves), dtype=np.float64)
    found = _trees(writer, forest, features, tree_of_leaf, numbers, trees)
    index = writer.add("Cast", found, to=onnx.TensorProto.INT64)
    rows = writer.add("Gather", writer.constant(forest.leaves, np.float64), index, axis=0)
    return writer.add("ReduceSum", rows, writer.constant([1], np.int64), keepdims=0)


def _leaf_trees(forest: Forest, value_of_tree: np.ndarray) -> np.ndarray:
    """For each leaf, the value that belongs to its tree; a tree's nodes follow its root."""
    out = np.zeros(len(forest.leaves), np.int64)
    alone = forest.roots < 0
    out[~forest.roots[alone]] = value_of_tree[alone]
    starts, values = forest.roots[~alone], value_of_tree[~alone]
    owner = values[np.searchsorted(starts, np.arange(len(forest.feature)), "right") - 1]
    for children in (forest.left, forest.right):
        leaf = children < 0
        out[~children[leaf]] = owner[leaf]
    return out


def _trees(
    writer: GraphWriter,
    forest: Forest,
    features: str,
    leaf_output: np.ndarray,
    weights: np.ndarray,
    outputs: int,
) -> str:
    """A TreeEnsemble of ai.onnx.ml 5; a tree without splits becomes a node with equal sides."""
    left, right = forest.left.tolist(), forest.right.tolist()
    feature, threshold = forest.feature.tolist(), forest.threshold.tolist()
    nan_left, roots = forest.nan_left.astype(int).tolist(), []
    for root in forest.roots.tolist():
        if root < 0:
            feature, threshold = [*feature, 0], [*threshold, 0.0]
            nan_left, left, right = [*nan_left, 0], [*left, root], [*right, root]
            root = len(feature) - 1
        roots.append(root)
    from_array = onnx.numpy_helper.from_array
    return writer.add(
        "TreeEnsemble",
        features,
        domain=ML,
        n_targets=outputs,
        aggregate_function=1,
        post_transform=0,
        nodes_featureids=feature,
        nodes_splits=from_array(np.array(threshold, np.float64)),
        nodes_modes=from_array(np.zeros(len(feature), np.uint8)),
        nodes_missing_value_tracks_true=nan_left,
        nodes_truenodeids=[child if child >= 0 else ~child for child in left],
        nodes_trueleafs=[int(child < 0) for child in left],
        nodes_falsenodeids=[child if child >= 0 else ~child for child in right],
        nodes_falseleafs=[int(child < 0) for child in right],
        tree_roots=roots,
        leaf_targetids=leaf_output.tolist(),
        leaf_weights=from_array(np.asarray(weights, np.float64)),
    )


def input_type(column: Column) -> str:
    """The element type of a column's graph input."""
    return INPUT_TYPE[column.kind]
