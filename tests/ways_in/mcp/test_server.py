"""The server as the official client meets it, in both eras."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, Request

import modelwright as mw
from agents import MODES, audited, call, structured, talk
from modelwright.ways_in.mcp.server import INSTRUCTIONS
from modelwright.ways_in.operations import OPERATIONS
from waiting import begin

PEOPLE_ONLY = {"serve", "watch", "keys", "approve", "reject", "mcp", "agents"}
OWN = {"project_status", "spec_write", "job_wait", "job_cancel", "job_log", "predict_rows"}


def tools(persona: str, mode: str = "auto") -> dict[str, Any]:
    async def listed(client: Client) -> Any:
        return (await client.list_tools()).tools

    return {tool.name: tool for tool in talk(listed, persona=persona, mode=mode)}


@pytest.fixture
def here(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(shop)
    return shop


@pytest.mark.parametrize("mode", MODES)
def test_each_persona_has_the_tools_of_its_effects(here: Path, mode: str) -> None:
    effects = {one.name: one.effect for one in OPERATIONS}
    found = {persona: set(tools(persona, mode)) for persona in ("reader", "engineer", "release")}
    assert found["reader"] < found["engineer"] < found["release"]
    assert {effects[n] for n in found["reader"] - OWN} == {"read"}
    assert {effects[n] for n in found["engineer"] - OWN} == {"read", "propose"}
    assert {effects[n] for n in found["release"] - OWN} == {"read", "propose", "act"}
    assert not found["release"] & PEOPLE_ONLY
    assert found["release"] >= OWN
    assert found["reader"] & OWN == OWN - {"spec_write", "job_cancel"}
    assert len(found["release"]) <= 25


def test_a_tool_has_the_arguments_of_its_operation_without_the_hidden(here: Path) -> None:
    found = tools("release")
    for operation in OPERATIONS:
        if operation.name not in found:
            continue
        taken = set(found[operation.name].input_schema["properties"])
        assert taken == set(operation.arguments.model_fields) - set(operation.hidden) | {"cursor"}
        assert not taken & {"project", "open", "overrides", "query"}
        assert found[operation.name].input_schema["additionalProperties"] is False


def test_tools_say_what_they_do(here: Path) -> None:
    found = tools("release")
    assert found["report"].annotations.read_only_hint
    assert not found["report"].annotations.destructive_hint
    assert found["promote"].annotations.destructive_hint
    assert found["spec_write"].annotations.idempotent_hint
    assert not found["predict"].annotations.read_only_hint  # it writes a file
    for tool in found.values():
        assert tool.output_schema["type"] == "object"
        assert tool.description and len(tool.description) < 400
    assert len(json.dumps([t.input_schema for t in found.values()])) < 16_000


def test_instructions_fit_and_name_the_fence() -> None:
    assert len(INSTRUCTIONS.encode()) < 2_000
    assert "untrusted" in INSTRUCTIONS


@pytest.mark.parametrize("mode", MODES)
def test_a_tool_of_another_persona_cannot_be_called(here: Path, mode: str) -> None:
    for persona, name in (("reader", "run"), ("engineer", "promote"), ("release", "approve")):
        found = call(name, {"model": "shop"}, persona=persona, mode=mode)
        assert found["status"] == "refused"
        assert f"no tool '{name}'" in found["message"]
    kept = audited(here)
    assert [line["action"] for line in kept] == ["call"] * 3
    assert [line["detail"]["arguments"] for line in kept] == ['{"model":"shop"}'] * 3
    assert all(len(line["detail"]["result"]) == 64 for line in kept)


@pytest.mark.parametrize("mode", MODES)
def test_refusals_are_data(here: Path, mode: str) -> None:
    found = call("history", {"model": "nothing"}, mode=mode)
    assert (found["code"], found["status"]) == ("NoSuchModel", "refused")
    assert found["fix"]
    found = call(
        "check", {"spec": "modelwright.yaml", "overrides": ["fit.budget=9 trials"]}, mode=mode
    )
    assert "overrides: Extra inputs" in found["message"]
    found = call("traffic", {"model": "shop", "what": "everything"}, mode=mode)
    assert found["code"] == "UsageError"


@pytest.mark.parametrize("mode", MODES)
def test_every_call_is_in_the_audit_with_who_and_what(here: Path, mode: str) -> None:
    async def story(client: Client) -> None:
        structured(await client.call_tool("project_status"))
        structured(await client.call_tool("history", {"model": "no"}))
        await client.read_resource("modelwright://policy")
        await client.get_prompt("train_model", {})

    talk(story, mode=mode)
    kept = audited(here)
    assert [line["who"] for line in kept] == ["agent ada"] * 4
    assert [line["detail"]["verdict"] for line in kept] == ["ok", "NoSuchModel", "ok", "ok"]
    assert [json.loads(line["detail"]["arguments"]) for line in kept] == [
        {}, {"model": "no"}, {"uri": "modelwright://policy"}, {},
    ]  # fmt: skip
    digests = {line["detail"]["result"] for line in kept}
    assert len(digests) == 4 and all(len(digest) == 64 for digest in digests)
    assert kept[0]["detail"]["client"]
    assert "modelwright://policy" in json.dumps(kept[2])


async def _refused(call: Any, *given: Any) -> None:
    with pytest.raises(MCPError):
        await call(*given)


@pytest.mark.parametrize("mode", MODES)
def test_what_the_library_refuses_is_in_the_audit(here: Path, mode: str) -> None:
    async def story(client: Client) -> None:
        await _refused(client.read_resource, "modelwright://none")
        await _refused(client.get_prompt, "none")
        await _refused(client.get_prompt, "train_model", {"bad": "x"})
        forged = {"name": "spec", "arguments": {}, "requestState": "forged", "inputResponses": {}}
        unfit = {"name": "spec", "arguments": ["x"]}
        for params in (forged, unfit):
            await _refused(client.session.send_request, _Raw(params), CallToolResult)

    talk(story, mode=mode)
    kept = [(e["subject"], e["detail"]["verdict"]) for e in audited(here)]
    assert kept == [
        ("resources/read modelwright://none", "refused"), ("prompts/get none", "usage"),
        ("prompts/get train_model", "usage"), ("tools/call spec", "usage"),
        ("tools/call spec", "usage"),
    ]  # fmt: skip
    assert audited(here)[-1]["detail"]["arguments"] == '{"arguments":["x"]}'


class _Raw(Request[dict[str, Any], str]):
    """A call as no client of the library would send it."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(method="tools/call", params=params)


@pytest.mark.parametrize("mode", MODES)
def test_a_call_that_is_taken_back_is_in_the_audit(here: Path, held: Path, mode: str) -> None:
    job = begin(held)

    async def story(client: Client) -> None:
        came = anyio.Event()

        async def told(done: float, total: float | None, message: str | None) -> None:
            came.set()

        async def waits() -> None:
            given = {"job_id": job.id, "seconds": 50}
            await client.call_tool("job_wait", given, progress_callback=told)

        async with anyio.create_task_group() as group:
            group.start_soon(waits)
            await came.wait()
            group.cancel_scope.cancel()
        await _until_kept(client, here, "job_wait")

    talk(story, mode=mode)
    [line] = [e for e in audited(here) if e["subject"] == "job_wait"]
    assert (line["detail"]["verdict"], line["who"]) == ("taken back", "agent ada")


async def _status(client: Client) -> dict[str, Any]:
    return structured(await client.call_tool("project_status"))


async def _until_kept(client: Client, folder: Path, tool: str) -> None:
    for _ in range(200):
        await _status(client)
        if any(line["subject"] == tool for line in audited(folder)):
            return
    raise AssertionError(audited(folder))


@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_reads_text_alone_reads_it_all(here: Path, mode: str) -> None:
    log = mw.AuditLog(here)
    for number in range(60):
        log.call("agent bo", "tester 1", "check", {"number": number}, "ok", "0" * 64, 1.0)

    async def story(client: Client) -> list[str]:
        lines, cursor, pages = list[dict[str, Any]](), "", 0
        while True:
            result = await client.call_tool("audit", {"calls": True, "cursor": cursor})
            structured(result)
            page = json.loads(result.content[0].text)
            lines, cursor, pages = lines + page.get("lines", []), page["cursor"], pages + 1
            assert page["truncated"] == bool(cursor)
            if not cursor:
                assert pages > 2
                return [line["detail"]["arguments"] for line in lines]

    found = talk(story, mode=mode)
    assert [json.loads(text)["number"] for text in found] == list(range(60))


def test_calls_have_a_budget(here: Path) -> None:
    (here / "modelwright.policy.yaml").write_text("budget: {calls: 2}\n")

    async def story(client: Client) -> list[Any]:
        return [structured(await client.call_tool("project_status")) for _ in range(3)]

    first, _, third = talk(story)
    assert first["status"] == "done"
    assert (third["status"], third["rule"]) == ("refused", "budget")


def test_the_command_line_does_not_load_mcp() -> None:
    code = (
        "import sys, modelwright.ways_in.cli, modelwright.ways_in.mcp.start\n"
        "bad = {'mcp', 'mcp_types', 'uvicorn', 'starlette', 'anyio'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("mode", MODES)
def test_long_results_come_in_pages(here: Path, mode: str) -> None:
    async def story(client: Client) -> tuple[dict[str, Any], int]:
        page = structured(await client.call_tool("spec", {"what": "schema"}))
        whole, pages = _merged({}, page["document"]), 1
        while page["truncated"]:
            cursor = page["cursor"]
            page = structured(await client.call_tool("spec", {"what": "schema", "cursor": cursor}))
            whole, pages = _merged(whole, page["document"]), pages + 1
        forged = await client.call_tool("spec", {"what": "schema", "cursor": cursor[:-1] + "~"})
        other = await client.call_tool("report", {"cursor": cursor})
        assert structured(forged)["code"] == structured(other)["code"] == "UsageError"
        return whole, pages

    whole, pages = talk(story, mode=mode)
    assert pages > 3
    assert set(whole["$defs"]) >= {"DataSpec", "FitSpec", "ServeSpec"}


def _merged(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    made = dict(one)
    for key, value in two.items():
        known = made.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            made[key] = _merged(known, value)
        else:
            made[key] = value
    return made
