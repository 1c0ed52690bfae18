"""Answers as named tensors: what a model gives, as JSON values or as bytes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from modelwright.core.intake import Array
from modelwright.core.schema import Schema, Target
from modelwright.pack.artefact import Answers
from modelwright.serve.messages import ProtocolError

LABEL_DATATYPE = {"string": "BYTES", "integer": "INT64", "boolean": "BOOL", "number": "FP64"}


@dataclass(frozen=True, slots=True)
class _Known:
    """What is asked of a schema in every answer, looked up once."""

    schema: Schema
    outputs: dict[str, dict[str, Any]]
    labels: tuple[bytes, ...]
    predicted: tuple[Any, ...]
    json: dict[str, _Pieces]


class _Pieces(NamedTuple):
    """The JSON of an output around what changes: rows, then values or how many bytes."""

    head: bytes
    values: bytes
    size: bytes


_KNOWN: dict[int, _Known] = {}
_OTHER_FORM = {
    "classification": "ask for the output 'probabilities', which has all classes",
    "shared_memory_region": "answers are in the response only; leave it out",
}
"""Triton's parameters of an output that would change its form: whoever asks would misread ours."""


def check_parameters(output: str, names: Collection[str]) -> None:
    """Refuse what would have to change the form of an output.

    Raises:
        ProtocolError: 400 with output and parameter.
    """
    for name, instead in _OTHER_FORM.items():
        if name in names:
            raise ProtocolError(
                400, f"output {output[:80]!r}: the parameter {name!r} is not taken: {instead}."
            )


def _known(schema: Schema) -> _Known:
    found = _KNOWN.get(id(schema))
    if found is not None and found.schema is schema:
        return found
    outputs = {output["name"]: output for output in _outputs(schema.target)}
    predicted = tuple(schema.target.label(level) for level in schema.target.levels)
    pieces = {name: _pieces(output) for name, output in outputs.items()}
    known = _Known(schema, outputs, _label_bytes(schema.target), predicted, pieces)
    if len(_KNOWN) >= 64:
        _KNOWN.pop(next(iter(_KNOWN)), None)
    _KNOWN[id(schema)] = known
    return known


def output_metadata(schema: Schema) -> tuple[dict[str, Any], ...]:
    """Names, datatypes and shapes of what the model gives.

    `prediction` is there always; `low` and `high` where the spec asked for intervals;
    `probabilities` with classes, whose labels are in its parameters, in their order.
    """
    return tuple(_known(schema).outputs.values())


def _outputs(target: Target) -> tuple[dict[str, Any], ...]:
    kind = LABEL_DATATYPE[target.label_type] if target.levels else "FP64"
    found: list[dict[str, Any]] = [{"name": "prediction", "datatype": kind, "shape": [-1]}]
    if target.interval:
        found += [{"name": end, "datatype": "FP64", "shape": [-1]} for end in ("low", "high")]
    if target.levels:
        shape, labels = [-1, len(target.levels)], {"labels": list(target.levels)}
        found.append(
            {"name": "probabilities", "datatype": "FP64", "shape": shape, "parameters": labels}
        )
    return tuple(found)


def _pieces(output: dict[str, Any]) -> _Pieces:
    text = msgspec.json.encode
    head = b'{"name":%b,"datatype":%b,"shape":[' % (text(output["name"]), text(output["datatype"]))
    rest = b"".join([b",%d" % size for size in output["shape"][1:]]) + b"],"
    parameters = text(output.get("parameters", {}))
    more = parameters[:-1] + b"," if len(parameters) > 2 else b"{"
    kept = b'"parameters":%b,' % parameters if len(parameters) > 2 else b""
    return _Pieces(
        head, rest + kept + b'"data":', b'%b"parameters":%b"binary_data_size":' % (rest, more)
    )


def outputs_json(
    answers: Answers, wanted: Sequence[str], rows: int, binary: Collection[str] = ()
) -> tuple[bytes, list[bytes]]:
    """The list `outputs` of an answer of so many rows, and the bytes of those wanted as bytes.

    Args:
        answers: of these rows.
        wanted, binary: names; for none all outputs, and none as bytes.
    """
    known, given = _known(answers.schema), _arrays(answers)
    parts, raws = [], []
    for name in wanted or known.json:
        if name not in given:
            continue
        array = given[name]
        codes = array if name == "prediction" and answers.codes is not None else None
        head, values, size = known.json[name]
        if name in binary:
            raws.append(_bytes_of(known, codes, array))
            parts.append(b"%b%d%b%d}}" % (head, rows, size, len(raws[-1])))
        else:
            data = msgspec.json.encode(_values_of(known, codes, array))
            parts.append(b"%b%d%b%b}" % (head, rows, values, data))
    return b"[%b]" % b",".join(parts), raws


def given_outputs(answers: Answers, wanted: Sequence[str]) -> list[dict[str, Any]]:
    """Metadata of the outputs to write, in the order they were asked for; all for none.

    What a stand-in cannot say, such as the interval of a constant, is left out.
    """
    known = _known(answers.schema).outputs
    given = _arrays(answers)
    return [known[name] for name in wanted or known if name in given]


def _arrays(answers: Answers) -> dict[str, Array]:
    found = {
        "prediction": answers.values if answers.values is not None else answers.codes,
        "low": answers.low,
        "high": answers.high,
        "probabilities": answers.probabilities,
    }
    return {name: array for name, array in found.items() if array is not None}


def columns_of(answers: Answers) -> list[list[Any]]:
    """The values of `Answers.columns()`, with labels that are looked up once a schema."""
    known = _known(answers.schema)
    first = answers.codes if answers.codes is not None else answers.raw
    found = [_values_of(known, answers.codes, first)]
    if answers.low is not None and answers.high is not None:
        found += [answers.low.tolist(), answers.high.tolist()]
    if answers.probabilities is not None:
        found += answers.probabilities.T.tolist()
    return found


def output_values(answers: Answers, name: str) -> list[Any]:
    """One output as JSON writes it, flat; NaN becomes null there."""
    codes = answers.codes if name == "prediction" else None
    return _values_of(_known(answers.schema), codes, _arrays(answers)[name])


def output_bytes(answers: Answers, name: str) -> bytes:
    """One output as bytes: little-endian, row by row; texts with their length before them."""
    codes = answers.codes if name == "prediction" else None
    return _bytes_of(_known(answers.schema), codes, _arrays(answers)[name])


def _values_of(known: _Known, codes: Array | None, array: Array) -> list[Any]:
    if codes is not None:
        return [known.predicted[code] for code in codes.tolist()]
    found: list[Any] = array.ravel().tolist()
    return found


def _bytes_of(known: _Known, codes: Array | None, array: Array) -> bytes:
    if codes is not None:
        return b"".join([known.labels[code] for code in codes.tolist()])
    return array.astype("<f8", copy=False).tobytes()


def _label_bytes(target: Target) -> tuple[bytes, ...]:
    """What stands for each class in the bytes of `prediction`."""
    labels = [target.label(level) for level in target.levels]
    if target.label_type == "integer":
        return tuple(int(label).to_bytes(8, "little", signed=True) for label in labels)
    if target.label_type == "boolean":
        return tuple(b"\x01" if label else b"\x00" for label in labels)
    return tuple(text_bytes(str(label)) for label in labels)


def text_bytes(text: str) -> bytes:
    """A text as BYTES has it.

    Example:
        >>> text_bytes("red")
        b'\\x03\\x00\\x00\\x00red'
    """
    data = text.encode()
    return len(data).to_bytes(4, "little") + data
