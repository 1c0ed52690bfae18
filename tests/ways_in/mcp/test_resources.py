"""Resources: fenced, of aggregates only, and nothing outside of the project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

import modelwright as mw
from agents import MODES, talk
from modelwright.ways_in.mcp.resources import RESOURCES
from watch.live import copied, with_drift


@pytest.mark.parametrize("mode", MODES)
def test_all_of_a_released_project(project: Path, mode: str) -> None:
    [run] = [path.name for path in (project / "runs").iterdir() if path.is_dir()]

    async def story(client: Client) -> dict[str, Any]:
        listed = {str(one.uri) for one in (await client.list_resources()).resources}
        found = (await client.list_resource_templates()).resource_templates
        assert listed | {one.uri_template for one in found} == set(RESOURCES)
        read = {}
        for address in (
            "spec", "policy", "runs", f"runs/{run}", "datasets/shop/profile",
            "models/shop/1/card", "models/shop/1/evidence",
        ):  # fmt: skip
            result = await client.read_resource(f"modelwright://{address}")
            read[address] = result.contents[0].text  # type: ignore[union-attr]
        return read

    found = talk(story, mode=mode)
    assert "source: shop.csv" in found["spec"]
    assert json.loads(found["policy"])["agents"]["promote"] == "ask"
    assert json.loads(found["runs"])["runs"][0]["run"] == run
    profile = json.loads(found["datasets/shop/profile"])
    assert profile["rows"] == 600
    assert {one["values"] for one in profile["columns"]} == {""}
    assert "columns[].name" in profile["untrusted"]
    assert json.loads(found[f"runs/{run}"])["verdict"] == "pass"
    assert "card" in json.loads(found["models/shop/1/card"])["untrusted"]
    assert json.loads(found["models/shop/1/evidence"])["findings"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "address",
    ["runs/..%2F..%2Fetc", "runs/nothing", "models/shop/9/card", "models/..%2Fx/1/card",
     "datasets/none/profile", "live/shop/report", "etc/passwd"],
)  # fmt: skip
def test_what_is_not_there(project: Path, mode: str, address: str) -> None:
    async def story(client: Client) -> None:
        with pytest.raises(MCPError):
            await client.read_resource(f"modelwright://{address}")

    talk(story, mode=mode)


def test_how_a_live_model_stands(
    released: mw.Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = with_drift(copied(released, tmp_path / "project"))
    live.close()
    monkeypatch.chdir(tmp_path / "project")

    async def story(client: Client) -> Any:
        result = await client.read_resource("modelwright://live/shop/report")
        return json.loads(result.contents[0].text)  # type: ignore[union-attr]

    found = talk(story)
    assert (found["model"], found["version"]) == ("shop", "1")
    assert found["says"]
    assert "says" in found["untrusted"]
