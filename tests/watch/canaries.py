"""Minutes of a champion and a canary in a real journal; the clock is the test's."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modelwright.core.traffic import Canary, Traffic
from modelwright.serve.journal_store import Folder, file_name
from modelwright.serve.labels import Labels, Sender
from modelwright.watch.canary import Arms
from modelwright.watch.look import Looked
from modelwright.watch.part_canary import CanaryPart, CanaryState
from modelwright.watch.subject import Subject
from watch.live import BEGIN, Live

MINIMUM = "\nwatch: {window: 10 min, rows: 400, canary: {minimum: 3 min, maximum: 20 min}}\n"
LATER = 30.0
"""So long after its end a minute is settled."""


def say(live: Live, watch: str) -> None:
    path = live.folder / "modelwright.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("\nwatch:")] + watch, encoding="utf-8")


def minute(
    live: Live,
    number: int,
    *,
    count: int = 1000,
    share: float = 0.2,
    errors: tuple[float, float] = (0.002, 0.002),
    slower: float = 1.0,
    callers: Sequence[str] | None = None,
    keys: Sequence[str | None] | None = None,
    value: float | None = None,
) -> None:
    """Answers of one minute; `errors` are the shares of (champion, canary) that others gave."""
    rng = np.random.default_rng(abs(number) + 7)
    new = np.arange(count) % round(1 / share) == 0 if share else np.zeros(count, bool)
    place = np.where(new, np.cumsum(new), np.cumsum(~new)) - 1
    total = np.where(new, new.sum(), (~new).sum())
    rate = np.where(new, errors[1], errors[0])
    failed = place < np.round(rate * total)
    ms = 100 * rng.lognormal(1, 0.3, count) * np.where(new, slower, 1)
    begin = BEGIN + 60 * number
    times = ((begin + 60 * np.arange(count) / count) * 1e6).astype(np.int64)
    columns = {
        "request_id": pa.array([f"{number}-{n}" for n in range(count)]),
        "row": pa.array(np.zeros(count, np.int32)),
        "time": pa.array(times).cast(pa.timestamp("us", tz="UTC")),
        "version": pa.array(np.where(new & ~failed, "2", "1")).dictionary_encode(),
        "arm": pa.array(np.where(new, "canary", "champion")).dictionary_encode(),
        "fallback": pa.array(np.where(failed, "champion", "")).dictionary_encode(),
        "cached": pa.array(np.zeros(count, bool)),
        "ms": pa.array(ms),
        "prediction": pa.array([value] * count)
        if value is not None
        else pa.array(["yes"] * count).dictionary_encode(),
        "score": pa.array(np.full(count, 0.7)),
        "p_no": pa.array(np.full(count, 0.3)),
        "p_yes": pa.array(np.full(count, 0.7)),
        "f_colour": pa.array(list(callers) if callers else ["red"] * count),
    }
    if keys is not None:
        columns["caller"] = pa.array(keys, pa.string())
    about = {"format": 1, "model": "shop", "version": "1", "digest": "0" * 64}
    table = pa.table(columns).replace_schema_metadata({"modelwright": json.dumps(about)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    name = file_name("shop", "1", begin, begin + 60, "0123456789ab", number + 100)
    Folder(live.folder / "journal").put(name, sink.getvalue().to_pybytes())


def at(live: Live, minutes: float, rule: Canary | None = None) -> Subject:
    canary = rule or Canary("2", 0.2, began=BEGIN)
    subject = live.subject(BEGIN + 60 * minutes + LATER)
    return dataclasses.replace(subject, traffic=Traffic("shop", canary=canary))


def look(
    live: Live, minutes: float, state: bytes | None = None, rule: Canary | None = None
) -> Looked:
    return CanaryPart().look(at(live, minutes, rule), state)


def counted(found: Looked) -> dict[str, Arms]:
    state = msgspec.json.decode(found.state, type=CanaryState)
    return {name: one.counts for name, one in state.state.cells.items()}


def minutes_of(found: Looked) -> float:
    return msgspec.json.decode(found.state, type=CanaryState).state.minutes


def labels(live: Live, said: dict[str, str], arrived: float) -> None:
    count = len(said)
    moment = [int(arrived * 1e6)] * count
    texts = list(said.values())
    values = [None if text in ("yes", "no") else float(text) for text in texts]
    given = Labels(list(said), [0] * count, texts, values, moment, moment)
    Sender(Folder(live.folder / "journal")).send("shop", given)
