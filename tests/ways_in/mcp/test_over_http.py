"""Real processes: standard input and output, HTTP on a real port, and their ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import psutil
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from agents import MODES, Person, structured, talk
from modelwright.ways_in import jobs

ARGUMENTS = ["-m", "modelwright", "mcp", "--name", "ada"]
TOKEN = "a long token of this test"


def stdio(folder: Path, *more: str, **environment: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable, args=[*ARGUMENTS, *more], cwd=folder,
        env={"PYTHONPATH": os.environ.get("PYTHONPATH", ""), **environment},
    )  # fmt: skip


@contextmanager
def listening(folder: Path, **environment: str) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """A server on a free port: its address, what it said, its process."""
    process = subprocess.Popen(
        [sys.executable, *ARGUMENTS, "--http"], cwd=folder, stderr=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200", **environment},
    )  # fmt: skip
    try:
        assert process.stderr is not None
        said, url = "", ""
        for line in process.stderr:
            said += line
            url = url or "".join(re.findall(r"http://\S+", line))
            if url and (environment.get("MODELWRIGHT_MCP_TOKEN") or "token:" in line):
                break
        yield url, said, process
    finally:
        process.kill()
        process.communicate()


def over_http(url: str, token: str, **headers: str) -> Any:
    client = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}", **headers}, timeout=60)
    return streamable_http_client(url, http_client=client)


async def _look(client: Client) -> dict[str, Any]:
    assert len((await client.list_tools()).tools) > 20
    return structured(await client.call_tool("project_status"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_stdio(shop: Path, mode: str) -> None:
    found = talk(_look, stdio(shop), mode=mode)
    assert (found["stage"], found["model"]) == ("spec", "shop")


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_http(shop: Path, mode: str) -> None:
    with listening(shop, MODELWRIGHT_MCP_TOKEN=TOKEN) as (url, said, _):
        assert TOKEN not in said
        found = talk(_look, over_http(url, TOKEN), mode=mode)
    assert (found["stage"], found["model"]) == ("spec", "shop")


@contextmanager
def carried(by: str, folder: Path) -> Iterator[Any]:
    """A server that is reached in one way or the other."""
    if by == "stdio":
        yield stdio(folder)
        return
    with listening(folder, MODELWRIGHT_MCP_TOKEN=TOKEN) as (url, _, _process):
        yield over_http(url, TOKEN)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by", "mode", "asks"),
    [*((by, mode, True) for by in ("stdio", "http") for mode in MODES),
     ("stdio", "auto", False), ("http", "auto", False)],
)  # fmt: skip
def test_questions(shop: Path, by: str, mode: str, asks: bool) -> None:
    """The client shows the form, whatever carries it; one without forms leaves it waiting."""
    (shop / "modelwright.policy.yaml").write_text("confirm: client\n")
    stale = shop / ".modelwright" / "x.part"
    stale.parent.mkdir()
    stale.write_text("left by a kill")
    os.utime(stale, (1, 1))
    person = Person("accept", approve=True) if asks else None

    async def story(client: Client) -> dict[str, Any]:
        return structured(await client.call_tool("gc", {"apply": True}))

    with carried(by, shop) as server:
        found = talk(story, server, mode=mode, person=person)
    assert found["status"] == ("done" if asks else "pending"), found
    assert person is None or len(person.asked) == 1
    assert stale.exists() != asks


@pytest.mark.slow
def test_http_lets_only_the_token_in(shop: Path) -> None:
    with listening(shop) as (url, said, process):
        [token] = re.findall(r"token: (\S+)", said)
        assert len(token) > 30
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        right = {
            "Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream",
        }  # fmt: skip

        def status(**headers: str) -> int:
            return httpx.post(url, json=body, headers={**right, **headers}).status_code

        assert httpx.post(url, json=body).status_code == 401
        for wrong in ("Bearer x", "Bearer", f"bearer {token}", f"Bearer {token}x", "Basic x"):
            assert status(Authorization=wrong) == 401
        assert status(Host="evil.example") == 421
        assert status(Origin="http://evil.example") == 403
        assert status(Origin="null") == 403
        large = httpx.post(url, content=b" " * 1_100_000, headers=right)
        assert large.status_code in (400, 413)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stdio_ends_when_told(shop: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, *ARGUMENTS], cwd=shop, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        _greet(process)
        process.send_signal(number)
        assert process.wait(20) == 0


@pytest.mark.slow
def test_stdio_ends_with_its_input_and_says_nothing_else(shop: Path) -> None:
    with subprocess.Popen(
        [sys.executable, *ARGUMENTS], cwd=shop, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        _greet(process)
        rest, complaints = process.communicate(timeout=20)
        assert process.returncode == 0, complaints
        assert rest == ""
        assert "Traceback" not in complaints


def _greet(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(
        '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",'
        '"capabilities":{},"clientInfo":{"name":"t","version":"1"}}}\n'
    )
    process.stdin.flush()
    assert '"serverInfo"' in process.stdout.readline()


def make_quick(shop: Path) -> None:
    """Let a run of the project take seconds, by its spec."""
    text = (shop / "modelwright.yaml").read_text()
    quick = text.replace("families: [lightgbm]", "families: [lightgbm], budget: 3 trials, folds: 2")
    (shop / "modelwright.yaml").write_text(f"{quick}pack: {{seconds: 0.4}}\n")


CLIENT = """
import sys, anyio
from mcp import Client, StdioServerParameters

async def main():
    server = StdioServerParameters(command=sys.executable, args=sys.argv[1:])
    async with Client(server) as client:
        found = await client.call_tool("run", {})
        print(found.structured_content["job_id"], flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.mark.slow
def test_a_job_outlives_the_client_that_is_killed(shop: Path) -> None:
    make_quick(shop)
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, *ARGUMENTS], cwd=shop, stdout=subprocess.PIPE, text=True,
    ) as client:  # fmt: skip
        assert client.stdout is not None
        job = client.stdout.readline().strip()
        client.kill()
    assert job
    found = jobs.wait(shop, job, 280)
    assert found.state == "done", found
    assert found.by == "agent ada"


@pytest.mark.slow
def test_a_job_outlives_the_server_that_is_killed(shop: Path) -> None:
    make_quick(shop)

    async def begin(client: Client) -> str:
        found = structured(await client.call_tool("run"))
        assert found["status"] == "started"
        me = psutil.Process()
        servers = [p for p in me.children(recursive=True) if "mcp" in p.cmdline()]
        assert len(servers) == 1
        servers[0].kill()
        return str(found["job_id"])

    told: list[str] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    async def wait(client: Client) -> dict[str, Any]:
        found: dict[str, Any] = {"state": "running"}
        for _ in range(20):
            if found["state"] != "running":
                break
            result = await client.call_tool(
                "job_wait", {"job_id": job, "seconds": 30}, progress_callback=progress
            )
            found = structured(result)
        lines = structured(await client.call_tool("job_log", {"job_id": job}))
        assert lines["lines"]
        return found

    job = talk(begin, stdio(shop))
    found = talk(wait, stdio(shop))
    assert found["state"] == "done", found
    assert found["result"]["verdict"] == "pass"
    assert found["by"] == "agent ada"
    assert told


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        ([], {"MODELWRIGHT_APPROVER_KEY": "k.pem"}, "must not hold an approver's key"),
        (["--http", "--host", "0.0.0.0"], {}, "needs a token"),
        (["--http"], {"MODELWRIGHT_MCP_TOKEN": "short"}, "too short"),
        (["--project", "nowhere"], {}, "No folder nowhere"),
        (["--port", "99999"], {}, "port: Input should be less than or equal to 65535"),
    ],
)
def test_what_is_refused_at_the_start(
    tmp_path: Path, words: list[str], environment: dict[str, str], said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "modelwright", "mcp", *words], cwd=tmp_path, capture_output=True,
        text=True, stdin=subprocess.DEVNULL, env={**os.environ, **environment}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert said in " ".join(done.stderr.split())
    assert done.stdout == ""


def test_slow_calls_do_not_hold_up_others(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)

    async def story(client: Client) -> float:
        started = structured(await client.call_tool("reproduce", {"run": "none"}))
        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            args = {"job_id": started["job_id"], "seconds": 5}
            group.start_soon(client.call_tool, "job_wait", args)
            await anyio.lowlevel.checkpoint()
            structured(await client.call_tool("spec"))
            return anyio.current_time() - began

    assert talk(story) < 5
