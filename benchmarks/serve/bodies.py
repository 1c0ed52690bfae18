"""Bodies of requests, from the rows of the example, and what an answer says.

A file of bodies is what `post.lua` reads: the length of a body in a line, then its bytes.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import struct
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from servers import CLONE, DENSE_COLUMNS

Row = dict[str, Any]
TABLE = CLONE / "examples" / "income" / "adult.csv.gz"
BODIES = 500


def example_rows(manifest: Mapping[str, Any], count: int) -> list[Row]:
    """The first rows of the example's table, as a caller has them."""
    columns = manifest["schema"]["columns"]
    numbers = {column["name"] for column in columns if column["kind"] == "number"}
    with gzip.open(TABLE, "rt", newline="") as table:
        return [
            {c["name"]: _value(given[c["name"]], c["name"] in numbers) for c in columns}
            for given in islice(csv.DictReader(table), count)
        ]


def _value(text: str, number: bool) -> float | int | str | None:
    if not text:
        return None
    if not number:
        return text
    return float(text) if "." in text else int(text)


def body(form: str, rows: Sequence[Row]) -> bytes:
    """One request in the form a server takes."""
    if form == "rows":
        return _json({"rows": rows})
    if form == "records":
        return _json({"dataframe_records": rows})
    return _json({"inputs": [_column(name, [row[name] for row in rows]) for name in rows[0]]})


def _column(name: str, values: list[Any]) -> dict[str, Any]:
    """A tensor of the Open Inference Protocol; a missing text is empty there."""
    numeric = isinstance(values[0], int | float)
    data = values if numeric else [value or "" for value in values]
    datatype = "FP64" if numeric else "BYTES"
    return {"name": name, "shape": [len(values)], "datatype": datatype, "data": data}


def row_bodies(form: str, rows: Sequence[Row], each: int) -> list[bytes]:
    """Different bodies of `each` rows."""
    count = BODIES if each == 1 else len(rows) // each
    return [body(form, rows[i * each : (i + 1) * each]) for i in range(count)]


def dense_bodies(binary: bool, matrix: bool) -> tuple[list[bytes], dict[str, str]]:
    """Bodies of 784 floats, and the headers that belong to them.

    As one tensor [1, 784] of the name `numbers`, or as one tensor a column.
    """
    chance, found, head = random.Random(0), [], b""
    for _ in range(100):
        values = [round(chance.random(), 4) for _ in range(DENSE_COLUMNS)]
        if matrix:
            tensors = [("numbers", [1, DENSE_COLUMNS], values)]
        else:
            tensors = [(f"x{i}", [1], [value]) for i, value in enumerate(values)]
        described: list[dict[str, Any]] = []
        for name, shape, data in tensors:
            last = {"parameters": {"binary_data_size": 4 * len(data)}} if binary else {"data": data}
            described.append({"name": name, "shape": shape, "datatype": "FP32", **last})
        head = _json({"inputs": described})
        found.append(head + struct.pack(f"<{DENSE_COLUMNS}f", *values) if binary else head)
    if not binary:
        return found, {"Content-Type": "application/json"}
    return found, {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }


def write_bodies(path: Path, bodies: Sequence[bytes]) -> Path:
    """Write them for `post.lua`."""
    path.write_bytes(b"".join(b"%d\n%s" % (len(one), one) for one in bodies))
    return path


def probability(answer: bytes) -> float:
    """The chance of the second class in the first row, whichever server answered."""
    content = json.loads(answer)
    if isinstance(content, dict) and "outputs" in content:
        tensors = {tensor["name"]: tensor["data"] for tensor in content["outputs"]}
        return float(tensors["probabilities"][1])
    row = (content["predictions"] if isinstance(content, dict) else content)[0]
    if "probabilities" in row:
        return float(row["probabilities"][1])
    return float([value for name, value in row.items() if name.startswith("p_")][1])


def _json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
