"""Prompts name tools, rules and resources that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from agents import MODES, talk
from modelwright.core.rules import RULES
from modelwright.ways_in.mcp.offers import MAY, offers_of
from modelwright.ways_in.mcp.own_tools import own_tools
from modelwright.ways_in.mcp.prompts import WAYS

PERSONA = {"read": "reader", "propose": "engineer", "act": "release"}
ALL = {
    "assess_prototype", "train_model", "optimize_model", "ship_model", "setup_mlops",
    "investigate_drift", "review_release",
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_a_prompt_names_what_its_persona_has(name: str) -> None:
    way = WAYS[name]
    tools = {one.name for one in offers_of(PERSONA[way.effect], own_tools())}  # type: ignore[arg-type]
    named = set(re.findall(r"`([a-z_]+)`", way.steps))
    assert named <= tools | {"untrusted"}, named - tools
    assert len(named) >= 3
    rules = {word for word in re.findall(r"\(([a-z_]+)\)", way.steps) if "_" in word}
    assert rules <= set(RULES), rules - set(RULES)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("persona", list(MAY))
def test_prompts_over_the_protocol(shop: Path, monkeypatch: Any, mode: str, persona: str) -> None:
    monkeypatch.chdir(shop)

    async def story(client: Client) -> list[str]:
        names = [one.name for one in (await client.list_prompts()).prompts]
        for name in names:
            found = await client.get_prompt(name, {"about": "the shop\x1b[2J\u202e"})
            text = found.messages[0].content.text  # type: ignore[union-attr]
            assert "the shop" in text
            assert not {"\x1b", "\u202e"} & set(text)
        return names

    found = talk(story, persona=persona, mode=mode)
    assert set(found) == {name for name, way in WAYS.items() if way.effect in MAY[persona]}
    assert set(WAYS) == ALL
