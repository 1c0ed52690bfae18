"""Jobs at the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_at_the_command_line(shop: Path) -> None:
    def cli(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "modelwright", *words], cwd=shop, capture_output=True,
            text=True, timeout=120, env={**os.environ, "COLUMNS": "160"},
        )  # fmt: skip

    assert "No jobs" in cli("jobs").stdout
    done = cli("run", "none.yaml", "--background")
    assert done.returncode == 2 and "There is no spec file" in done.stderr
    begun = cli("run", "--background", "--json", "--set=data.target=nothing")
    [job] = json.loads(begun.stdout)["jobs"]
    assert begun.returncode == 0 and job["operation"] == "run"
    waited = cli("jobs", job["id"], "--wait", "100 s", "--log")
    assert waited.returncode == 1 and "failed" in waited.stdout, waited.stdout + waited.stderr
    assert "stage  data: shop.csv" in waited.stdout
    assert job["id"] in cli("jobs").stdout
    assert cli("jobs", "--cancel").returncode == 2
    assert "no length of time" in cli("jobs", job["id"], "--wait", "-3 s").stderr
    assert "id you mean" in cli("jobs", job["id"][:-1] + "x").stderr
