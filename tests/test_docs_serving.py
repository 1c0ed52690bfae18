"""The code of docs/predict.md and docs/mlflow.md runs against a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelwright as mw
from projects import mixed_table
from serve.test_app import server
from test_docs import blocks

PYTHON = [("docs/predict.md", title) for title in ("rows", "arrow", "top_k", "explain", "client")]
PYTHON += [("docs/mlflow.md", "invocations")]


@pytest.fixture(scope="module")
def folder(released: mw.Released, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With what the examples take for granted."""
    place = tmp_path_factory.mktemp("docs")
    mixed_table(20, seed=2).drop("bought").write_csv(place / "rows.csv")
    mw.write_client(str(released.run / "artefact"), "python", place)
    return place


@pytest.fixture(scope="module")
def port(released: mw.Released) -> Iterator[str]:
    with server(released.run / "artefact") as client:
        yield str(client.base_url.port)


def done(command: list[str], code: str, folder: Path, port: str) -> str:
    for written, here in (
        (":8000", f":{port}"), ('"age": 23', '"big": 3e7'), ('["age"]', '["big"]'),
        ("income_client", "shop_client"),
    ):  # fmt: skip
        code = code.replace(written, here)
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{os.environ['PYTHONPATH']}"
                   if "PYTHONPATH" in os.environ else str(folder)}  # fmt: skip
    found = subprocess.run([*command, code], cwd=folder, env=environment, capture_output=True,
                           text=True)  # fmt: skip
    assert found.returncode == 0, f"{code}\n{found.stdout}{found.stderr}"
    return found.stdout


@pytest.mark.parametrize(("page", "title"), PYTHON)
def test_python_blocks(page: str, title: str, folder: Path, port: str) -> None:
    [code] = blocks(page, f'python title="{title}"')
    assert done([sys.executable, "-c"], code, folder, port).strip()


def test_curl_blocks(folder: Path, port: str) -> None:
    [code] = blocks("docs/predict.md", "bash")
    lines = done(["bash", "-euc"], code, folder, port).splitlines()
    assert lines[0] == "prediction,p_no,p_yes" and len(lines) == 21


def test_every_block_is_run() -> None:
    for page in ("docs/predict.md", "docs/mlflow.md"):
        text = (Path(__file__).resolve().parents[1] / page).read_text(encoding="utf-8")
        assert text.count("```python") == sum(one == page for one, _ in PYTHON)
