"""A model is taken out of service and back by Triton's client, in every worker, on the record."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from modelwright.release.audit import AuditLog
from modelwright.serve.settings import Source, Token
from serve.running import Running, serving, until
from serve.versions import row_of

ADMIN = {"authorization": "Bearer all-of-it"}
TOKENS = (
    Token("ops", "all-of-it", frozenset({"predict", "admin"})),
    Token("app", "only-ask", frozenset({"predict"})),
)
ASKED = 24
"""Connections of their own: that all come to one of two workers happens once in millions."""


@pytest.fixture
def running(project: Path) -> Iterator[Running]:
    source = Source(name="shop", project=str(project))
    with serving(project, source, workers=2, tokens=TOKENS) as found:
        yield found


@pytest.fixture
def client(running: Running) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{running.port}") as found:
        yield found


def codes(running: Running) -> set[int]:
    """How the workers answer."""
    return {running.predict(row_of(), **ADMIN).status for _ in range(ASKED)}


def states(running: Running) -> set[str]:
    """What the index of each worker says of its one entry."""
    found = [running.ask("/v2/repository/index", {}, **ADMIN).json() for _ in range(ASKED)]
    assert all([entry["name"] for entry in one] == ["shop"] for one in found)
    return {one[0]["state"] for one in found}


def test_a_model_is_unloaded_and_loaded_in_all_workers(
    running: Running, client: triton.InferenceServerClient, project: Path
) -> None:
    assert codes(running) == {200} and states(running) == {"READY"}
    with pytest.raises(InferenceServerException, match="no scope admin"):
        client.unload_model("shop", headers={"authorization": "Bearer only-ask"})
    with pytest.raises(InferenceServerException, match="No such model"):
        client.unload_model("other", headers=ADMIN)
    client.unload_model("shop", headers=ADMIN)
    until(lambda: codes(running) <= {404, 503}, "no worker answers")
    until(lambda: states(running) == {"UNAVAILABLE"})
    [entry] = client.get_model_repository_index(headers=ADMIN)
    assert (entry["name"], entry["state"], entry["reason"]) == ("shop", "UNAVAILABLE", "unloaded")
    assert not client.is_model_ready("shop", headers=ADMIN) and not client.is_server_ready()
    # a worker that is started again serves nothing that was unloaded
    victim, other = running.workers()
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(running.workers()) == 2 and victim not in running.workers())
    assert other in running.workers() and codes(running) <= {404, 503}
    client.load_model("shop", headers=ADMIN)
    until(lambda: codes(running) == {200}, "all workers answer")
    until(lambda: states(running) == {"READY"})
    assert client.is_server_ready()
    lines = [line for line in AuditLog(project).entries("shop") if "load" in line.action]
    assert [(one.action, one.version, one.detail["token"]) for one in lines] == [
        ("unload", "1", "ops"), ("load", "", "ops"),
    ]  # fmt: skip
    assert AuditLog(project).broken_at() is None
    assert "unload of shop by token ops" in running.errors.read_text()
