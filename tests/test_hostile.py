"""No request harms the server: over a thousand kinds of malformed ones against one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

import modelwright as mw
from serve.hostile import GROUPS
from serve.hostile_json import ROW, Kind, post
from serve.raw import Caller, Reply, ask, request, resident, until

ROOM = 20 * 2**20
"""Bytes that a worker may have gained by all of them."""


class Victim(NamedTuple):
    """A server with one worker, and what it answered before anybody was unkind."""

    port: int
    worker: int
    wanted: bytes
    said: Path


@contextmanager
def attacked(folder: Path, said: Path, *before: str) -> Iterator[Victim]:
    """The server process, which writes its log to a file.

    Args:
        before: words before the command, such as those of a shell that sets limits.
    """
    options = {"--artefact": str(folder), "--name": "shop", "--version": "3",
               "--port": "0", "--max-body": "200000", "--max-rows": "500"}  # fmt: skip
    words = [word for pair in options.items() for word in pair]
    command = [*before, sys.executable, "-m", "modelwright.serve", *words, "--tried", "--quiet"]
    with said.open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout
        port = int(process.stdout.readline().strip().rsplit(":", 1)[1])
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield Victim(port, int(children[0]), good(port).body, said)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.fixture(scope="module")
def victim(released: mw.Released, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    said = tmp_path_factory.mktemp("victim") / "stderr"
    with attacked(released.run / "artefact", said) as found:
        yield found


def good(port: int) -> Reply:
    """The answer to a request without fault."""
    (found,) = ask(port, post("/predict", [ROW]))
    assert found.status == 200, found
    return found


def answer(port: int, kind: Kind) -> Reply:
    """What a malformed request gets; it must end, and a connection that goes on must go on."""
    with Caller(port) as caller:
        reply = caller.send(kind.data).reply()
        if reply.headers.get("connection") != "close":
            after = caller.send(request(path="/v2/health/live")).reply()
            assert after.status == 200, (kind.name, after)
    return reply


@pytest.mark.parametrize("group", GROUPS)
def test_malformed_requests_get_an_error_that_says_why(victim: Victim, group: str) -> None:
    kinds = list(GROUPS[group]())
    assert len({kind.name for kind in kinds}) == len(kinds)
    wrong = []
    for kind in kinds:
        reply = answer(victim.port, kind)
        is_error = 400 <= reply.status < 500 and isinstance(json.loads(reply.body)["error"], str)
        if not (is_error or (kind.fine and reply.status == 200)):
            wrong.append((kind.name[:60], reply.status, reply.body[:200]))
        assert b"Traceback" not in reply.body and b"/src/" not in reply.body
    assert not wrong, f"{len(wrong)} of {len(kinds)}:\n" + "\n".join(map(str, wrong))
    assert good(victim.port).body == victim.wanted
    assert "fault" not in victim.said.read_text()


def test_there_are_enough_kinds() -> None:
    assert sum(len(list(kinds())) for kinds in GROUPS.values()) >= 300


def test_all_of_them_again_take_no_memory(victim: Victim) -> None:
    kinds = [kind for kinds in GROUPS.values() for kind in kinds()]
    for kind in kinds:  # the first time libraries are loaded and caches filled
        answer(victim.port, kind)
    before = resident(victim.worker)
    for kind in kinds:
        answer(victim.port, kind)
    assert resident(victim.worker) - before < ROOM
    assert os.getpgid(victim.worker)  # still the same process
    assert good(victim.port).body == victim.wanted


def processor_seconds(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_more_callers_than_files_are_told_and_nothing_spins(
    released: mw.Released, tmp_path: Path
) -> None:
    shell = ("bash", "-c", 'ulimit -n 256; exec "$@"', "bash")
    begun = post("/predict", b" " * 500)[:-400]
    with attacked(released.run / "artefact", tmp_path / "stderr", *shell) as victim:
        idle = [Caller(victim.port) for _ in range(400)]  # those that idle make room
        assert good(victim.port).body == victim.wanted
        busy = [Caller(victim.port).send(begun) for _ in range(130)]
        assert ask(victim.port, request(path="/metrics"))[0].status == 200
        busy += [Caller(victim.port).send(begun) for _ in range(30)]
        used = processor_seconds(victim.worker)
        refused = [ask(victim.port, request(path="/v2/health/live"))[0].status for _ in range(5)]
        assert refused == [503] * 5
        deadline = time.monotonic() + 1.0
        until(lambda: time.monotonic() > deadline)
        assert processor_seconds(victim.worker) - used < 0.3
        for caller in (*idle, *busy):
            caller.socket.close()
        until(lambda: ask(victim.port, request(path="/v2/health/live"))[0].status == 200)
        assert good(victim.port).body == victim.wanted
