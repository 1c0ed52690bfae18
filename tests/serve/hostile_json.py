"""Malformed JSON: odd values, what is no JSON, and wrong forms of each route's body."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from serve.raw import request

ROW: dict[str, Any] = {
    "size, cm": 1.0, "colour": "red", "big": 5, "member": True, "start": None,
}  # fmt: skip
KINDS = {"size, cm": "FP64", "colour": "BYTES", "big": "INT64", "member": "BOOL", "start": "BYTES"}
INFER = "/v2/models/shop/infer"


class Kind(NamedTuple):
    """One malformed request; `fine` where a 2xx may be the right answer."""

    name: str
    data: bytes
    fine: bool = False


def tensor(column: str, **changes: Any) -> dict[str, Any]:
    """One input of the protocol with one value."""
    value = "" if ROW[column] is None else ROW[column]
    return {"name": column, "shape": [1], "datatype": KINDS[column], "data": [value], **changes}


def infer(column: str = "big", **changes: Any) -> dict[str, Any]:
    """A request of the protocol with one input changed."""
    return {"inputs": [tensor(n, **(changes if n == column else {})) for n in KINDS]}


def post(path: str, body: bytes | str | Any, kind: str = "application/json", **more: str) -> bytes:
    """A POST with a body, as JSON where it is neither bytes nor text."""
    if not isinstance(body, (bytes, str)):
        body = json.dumps(body)
    data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    return request("POST", path, data, content_type=kind, **more)


ODD_VALUES: dict[str, Any] = {
    "text": "five", "empty": "", "list": [1], "nested": [[1]], "object": {"a": 1}, "true": True,
    "null": None, "huge": 10**30, "huger": 10**400, "hugest": 10**4200, "minus": -(10**400),
    "tiny": 5e-324, "largest": 1.7976931348623157e308, "nul": "\0", "line": "a\r\nb: c",
    "letters": "\u00e9\u4e2d\U0001f600", "long": "x" * 50_000, "surrogate": "\ud800",
    "pair": "\udc00\ud800", "date": "2020-13-45", "year": "99999-01-01", "old": "-4713-11-24",
    "zone": "2020-01-01T00:00:00+99:99", "digits": "9" * 6000, "nan": "NaN", "inf": "-Infinity",
    "bidi": "\u202e\u2066", "zero": "0x10", "under": "1_000", "float": 1.5, "bytes": "\x80\xff",
}  # fmt: skip
NOT_JSON: dict[str, bytes] = {
    "nothing": b"", "blank": b"  \n ", "open": b"{", "cut": b'{"rows": [{"big"', "nan": b"[NaN]",
    "infinity": b"[Infinity]", "nan in a row": b'[{"big": NaN, "member": true}]',
    "minus infinity": b'[{"big": -Infinity, "member": true}]', "big exponent": b'[{"big": 1e999}]',
    "leading zero": b'[{"big": 012}]', "plus": b'[{"big": +1}]', "hex": b'[{"big": 0x1}]',
    "single quotes": b"[{'big': 1}]", "comment": b"[/* */]", "comma": b'[{"big": 1,}]',
    "two": b"[] []", "behind": b"[]x", "bom": b"\xef\xbb\xbf[]",
    "utf-16": '[{"big": 1}]'.encode("utf-16"),
    "utf-32": '[{"big": 1}]'.encode("utf-32"), "bytes": b"\xff\xfe\xfd", "nul": b"\0",
    "latin": b'["\xe9"]',
    "cut utf-8": b'["\xe2\x82"]', "overlong": b'["\xc0\xaf"]',
    "surrogate utf-8": b'["\xed\xa0\x80"]',
    "escape": b'["\\x41"]', "short escape": b'["\\u12"]', "control": b'["a\nb"]', "None": b"None",
    "deep lists": b"[" * 100_000, "deep and closed": b"[" * 50_000 + b"]" * 50_000,
    "deep objects": b'{"a":' * 30_000 + b"1" + b"}" * 30_000, "deep rows": b'{"rows":' * 20_000,
    "digits": b"[" + b"9" * 100_000 + b"]", "float digits": b"[0." + b"9" * 100_000 + b"]",
    "exponent": b"[1e" + b"9" * 10_000 + b"]", "quotes": b'"' * 1001, "colons": b"{:}",
    "xml": b"<a/>",
    "form": b"big=5&member=true",
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os",
    "digits in a row": b'[{"big": ' + b"9" * 5000 + b', "member": true}]',
    "nan and digits": b'[NaN, ' + b"9" * 5000 + b"]",
    "python": b"__import__('os').system('id')",
}  # fmt: skip
WRONG_FORMS: dict[str, Any] = {
    "number": 5, "text": "rows", "true": True, "null": None, "empty list": [], "numbers": [1, 2],
    "texts": ["a"], "lists": [[1, 2]], "nulls": [None], "mixed": [ROW, 5], "no rows": {"rows": []},
    "rows text": {"rows": "abc"}, "rows null": {"rows": None}, "rows object": {"rows": {"a": 1}},
    "rows of rows": {"rows": [[ROW]]}, "both": {"rows": [ROW], "columns": {}},
    "columns list": {"columns": [1]},
    "columns text": {"columns": "a"}, "columns empty": {"columns": {}},
    "column text": {"columns": {"big": "abc"}},
    "column number": {"columns": {"big": 5, "member": [True]}},
    "uneven": {"columns": {"big": [1, 2], "member": [True]}},
    "column null": {"columns": {"big": None, "member": None}},
    "column object": {"columns": {"big": {"a": 1}}},
    "empty row": [{}], "unknown column": [{**ROW, "x" * 300: 1}],
    "proto": [{**ROW, "__proto__": {}}],
    "many columns": [{**ROW, **{f"c{n}": 1 for n in range(3000)}}], "many rows": [{"big": 1}] * 501,
    "other letters": [{k.upper(): v for k, v in ROW.items()}],
    "line in a name": [{**ROW, "a\r\nb": 1}],
    "surrogate in a name": [{**ROW, "\ud800": 1}], "empty name": [{**ROW, "": 1}],
}  # fmt: skip
WRONG_INFER: dict[str, Any] = {
    "list": [], "no inputs": {}, "inputs null": {"inputs": None}, "inputs text": {"inputs": "a"},
    "inputs object": {"inputs": {}},
    "inputs empty": {"inputs": []}, "input number": {"inputs": [5]},
    "input null": {"inputs": [None]},
    "no name": {"inputs": [{"shape": [1], "datatype": "FP64", "data": [1]}]},
    "name number": infer(name=5),
    "name null": infer(name=None), "name empty": infer(name=""),
    "name path": infer(name="../../etc/passwd"),
    "name line": infer(name="a\r\nb"), "name long": infer(name="x" * 50_000),
    "name surrogate": infer(name="\ud800"),
    "twice": {"inputs": infer()["inputs"] * 2}, "missing": {"inputs": infer()["inputs"][:1]},
    "1025 inputs": {"inputs": [tensor("big", name=f"n{n}") for n in range(1025)]},
    "shape null": infer(shape=None), "shape number": infer(shape=1),
    "shape text": infer(shape="[1]"),
    "shape empty": infer(shape=[]), "shape float": infer(shape=[1.5]),
    "shape minus": infer(shape=[-1]),
    "shape minus minus": infer(shape=[-1, -1]), "shape zero": infer(shape=[0]),
    "shape two": infer(shape=[2]),
    "shape huge": infer(shape=[2**31]), "shape 2^63": infer(shape=[2**63]),
    "shape 2^64": infer(shape=[2**64 + 1]),
    "shape over": infer(shape=[2**60, 2**60]), "shape wide": infer(shape=[1, 2]),
    "shape deep": infer(shape=[1] * 1000),
    "shape true": infer(shape=[True]), "shape nested": infer(shape=[[1]]),
    "datatype null": infer(datatype=None),
    "datatype number": infer(datatype=5), "datatype empty": infer(datatype=""),
    "datatype small": infer(datatype="fp64"),
    "datatype FP128": infer(datatype="FP128"), "datatype BF16": infer(datatype="BF16"),
    "datatype bytes": infer(datatype="BYTES"),
    "datatype object": infer(datatype="object"), "datatype code": infer(datatype="__import__"),
    "data null": infer(data=None),
    "data text": infer(data="5"), "data object": infer(data={"0": 5}), "data number": infer(data=5),
    "data empty": infer(data=[]),
    "data more": infer(data=[1, 2]), "data deep": infer(data=[[[[[1]]]]]),
    "data uneven": infer(data=[[1], [2, 3]]),
    "data objects": infer(data=[{}]), "id number": {**infer(), "id": 5},
    "id list": {**infer(), "id": ["a"]}, "id long": {**infer(), "id": "x" * 2000},
    "outputs text": {**infer(), "outputs": "a"},
    "outputs number": {**infer(), "outputs": [5]},
    "outputs unknown": {**infer(), "outputs": [{"name": "nope"}]},
    "outputs no name": {**infer(), "outputs": [{}]},
    "outputs many": {**infer(), "outputs": [{"name": "x"}] * 5000},
    "parameters text": {**infer(), "parameters": "a"},
    "parameters list": {**infer(), "parameters": [1]},
    "binary wish": {**infer(), "parameters": {"binary_data_output": "yes"}},
    "binary wish of one": {
        **infer(), "outputs": [{"name": "probabilities", "parameters": {"binary_data": 1}}],
    },
    "binary size": infer(data=None, parameters={"binary_data_size": 8}),
    "binary both": infer(parameters={"binary_data_size": 0}),
    "binary minus": infer(data=None, parameters={"binary_data_size": -8}),
    "binary text": infer(parameters={"binary_data_size": "8"}),
    "binary true": infer(data=None, parameters={"binary_data_size": True}),
    "input parameters": infer(parameters=[1]),
    "shared memory": infer(
        data=None, parameters={"shared_memory_region": "a", "shared_memory_byte_size": 8}
    ),
}  # fmt: skip
FINE_INFER: dict[str, Any] = {
    "id line": {**infer(), "id": "a\r\nx-evil: 1"},
    "id letters": {**infer(), "id": "\u00e9\u4e2d" * 100},
    "id nul": {**infer(), "id": "\0"}, "id null": {**infer(), "id": None},
    "outputs empty": {**infer(), "outputs": []},
    "outputs twice": {**infer(), "outputs": [{"name": "probabilities"}] * 2},
    "unknown key": {**infer(), "zzz": [1]},
    "parameters odd": {**infer(), "parameters": {"__class__": {"a": [1]}, "x": None}},
    "float for int": infer(data=[1.5]),
    "true for int": infer(data=[True]), "huge for int": infer(data=[2**70]),
    "int for bool": infer("member", data=[2]),
    "null for bool": infer("member", data=[None]), "text for bool": infer("member", data=["yes"]),
    "UINT8 of 300": infer(datatype="UINT8", data=[300]),
    "INT8 of -129": infer(datatype="INT8", data=[-129]),
    "FP16 of 1e9": infer(datatype="FP16", data=[1e9]),
    "FP32 of 1e300": infer(datatype="FP32", data=[1e300]),
    "BYTES of a number": infer("colour", data=[5]),
}  # fmt: skip


def json_kinds() -> Iterator[Kind]:
    for path in ("/predict", "/models/shop/predict", INFER, "/invocations"):
        for name, body in NOT_JSON.items():
            yield Kind(f"{path} not JSON: {name}", post(path, body), fine="nan" in name)
    for name, body in WRONG_FORMS.items():
        yield Kind(f"/predict form: {name}", post("/predict", body))
        for form in ("instances", "inputs", "dataframe_records", "dataframe_split"):
            yield Kind(f"/invocations {form}: {name}", post("/invocations", {form: body}), True)
    for column in ROW:
        for name, value in ODD_VALUES.items():
            text = json.dumps(
                [{**ROW, column: value}], ensure_ascii="surrogate" in name or name == "pair"
            )
            yield Kind(f"/predict {column}: {name}", post("/predict", text), True)
            columns = {"columns": {**{k: [v] for k, v in ROW.items()}, column: [value]}}
            yield Kind(f"/predict columns {column}: {name}", post("/predict", columns), True)
            other = "big" if column == "size, cm" else "size, cm"
            nan = json.dumps({"instances": [{**ROW, other: float("nan"), column: value}]})
            yield Kind(f"/invocations NaN {column}: {name}", post("/invocations", nan), True)
            yield Kind(f"{INFER} {column}: {name}", post(INFER, infer(column, data=[value])), True)
    for name, body in WRONG_INFER.items():
        yield Kind(f"{INFER}: {name}", post(INFER, body))
    for name, body in FINE_INFER.items():
        yield Kind(f"{INFER} odd: {name}", post(INFER, body), True)
    twice = json.dumps(ROW)[:-1] + ', "big": "x"}'
    yield Kind("a key twice", post("/predict", twice))
    yield Kind("rows twice", post("/predict", '{"rows": [], "rows": 5}'))
    yield Kind("inputs twice", post(INFER, '{"inputs": [], "inputs": 5}'))


def invocations_kinds() -> Iterator[Kind]:
    names = list(ROW)
    split = {"columns": names, "data": [list(ROW.values())]}
    odd: dict[str, Any] = {
        "no form": {}, "two forms": {"instances": [ROW], "inputs": [ROW]}, "list": [ROW],
        "params text": {"instances": [ROW], "params": "a"},
        "signature": {"instances": [ROW], "signature_name": "a"},
        "no columns": {"dataframe_split": {"data": [[1]]}},
        "no data": {"dataframe_split": {"columns": names}},
        "columns text": {"dataframe_split": {**split, "columns": "abc"}},
        "columns numbers": {"dataframe_split": {**split, "columns": [1] * 5}},
        "columns twice": {"dataframe_split": {"columns": ["big", "big"], "data": [[1, 2]]}},
        "row short": {"dataframe_split": {**split, "data": [[1]]}},
        "row text": {"dataframe_split": {**split, "data": ["abcde"]}},
        "data object": {"dataframe_split": {**split, "data": {"0": 1}}},
        "no rows": {"dataframe_split": {**split, "data": []}},
        "lists": {"instances": [[1, 2, 3]]}, "object of numbers": {"inputs": {"big": 5}},
        "uneven": {"inputs": {"big": [1, 2], "member": [1]}},
        "tf": {"instances": [{"b64": "AA=="}]},
        "llm": {"messages": [{"role": "user", "content": "hi"}]},
        "too many": {"instances": [{"big": 1, "member": True}] * 501},
    }  # fmt: skip
    for name, body in odd.items():
        yield Kind(f"/invocations: {name}", post("/invocations", body))
