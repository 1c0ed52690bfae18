"""Late labels joined with the journal: accuracy of each day and version.

    .venv/bin/python benchmarks/watch/labels.py [--rows 1000000] [--labels 300000]

A journal as a server writes it (files of 10,000 rows with 15 features, two versions, 30 days), and
labels of which a tenth are repeats, a twentieth corrections and a fiftieth orphans, merged as the
server merges them. Printed: CPU of all threads, medians of five.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from modelwright.serve.journal_store import file_name, place_of
from modelwright.serve.labels import Labels, Sender, compact
from modelwright.watch.labels import arrived_since, joined

NOW = 1_795_000_000.0
DAYS, FILE, FEATURES = 30, 10_000, 15


def fill(to: Path, rows: int, labels: int) -> None:
    """The journal and the labels."""
    rng = np.random.default_rng(0)
    ids = np.array([f"{word:032x}" for word in rng.integers(0, 2**62, rows)])
    times = np.sort(NOW - DAYS * 86_400 + rng.random(rows) * DAYS * 86_400)
    for number, start in enumerate(range(0, rows, FILE)):
        part = slice(start, start + FILE)
        write(to, number, ids[part], times[part], rng)
    place = place_of(str(to))
    chosen = rng.choice(rows, int(labels * 0.85), replace=False)
    again = np.concatenate([chosen, rng.choice(chosen, int(labels * 0.15))])
    moments = times[again] + rng.exponential(86_400.0, len(again))
    given = np.where(rng.random(len(again)) < 0.3, "yes", "no").tolist()
    given[len(chosen) : -labels // 20] = given[: len(given) - labels // 20 - len(chosen)]
    names = ids[again].tolist()
    names[::50] = [f"nobody-{place}" for place in range(len(names[::50]))]
    sender, order = Sender(place), np.argsort(moments)
    for part in np.array_split(order, 600):
        chunk = Labels()
        for at in part.tolist():
            moment = int(min(moments[at], NOW) * 1e6)
            one = Labels([names[at]], [0], [given[at]], [None], [moment], [moment])
            chunk.extend(one)
        sender.send("shop", chunk)
    compact(place, "shop", NOW + 86_400)


def write(
    to: Path, number: int, ids: np.ndarray, times: np.ndarray, rng: np.random.Generator
) -> None:
    """One file of the journal."""
    count, version = len(ids), "34"[number % 2]
    score = rng.random(count)
    word = pa.DictionaryArray.from_arrays
    columns = {
        "request_id": pa.array(ids), "row": pa.array(np.zeros(count, np.int32)),
        "time": pa.array((times * 1e6).astype(np.int64)).cast(pa.timestamp("us", tz="UTC")),
        "model": word(pa.array(np.zeros(count, np.int32)), pa.array(["shop"])),
        "version": word(pa.array(np.zeros(count, np.int32)), pa.array([version])),
        "arm": word(pa.array(np.zeros(count, np.int32)), pa.array(["champion"])),
        "prediction": word(pa.array((score > 0.5).astype(np.int32)), pa.array(["no", "yes"])),
        "score": pa.array(score), "p_no": pa.array(1 - score), "p_yes": pa.array(score),
        **{f"f_{n}": pa.array(rng.integers(0, 100, count).astype(float)) for n in range(FEATURES)},
    }  # fmt: skip
    about = {"format": 1, "model": "shop", "version": version, "digest": "0" * 64}
    table = pa.table(columns).replace_schema_metadata({"modelwright": json.dumps(about)})
    name = to / file_name("shop", version, times[0], times[-1], "0123456789ab", number)
    name.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, name, compression="zstd", write_statistics=["time"])


def accuracy(to: Path) -> pa.Table:
    """Labelled rows and accuracy of each day and version."""
    found = joined(to, "shop", columns=["version", "time", "prediction"])
    found = found.filter(pa.compute.is_valid(found["label"]))
    right = pa.compute.equal(found["label"], found["prediction"]).cast("float64")
    day = pa.compute.floor_temporal(found["time"], unit="day")
    table = pa.table({"version": found["version"], "day": day, "right": right})
    return table.group_by(["day", "version"]).aggregate([("right", "mean"), ("right", "count")])


def measured(name: str, work: Callable[[], object]) -> None:
    """Median CPU and wall time of five."""
    cpu, wall = [], []
    for _ in range(5):
        began = time.process_time(), time.perf_counter()
        work()
        cpu.append(time.process_time() - began[0])
        wall.append(time.perf_counter() - began[1])
    print(f"{name}: {statistics.median(cpu):.2f} s CPU, {statistics.median(wall):.2f} s")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=300_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder)
        fill(to, given.rows, given.labels)
        found = accuracy(to)
        labelled = pa.compute.sum(found["right_count"]).as_py()
        print(f"{given.rows:,} answers, {given.labels:,} labels: {labelled:,} labelled rows, "
              f"{len(found)} days and versions")  # fmt: skip
        measured("accuracy of each day and version", lambda: accuracy(to))
        _, cursor = arrived_since(to, "shop", now=NOW)
        measured("all labels in order of arrival", lambda: arrived_since(to, "shop", now=NOW))
        measured("a look without news", lambda: arrived_since(to, "shop", cursor, now=NOW + 60))


if __name__ == "__main__":
    main()
