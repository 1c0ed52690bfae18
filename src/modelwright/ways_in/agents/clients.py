"""Which files each client reads, and what we have in them.

Such files are committed, so no path of this machine should stand in them. The project is the folder
in which a client starts its servers, or its variable for that folder; the interpreter is given the
same way where it lies in the project, as `.venv/bin/python` does. One that lies elsewhere has to be
an absolute path: programs with windows do not have the PATH of a shell.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from modelwright.core.errors import MissingExtra
from modelwright.core.principal import AGENT
from modelwright.core.runs import OF_ROWS
from modelwright.ways_in.agents.parts import (
    BlockPart,
    JsonPart,
    Member,
    Part,
    TomlPart,
    WholePart,
    toml_text,
)
from modelwright.ways_in.agents.shapes import Client, Persona

NAME = "modelwright"
"""Of the server in every client."""
ALL: tuple[Client, ...] = get_args(Client)
SKILLS = ("train", "ship", "investigate-drift")
HANDS = ("Read", "Grep", "Glob")
"""Claude Code's own tools that the subagent has; what it writes goes through the server."""
WITH_WORST_ERRORS = ("evaluation.json", "report.html")
"""Of a run, and among its artefacts: a few sealed rows with their truth, for people to look at."""
DENIED = (
    "Bash(modelwright approve:*)",
    "Bash(modelwright reject:*)",
    "Bash(modelwright keys:*)",
    "Bash(python -m modelwright approve:*)",
    "Bash(unset MODELWRIGHT_AGENT:*)",
    "Bash(env -u MODELWRIGHT_AGENT:*)",
    "Edit(/modelwright.policy.yaml)",
    "Edit(/.modelwright/**)",
    "Read(//**/approver-*.pem)",
    "Read(/.modelwright/mlartifacts/**)",
    *(f"Read(/runs/**/{name})" for name in (*OF_ROWS, *WITH_WORST_ERRORS)),
)
_WORKSPACE = "${workspaceFolder}"


def parts(project: Path, persona: Persona) -> list[Part]:
    """All files, the guards before what lets an agent in."""
    plain, named = server(project, persona), server(project, persona, _WORKSPACE)
    settings = JsonPart(
        ".claude/settings.json",
        ("claude",),
        (Member(("env", AGENT), "claude-code", lambda value: value == "claude-code"),),
        tuple((("permissions", "deny"), rule) for rule in DENIED),
    )
    return [
        settings,
        WholePart(".claude/agents/ml-engineer.md", ("claude",), subagent(persona)),
        *(_skill(name) for name in SKILLS),
        BlockPart("AGENTS.md", ALL, template("agents.md")),
        BlockPart("CLAUDE.md", ("claude",), "@AGENTS.md\n", unless="AGENTS.md"),
        _json(".mcp.json", "claude", {"type": "stdio", **plain}),
        _json(".cursor/mcp.json", "cursor", named),
        _json(".vscode/mcp.json", "vscode", {"type": "stdio", **named}, key="servers"),
        _json(".gemini/settings.json", "gemini", plain),
        _codex(plain),
    ]


def server(project: Path, persona: Persona, root: str = "") -> dict[str, Any]:
    """How a client starts the server.

    Args:
        root: the client's variable for the project's folder; empty where it starts servers there.
    """
    arguments = ["-m", "modelwright", "mcp", "--persona", persona, "--project", root or "."]
    return {"command": interpreter(project, root), "args": arguments}


def interpreter(project: Path, root: str = "") -> str:
    """This Python: from the project's folder where it lies in it, else absolute.

    The link of a virtual environment is not followed, since it is what makes the environment.
    """
    here = Path(sys.executable).absolute()
    here = here.parent.resolve() / here.name
    if not here.is_relative_to(project.resolve()):
        return str(here)
    inside = here.relative_to(project.resolve()).as_posix()
    return f"{root}/{inside}" if root else inside


def is_ours(found: Any) -> bool:
    """Whether a server's entry has the form that we write, whatever its paths and persona."""
    return persona_in(found) is not None


def persona_in(found: Any) -> Persona | None:
    """The persona in a server's entry of ours; None for any other."""
    match found:
        case {
            "command": str(),
            "args": ["-m", "modelwright", "mcp", "--persona", persona, "--project", str()],
            **rest,
        } if set(rest) <= {"type"} and persona in get_args(Persona):
            known: Persona = persona
            return known
    return None


def tools(persona: Persona) -> list[str]:
    """What the server offers, by name: from the table that the server itself has.

    Raises:
        MissingExtra: there is no server without the package mcp.
    """
    try:
        from modelwright.ways_in.mcp.offers import offers_of
        from modelwright.ways_in.mcp.own_tools import own_tools
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("mcp", "mcp_types"):
            raise MissingExtra(str(error.name), "mcp") from error
        raise
    return [offer.name for offer in offers_of(persona, own_tools())]


def subagent(persona: Persona) -> str:
    """The definition of Claude Code's subagent, with the exact list of its tools."""
    listed = [*HANDS, *(f"mcp__{NAME}__{name}" for name in tools(persona))]
    return template("ml-engineer.md").replace("TOOLS", ", ".join(listed))


def template(name: str) -> str:
    """A text that comes with the package."""
    folder = resources.files("modelwright.ways_in.agents") / "templates"
    return (folder / name).read_text(encoding="utf-8")


def _skill(name: str) -> WholePart:
    return WholePart(f".claude/skills/{name}/SKILL.md", ("claude",), template(f"{name}.md"))


def _json(path: str, client: Client, value: dict[str, Any], key: str = "mcpServers") -> JsonPart:
    return JsonPart(path, (client,), (Member((key, NAME), value, is_ours),))


def _codex(value: dict[str, Any]) -> TomlPart:
    lines = [f"{key} = {toml_text(found)}\n" for key, found in value.items()]
    marked = f'\n[shell_environment_policy.set]\n{AGENT} = "codex"\n'
    return TomlPart(
        ".codex/config.toml",
        ("codex",),
        ("mcp_servers", NAME),
        f"[mcp_servers.{NAME}]\n{''.join(lines)}",
        {"shell_environment_policy": marked},
    )
