"""The 13 datatypes of OIP v2: values out of JSON, typed protobuf fields or bytes."""

from __future__ import annotations

from itertools import chain
from math import prod
from typing import Any

import msgspec
import numpy as np

from modelwright.core.intake import Array
from modelwright.core.texts import in_json
from modelwright.serve.messages import ProtocolError

Raw = bytes | memoryview
DTYPE: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("u1"),
    "UINT8": np.dtype("u1"), "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"), "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"), "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"), "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8"),
}  # fmt: skip
NUMERIC = frozenset(DTYPE) - {"BOOL"}
_WHOLE = {
    name: (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    for name, dtype in DTYPE.items()
    if dtype.kind in "iu" and name != "BOOL"
}
_ROUNDED = ("FP16", "FP32")
_NUMBERS: frozenset[type] = frozenset({int, float, type(None)})
_BOOLEANS: frozenset[type] = frozenset({bool, type(None)})
_TEXTS: frozenset[type] = frozenset({str, type(None)})
_LISTS: frozenset[type] = _TEXTS | {list}


class Tensor(msgspec.Struct):
    """One tensor of a request, as the JSON of OIP v2 writes it."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


def values_of(
    tensor: Tensor, raw: Raw | None, problems: list[str], *, lists: bool = False
) -> list[Any] | Array:
    """The values of a tensor, of the type that it says.

    Args:
        raw: its bytes, or None where `data` holds its values.
        problems: gets a line for each value that the datatype does not have.
        lists: a BYTES value in JSON may be a list of texts.

    Returns:
        Texts or booleans as a list, numbers as an array, row by row; where a value is of a foreign
        JSON type the list as it came, for the intake to name it.

    Raises:
        ProtocolError: 400 when data or bytes do not have the shape.

    Example:
        >>> values_of(Tensor("age", [2], "INT8"), bytes([39, 255]), [])
        array([39, -1], dtype=int8)
        >>> problems = []
        >>> _ = values_of(Tensor("age", [1], "INT8", [128]), None, problems)
        >>> problems
        ["row 0, column 'age': wanted INT8, found 128 (number)"]
    """
    if raw is not None:
        return _from_bytes(tensor, raw, problems)
    values = flat(tensor)
    datatype = tensor.datatype
    if datatype == "BYTES":
        return _only(tensor, values, _LISTS if lists else _TEXTS, "text", problems)
    if datatype == "BOOL":
        return _only(tensor, values, _BOOLEANS, "true or false", problems)
    return _numbers(tensor, values, problems)


def flat(tensor: Tensor) -> list[Any]:
    """Data in row-major order, from flat data or lists in lists as the shape has them.

    Raises:
        ProtocolError: 400 when there is none, or it does not have the shape.
    """
    data, shape = tensor.data, tensor.shape
    if data is None:
        raise ProtocolError(400, f"input {tensor.name[:80]!r}: 'data' is missing.")
    if len(shape) == 2 and data and type(data[0]) is list:
        if any(type(part) is not list or len(part) != shape[1] for part in data):
            raise ProtocolError(
                400, f"input {tensor.name[:80]!r}: 'data' does not have the shape {shape}."
            )
        data = list(chain.from_iterable(data))
    if len(data) != prod(shape):
        raise ProtocolError(
            400,
            f"input {tensor.name[:80]!r}: {len(data):,} values, "
            f"but shape {shape} wants {prod(shape)}.",
        )
    return data


def _only(
    tensor: Tensor, values: list[Any], types: frozenset[type], wanted: str, problems: list[str]
) -> list[Any]:
    """Values whose JSON types are those of the datatype."""
    if not types.issuperset(map(type, values)):
        problems += [
            _problem(row, tensor.name, f"wanted {wanted}", value)
            for row, value in enumerate(values)
            if type(value) not in types
        ]
    return values


def _problem(row: int, name: str, said: str, value: Any) -> str:
    if isinstance(value, bytes):  # a text of gRPC that could not be decoded
        return _no_text(row, name)
    return f"row {row}, column {name!r}: {said}, found {in_json(value)}"


def _numbers(tensor: Tensor, values: list[Any], problems: list[str]) -> list[Any] | Array:
    """Numbers within the datatype; whatever is no number is left for the intake to name."""
    bounds = _WHOLE.get(tensor.datatype)
    kinds = set(map(type, values))
    if bounds is not None:
        _check_whole(tensor, values, bounds, kinds, problems)
    if not kinds <= _NUMBERS:
        return values
    try:
        numbers = np.array(values, np.float64)
    except OverflowError:
        return values
    return _rounded(tensor, numbers, problems) if tensor.datatype in _ROUNDED else numbers


def _check_whole(
    tensor: Tensor,
    values: list[Any],
    bounds: tuple[int, int],
    kinds: set[type],
    problems: list[str],
) -> None:
    """Whole and within the type: JSON has one kind of number, the protocol nine."""
    low, high = bounds
    known = [v for v in values if type(v) in (int, float)] if len(kinds) > 1 else values
    if not known or not kinds & {int, float}:
        return
    whole = float not in kinds or all(type(v) is int or v.is_integer() for v in known)
    if whole and low <= min(known) and max(known) <= high:
        return
    problems += [
        _problem(row, tensor.name, f"wanted {tensor.datatype}", v)
        for row, v in enumerate(values)
        if type(v) in (int, float) and not (low <= v <= high and float(v).is_integer())
    ]


def _rounded(tensor: Tensor, numbers: Array, problems: list[str]) -> Array:
    """The nearest number of a short float type, as bytes of that type would have brought it."""
    with np.errstate(over="ignore"):
        short = numbers.astype(DTYPE[tensor.datatype]).astype(np.float64)
    lost = np.isinf(short) & ~np.isinf(numbers)
    if lost.any():
        problems += [
            _problem(row, tensor.name, f"wanted {tensor.datatype}", float(numbers[row]))
            for row in np.flatnonzero(lost).tolist()
        ]
    return short


def _from_bytes(tensor: Tensor, raw: Raw, problems: list[str]) -> list[Any] | Array:
    """Values out of bytes; the type's own array, or texts."""
    if tensor.datatype == "BYTES":
        return texts_from(tensor.name, raw, prod(tensor.shape), problems)
    dtype = DTYPE[tensor.datatype]
    wanted = prod(tensor.shape) * dtype.itemsize
    if len(raw) != wanted:
        raise ProtocolError(
            400,
            f"input {tensor.name[:80]!r}: {len(raw):,} bytes, but {tensor.datatype} of shape "
            f"{tensor.shape} has {wanted:,}.",
        )
    values = np.frombuffer(raw, dtype)
    if tensor.datatype == "BOOL":
        if values.size and values.max() > 1:
            raise ProtocolError(400, f"input {tensor.name[:80]!r}: a BOOL is a byte 0 or 1.")
        return values.view(np.bool_)
    return values


def texts_from(name: str, raw: Raw, count: int, problems: list[str]) -> list[str | None]:
    """Texts out of BYTES: before each its length in 4 bytes, little-endian.

    Args:
        problems: gets a line for each value that is not UTF-8, which is None.

    Raises:
        ProtocolError: 400 when lengths and count do not fit.

    Example:
        >>> texts_from("colour", b"\\x03\\x00\\x00\\x00red", 1, [])
        ['red']
    """
    at, size = 0, len(raw)
    if count == 1 and size >= 4 and int.from_bytes(raw[:4], "little") == size - 4:
        return [_text(name, 0, raw[4:], problems)]
    texts: list[str | None] = []
    while at < size and len(texts) <= count:
        end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        if at + 4 > size or end > size:
            raise ProtocolError(400, f"input {name[:80]!r}: the bytes of BYTES are cut off.")
        texts.append(_text(name, len(texts), raw[at + 4 : end], problems))
        at = end
    if len(texts) != count:
        found = "more" if len(texts) > count else str(len(texts))
        raise ProtocolError(
            400, f"input {name[:80]!r}: {found} values, but the shape wants {count}."
        )
    return texts


def _text(name: str, row: int, raw: Raw, problems: list[str]) -> str | None:
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        problems.append(_no_text(row, name))
        return None


def _no_text(row: int, name: str) -> str:
    return f"row {row}, column {name[:80]!r}: wanted text in UTF-8, found other bytes"


def text_or_bytes(raw: bytes) -> str | bytes:
    """One text of typed BYTES; as it came where it is not UTF-8, for `values_of` to name it."""
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        return raw
