"""How soon the MCP server answers: cold over standard input, and each read tool once warm.

    .venv/bin/python benchmarks/agents/mcp_server.py [--calls 100]

Makes and releases a small project of 600 rows. Cold: from the start of the process to the answer of
`initialize`, the median of 5. Warm: each read tool in process, one call after the other, audit and
budget included. Wanted: at most 1.5 s cold, and a p95 of at most 20 ms for a tool that reads
records (not those that read the table again).
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
from mcp import Client

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import modelwright as mw
from modelwright.ways_in.mcp.server import make_server
from projects import QUICK, make_shop

READS: dict[str, dict[str, object]] = {
    "project_status": {},
    "history": {"model": "shop"},
    "report": {},
    "audit": {},
    "requests": {},
    "spec": {},
    "predict_rows": {
        "model": "shop",
        "rows": [{"size, cm": 1.5, "colour": "red", "big": 1, "member": True, "start": None}],
    },
    "check": {},
    "doctor": {},
}
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


async def warm(calls: int) -> None:
    """Print what each tool takes."""
    server, _ = make_server("release", "bench")
    async with Client(server) as client:
        for name, given in READS.items():
            taken = []
            for _ in range(calls + 3):
                began = time.perf_counter()
                result = await client.call_tool(name, given)
                taken.append((time.perf_counter() - began) * 1000)
                assert not result.is_error, result
            steady = sorted(taken[3:])
            p95 = steady[int(0.95 * (len(steady) - 1))]
            print(f"{name:<16} median {statistics.median(steady):7.1f} ms   p95 {p95:7.1f} ms   "
                  f"first {taken[0]:7.1f} ms")  # fmt: skip


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=100)
    calls = parser.parse_args().calls
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(make_shop(Path(folder)))
        mw.run("modelwright.yaml", overrides=QUICK)
        print(f"load average {os.getloadavg()[0]:.1f}")
        found = [cold() for _ in range(6)][1:]
        print(f"initialize, cold median {statistics.median(found):.2f} s   max {max(found):.2f} s")
        anyio.run(warm, calls)


if __name__ == "__main__":
    main()
