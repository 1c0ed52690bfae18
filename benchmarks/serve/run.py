"""`modelwright serve` beside its peers: the same ONNX file, one process each, in the same run.

    .venv/bin/python benchmarks/serve/run.py setup
    .venv/bin/python benchmarks/serve/run.py measure

See README.md in this folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bodies import example_rows
from install import set_up, size_mb
from load import bare_session
from process import become_subreaper
from report import report
from servers import CLONE, LOADS, SERVERS, Place, Server
from visit import Asked, Visit, visit

CACHE = Path(tempfile.gettempdir()) / "modelwright-serve-benchmark"
ROWS = 2000


def main() -> None:
    """Set up, measure, or print an earlier result again."""
    given = _arguments()
    if given.action == "table":
        print(report(json.loads(given.file.read_text())))
        return
    place = Place(given.cache.resolve(), _artefact(given.artefact), given.python)
    servers = [s for s in SERVERS.values() if s.name in given.only or _by_default(s, given.only)]
    if given.action == "setup":
        set_up(servers, place)
        return
    if not shutil.which("wrk"):
        raise SystemExit("wrk is missing; on Debian: apt-get install wrk")
    missing = [s.name for s in servers if s.packages and not (place.cache / s.name).exists()]
    if missing:
        raise SystemExit(f"Not set up in {place.cache}: {', '.join(missing)}. Run: run.py setup")
    become_subreaper()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped too
    result = measure(servers, place, given)
    print("\n" + report(result))


def measure(servers: Sequence[Server], place: Place, given: argparse.Namespace) -> dict[str, Any]:
    """Visit every server once a round, after a round of one second that is thrown away."""
    sizes = {s.name: size_mb(place.cache / s.name) for s in servers if s.packages}
    if (place.cache / "modelwright").exists():
        sizes["modelwright"] = size_mb(place.cache / "modelwright")
    result: dict[str, Any] = {"sizes": sizes, "rounds": []}
    with tempfile.TemporaryDirectory() as scratch:
        manifest = json.loads((place.artefact / "manifest.json").read_text())
        rows = example_rows(manifest, ROWS)
        path = Path(scratch) / "rows.json"
        path.write_text(json.dumps(rows))
        result["session"] = session = bare_session(path, place)
        asked = Asked(rows, session.pop("probabilities"), Path(scratch), given.seconds)
        print("Starting each server once, unmeasured.", flush=True)
        for server in servers:
            problem = visit(server, (), place, asked).get("problem", "").strip()
            print(f"  {server.name}: {problem or 'answers'}", flush=True)
        for number in range(given.rounds):
            load = os.getloadavg()[0]
            print(f"Round {number + 1}, {time.strftime('%H:%M:%S')}, load {load:.1f}", flush=True)
            found: dict[str, Visit] = {}
            result["rounds"].append(found)
            for server in servers:
                loads = [name for name in server.loads if name in given.loads]
                if loads:
                    found[server.name] = visit(server, loads, place, asked)
                    print(_line(server, found[server.name]), flush=True)
            if given.out:
                given.out.write_text(json.dumps(result, indent=1))
    return result


def _line(server: Server, found: Visit) -> str:
    speeds = [f"{k} {v['per_second']:,.0f}/s" for k, v in found["loads"].items()]
    problem = " PROBLEM" if "problem" in found else ""
    return f"  {server.name}: {', '.join(speeds)}{problem}"


def _by_default(server: Server, only: Sequence[str]) -> bool:
    return not only and not server.optional


def _artefact(given: Path | None) -> Path:
    """The model folder: the given one, or that of the example's newest run."""
    if given:
        return given.resolve()
    made = sorted((CLONE / "examples" / "income" / "runs").glob("*/artefact"))
    if not made:
        raise SystemExit("No model folder. Run: make demo. Or give --artefact FOLDER.")
    return made[-1]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    actions = parser.add_subparsers(dest="action", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--cache", type=Path, default=CACHE, help=f"environments; default {CACHE}")
    common.add_argument("--artefact", type=Path, help="default: of the newest run of the example")
    common.add_argument("--python", default=sys.executable, help="runs our server; default: this")
    names = ", ".join(SERVERS)
    common.add_argument("--only", type=_words, default=[], help=f"some of: {names}")
    actions.add_parser("setup", parents=[common], help="make the environments")
    timed = actions.add_parser("measure", parents=[common], help="measure and print")
    timed.add_argument("--rounds", type=int, default=3)
    timed.add_argument("--seconds", type=int, default=2, help="whole seconds for each load")
    timed.add_argument("--loads", type=_words, default=list(LOADS), help=f"of {', '.join(LOADS)}")
    timed.add_argument("--out", type=Path, help="write the result here as JSON, each round")
    table = actions.add_parser("table", help="print a result of --out again")
    table.add_argument("file", type=Path)
    return parser.parse_args()


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


if __name__ == "__main__":
    main()
