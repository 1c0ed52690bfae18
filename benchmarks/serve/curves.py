"""The curves of docs/tuning.md: one server of ours after the other, under one load after the other.

    .venv/bin/python benchmarks/serve/curves.py [--seconds 2] [--rounds 3] [--plot FILE.svg]

Prints Markdown. Needs wrk, the released example (`make demo`) and the packages of `make venv`;
Linux only. Every row of a table is measured once a round and the medians are shown, so that a
disturbance of the machine does not hit one row alone. Client and server share the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bodies import example_rows, row_bodies, write_bodies
from load import JSON_HEADERS, over_http, post
from process import Running, cpu_seconds, free_port, pss_mb
from servers import CLONE, HERE, Load

CONNECTIONS = (1, 2, 4, 8, 16, 32, 64)
INFER = "/v2/models/income/infer"
Figures = dict[str, float]


@dataclass(frozen=True)
class Point:
    """One row of a table: a server, and what is sent to it.

    Attributes:
        about: the first cells of the row.
        settings: of the server; see `modelwright.serve.settings.Settings`.
        bodies: what is posted, in turn.
        rows: in one request.
    """

    about: tuple[str, ...]
    connections: int
    bodies: Sequence[bytes]
    rows: int = 1
    path: str = "/predict"
    headers: Mapping[str, str] = field(default_factory=lambda: JSON_HEADERS)
    settings: Mapping[str, Any] = field(default_factory=dict)
    grpc: bool = False


class Bench:
    """Starts servers and sends loads.

    Args:
        artefact: the model folder.
        seconds: of one load.
        scratch: an empty folder.
    """

    def __init__(self, artefact: Path, seconds: int, scratch: Path) -> None:
        self.artefact, self.seconds, self.scratch = artefact, seconds, scratch
        manifest = json.loads((artefact / "manifest.json").read_text(encoding="utf-8"))
        self.rows = example_rows(manifest, 2000)

    def measure(self, points: Sequence[Point]) -> list[Figures]:
        """Measure each once; neighbours with the same settings share a server."""
        found = []
        for _, group in itertools.groupby(points, lambda point: (point.settings, point.grpc)):
            alike = list(group)
            with self.server(alike[0]) as (port, grpc_port):
                self._load(alike[0], port, grpc_port, 1)
                found += [self._measured(point, port, grpc_port) for point in alike]
        return found

    def _measured(self, point: Point, port: int, grpc_port: int) -> Figures:
        before, cpu = batches(port), cpu_seconds()
        found = self._load(point, port, grpc_port, self.seconds)
        found["cpu_us"] = (cpu_seconds() - cpu) / max(1.0, found["requests"]) * 1e6
        found["cpu_us_row"] = found["cpu_us"] / point.rows
        found["rows_per_second"] = found["per_second"] * point.rows
        found["refused"] = 100 * found["failed"] / max(1.0, found["requests"])
        after = batches(port)
        runs = max(1.0, after[1] - before[1])
        found["rows_a_run"] = (after[0] - before[0]) / runs
        found["pss_mb"] = pss_mb()
        return found

    @contextlib.contextmanager
    def server(self, point: Point) -> Iterator[tuple[int, int]]:
        """A server with the settings of a point; its ports."""
        port, grpc_port = free_port(), free_port()
        source = {"name": "income", "version": "1", "folder": str(self.artefact), "tried": True}
        config = {"models": [source], "port": port, "quiet": True, **point.settings}
        if point.grpc:
            config["grpc_port"] = grpc_port
        path = self.scratch / "config.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        command = [sys.executable, "-m", "modelwright.serve", "--config", str(path)]
        sources = {"PYTHONPATH": str(CLONE / "src")}
        with Running(command, sources, self.scratch, self.scratch / "log") as running:
            body = row_bodies("rows", self.rows, 1)[0]
            running.first_answer(lambda: post(f"http://127.0.0.1:{port}/predict", body))
            yield port, grpc_port

    def _load(self, point: Point, port: int, grpc_port: int, seconds: int) -> Figures:
        if point.grpc:
            place = self.scratch / "calls.json"
            place.write_text(json.dumps([json.loads(body) for body in point.bodies]))
            words = [str(grpc_port), str(point.connections), str(seconds), str(place)]
            command = [sys.executable, str(HERE / "grpc_client.py"), *words]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.split("RESULT ", 1)[1])
        else:
            place = write_bodies(self.scratch / "bodies", point.bodies)
            load = Load("http", point.rows, point.connections, "")
            url = f"http://127.0.0.1:{port}{point.path}"
            found = over_http(url, place, load, seconds, point.headers)
        if found["failed"] > 0.9 * found["requests"]:
            raise SystemExit(f"{point.about}: {found['failed']} requests failed")
        return {name: float(value) for name, value in found.items()}


def batches(port: int) -> tuple[float, float]:
    """Rows that were answered by runs of the graph, and how many runs."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        text = reply.read().decode()

    def total(name: str) -> float:
        return sum(float(n) for n in re.findall(rf"^modelwright_{name}{{.*}} (\S+)", text, re.M))

    return total("batch_rows_sum"), total("batch_rows_count")


def binary(rows: Sequence[Mapping[str, Any]]) -> tuple[list[bytes], dict[str, str]]:
    """Bodies of the Open Inference Protocol with bytes behind the JSON, all heads equally long."""
    heads, tails = [], []
    for body in row_bodies("tensors", rows, 1):
        tensors, tail = [], b""
        for given in json.loads(body)["inputs"]:
            raw = _raw(given["datatype"], given.pop("data"))
            tensors.append({**given, "parameters": {"binary_data_size": len(raw)}})
            tail += raw
        parameters = {"binary_data_output": True}
        heads.append(json.dumps({"parameters": parameters, "inputs": tensors}).encode())
        tails.append(tail)
    length = max(len(head) for head in heads)
    found = [head.ljust(length) + tail for head, tail in zip(heads, tails, strict=True)]
    kind = {"Content-Type": "application/octet-stream"}
    return found, {**kind, "Inference-Header-Content-Length": str(length)}


def _raw(datatype: str, data: Sequence[Any]) -> bytes:
    if datatype == "FP64":
        return struct.pack(f"<{len(data)}d", *data)
    texts = [text.encode() for text in data]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def tables(bench: Bench) -> dict[str, tuple[tuple[str, ...], list[Point], str]]:
    """Title -> heads of the first columns, points, and which figures are shown."""
    one = row_bodies("rows", bench.rows, 1)
    same = one[:1]
    tensors = row_bodies("tensors", bench.rows, 1)
    columns = [
        json.dumps({"columns": {k: [v] for k, v in row.items()}}).encode()
        for row in bench.rows[:500]
    ]
    packed, packed_headers = binary(bench.rows)
    usual = "per_second p50 p95 p99"
    return {
        "Connections": (
            ("connections",),
            [Point((str(n),), n, one) for n in CONNECTIONS],
            f"{usual} refused rows_a_run cpu_us",
        ),
        "Workers": (
            ("workers", "connections"),
            [
                Point((str(workers), str(n)), n, one, settings={"workers": workers})
                for workers in (1, 2)
                for n in (1, 8, 64)
            ],
            f"{usual} refused cpu_us",
        ),
        "Rows in a request": (
            ("rows",),
            [
                Point((str(n),), 4, row_bodies("rows", bench.rows, n), rows=n)
                for n in (1, 10, 100, 1000)
            ],
            f"{usual} refused rows_per_second cpu_us_row",
        ),
        "Settings": (
            ("setting",),
            [
                Point(("none",), 64, one),
                Point(("access_log: true",), 64, one, settings={"access_log": True}),
                Point(
                    ("cache, every row new",), 64, one, settings={"cache": {"rows": 100, "ttl": 60}}
                ),
                Point(
                    ("cache, every row known",),
                    64,
                    same,
                    settings={"cache": {"rows": 100, "ttl": 60}},
                ),
                Point(
                    ("unseen_levels, out_of_range: refuse",),
                    64,
                    one,
                    settings={"unseen_levels": "refuse", "out_of_range": "refuse"},
                ),
            ],
            f"{usual} cpu_us",
        ),
        "Form of the request": (
            ("form",),
            [
                Point(("/predict, rows",), 8, one),
                Point(("/predict, columns",), 8, columns),
                Point(("OIP, JSON",), 8, tensors, path=INFER),
                Point(("OIP, bytes",), 8, packed, path=INFER, headers=packed_headers),
                Point(("gRPC",), 8, tensors, grpc=True),
            ],
            f"{usual} cpu_us",
        ),
        "Memory": (
            ("workers",),
            [Point((str(n),), 8, one, settings={"workers": n}) for n in (1, 2, 4)],
            "pss_mb",
        ),
    }


HEADS: Mapping[str, tuple[str, str]] = {
    "per_second": ("requests/s", "{:,.0f}"),
    "p50": ("p50 ms", "{:.2f}"),
    "p95": ("p95 ms", "{:.2f}"),
    "p99": ("p99 ms", "{:.2f}"),
    "refused": ("refused %", "{:.1f}"),
    "rows_a_run": ("rows a run", "{:.1f}"),
    "cpu_us": ("CPU µs a request", "{:,.0f}"),
    "rows_per_second": ("rows/s", "{:,.0f}"),
    "cpu_us_row": ("CPU µs a row", "{:.1f}"),
    "pss_mb": ("memory, MB", "{:.0f}"),
}


def medians(found: Sequence[Figures]) -> Figures:
    """Of each figure over the rounds."""
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


def table(heads: Sequence[str], shown: str, measured: Sequence[tuple[Point, Figures]]) -> str:
    """A table in Markdown."""
    names = shown.split()
    lines = [[*heads, *(HEADS[name][0] for name in names)]]
    lines.append(["---"] * len(heads) + ["---:"] * len(names))
    for point, figures in measured:
        lines.append([*point.about, *(HEADS[name][1].format(figures[name]) for name in names)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plot(measured: Sequence[tuple[Point, Figures]]) -> str:
    """Requests a second (bars) and p50, p99 (lines) over connections, as SVG."""
    width, height, left, base, step = 690, 300, 50, 260, 62
    most = max(f["per_second"] for _, f in measured)
    slowest = max(f["p99"] for _, f in measured)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="Requests a second and latency over connections" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    lines: dict[str, list[str]] = {"p50": [], "p99": []}
    for place, (point, figures) in enumerate(measured):
        x = left + place * step + step // 2
        top = base - 200 * figures["per_second"] / most
        parts.append(
            f'<rect x="{x - 18}" y="{top:.0f}" width="36" height="{base - top:.0f}" '
            f'fill="#b2dfdb"/><text x="{x}" y="{top - 5:.0f}" text-anchor="middle" fill="#00695c">'
            f"{figures['per_second'] / 1000:.1f}k</text>"
            f'<text x="{x}" y="{base + 15}" text-anchor="middle">{point.connections}</text>'
        )
        for name, corners in lines.items():
            corners.append(f"{x},{base - 200 * figures[name] / slowest:.0f}")
    for (name, corners), colour in zip(lines.items(), ("#ef6c00", "#6a1b9a"), strict=True):
        parts.append(
            f'<polyline points="{" ".join(corners)}" fill="none" stroke="{colour}" '
            'stroke-width="2"/>'
        )
        x, y = corners[-1].split(",")
        last = measured[-1][1][name]
        parts.append(
            f'<text x="{int(x) + 20}" y="{int(y) + 4}" fill="{colour}">{name} {last:.1f}</text>'
        )
    parts.append(
        f'<text x="{left}" y="20">requests/s (bars), latency in ms (lines)</text>'
        f'<text x="{width // 2}" y="{height - 8}" text-anchor="middle">connections</text></svg>'
    )
    return "\n".join(parts) + "\n"


def machine() -> str:
    """Where it was measured, and who else was at work."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    named = re.search(r"model name\s*: (.*)", text)
    load = os.getloadavg()[0]
    name = named[1] if named else "unknown processor"
    return f"{name}, {len(os.sched_getaffinity(0))} cores, load {load:.1f} from 1 minute before"


def main() -> None:
    """Measure, print the tables, and draw the curve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--artefact", type=Path, help="default: the newest of examples/income")
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="titles of tables, with commas between")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    artefact = given.artefact
    if artefact is None:
        made = sorted((CLONE / "examples" / "income" / "runs").glob("2*/artefact"))
        if not made:
            raise SystemExit("No model: make demo, or --artefact FOLDER.")
        artefact = made[-1]
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(artefact.resolve(), given.seconds, Path(scratch))
        print(f"{machine()}; {given.rounds} rounds of {given.seconds} s.\n", flush=True)
        for title, (heads, points, shown) in tables(bench).items():
            if given.only and title not in given.only.split(","):
                continue
            rounds = [bench.measure(points) for _ in range(given.rounds)]
            found = [medians(column) for column in zip(*rounds, strict=True)]
            measured = list(zip(points, found, strict=True))
            print(f"## {title}\n\n{table(heads, shown, measured)}\n", flush=True)
            if title == "Connections" and given.plot is not None:
                given.plot.write_text(plot(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
