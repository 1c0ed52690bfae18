"""What no tool tells, whatever it is asked, and paths that no tool takes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

import modelwright as mw
from agents import BAD, structured, talk
from modelwright.core.spec_file import read_spec
from modelwright.data.dataset import load
from modelwright.ways_in.mcp.offers import offers_of
from modelwright.ways_in.mcp.own_tools import own_tools
from projects import QUICK, make_shop

MARKER = "zebrafinch"
MOST_PAGES = 40
TOOLS = {one.name: one for one in offers_of("release", own_tools())}
PATHS = [
    (offer.name, name)
    for offer in TOOLS.values()
    if offer.operation is not None
    for name in (*offer.operation.reads, *offer.operation.writes)
    if name in offer.arguments.model_fields
] + [("predict_rows", "model")]
REQUIRED: dict[str, dict[str, Any]] = {
    "init": {"data": "shop.csv", "target": "bought"},
    "compare": {"one": "shop.csv", "two": "shop.csv"},
    "dashboard": {"model": "shop"},
    "predict": {"model": "shop", "data": "new.csv"},
    "predict_rows": {"model": "shop", "rows": [{"big": 1}]},
}


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A project with a run, where some sealed rows have a marker of their own; those rows.

    Each marker is a level of a column, so that it would show wherever a level or a row does. Those
    of rows that were learned from are no secret.
    """
    folder = make_shop(tmp_path_factory.mktemp("marked"))
    table = pl.read_csv(folder / "shop.csv")
    names = [f"{MARKER}{n}x" if n % 20 == 0 else None for n in range(table.height)]
    table = table.with_columns(colour=pl.coalesce(pl.Series(names), pl.col("colour")))
    table.write_csv(folder / "shop.csv")
    spec = folder / "modelwright.yaml"
    feeds = load(read_spec(spec), thorough=False).holdout.features().feeds
    sealed = table.filter(pl.Series(np.isin(table["big"].to_numpy(), feeds["big"])))
    found = sealed.filter(pl.col("colour").str.starts_with(MARKER)).drop("bought")
    assert found.height >= 2
    found.write_csv(folder / "sealed-part.csv")
    table.head(0).drop("bought").write_csv(folder / "new.csv")
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    by_level = "limits.log_loss={at_most: 9, slices: {colour: 9}}"  # as an agent may ask for
    mw.run(spec, overrides=(*QUICK, by_level, "release.policy.slice=warn"))
    return folder, found.to_dicts()


def asked_of(run: str, spec: str, rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Calls of every tool that could show a row; those of jobs follow from them."""
    return {
        "project_status": [{}],
        "check": [{}, *({"spec": f"{d}.csv", "against": "shop"} for d in ("shop", "sealed-part"))],
        "compare": [{"one": "shop.csv", "two": "sealed-part.csv"}, {"one": "shop", "two": "shop"}],
        "report": [{}], "reproduce": [{"run": run}], "dashboard": [{"model": "shop"}],
        "predict": [{"model": "shop", "data": d} for d in ("shop.csv", "sealed-part.csv", "runs")],
        "predict_rows": [{"model": "shop", "rows": rows}], "history": [{"model": "shop"}],
        "audit": [{"calls": True}], "requests": [{"all": True}], "doctor": [{}],
        "spec": [{}, {"what": "schema"}, {"file": "shop.csv"}],
        "init": [{"data": "shop.csv", "target": "bought"}], "spec_write": [{"text": spec}],
        "run": [{"spec": "none.yaml"}], "retrain": [{"dry_run": True}],
        "release": [{"run": run, "allow": ["limit"], "why": "x"}],
        "promote": [{"model": "shop"}], "rollback": [{"model": "shop"}],
        "traffic": [{"model": "shop", "what": "show"}], "gc": [{}],
        "job_wait": [], "job_log": [], "job_cancel": [],
    }  # fmt: skip


class Listener:
    """Calls tools, and looks for the markers in all that is said."""

    def __init__(self, client: Client, markers: list[str]) -> None:
        self._client, self._markers = client, markers

    async def pages(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Every page of a result; the first one."""
        found: list[dict[str, Any]] = []
        cursor: Any = ""
        while len(found) < MOST_PAGES:
            more = {"cursor": cursor} if cursor else {}
            result = await self._client.call_tool(name, {**given, **more})
            self._must_not_tell(result.model_dump_json(by_alias=True), (name, given))
            found.append(structured(result))
            if not found[-1]["truncated"]:
                break
            cursor = found[-1]["cursor"]
        return found[0]

    async def job(self, job: str) -> None:
        """A job to its end, with its log."""
        for _ in range(20):
            state = await self.pages("job_wait", {"job_id": job, "seconds": 30})
            if state["state"] != "running":
                break
        for name in ("job_log", "job_cancel"):
            await self.pages(name, {"job_id": job})

    async def resources(self, run: str) -> int:
        """Every resource; how many there are."""
        addresses = [str(one.uri) for one in (await self._client.list_resources()).resources]
        for one in (await self._client.list_resource_templates()).resource_templates:
            address = one.uri_template.replace("{id}", run).replace("{name}", "shop")
            addresses.append(address.replace("{version}", "1"))
        for address in addresses:
            try:
                said = (await self._client.read_resource(address)).model_dump_json()
            except MCPError as error:  # no journal, so nothing is live
                said = str(error)
            self._must_not_tell(said, address)
        return len(addresses)

    def _must_not_tell(self, said: str, about: object) -> None:
        assert not [one for one in self._markers if one in said], about


@pytest.mark.slow
def test_a_sealed_value_is_told_by_no_tool_page_resource_or_log(
    marked: tuple[Path, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rows = marked
    monkeypatch.chdir(folder)
    [run] = [path.name for path in (folder / "runs").glob("2*")]
    asked = asked_of(run, (folder / "modelwright.yaml").read_text(), rows)
    assert set(asked) == set(TOOLS)

    async def story(client: Client) -> None:
        listener, jobs = Listener(client, [row["colour"] for row in rows]), []
        for name, calls in asked.items():
            for given in calls:
                first = await listener.pages(name, given)
                jobs += [first["job_id"]] if first["status"] == "started" else []
        assert jobs
        for job in jobs:
            await listener.job(job)
        assert await listener.resources(run) == 8

    talk(story)


@pytest.mark.parametrize(("tool", "argument"), PATHS, ids=[f"{t}-{a}" for t, a in PATHS])
def test_hostile_paths_are_refused_with_data(
    shop: Path, monkeypatch: pytest.MonkeyPatch, tool: str, argument: str
) -> None:
    monkeypatch.chdir(shop)
    before = sorted(path.name for path in shop.parent.iterdir())

    async def story(client: Client) -> list[dict[str, Any]]:
        found = []
        for text in BAD:
            given = {**REQUIRED.get(tool, {}), **_least(tool), argument: text}
            result = await client.call_tool(tool, given)
            assert "Traceback" not in result.model_dump_json()
            found.append(structured(result))
        return found

    for text, found in zip(BAD, talk(story), strict=True):
        assert found["status"] == "refused", (text, found)
        assert found["rule"] == "scratch_only", (text, found)
        assert found["fix"] and found["code"] != "fault"
    assert sorted(path.name for path in shop.parent.iterdir()) == before


def _least(tool: str) -> dict[str, Any]:
    """A value for each argument that a tool wants."""
    known: dict[str, Any] = {"run": "none", "why": "x", "allow": ["limit"]}
    fields = TOOLS[tool].arguments.model_fields
    return {name: known[name] for name, f in fields.items() if f.is_required() and name in known}
