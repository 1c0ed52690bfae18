"""The set-up in one command: twice is once, what a user wrote survives, it can be taken back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelwright.core.errors import Refused, UsageError
from modelwright.core.principal import Principal, acting_as
from modelwright.core.progress import Silent
from modelwright.ways_in.agents.clients import parts
from modelwright.ways_in.agents.hollow import KEPT
from modelwright.ways_in.agents.install import agents
from modelwright.ways_in.agents.shapes import AgentsArguments, AgentsResult

PATHS = [part.path for part in parts(Path(), "engineer")]


def act(folder: Path, **given: Any) -> AgentsResult:
    return agents(AgentsArguments(what="install", project=str(folder), **given), Silent())


def states(result: AgentsResult) -> dict[str, str]:
    return {file.path: file.state for file in result.files}


def tree(folder: Path) -> dict[str, bytes | None]:
    found = sorted(folder.rglob("*"))
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in found
    }


def test_made_the_same_and_gone(tmp_path: Path) -> None:
    missing = act(tmp_path, check=True)
    assert set(states(missing).values()) == {"missing"} and not missing.is_whole
    assert states(act(tmp_path)) == dict.fromkeys(sorted(PATHS), "made")
    before = tree(tmp_path)
    again = act(tmp_path)
    assert set(states(again).values()) == {"same"} and again.is_whole and tree(tmp_path) == before
    assert act(tmp_path, check=True).is_whole
    assert states(act(tmp_path, uninstall=True)) == dict.fromkeys(sorted(PATHS), "removed")
    assert tree(tmp_path) == {} and not act(tmp_path, uninstall=True).files


def test_one_client_alone(tmp_path: Path) -> None:
    assert set(states(act(tmp_path, client="cursor"))) == {".cursor/mcp.json", "AGENTS.md"}
    assert act(tmp_path, check=True).clients == ["cursor"]
    act(tmp_path, client="vscode")
    assert states(act(tmp_path, client="cursor", uninstall=True)) == {".cursor/mcp.json": "removed"}
    assert set(tree(tmp_path)) == {".vscode", ".vscode/mcp.json", "AGENTS.md"}
    act(tmp_path, client="vscode", uninstall=True)
    assert tree(tmp_path) == {}


def test_the_persona_stays_until_another_is_asked_for(tmp_path: Path) -> None:
    assert act(tmp_path, persona="release").persona == "release"
    assert act(tmp_path).persona == "release" and act(tmp_path, check=True).is_whole
    assert states(act(tmp_path, persona="reader", check=True))[".mcp.json"] == "outdated"
    assert states(act(tmp_path, persona="reader"))[".claude/agents/ml-engineer.md"] == "updated"
    assert act(tmp_path).persona == "reader"
    act(tmp_path, uninstall=True)
    act(tmp_path, client="codex", persona="release")
    assert act(tmp_path, client="codex").persona == "release"


def test_what_a_user_wrote_is_left(tmp_path: Path) -> None:
    own = {
        ".mcp.json": '{"mcpServers": {"modelwright": {"url": "http://127.0.0.1:1"}}}',
        ".claude/agents/ml-engineer.md": "---\nname: ml-engineer\n---\nmine\n",
        ".vscode/mcp.json": "{ not json",
    }
    for name, text in own.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    result = act(tmp_path)
    assert {n for n, state in states(result).items() if state == "left"} == set(own)
    [paste] = [file.paste for file in result.files if file.path == ".vscode/mcp.json"]
    assert "modelwright" in json.loads(paste)["servers"]
    checked = act(tmp_path, client="all", check=True)
    assert states(checked)[".vscode/mcp.json"] == "missing" and not checked.is_whole
    skill = tmp_path / ".claude/skills/ship/SKILL.md"
    skill.write_text(skill.read_text().replace("Ship a model", "Ship it"))
    assert states(act(tmp_path))[".claude/skills/ship/SKILL.md"] == "left"
    act(tmp_path, uninstall=True)
    assert {n: (tmp_path / n).read_text() for n in own} == own
    assert "Ship it" in skill.read_text()
    assert {n for n, data in tree(tmp_path).items() if data is not None} == {
        *own, ".claude/skills/ship/SKILL.md",
    }  # fmt: skip


def test_links_are_followed_inside_and_left_outside(tmp_path: Path) -> None:
    project, outside = tmp_path / "project", tmp_path / "outside"
    project.mkdir()
    outside.mkdir()
    (project / "AGENTS.md").write_text("rules\n")
    (project / "CLAUDE.md").symlink_to("AGENTS.md")
    (project / ".cursor").symlink_to(outside)
    found = states(act(project))
    assert found["CLAUDE.md"] == found[".cursor/mcp.json"] == "left"
    assert (project / "CLAUDE.md").is_symlink() and "Baseline" in (
        project / "CLAUDE.md"
    ).read_text()
    assert not list(outside.iterdir())
    checked = states(act(project, client="all", check=True))
    assert (checked["CLAUDE.md"], checked[".cursor/mcp.json"]) == ("left", "missing")
    act(project, uninstall=True)
    assert (project / "AGENTS.md").read_text() == "rules\n"


def test_rights_and_the_mark_of_byte_order_stay(tmp_path: Path) -> None:
    path = tmp_path / ".mcp.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    path.chmod(0o600)
    act(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600 and path.read_bytes().startswith(b"\xef\xbb\xbf{")
    act(tmp_path, uninstall=True)
    assert path.read_bytes() == b'\xef\xbb\xbf{"a": 1}'


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_bytes(b"\xff\xfe")
    (tmp_path / ".mcp.json").mkdir()
    found = act(tmp_path)
    assert states(found)["AGENTS.md"] == states(found)[".mcp.json"] == "left"
    assert (tmp_path / "AGENTS.md").read_bytes() == b"\xff\xfe"
    assert states(act(tmp_path, check=True))["AGENTS.md"] == "missing"


def test_what_cannot_be_written_is_told_with_what_to_paste(tmp_path: Path) -> None:
    (tmp_path / ".cursor").write_text("a file")
    found = {file.path: file for file in act(tmp_path, client="cursor").files}
    told = found[".cursor/mcp.json"]
    assert (told.state, told.why[:18]) == ("left", "cannot be written:")
    assert "modelwright" in json.loads(told.paste)["mcpServers"]
    assert found["AGENTS.md"].state == "made"
    assert (tmp_path / ".cursor").read_text() == "a file"


def test_a_file_that_its_owner_made_read_only_is_left(tmp_path: Path) -> None:
    path = tmp_path / ".mcp.json"
    path.write_text("{}")
    path.chmod(0o444)
    assert states(act(tmp_path))[".mcp.json"] == "left"
    assert path.read_text() == "{}"


def test_nothing_that_was_there_is_still_there_after_an_edit(tmp_path: Path) -> None:
    """Empty objects stay though the user put other things beside ours."""
    path = tmp_path / ".mcp.json"
    path.write_text('{"mcpServers": { }}')
    act(tmp_path, client="claude")
    assert (tmp_path / KEPT).exists()
    path.write_text(path.read_text()[:-1] + ', "theirs": 1}')
    act(tmp_path, client="claude", persona="reader")
    act(tmp_path, uninstall=True)
    assert path.read_text() == '{"mcpServers": { }, "theirs": 1}'
    assert not (tmp_path / KEPT.parent).exists()


def test_an_agent_does_not_change_its_set_up(tmp_path: Path) -> None:
    act(tmp_path)
    before = tree(tmp_path)
    with acting_as(Principal("agent", "agent")):
        for given in ({}, {"uninstall": True}):
            with pytest.raises(Refused) as caught:
                act(tmp_path, **given)
            assert caught.value.rule == "scratch_only"
        assert act(tmp_path, check=True).is_whole
    assert tree(tmp_path) == before


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        act(tmp_path / "none")
    with pytest.raises(ValueError, match="do not go together"):
        act(tmp_path, check=True, uninstall=True)


NOTHING = st.just(dict[str, object]())
JSONS = st.fixed_dictionaries(
    {},
    optional={
        "mcpServers": NOTHING | st.fixed_dictionaries({"theirs": st.just({"url": "http://x"})}),
        "servers": NOTHING | st.fixed_dictionaries({"théirs": st.just(["//", 1])}),
        "env": NOTHING | st.fixed_dictionaries({"A": st.just("b")}),
        "permissions": NOTHING
        | st.fixed_dictionaries(
            {"deny": st.just([]) | st.just(["Bash(rm:*)"]), "allow": st.just([])}
        ),
        "theme": st.just("dark"),
    },
)
TEXTS = {
    "json": JSONS.flatmap(
        lambda value: st.sampled_from(
            [
                json.dumps(value),
                json.dumps(value, indent=4, ensure_ascii=False) + "\n",
                json.dumps(value, indent="\t").replace("\n", "\r\n"),
                "// mine\n" + json.dumps(value, indent=2)[:-2] + ", // last\n} // end\n",
                json.dumps(value)[:-1],
                json.dumps(value, indent=2).replace("{}", "{\n  }").replace("[]", "[ ]"),
                "",
                "\ufeff" + json.dumps(value),
            ]
        )
    ),
    "toml": st.sampled_from(
        ['model = "m"', "[mcp_servers.x]\nurl = 1 # c\n", "[shell_environment_policy]\ni = 1\n",
         "[mcp_servers.modelwright]\nurl = 1\n", "mcp_servers = {}\n", "mcp_servers = 1\n",
         "no toml", "", "\n\n"]
    ),
    "md": st.sampled_from(
        ["# Mine", "# Mine\n\n- a rule\r\n", "See @AGENTS.md.\n", "<!-- modelwright:begin x -->\n",
         "```\nopen", "", "\n"]
    ),
}  # fmt: skip


@st.composite
def before_us(draw: st.DrawFn) -> dict[str, str]:
    chosen = draw(st.lists(st.sampled_from([*PATHS, ".claude/mine.md"]), unique=True, max_size=6))
    return {path: draw(TEXTS[path.rsplit(".", 1)[1]]) for path in chosen}


@pytest.mark.slow
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(before_us())
def test_all_that_was_there_survives(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("before")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    before = tree(folder)
    act(folder)
    once = tree(folder)
    for name, text in files.items():
        now = (folder / name).read_bytes().decode()
        words = set(re.findall(r'"[^"]*"|\w{3,}|//|#', text))
        assert all(word in now for word in words), name
    act(folder)
    assert tree(folder) == once
    assert act(folder, check=True) and tree(folder) == once
    act(folder, uninstall=True)
    assert tree(folder) == before


def test_at_the_command_line(tmp_path: Path) -> None:
    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "modelwright", "agents", "install", *words],
            cwd=tmp_path, capture_output=True, text=True, env={**os.environ, **environment},
        )  # fmt: skip

    assert run("--check").returncode == 1
    done = run("--client", "claude")
    assert done.returncode == 0 and "made" in done.stdout and "keys approver" in done.stdout
    assert run("--check").returncode == 0
    refused = run("--uninstall", MODELWRIGHT_AGENT="claude-code")
    assert refused.returncode == 2 and "own set-up" in refused.stderr
    assert json.loads(run("--uninstall", "--json").stdout)["did"] == "uninstall"
    left = {name for name in tree(tmp_path) if not name.startswith(".modelwright")}
    assert not left, "what the agent asked for stays in the audit"
    assert "Nothing of ours" in run("--uninstall").stdout
    both = run("--check", "--uninstall")
    assert both.returncode == 2 and "do not go together" in both.stderr
