"""Bodies to rows and answers to bodies: `/predict` and the Open Inference Protocol v2.

Pure functions over bytes, without a socket; every fault of the caller is a ProtocolError, so that
a 500 means a fault of ours. OIP v2: github.com/kserve/open-inference-protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypeGuard

import msgspec

from modelwright.core.errors import ModelwrightError, RowsError, did_you_mean
from modelwright.core.intake import Feeds, feeds_from_columns, feeds_from_rows
from modelwright.core.schema import Column, Schema
from modelwright.pack.artefact import Answers

DATATYPE = {
    "number": "FP64",
    "category": "BYTES",
    "list": "BYTES",
    "boolean": "BOOL",
    "datetime": "BYTES",
}
NUMERIC = frozenset(
    {
        "FP64",
        "FP32",
        "FP16",
        "INT8",
        "INT16",
        "INT32",
        "INT64",
        "UINT8",
        "UINT16",
        "UINT32",
        "UINT64",
    }
)
ACCEPTED = {
    "number": NUMERIC,
    "category": frozenset({"BYTES"}),
    "list": frozenset({"BYTES"}),
    "boolean": frozenset({"BOOL"}) | NUMERIC,
    "datetime": frozenset({"BYTES"}),
}
LABEL_DATATYPE = {"string": "BYTES", "integer": "INT64", "boolean": "BOOL", "number": "FP64"}


class ProtocolError(ModelwrightError):
    """A request that cannot be answered; `status` is its HTTP code."""

    def __init__(self, status: int, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self._problems = problems

    @property
    def problems(self) -> tuple[str, ...]:
        return self._problems


@dataclass(frozen=True)
class Question:
    """Checked rows, and how their answer is wanted.

    Attributes:
        shape: rows or columns, as in the request.
        id: OIP request id.
        outputs: OIP names of the wanted outputs; empty for all.
    """

    feeds: Feeds
    rows: int
    shape: str = "rows"
    id: str | None = None
    outputs: tuple[str, ...] = ()


def parse_json(body: bytes) -> Any:
    """Decode JSON.

    Raises:
        ProtocolError: 400 with the place of the fault.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(400, f"The body is not JSON: {error}.") from error


def read_predict(schema: Schema, body: bytes, max_rows: int) -> Question:
    """Read `[{...}]`, `{"rows": [{...}]}`, `{"columns": {...}}` or one bare row.

    Raises:
        ProtocolError: 400 for another form, 413 for too many rows, 422 for values.
    """
    content = parse_json(body)
    if isinstance(content, dict) and len(content) == 1 and isinstance(content.get("columns"), dict):
        columns = content["columns"]
        count = max((len(v) for v in columns.values() if isinstance(v, list)), default=0)
        _check_count(count, max_rows)
        return Question(_checked(feeds_from_columns, schema, columns), count, "columns")
    rows = content
    if isinstance(content, dict):
        bare = not (len(content) == 1 and isinstance(content.get("rows"), list))
        rows = [content] if bare else content["rows"]
    if not isinstance(rows, list):
        raise ProtocolError(
            400, 'Wanted a list of rows, {"rows": [...]}, {"columns": {...}} or one row.'
        )
    _check_count(len(rows), max_rows)
    return Question(_checked(feeds_from_rows, schema, rows), len(rows))


def write_predict(model: str, version: str, question: Question, answers: Answers) -> bytes:
    """The answer to `/predict`, in the shape of its question."""
    columns = answers.columns()
    head: dict[str, Any] = {"model": model, "version": version}
    if question.shape == "columns":
        return msgspec.json.encode({**head, "columns": columns})
    names = list(columns)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return msgspec.json.encode({**head, "predictions": rows})


def read_infer(schema: Schema, body: bytes, max_rows: int) -> Question:
    """Read an OIP v2 inference request in JSON.

    Raises:
        ProtocolError: 400 for what the protocol forbids, 413 for too many rows, 422 for values.
    """
    content = parse_json(body)
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), list):
        raise ProtocolError(400, "Wanted an object with a list 'inputs'.")
    columns: dict[str, list[Any]] = {}
    for tensor in content["inputs"]:
        name, values = _tensor(schema, tensor)
        if name in columns:
            raise ProtocolError(400, f"The input {name!r} is given twice.")
        columns[name] = values
    count = len(next(iter(columns.values()), []))
    _check_count(count, max_rows)
    identity = content.get("id")
    if identity is not None and not isinstance(identity, str):
        raise ProtocolError(400, "'id' must be text.")
    feeds = _checked(feeds_from_columns, schema, columns)
    return Question(feeds, count, "infer", identity, _wanted(schema, content.get("outputs")))


def write_infer(model: str, version: str, question: Question, answers: Answers) -> bytes:
    """The OIP v2 answer."""
    names = question.outputs or tuple(output["name"] for output in output_metadata(answers.schema))
    outputs = []
    for described in output_metadata(answers.schema):
        if described["name"] not in names:
            continue
        if described["name"] == "probabilities":
            assert answers.probabilities is not None
            shape, data = list(answers.probabilities.shape), answers.probabilities.ravel().tolist()
        else:
            shape, data = [question.rows], answers.columns()[described["name"]]
        outputs.append({**described, "shape": shape, "data": data})
    body: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": outputs}
    if question.id is not None:
        body["id"] = question.id
    return msgspec.json.encode(body)


def model_metadata(model: str, version: str, schema: Schema) -> dict[str, Any]:
    """OIP v2 model metadata."""
    inputs = [
        {"name": c.name, "datatype": DATATYPE[c.kind], "shape": [-1]} for c in schema.features
    ]
    return {
        "name": model,
        "versions": [version],
        "platform": "onnx_onnxv1",
        "inputs": inputs,
        "outputs": output_metadata(schema),
    }


def output_metadata(schema: Schema) -> list[dict[str, Any]]:
    """Names and types of what the model gives."""
    target = schema.target
    found: list[dict[str, Any]] = [
        {"name": "prediction", "datatype": LABEL_DATATYPE[target.label_type], "shape": [-1]}
    ]
    if target.interval:
        found += [{"name": end, "datatype": "FP64", "shape": [-1]} for end in ("low", "high")]
    if target.levels:
        labels = {"labels": list(target.levels)}
        shape = [-1, len(target.levels)]
        found.append(
            {"name": "probabilities", "datatype": "FP64", "shape": shape, "parameters": labels}
        )
    return found


def error_body(message: str, problems: tuple[str, ...] = ()) -> bytes:
    """The one form of every error."""
    body: dict[str, Any] = {"error": message}
    if problems:
        body["problems"] = list(problems)
    return msgspec.json.encode(body)


def _tensor(schema: Schema, tensor: Any) -> tuple[str, list[Any]]:
    if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
        raise ProtocolError(400, "Each input must be an object with a 'name'.")
    name = tensor["name"]
    column = next((c for c in schema.features if c.name == name), None)
    if column is None and name not in schema.tolerated:
        hint = did_you_mean(name, [c.name for c in schema.features])
        raise ProtocolError(400, f"unknown input {name[:80]!r}" + (f": {hint}" if hint else ""))
    shape, datatype, data = tensor.get("shape"), tensor.get("datatype"), tensor.get("data")
    if not _is_shape(shape):
        raise ProtocolError(400, f"input {name!r}: 'shape' must be [rows] or [rows, 1].")
    if not isinstance(data, list):
        raise ProtocolError(400, f"input {name!r}: 'data' must be a list.")
    if column is not None and str(datatype) not in ACCEPTED[column.kind]:
        wanted = "a numeric type" if column.kind == "number" else DATATYPE[column.kind]
        raise ProtocolError(400, f"input {name!r}: datatype {datatype!r}, wanted {wanted}.")
    values = [v[0] if isinstance(v, list) and len(v) == 1 else v for v in data]
    if len(values) != prod(shape):
        raise ProtocolError(
            400, f"input {name!r}: {len(values)} values, but shape {shape} wants {prod(shape)}."
        )
    return name, values


def _is_shape(shape: Any) -> TypeGuard[list[int]]:
    whole = isinstance(shape, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in shape
    )
    return whole and (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1))


def _wanted(schema: Schema, outputs: Any) -> tuple[str, ...]:
    if outputs is None:
        return ()
    known = [output["name"] for output in output_metadata(schema)]
    names = (
        [o.get("name") if isinstance(o, dict) else None for o in outputs]
        if isinstance(outputs, list)
        else [None]
    )
    for name in names:
        if name not in known:
            raise ProtocolError(
                400, f"unknown output {str(name)[:80]!r}; known: {', '.join(known)}"
            )
    return tuple(str(name) for name in names)


def _checked(convert: Any, schema: Schema, given: Any) -> Feeds:
    try:
        feeds: Feeds = convert(schema, given)
        return feeds
    except RowsError as error:
        raise ProtocolError(422, error.message, error.problems) from error


def _check_count(count: int, max_rows: int) -> None:
    if count > max_rows:
        raise ProtocolError(413, f"{count:,} rows in one request, at most {max_rows:,} are taken.")
    if count == 0:
        raise ProtocolError(400, "The request has no rows.")


def example_request(example: Mapping[str, Any]) -> dict[str, Any]:
    """A request that works, for the documentation."""
    return {"rows": [dict(example)]}


def column_type(column: Column) -> dict[str, Any]:
    """JSON Schema of one column's values."""
    types: dict[str, dict[str, Any]] = {
        "number": {"type": "number"},
        "category": {"type": "string"},
        "list": {"type": "array", "items": {"type": "string"}},
        "boolean": {"type": "boolean"},
        "datetime": {"type": "string", "format": "date-time"},
    }
    base = types[column.kind]
    described = {**base}
    if column.kind == "number" and column.minimum is not None and not column.private:
        described["description"] = f"In training: {column.minimum:g} to {column.maximum:g}."
    if column.kind == "category" and not column.private:
        described["examples"] = list(column.levels[:20])
    wanted = column.expect
    if wanted is not None and column.kind == "number":
        bounds = {"minimum": wanted.minimum, "maximum": wanted.maximum}
        described |= {name: bound for name, bound in bounds.items() if bound is not None}
    if wanted is not None and wanted.levels and column.kind == "category":
        described["enum"] = list(wanted.levels)
    if wanted is not None and wanted.regex and column.kind == "category":
        described["pattern"] = f"^(?:{wanted.regex})$"
    if column.nullable and not (wanted is not None and wanted.required):
        described["type"] = [base["type"], "null"]
        if "enum" in described:
            described["enum"].append(None)
    return described
