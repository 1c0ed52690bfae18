"""Set-up: an environment for each server, and a model folder with 784 numbers."""

from __future__ import annotations

import csv
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from servers import CLONE, DENSE_COLUMNS, HERE, Place, Server

DENSE_ROWS = 400
DENSE_SPEC = """name: dense
intent: Stand in for a model of an image of 28 x 28 pixels.
data:
  source: dense.csv
  target: y
goal: roc_auc
fit:
  budget: 2 trials
  folds: 2
  families: [linear]
"""


def set_up(servers: Sequence[Server], place: Place) -> None:
    """Make what is missing in the cache; what is there and right stays.

    Raises:
        subprocess.CalledProcessError: a command failed; its output is on the screen.
    """
    place.cache.mkdir(parents=True, exist_ok=True)
    for server in servers:
        if server.is_ours:
            continue
        new = make_environment(place.cache / server.name, server.packages)
        if server.before and new:
            command = place.command(server.before, server, {})
            shutil.rmtree(place.cache / "mlflow-model", ignore_errors=True)
            run(command, place.environment(server, {}))
    # Our own, only to see its size: nothing but what `pip install modelwright` brings.
    environment = place.cache / "modelwright"
    make_environment(environment, (), (CLONE / "pyproject.toml").read_text(), pip=False)
    python = environment / "bin" / "python"
    run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", str(CLONE)])
    make_dense(place)


def make_environment(
    folder: Path, packages: Sequence[str], stamp: str = "", *, pip: bool = True
) -> bool:
    """A new environment with the packages, unless the same one is there; True when it is new.
    Without `pip` it is as `docs/deploy.md` makes that of a container."""
    stamp = (stamp or "\n".join(packages)) + ("" if pip else "\nwithout pip")
    written = folder / "made-of.txt"
    if written.exists() and written.read_text() == stamp:
        return False
    print(f"Making {folder} ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    run([sys.executable, "-m", "venv", *(() if pip else ("--without-pip",)), folder])
    if packages:
        run([folder / "bin" / "pip", "install", "--quiet", *packages])
    written.write_text(stamp)
    return True


def make_dense(place: Place) -> None:
    """Train a small linear model on 784 made-up columns, by the command line."""
    print(f"Making {place.dense} ...", flush=True)
    folder = place.cache / "dense"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    chance = random.Random(0)
    with (folder / "dense.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow([*(f"x{i}" for i in range(DENSE_COLUMNS)), "y"])
        for _ in range(DENSE_ROWS):
            values = [round(chance.random(), 4) for _ in range(DENSE_COLUMNS)]
            label = "high" if sum(values[:20]) > 10 else "low"
            writer.writerow([*values, label])
    (folder / "modelwright.yaml").write_text(DENSE_SPEC)
    command = [place.python, "-m", "modelwright", "run"]
    with (folder / "run.log").open("wb") as log:
        subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(CLONE / "src")},
            stdout=log,
            stderr=log,
            check=False,
        )
    made = sorted(folder.glob("runs/*/artefact"))
    if not made:
        raise SystemExit(f"No model was made: see {folder / 'run.log'}")
    shutil.rmtree(place.dense, ignore_errors=True)
    shutil.copytree(made[-1], place.dense)


def size_mb(folder: Path) -> float:
    """What a folder takes on the disk, hard links once."""
    seen = {}
    for path in folder.rglob("*"):
        state = path.lstat()
        seen[state.st_ino] = state.st_blocks * 512
    return sum(seen.values()) / 2**20


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
    """Run a command, and stop here when it fails."""
    words = [str(word) for word in command]
    subprocess.run(words, check=True, cwd=HERE / "peers", env={**os.environ, **(environment or {})})
