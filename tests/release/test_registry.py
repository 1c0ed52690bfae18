"""The registry on a real MLflow tracking server, as a team would have it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import modelwright as mw
from modelwright.core.errors import RegistryError
from projects import QUICK


@contextlib.contextmanager
def tracking_server(folder: Path, *, backend: str = "") -> Iterator[str]:
    """A server with its own database and artifacts; ends with the block."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--backend-store-uri", backend or f"sqlite:///{folder / 'server.db'}",
        "--artifacts-destination", str(folder / "blobs"), "--workers", "1",
    ]  # fmt: skip
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        transport = httpx.HTTPTransport(retries=0)
        with httpx.Client(transport=transport, timeout=2) as client:
            for _ in range(600):
                with contextlib.suppress(httpx.HTTPError, subprocess.TimeoutExpired):
                    if client.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                        break
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(20)


@pytest.mark.slow
def test_release_and_fetch_over_a_tracking_server(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "server"
    place.mkdir()
    with tracking_server(place) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        released = mw.run(shop / "modelwright.yaml", overrides=QUICK)
        assert (released.record.version, released.record.alias) == ("1", "champion")
        assert not (shop / ".modelwright" / "mlflow.db").exists()
        shutil.rmtree(shop / "runs")
        found = mw.load("shop@champion", folder=shop)
        assert found.digest == released.record.artefact
        with pytest.raises(RegistryError, match="There is no model 'nothing'"):
            mw.load("nothing", folder=shop)


def test_a_server_that_is_away_is_said_before_the_search(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"http://user:secret@127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RegistryError) as caught:
        mw.run(shop / "modelwright.yaml")
    assert "secret" not in str(caught.value)
    assert not (shop / "runs").exists()
