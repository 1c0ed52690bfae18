"""Kinds of malformed request: name, bytes, and whether an answer that is no error is allowed."""

from __future__ import annotations

import datetime
import functools
import gzip
import io
import json
import random
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import polars as pl

from serve.hostile_json import (
    INFER,
    NOT_JSON,
    ROW,
    Kind,
    infer,
    invocations_kinds,
    json_kinds,
    post,
)
from serve.raw import chunked, request

gzipped = functools.partial(gzip.compress, mtime=0)  # the same bytes, and test ids, every time

ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"


GOOD_CSV = "big,member\n5,true\n"
CSVS: dict[str, bytes | str] = {
    "nothing": b"", "header only": "big,member\n", "no header": "5,true\n",
    "bytes": bytes(range(256)), "uneven": "big,member\n5\n", "too wide": "big,member\n5,true,7\n",
    "twice": "big,big,member\n1,2,true\n", "open quote": 'big,member\n"5,true\n',
    "nul": "big,member\n5\0,true\n", "long cell": f"big,member\n{'9' * 150_000},true\n",
    "huge number": f"big,member\n{'9' * 5000},true\n", "unknown": "big,member,evil\n5,true,1\n",
    "lines": "\n" * 10_000, "commas": "," * 100_000,
    "too many rows": "big,member\n" + "5,true\n" * 501,
    "formula": "big,member\n=cmd|' /C calc'!A0,true\n",
    "latin": "big,member,colour\n5,true,\u00e9".encode("latin-1"),
    "utf-16": GOOD_CSV.encode("utf-16"), "cr": GOOD_CSV.replace("\n", "\r"),
}  # fmt: skip
CHARSETS = (
    "utf-7", "base64", "zlib", "idna", "rot13", "utf-16", "", "%00", "unknown" * 50,
)  # fmt: skip


def _csv_kinds() -> Iterator[Kind]:
    for path in ("/predict", "/invocations"):
        for name, text in CSVS.items():
            fine = name in ("cr", "huge number", "utf-16")
            yield Kind(f"{path} CSV: {name}", post(path, text, "text/csv"), fine)
        for charset in CHARSETS:
            data = post(path, GOOD_CSV, f"text/csv; charset={charset}")
            yield Kind(f"{path} CSV charset {charset[:9]!r}", data, charset == "")
        yield Kind(f"{path} CSV header=absent", post(path, GOOD_CSV, "text/csv; header=absent"))


def _table_kinds() -> Iterator[Kind]:
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC).replace(tzinfo=None)
    table = pl.DataFrame({**{k: [v] for k, v in ROW.items()}, "start": [start]})
    parquet, arrow, bomb, wide = (io.BytesIO() for _ in range(4))
    table.write_parquet(parquet)
    table.write_ipc_stream(arrow)
    many = pl.DataFrame({"big": [0] * 3_000_000, "member": [True] * 3_000_000})
    many.write_parquet(bomb, compression="zstd")
    pl.DataFrame({f"c{n}": [1] for n in range(300)}).write_parquet(wide)
    for path in ("/predict", "/invocations"):
        for kind, whole in ((PARQUET, parquet), (ARROW, arrow), (ARROW[:-6] + "file", arrow)):
            for name, data, fine in _damaged(whole.getvalue()):
                yield Kind(f"{path} {kind[-7:]}: {name}", post(path, data, kind), fine)
        yield Kind(f"{path} parquet: 3 million rows", post(path, bomb.getvalue(), PARQUET))
        yield Kind(f"{path} parquet: 300 columns", post(path, wide.getvalue(), PARQUET))


def _damaged(whole: bytes) -> Iterator[tuple[str, bytes, bool]]:
    yield from (
        ("nothing", b"", False), ("magic", whole[:4], False), ("json", b"[]", False),
        ("half", whole[: len(whole) // 2], False), ("garbage", bytes(range(256)) * 9, False),
        ("zeros", b"\0" * 1000, False), ("ones", b"\xff" * 1000, False),
        ("reversed", whole[::-1], False),
        ("footer of 2 GB", whole[:-8] + struct.pack("<I", 2**31 - 1) + whole[-4:], True),
    )  # fmt: skip
    dice = random.Random(3)
    for number in range(12):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        yield f"damaged {number}", bytes(damaged), True


def _binary_kinds() -> Iterator[Kind]:
    inputs = infer()["inputs"]
    for given in inputs:
        if given["name"] == "big":
            given["parameters"] = {"binary_data_size": 8}
            del given["data"]
    head = json.dumps({"inputs": inputs}).encode()
    eight = struct.pack("<q", 5)
    for text in ("-1", "0", "1", "x", "1.5", "+3", " ",
        "9" * 30, str(len(head) - 1), str(len(head) + 9), "0x10",
                 "\xb2", f"{len(head)}, {len(head)}"):  # fmt: skip
        yield Kind(
            f"binary header {text[:9]!r}",
            post(INFER, head + eight, inference_header_content_length=text),
        )
    size = str(len(head))
    for name, behind in {
        "nothing": b"",
        "short": eight[:7],
        "long": eight + b"x",
        "megabyte": b"\0" * 150_000,
    }.items():
        yield Kind(
            f"binary behind: {name}",
            post(INFER, head + behind, inference_header_content_length=size),
        )
    for name, raw in {"huge": struct.pack("<I", 2**32 - 1) + b"red", "short": b"\0\0",
        "more": struct.pack("<I", 4) + b"red",
                      "minus": struct.pack("<i", -1) + b"red",
                      "not utf-8": struct.pack("<I", 2) + b"\xff\xfe",
                      "two": (struct.pack("<I", 1) + b"r") * 2, "none": b""}.items():  # fmt: skip
        body = infer("colour", parameters={"binary_data_size": len(raw)})
        for given in body["inputs"]:
            if given["name"] == "colour":
                del given["data"]
        text = json.dumps(body).encode()
        yield Kind(
            f"binary BYTES: {name}",
            post(INFER, text + raw, inference_header_content_length=str(len(text))),
        )
    for datatype in ("BOOL", "UINT8", "INT16", "FP16", "FP32", "UINT64", "FP64", "BYTES", "BF16"):
        body = infer(datatype=datatype, parameters={"binary_data_size": 3})
        for given in body["inputs"]:
            if given["name"] == "big":
                del given["data"]
        text = json.dumps(body).encode()
        yield Kind(
            f"binary 3 bytes of {datatype}",
            post(INFER, text + b"\1\2\3", inference_header_content_length=str(len(text))),
        )


def _path_kinds() -> Iterator[Kind]:
    names = ("..", "../..", "%2e%2e", "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "..%5c..%5c", "%252e%252e", "....//", "shop/../shop", "shop;a=b",
             "shop%00", "%00", "%0d%0ax:%20y", "shop%0a", "%c0%ae%c0%ae", "~root", "C:%5c",
             "file:%2f%2f%2fetc", "shop%20", "SHOP", "x" * 4000,
             "%F0%9F%98%80", "%ff", "..;/shop", "$(id)", "{{7*7}}", "'%20OR%201=1",
             "%3Cscript%3E")  # fmt: skip
    for name in names:
        for path in (f"/v2/models/{name}", f"/v2/models/{name}/ready", f"/models/{name}/predict",
            f"/v2/models/{name}/infer",
                     f"/v2/models/shop/versions/{name}/infer", f"/v2/repository/models/{name}/load",
                     f"/{name}"):  # fmt: skip
            sends = path.endswith(("predict", "infer", "load"))
            yield Kind(path, post(path, b"{}") if sends else request(path=path))
    for path in ("/v2/models/shop/labels", "/models/shop/versions/9/predict"):
        yield Kind(f"POST {path}", post(path, [ROW]))
    for path in ("//", "/./predict", "/predict/", "/predict/x", "/v2/", "/v2//models", "/v2/models",
        "/v2/models//infer", "/.env", "/.git/config",
                 "/admin", "/metrics/../predict", "/openapi.json/..", "/docs/../../etc/passwd",
                 "/static/..%2f..%2fetc%2fpasswd",
                 "/v2/models/shop/versions", "/v2/models/shop/versions//infer",
                 "/v2/models/shop/explain", "/v2/repository", "/v2/logging"):  # fmt: skip
        yield Kind(path, request(path=path))
    for query in ("top_k=0", "top_k=-1", "top_k=x", "top_k=" + "9" * 50, "top_k=1.5",
        "top_k=1&top_k=2", "top_k=%00", "top_k", "explain=maybe",
                  "explain=true&explain=true", "x=1", "explain=%ff", "a" * 7000,
                  "&".join(["explain=1"] * 50), "top_k=\u0662", "%zz=1", "top_k[]=1",
                  "Top_k=1", "__class__=1"):  # fmt: skip
        data = post(
            f"/predict?{query.encode('ascii', 'xmlcharrefreplace').decode()}".replace("#", "%23"),
            [ROW],
        )
        yield Kind(f"query {query[:30]}", data)
    for method in (
        "GET",
        "PUT",
        "DELETE",
        "PATCH",
        "OPTIONS",
        "TRACE",
        "PROPFIND",
        "QUERY",
        "PURGE",
        "M-SEARCH",
        "SUBSCRIBE",
    ):
        yield Kind(f"{method} /predict", request(method, "/predict"))
    for method in ("POST", "PUT", "DELETE", "TRACE", "OPTIONS"):
        yield Kind(f"{method} /v2/health/live", request(method, "/v2/health/live"))


def _header_kinds() -> Iterator[Kind]:
    for name, value in {
        "host": "evil.example.org", "origin": "http://evil.example.org", "content-encoding": "br",
        "x-request-timeout-ms": "soon", "expect": "200-ok", "transfer-encoding": "gzip",
    }.items():  # fmt: skip
        for text in (
            value,
            value * 50,
            f"{value}, {value} ",
            "\xe9\xff",
            "%00",
            "\t",
            "-1",
            "nan",
            "1e999",
        ):
            data = post("/predict", [ROW]).replace(
                b"\r\n\r\n", f"\r\n{name}: {text}\r\n\r\n".encode("latin-1"), 1
            )
            if name == "host":
                data = data.replace(b"Host: localhost\r\n", b"", 1)
            yield Kind(f"header {name}: {len(text)} {text[:20]!r}", data, True)
    for kind in ("text/plain", "application/xml", "multipart/form-data; boundary=" + "-" * 5000,
        "application/x-www-form-urlencoded",
                 "application/octet-stream", "a" * 9000, ";;;", "/",
                 "application/json; charset=utf-16", "application/json, text/csv",
                 "application/x-python-pickle", "application/java-archive", "image/png",
                 "\xff"):  # fmt: skip
        for path in ("/predict", "/invocations"):
            yield Kind(
                f"{path} content type {kind[:20]!r}",
                post(path, [ROW], kind),
                "json" in kind or kind == ";;;",
            )
    for name in ("x-request-id", "traceparent", "x-modelwright-key", "accept", "user-agent",
        "cookie", "authorization", "x-forwarded-for",
                 "content-type-options", "inference-header-content-length"):  # fmt: skip
        for text in ("", "\xe9\xff", "x" * 20_000, "a, b", "../..", "%0d%0ax: y", "{}", "0" * 500):
            data = post("/predict", [ROW]).replace(
                b"\r\n\r\n", f"\r\n{name}: {text}\r\n\r\n".encode("latin-1"), 1
            )
            yield Kind(f"header {name}: {text[:9]!r}", data, True)
    for text in ("9", "-1", "", "x" * 500, "\xe9", "../3", "3, 3", "0003"):
        yield Kind(f"version {text[:9]!r}", post("/predict", [ROW], x_modelwright_version=text))


def _framed_kinds() -> Iterator[Kind]:
    body = json.dumps([ROW]).encode()
    packed = {"cut": gzipped(body)[:-5], "garbage": b"\x1f\x8b" + b"\xff" * 50, "plain": body,
    "bomb": gzipped(b" " * 30_000_000),
              "twice": gzipped(gzipped(body)), "tail": gzipped(body) + b"x",
              "header": gzipped(body)[:8],
              "wrong sum": gzipped(body)[:-8] + b"\0" * 8}  # fmt: skip
    for name, data in packed.items():
        yield Kind(f"gzip {name}", post("/predict", data, content_encoding="gzip"))
        yield Kind(f"deflate {name}", post("/predict", data, content_encoding="deflate"))
    yield Kind(
        "raw deflate", post("/predict", zlib.compress(body)[2:-4], content_encoding="deflate")
    )
    yield Kind("too large", post("/predict", b" " * 200_001))
    yield Kind("too large in chunks", chunked("/predict", b" " * 200_001, 50_000))
    yield Kind("chunked garbage", chunked("/predict", bytes(range(256)) * 20, 33))
    yield Kind("chunks of a byte", chunked("/predict", body, 1), True)
    yield Kind("GET with a body", request("GET", "/v2", b"x" * 1000), True)


def _repository_kinds() -> Iterator[Kind]:
    bodies: dict[str, Any] = {
        "config": {"parameters": {"config": "{}"}},
        "file": {"parameters": {"file:1/model.onnx": "AAAA"}}, "list": [1], "number": 5,
        "parameters text": {"parameters": "a"}, "parameters list": {"parameters": [1]},
        "file path": {"parameters": {"file:../../x": ""}},
        "text": "a", "null": None,
    }  # fmt: skip
    for name, body in bodies.items():
        yield Kind(f"load: {name}", post("/v2/repository/models/shop/load", body))
        yield Kind(f"unload: {name}", post("/v2/repository/models/shop/unload", body))
    for name, body in {
        "number": 5,
        "ready text": {"ready": "yes"},
        "ready null": {"ready": None},
        "list": [],
    }.items():
        yield Kind(f"index: {name}", post("/v2/repository/index", body))
    for name, text in NOT_JSON.items():
        if text.strip():
            yield Kind(f"index not JSON: {name}", post("/v2/repository/index", text))
    for what in ("load", "unload"):
        yield Kind(f"{what} of another", post(f"/v2/repository/models/nope/{what}", b""))
        yield Kind(f"{what} by GET", request(path=f"/v2/repository/models/shop/{what}"))


GROUPS = {
    "json": json_kinds, "invocations": invocations_kinds, "csv": _csv_kinds, "tables": _table_kinds,
    "binary": _binary_kinds, "paths": _path_kinds,
    "headers": _header_kinds, "framed": _framed_kinds, "repository": _repository_kinds,
}  # fmt: skip
