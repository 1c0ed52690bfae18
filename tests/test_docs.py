"""The quickstart's commands run in their order, and CONTRIBUTING's family is exact."""

from __future__ import annotations

import gzip
import importlib
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime as ort
import polars as pl
import pytest
from typer.testing import CliRunner

from fit import exam
from modelwright.core.traffic import read_traffic
from modelwright.pack.convert import convert
from modelwright.pack.inputs import matrices
from modelwright.pack.parity import edge_rows
from modelwright.ways_in.cli import app
from projects import EXAMPLES
from release.test_traffic import three as three  # the fixture

ROOT = Path(__file__).resolve().parents[1]


def blocks(page: str, kind: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```", text, flags=re.S | re.M)


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


@contextmanager
def in_a_second_terminal(command: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(command.split(), cwd=folder, env=environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.slow
@pytest.mark.alone
def test_the_quickstart_runs(tmp_path: Path) -> None:
    table = pl.read_csv(EXAMPLES / "income" / "adult.csv.gz").head(4000)
    data = tmp_path / "adult.csv.gz"
    data.write_bytes(gzip.compress(table.write_csv().encode(), mtime=0))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    port = free_port()
    [serving] = blocks("docs/quickstart.md", 'bash title="in a second terminal"')
    commands = blocks("docs/quickstart.md", "bash")
    assert len(commands) >= 8
    for text in commands:
        quick = text.replace("fit.budget=20s", "fit.budget=6s --set pack.seconds=0.4")
        quick = quick.replace(":8000/", f":{port}/")

        def run(command: str = quick) -> None:
            done = subprocess.run(
                ["bash", "-euc", command],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

        if text.startswith("curl"):
            serve = serving.replace("8000", port)
            with in_a_second_terminal(serve, tmp_path, environment):
                run()
        else:
            run()


@pytest.mark.slow
def test_the_page_on_traffic_runs(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the small project, whose model has another name; in this process, to load MLflow once."""
    commands = "".join(blocks("docs/traffic.md", "bash")).replace("income", "shop").splitlines()
    assert len(commands) >= 11
    for text in commands:
        done = CliRunner().invoke(app, shlex.split(text, comments=True)[1:])
        assert done.exit_code == 0, f"{text}\n{done.output}"
    [python] = blocks("docs/traffic.md", "python")
    exec(python.replace("income", "shop"), {})
    assert capsys.readouterr().out == "{'1': 0.95, '2': 0.05}\n"
    assert read_traffic(three, "shop")


@pytest.mark.parametrize("task", exam.TASKS)
def test_the_family_of_contributing_is_exact(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [code] = [
        b for b in blocks("CONTRIBUTING.md", 'python title="mytree.py"') if "class MyTree" in b
    ]
    (tmp_path / "mytree.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mytree", raising=False)
    family = importlib.import_module("mytree").MyTree()
    exam.sit(family, task)
    pipeline, table = exam.train(family, task)
    converted = convert(pipeline)
    session = ort.InferenceSession(converted.model.SerializeToString())
    output = converted.outputs["value" if task == "regression" else "probabilities"]
    for feeds in (table.feeds, edge_rows(pipeline, table.feeds, seed=0)):
        [found] = session.run([output], matrices(feeds, converted.inputs))
        np.testing.assert_allclose(found, pipeline.answer(feeds), atol=1e-6)
