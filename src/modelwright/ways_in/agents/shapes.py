"""Arguments and result of `modelwright agents`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, model_validator

from modelwright.ways_in.arguments import ProjectArguments

Client = Literal["claude", "cursor", "vscode", "codex", "gemini"]
Persona = Literal["reader", "engineer", "release"]
State = Literal["made", "updated", "same", "left", "missing", "outdated", "removed"]


class AgentsArguments(ProjectArguments):
    """Arguments of agents."""

    what: Literal["install"] = Field(
        ...,
        description="install: write what AI coding agents need to work in the project.",
        json_schema_extra={"positional": True},
    )
    client: Literal["claude", "cursor", "vscode", "codex", "gemini", "all"] | None = Field(
        None, description="Whose files; default all, with --check those that are set up."
    )
    persona: Persona | None = Field(
        None,
        description="What the agent may ask for: reader looks, engineer trains as well, release "
        "also asks for promotions; default the one set up before, else engineer.",
    )
    check: bool = Field(False, description="Only say what is missing or outdated; exit code 1.")
    uninstall: bool = Field(False, description="Remove what was written, and nothing else.")

    @model_validator(mode="after")
    def _one_of_them(self) -> AgentsArguments:
        if self.check and self.uninstall:
            raise ValueError("--check and --uninstall do not go together: give one of them.")
        return self


class AgentFile(BaseModel):
    """A file and what became of it.

    `made`, `updated`, `removed`: written by this call. `same`: as it should be. `left`: a user's
    own, untouched. `missing`, `outdated`: with --check. `paste`: what would have been written,
    where we do not dare to.
    """

    path: str
    state: State
    why: str = ""
    paste: str = ""


class AgentsResult(BaseModel):
    """What agents install did, or found. `note`: what to know before the files are committed."""

    did: Literal["install", "check", "uninstall"]
    project: str
    clients: list[Client]
    persona: Persona
    files: list[AgentFile]
    note: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing or outdated."""
        return not any(file.state in ("missing", "outdated") for file in self.files)
