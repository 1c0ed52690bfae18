"""A small journal, written as a server writes it, without one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modelwright.serve.journal_store import file_name, place_of
from modelwright.serve.labels import Labels, Sender

NOW = 1_795_000_000.0
TOKEN = "0123456789ab"


def answered(
    to: str | Path,
    ids: Sequence[str],
    *,
    version: str = "3",
    number: int = 0,
    at: float = NOW,
    scores: Sequence[float] | None = None,
    is_number: bool = False,
    token: str = TOKEN,
    arm: str = "champion",
) -> None:
    """One file of answers; "a/2" is the row 2 of the request a."""
    count = len(ids)
    names, rows = zip(*([*id.split("/"), "0"][:2] for id in ids), strict=True)
    score = np.array(scores if scores is not None else np.linspace(0.1, 0.9, count))
    texts = pa.array(np.where(score > 0.5, "yes", "no"))
    columns = {
        "request_id": pa.array(names), "row": pa.array([int(row) for row in rows], pa.int32()),
        "time": pa.array([int(at * 1e6) + n for n in range(count)]).cast(
            pa.timestamp("us", tz="UTC")
        ),
        "version": pa.array([version] * count).dictionary_encode(),
        "arm": pa.array([arm] * count).dictionary_encode(),
        "prediction": pa.array(score) if is_number else texts.dictionary_encode(),
        "score": pa.array(score),
    }  # fmt: skip
    if not is_number:
        columns |= {"p_no": pa.array(1 - score), "p_yes": pa.array(score)}
    columns["f_age"] = pa.array(np.arange(count, dtype=float))
    about = {"format": 1, "model": "shop", "version": version, "digest": "0" * 64}
    table = pa.table(columns).replace_schema_metadata({"modelwright": json.dumps(about)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_statistics=["time"])
    name = file_name("shop", version, at, at + 1e-6 * count, token, number)
    place_of(str(to)).put(name, sink.getvalue().to_pybytes())


def said(*given: tuple[str, str, float] | tuple[str, str, float, float]) -> Labels:
    """Labels as (id, label, seconds after NOW at which it arrived, and of its time if another)."""
    found = Labels()
    for id, label, arrived, *time in given:
        name, _, row = id.partition("/")
        is_number = label.replace(".", "").isdigit()
        found.extend(Labels(
            [name], [int(row or 0)], [label], [float(label) if is_number else None],
            [int((NOW + (time[0] if time else arrived)) * 1e6)], [int((NOW + arrived) * 1e6)],
        ))  # fmt: skip
    return found


def tell(to: str | Path, *given: tuple[str, str, float] | tuple[str, str, float, float]) -> None:
    """The same, written as one file of a process of its own."""
    Sender(place_of(str(to))).send("shop", said(*given))
