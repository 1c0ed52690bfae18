"""The registry on a real MLflow tracking server, as a team would have it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy

import modelwright as mw
from modelwright.core.errors import RegistryError
from modelwright.core.records import ReleaseRecord
from modelwright.release.promote import register
from modelwright.release.run_records import RunRecords
from modelwright.release.tracking import log_run
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


@contextlib.contextmanager
def database(postgres: str, purpose: str) -> Iterator[str]:
    """The URL of a database of its own in a real PostgreSQL; dropped with the block."""
    name = f"mw_{purpose}_{secrets.token_hex(4)}"
    maintenance = sqlalchemy.create_engine(postgres, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    try:
        url = sqlalchemy.make_url(postgres).set(database=name)
        yield url.render_as_string(hide_password=False)
    finally:
        with maintenance.connect() as connection:
            connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))
        maintenance.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def address(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A tracking server over HTTP with that database behind it, which the project uses."""
    place = tmp_path / "server"
    place.mkdir()
    with contextlib.ExitStack() as stack:
        backend = ""
        if request.param == "postgresql":
            postgres = request.getfixturevalue("postgres")
            backend = stack.enter_context(database(postgres, "registry"))
        found = stack.enter_context(tracking_server(place, backend=backend))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", found)
        yield found


def registered(released: mw.Released, folder: Path) -> ReleaseRecord:
    """A run of another place, logged and released here too."""
    registry, records = mw.Registry(folder), RunRecords.read(released.run)
    artefact = mw.Artefact.load(released.run / "artefact")
    run = log_run(registry, artefact, records.dataset, records.fit, records.measured,
                  records.release, records.evaluation, records.folder)  # fmt: skip
    return register(registry, folder, artefact, records.release, run)


@pytest.mark.slow
def test_release_fetch_promote_and_rollback_over_a_tracking_server(
    released: mw.Released, shop: Path, address: str
) -> None:
    first = mw.run(shop / "modelwright.yaml", overrides=(*QUICK, "data.seed=5"))
    assert (first.record.version, first.record.alias) == ("1", "champion")
    assert not (shop / ".modelwright" / "mlflow.db").exists()
    second = registered(released, shop)
    assert (second.version, second.alias) == ("2", "challenger")
    assert second.artefact != first.record.artefact
    shutil.rmtree(shop / "runs")
    assert mw.load("shop@champion", folder=shop).digest == first.record.artefact
    change = mw.promote("shop", why="tested by hand", folder=shop)
    assert (change.version, change.replaces) == ("2", "1")
    assert mw.load("shop@champion", folder=shop).digest == second.artefact
    assert mw.rollback("shop", folder=shop).version == "1"
    versions, changes = mw.history("shop", folder=shop)
    assert {v.number: "champion" in v.aliases for v in versions} == {"1": True, "2": False}
    assert [(c.action, c.version) for c in changes] == [
        ("promote", "1"), ("promote", "2"), ("rollback", "1"),
    ]  # fmt: skip
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
