"""An agent without a language model: it calls the tools of `modelwright mcp` as one would.

    python ship.py            # in a project that `modelwright agents install` has set up

It starts the server that `.mcp.json` names, over stdio, and does what the state of the project asks
for. Called first, it goes from the raw table to a request; called again after a person has approved
it, it looks at what it shipped. Every call and its answer is printed.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import anyio
from mcp import StdioServerParameters
from mcp.client import Client
from mcp_types import Implementation
from ruamel.yaml import YAML

Json = dict[str, Any]
SETTINGS: Json = {
    "intent": "Choose the pictures that a second reader looks at first.",
    "out_of_scope": "No diagnosis; no picture is left unread because of an answer.",
    "goal": "pr_auc",  # 2.3 % of the rows are positive
    "limits": {"roc_auc": 0.85, "latency_p95": "1 s"},
    "fit": {"families": ["linear", "lightgbm"], "budget": "4 trials", "folds": 2},
    "pack": {"seconds": 0.4},
    "serve": {"journal": {"to": "journal"}},  # nothing goes to production that nobody can watch
}
"""What the agent was told, or found out by asking."""
ROW = {"attr1": 0.23, "attr2": 5.07, "attr3": -0.28, "attr4": 0.83, "attr5": -0.38, "attr6": 0.48}
TOLD = ("stage", "champion", "challenger", "rows", "features", "name", "state", "job_id",
        "verdict", "version", "alias", "headline", "request", "approve_with", "rule", "message",
        "problems", "fix", "answers")  # fmt: skip
"""What is printed of an answer; the rest is in it as well."""


class Agent:
    """Calls tools and prints what came of it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def call(self, tool: str, /, **arguments: Any) -> Json:
        """One call of a tool; its structured answer."""
        asked = {k: v if len(str(v)) < 70 else "..." for k, v in arguments.items()}
        told = " ".join(f"{name}={json.dumps(value)}" for name, value in asked.items())
        print(f"\nagent: {tool} {told}".rstrip())
        found = (await self._client.call_tool(tool, arguments)).structured_content or {}
        show(found)
        return found

    async def wait(self, job: str) -> Json:
        """A job's end: as many calls as it takes, of which the last is printed."""
        while True:
            found = (await self._client.call_tool("job_wait", {"job_id": job, "seconds": 50}))
            state = found.structured_content or {}
            if state["state"] != "running":
                print(f"\nagent: job_wait job_id={json.dumps(job)}")
                show({"status": state["status"], "state": state["state"], **(state["result"] or {}),
                      **(state["error"] or {})})  # fmt: skip
                return state


def show(found: Json) -> None:
    """Print an answer, a line a field."""
    for name in ("status", *TOLD):
        value = found.get(name)
        if name == "problems" and value == [found.get("message")]:
            continue
        if value not in (None, "", [], {}):
            text = value if isinstance(value, str) else json.dumps(value)
            print(textwrap.fill(f"{name}: {text}", 96, initial_indent="   ",
                                subsequent_indent="      "))  # fmt: skip


def in_its_shell(*words: str) -> None:
    """What the agent types; `.claude/settings.json` marks its shell with this variable."""
    print(f"\nagent: $ {' '.join(words)}")
    environment = {**os.environ, "MODELWRIGHT_AGENT": "claude-code"}
    done = subprocess.run([sys.executable, "-m", *words], env=environment, capture_output=True,
                          text=True)  # fmt: skip
    print(textwrap.indent(textwrap.fill(f"exit code {done.returncode}: {done.stderr.strip()}", 93),
                          "   "))  # fmt: skip


def spec(**more: Any) -> str:
    """The spec that init wrote, comments and all, with what the agent sets."""
    yaml, text = YAML(), io.StringIO()
    found = yaml.load(Path("modelwright.yaml"))
    for key, value in {**SETTINGS, **more}.items():
        if isinstance(value, dict):
            found.setdefault(key, {}).update(value)
        else:
            found[key] = value
    yaml.dump(found, text)
    return text.getvalue()


async def ship(agent: Agent) -> None:
    """From the raw table to a request that waits for a person."""
    await agent.call("init", data="mammography.csv.gz", target="calcification", name="screening")
    await agent.call("predict", model="screening", data="../keys/approver-ada.pem")
    await agent.call("spec_write", text=spec(release={"policy": {"champion": "off"}}))
    await agent.call("spec_write", text=spec())
    await agent.call("run", overrides=["limits.roc_auc=0.5"])
    started = await agent.call("run")
    ended = await agent.wait(started["job_id"])
    if (ended["result"] or {}).get("verdict") != "pass":
        raise SystemExit("The run was not released: see its report.")
    asked = await agent.call("promote", model="screening", why="first model; passed all its gates")
    in_its_shell("modelwright", "approve", asked["request"], "--key", "../keys/approver-ada.pem")


async def look(agent: Agent) -> None:
    """At what was shipped."""
    await agent.call("predict_rows", model="screening", rows=[ROW])


async def main() -> None:
    """Start the server that the project names, and do what is next."""
    told = json.loads(Path(".mcp.json").read_text())["mcpServers"]["modelwright"]
    server = StdioServerParameters(command=told["command"], args=told["args"], cwd=Path.cwd(),
                                   env=dict(os.environ))  # fmt: skip
    who = Implementation(name="ship.py", version="1")
    async with Client(server, client_info=who) as client:
        agent = Agent(client)
        status = await agent.call("project_status")
        if status["champion"]:
            await look(agent)
        elif not status["requests"]:
            await ship(agent)


if __name__ == "__main__":
    anyio.run(main)
