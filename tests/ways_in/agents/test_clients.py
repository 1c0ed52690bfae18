"""What each client is given, and that it names only what is there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import modelwright as mw
from modelwright.ways_in.agents import clients
from modelwright.ways_in.agents.shapes import Persona

PERSONAS: tuple[Persona, ...] = ("reader", "engineer", "release")


def written(project: Path, persona: Persona = "engineer") -> dict[str, str]:
    return {part.path: part.install(None).text or "" for part in clients.parts(project, persona)}


def test_servers_of_every_client(tmp_path: Path) -> None:
    files = written(tmp_path)
    keys = {".mcp.json": "mcpServers", ".cursor/mcp.json": "mcpServers", ".vscode/mcp.json":
            "servers", ".gemini/settings.json": "mcpServers"}  # fmt: skip
    for path, key in keys.items():
        found = json.loads(files[path])[key]["modelwright"]
        assert clients.is_ours(found) and found["command"] == sys.executable
        assert found["args"][:5] == ["-m", "modelwright", "mcp", "--persona", "engineer"]
    codex = tomllib.loads(files[".codex/config.toml"])
    assert clients.is_ours(codex["mcp_servers"]["modelwright"])
    assert codex["shell_environment_policy"]["set"] == {"MODELWRIGHT_AGENT": "codex"}
    assert str(tmp_path) not in "".join(files.values())


def test_a_python_in_the_project_is_named_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))
    files = written(tmp_path)
    assert "/" not in json.loads(files[".mcp.json"])["mcpServers"]["modelwright"]["command"][:1]
    named = json.loads(files[".vscode/mcp.json"])["servers"]["modelwright"]
    assert named["command"] == "${workspaceFolder}/.venv/bin/python"
    assert named["args"][-1] == "${workspaceFolder}"
    assert clients.interpreter(tmp_path) == ".venv/bin/python"


@pytest.mark.parametrize(
    "change",
    [{"env": {}}, {"args": ["-m", "modelwright", "mcp"]}, {"command": 1}, {"args": 3}],
)
def test_an_entry_of_another_form_is_not_ours(tmp_path: Path, change: dict[str, Any]) -> None:
    ours = clients.server(tmp_path, "reader")
    assert clients.persona_in({"type": "stdio", **ours}) == "reader"
    assert clients.persona_in({**ours, **change}) is None


@pytest.mark.parametrize("persona", PERSONAS)
def test_the_subagent_has_the_exact_tools(persona: Persona) -> None:
    _, head, body = clients.subagent(persona).split("---\n", 2)
    front = YAML(typ="safe").load(head)
    assert front["name"] == "ml-engineer" and front["description"] and "Baseline first" in body
    listed = front["tools"].split(", ")
    served = [name for name in listed if name.startswith("mcp__modelwright__")]
    assert served == [f"mcp__modelwright__{name}" for name in clients.tools(persona)]
    assert not {"Bash", "Edit", "Write"} & set(listed)
    assert not any("approve" in name for name in listed)


@pytest.mark.parametrize("name", clients.SKILLS)
def test_skills_name_tools_that_are_there(name: str) -> None:
    text = clients.template(f"{name}.md")
    front = YAML(typ="safe").load(text.split("---\n")[1])
    assert front["name"] == name and len(front["description"]) < 1024
    known = set(clients.tools("release"))
    steps = re.findall(r"^\d\. .*?(?=^\d\. |\n\n)", text, re.M | re.S)
    words = {word for step in steps for word in re.findall(r"`([a-z_]+)`", step)}
    assert words and words <= known | {"why", "pending", "intent", "out_of_scope"}, words - known


def test_what_an_agents_shell_may_not(tmp_path: Path) -> None:
    found = json.loads(written(tmp_path)[".claude/settings.json"])
    assert found["env"] == {"MODELWRIGHT_AGENT": "claude-code"}
    assert "Bash(modelwright approve:*)" in found["permissions"]["deny"]
    assert "Read(/runs/**/sealed.npy)" in found["permissions"]["deny"]
    assert not any(rule.startswith("Write(") for rule in found["permissions"]["deny"])


def test_no_page_with_sealed_rows_is_read_by_its_own_tools(released: mw.Released) -> None:
    """The worst errors of a run are sealed rows, which are shown to people."""
    folder = released.run.parents[1]
    found = json.loads((released.run / "evaluation.json").read_text())
    numbers = {str(one["values"]["big"]) for one in found["failures"]}
    shown = re.compile("|".join(f"{n}|{int(n):,}" for n in numbers).encode())
    told = {
        f"/{path.relative_to(folder)}"
        for path in folder.rglob("*")
        if path.is_file() and path.name != "shop.csv" and shown.search(path.read_bytes())
    }
    rules = [one[5:-1] for one in clients.DENIED if one.startswith("Read(/")]
    assert len(told) >= 4, told
    assert not {one for one in told if not any(fnmatch(one, rule) for rule in rules)}


def test_without_the_package_mcp_it_is_told(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules |= {'mcp': None, 'mcp_types': None}\n"
        "sys.argv[1:] = ['agents', 'install']\n"
        "from modelwright.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2 and "'modelwright[mcp]'" in done.stderr
    assert not list(tmp_path.iterdir())
