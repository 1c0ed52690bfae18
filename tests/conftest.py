"""Real files and one released model, made once for the whole suite."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelwright as mw
from projects import QUICK, make_shop


@pytest.fixture(autouse=True)
def _no_foreign_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests use the SQLite store of their own project folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MODELWRIGHT_TOKEN", raising=False)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project folder with a small mixed table and a spec."""
    return make_shop(tmp_path)


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mw.Released]:
    """The small project, run once; tests that change it copy `released.run.parents[1]`."""
    folder = make_shop(tmp_path_factory.mktemp("released"))
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield mw.run(folder / "modelwright.yaml", overrides=QUICK)


@pytest.fixture
def project(released: mw.Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the released project, and the present folder."""
    folder = tmp_path / "project"
    shutil.copytree(released.run.parents[1], folder)
    monkeypatch.chdir(folder)
    return folder
