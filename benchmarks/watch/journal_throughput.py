"""What the journal, and the watcher that counts it, cost a server in answers a second.

    .venv/bin/python benchmarks/watch/journal_throughput.py [--rounds 7] [--seconds 10]

`modelwright serve` of a released project, in a copy: without a journal, with one, and with one and
`modelwright watch` beside it, which looks every `--every` (default 10 s; by itself it would be
60 s). wrk asks rows of the example over 1, 8 and 64 connections. Each round starts the three in
turns, each time another one first. Printed: answers a second, and their ratio to those without a
journal in the same round, as the median over the rounds and its range. Needs wrk and `make demo`;
Linux only. Client, server and watcher share the machine.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

import modelwright as mw
from modelwright.serve.settings import Settings

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from bodies import example_rows, row_bodies, write_bodies
from load import over_http, post
from process import Running, become_subreaper, free_port
from servers import CLONE, Load

CONNECTIONS = (1, 8, 64)
ARMS = ("off", "journal", "journal and watch")
COMMAND = [sys.executable, "-m", "modelwright"]
Round = dict[tuple[str, int], float]


def copied(project: Path, to: Path, arm: str, every: str) -> Path:
    """The project with, or without, a journal."""
    folder = Path(
        shutil.copytree(project, to, ignore=shutil.ignore_patterns("journal", "watch.db"))
    )
    spec = folder / "modelwright.yaml"
    text = re.split(r"^(?:serve|watch):", spec.read_text(encoding="utf-8"), flags=re.M)[0]
    if arm != "off":
        text += f"\nserve: {{journal: {{to: journal}}}}\nwatch: {{every: {every}, act: []}}\n"
    spec.write_text(text, encoding="utf-8")
    return folder


def measured(folder: Path, name: str, arm: str, bodies: Path, seconds: int) -> dict[int, float]:
    """Connections -> answers a second of a server that was started for it."""
    port = free_port()
    sources = {"PYTHONPATH": str(CLONE / "src")}
    config = folder / "settings.json"
    config.write_bytes(msgspec.json.encode(settings(folder, name, arm, port)))
    command = [sys.executable, "-m", "modelwright.serve", "--config", str(config)]
    found = {}
    with Running(command, sources, folder, folder / "serve.log") as running:
        url = f"http://127.0.0.1:{port}/predict"
        length, _, text = bodies.read_bytes().partition(b"\n")
        running.first_answer(lambda: post(url, text[: int(length)]))
        if arm == "journal and watch":
            with (folder / "watch.log").open("wb") as log:
                beside = subprocess.Popen(
                    [*COMMAND, "watch"], cwd=folder, env=running.environment, stdout=log, stderr=log
                )
        over_http(url, bodies, Load("http", 1, 8, ""), 1)
        for connections in CONNECTIONS:
            one = over_http(url, bodies, Load("http", 1, connections, ""), seconds)
            answered = 1 - one["failed"] / max(1, one["requests"])
            if answered < 0.9:
                raise SystemExit(f"{arm}: only {answered:.0%} of the requests were answered")
            found[connections] = float(one["per_second"])
        if arm == "journal and watch" and beside.poll() is not None:
            raise SystemExit(f"the watcher ended: {(folder / 'watch.log').read_text()[-800:]}")
    kept = (folder / "journal").is_dir() and any((folder / "journal").rglob("*.parquet"))
    if kept != (arm != "off"):
        raise SystemExit(f"{arm}: there is {'a' if kept else 'no'} journal")
    return found


def settings(folder: Path, name: str, arm: str, port: int) -> Settings:
    """As the released model has them (its spec is packed with it), but for the journal."""
    made = mw.server_settings([name], folder=folder, port=port, quiet=True)
    to = "" if arm == "off" else str(folder / "journal")
    return msgspec.structs.replace(made, journal=msgspec.structs.replace(made.journal, to=to))


def shown(rounds: list[Round]) -> str:
    """A table in Markdown."""
    lines = ["| connections | arm | answers/s | beside off | of all rounds |"]
    lines.append("|---:|---|---:|---:|---|")
    for connections in CONNECTIONS:
        for arm in ARMS:
            rates = [one[arm, connections] for one in rounds]
            ratios = [one[arm, connections] / one["off", connections] for one in rounds]
            spread = f"{min(ratios):.3f} to {max(ratios):.3f}" if arm != "off" else ""
            middle = f"{statistics.median(ratios):.3f}" if arm != "off" else ""
            rate = f"{statistics.median(rates):,.0f}"
            lines.append(f"| {connections} | {arm} | {rate} | {middle} | {spread} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, default=CLONE / "examples" / "income")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--every", default="10 s")
    given = parser.parse_args()
    made = sorted(given.project.glob("runs/2*/artefact/manifest.json"))
    if not made:
        raise SystemExit("No model: make demo, or --project FOLDER.")
    manifest = json.loads(made[-1].read_text(encoding="utf-8"))
    become_subreaper()
    rounds = []
    with tempfile.TemporaryDirectory() as scratch:
        rows = row_bodies("rows", example_rows(manifest, 2000), 1)
        bodies = write_bodies(Path(scratch) / "bodies", rows)
        for number in range(given.rounds):
            found: Round = {}
            for place in range(len(ARMS)):
                arm = ARMS[(number + place) % len(ARMS)]
                folder = copied(
                    given.project, Path(scratch) / f"{number}-{place}", arm, given.every
                )
                rates = measured(folder, manifest["model"], arm, bodies, given.seconds)
                found |= {(arm, connections): rate for connections, rate in rates.items()}
                shutil.rmtree(folder)
            rounds.append(found)
    print(f"{given.rounds} rounds of {given.seconds} s\n\n{shown(rounds)}")


if __name__ == "__main__":
    main()
