"""docs/agents.md: its commands run in their order, and what they print stands in the page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modelwright.ways_in.agents.clients import parts
from projects import EXAMPLES
from test_docs import ROOT, blocks

PAGE = "docs/agents.md"
ASIDE = re.compile(r"\d{8}-\d{6}-\w+|\d[\d.,:eTZ+-]*")


def told(text: str) -> str:
    """What is printed, without ids, figures, times, and where lines are broken."""
    text = ASIDE.sub("#", text)
    return " ".join(re.sub(r", with # warnings?", "", text).split())


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name in ("mammography", "agent"):
        shutil.copytree(EXAMPLES / name, tmp_path / "clone" / "examples" / name)
    return tmp_path / "clone"


@pytest.mark.slow
def test_the_story(clone: Path) -> None:
    """From the raw table to the approved release, with refusals on the way."""
    commands = blocks(PAGE, "bash")
    script = "".join(f"{text}echo '=== end'\n" for text in commands)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TMPDIR": str(clone.parent), "COLUMNS": "96"}
    environment.pop("MODELWRIGHT_AGENT", None)
    done = subprocess.run(
        ["bash", "-euc", script], cwd=clone, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    _, *printed = done.stdout.split("=== end\n")[:-1]
    agent, you = blocks(PAGE, 'text title="the agent"'), blocks(PAGE, 'text title="you"')
    for found, shown in zip(printed, [agent[0], you[0], agent[1]], strict=True):
        assert told(found) == told(shown), found
    [folder] = clone.parent.glob("tmp.*/screening")
    lines = [json.loads(one) for one in (folder / ".modelwright/audit.jsonl").open()]
    assert "approve" in str(lines) and "promote" in str(lines)
    assert "PRIVATE" not in str(lines)


def test_the_table_of_files_is_whole() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.M))
    for part in parts(Path(), "engineer"):
        if part.path == "AGENTS.md":
            continue
        [client] = part.clients
        shown = part.path
        if shown.endswith("SKILL.md"):
            shown = f"`{Path(shown).parent.name}`"
        assert shown in table[client], part.path
