"""How soon the MCP server answers: cold over standard input, and each read tool once warm.

    .venv/bin/python benchmarks/agents/mcp_server.py [--calls 100] [--project FOLDER]

Makes and releases a small project of 600 rows, or takes one that was released. Cold: from the start
of the process to the answer of `initialize`, the median of 5. Warm: every tool that only reads, in
process, one call after the other, audit and budget included; `first` is the first call after the
start, before anything was read. Wanted: at most 1.5 s cold, and a p95 of at most 20 ms. `predict`
and `dashboard` write a file each time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio
import polars as pl
from mcp import Client

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import modelwright as mw
from modelwright.core.schema import Column
from modelwright.data.sources import open_source
from modelwright.ways_in import jobs
from modelwright.ways_in.mcp.offers import offers_of
from modelwright.ways_in.mcp.own_tools import own_tools
from modelwright.ways_in.mcp.server import make_server
from projects import QUICK, make_shop

Call = tuple[str, dict[str, object]]

ROW = {"size, cm": 1.5, "colour": "red", "big": 1, "member": True, "start": None}
HELLO = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {},
               "clientInfo": {"name": "bench", "version": "1"}},
}  # fmt: skip


def cold() -> float:
    """Seconds from the start of the process to its answer."""
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "modelwright", "mcp"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(HELLO).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        taken = time.perf_counter() - began
        process.stdin.close()
    return taken


def reads(model: str, source: str, row: dict[str, object], job: str) -> list[Call]:
    """Calls of every read tool."""
    few = write_few(source)
    return [
        ("project_status", {}),
        ("history", {"model": model}),
        ("report", {}),
        ("audit", {}),
        ("requests", {}),
        ("spec", {}),
        ("predict_rows", {"model": model, "rows": [row]}),
        ("check", {}),
        ("check", {"spec": few, "against": model}),
        ("compare", {"one": source, "two": few}),
        ("compare", {"one": f"{model}/1", "two": f"{model}@champion"}),
        ("doctor", {}),
        ("job_wait", {"job_id": job, "seconds": 0}),
        ("job_log", {"job_id": job}),
        ("dashboard", {"model": model}),
        ("predict", {"model": model, "data": few, "out": "scratch/answers.csv"}),
    ]


def write_few(source: str) -> str:
    """A table of 100 rows like those of the source, none of them sealed."""
    name = "few.csv"
    frame = next(open_source(source, Path()).batches()).head(100)
    first = frame.columns[0]
    frame.with_columns(pl.lit("0.5").alias(first)).write_csv(name)
    return name


async def warm(calls: int, model: str, source: str, row: dict[str, object]) -> None:
    """Print what each tool takes."""
    server, _ = make_server("release", "bench")
    job = jobs.start(Path(), "spec", {})
    jobs.wait(Path(), job.id, 60)
    wanted = reads(model, source, row, job.id)
    async with Client(server) as client:
        listed = (await client.list_tools()).tools
        offered = {one.name for one in offers_of("reader", own_tools())}
        assert offered == {name for name, _ in wanted} <= {tool.name for tool in listed}
        for name, given in wanted:
            taken, worked = [], []
            for _ in range(calls + 3):
                began, before = time.perf_counter(), time.process_time()
                result = await client.call_tool(name, given)
                taken.append((time.perf_counter() - began) * 1000)
                worked.append((time.process_time() - before) * 1000)
                assert not result.is_error, result
            about = "against" if "against" in given else str(given.get("one", ""))
            print(f"{name + ' ' + about:<22} median {statistics.median(taken[3:]):6.1f} ms   p95 "
                  f"{_p95(taken[3:]):6.1f} ms   p95 of CPU {_p95(worked[3:]):6.1f} ms   first "
                  f"{taken[0]:6.1f} ms")  # fmt: skip


def _p95(milliseconds: list[float]) -> float:
    return sorted(milliseconds)[int(0.95 * (len(milliseconds) - 1))]


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--project", type=Path, help="a project that was released, by its folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = given.project or made(Path(folder))
        os.chdir(project)
        spec = mw.read_spec(Path("modelwright.yaml")).spec
        print(f"load average {os.getloadavg()[0]:.1f}")
        found = [cold() for _ in range(6)][1:]
        print(f"initialize, cold median {statistics.median(found):.2f} s   max {max(found):.2f} s")
        anyio.run(warm, given.calls, spec.name, spec.data.source, a_row(spec.name))


def made(folder: Path) -> Path:
    """The small project."""
    mw.run(make_shop(folder) / "modelwright.yaml", overrides=QUICK)
    return folder


def a_row(model: str) -> dict[str, object]:
    """A row that the model takes."""
    columns = mw.load(model).schema.features
    return {column.name: ROW.get(column.name, _value(column)) for column in columns}


def _value(column: Column) -> object:
    return column.levels[0] if column.levels else None if column.nullable else 0.5


if __name__ == "__main__":
    main()
