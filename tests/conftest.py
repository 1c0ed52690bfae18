"""Real files and one released model, made once for the whole suite."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import sqlalchemy
from hypothesis import HealthCheck, settings

import modelwright as mw
from away import away
from projects import QUICK, make_shop

# A property is true or not; how long a slow or busy machine takes to try it says nothing of it.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Long bytes are named by their length: compressed ones can hold the time of collection, and
    the processes of one run must agree on every test's name."""
    return f"{argname} of {len(val)} bytes" if isinstance(val, bytes) and len(val) > 60 else None


@pytest.fixture(autouse=True)
def _no_foreign_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tests use the SQLite store of their own project folder, and so do fixtures of the next
    module: MLflow sets the variable by itself when it is told of a server."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MODELWRIGHT_TOKEN", raising=False)
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)


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


@pytest.fixture(scope="session")
def postgres() -> str:
    """URL of a real PostgreSQL; elsewhere than in CI a missing one skips."""
    url = os.environ.get("TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
    try:
        with sqlalchemy.create_engine(url).connect():
            return url
    except sqlalchemy.exc.OperationalError as error:
        away(f"no PostgreSQL at {url} (set TEST_POSTGRES): {str(error).splitlines()[0]}")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A real HTTP server over a folder with t.csv; its address."""
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,y\n")
    quiet = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def at_a_terminal() -> Iterator[None]:
    """Ctrl-C does what it does at a terminal, also where pytest was started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
