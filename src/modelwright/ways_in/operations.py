"""Every operation, once: its name, arguments, result and effect.

The CLI is derived from this table, and so will be the MCP server and the dashboard: same names,
same arguments, same refusals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from modelwright.ways_in import arguments as given
from modelwright.ways_in import results as made

Effect = Literal["read", "propose", "act"]


@dataclass(frozen=True)
class Operation:
    """One thing that people and machines can ask for.

    Attributes:
        effect: read changes nothing; propose makes runs and challengers; act changes production.
        action: `module:function` that takes the arguments (and a Progress) and gives the result.
    """

    name: str
    help: str
    effect: Effect
    arguments: type[BaseModel]
    result: type[BaseModel]
    action: str


_ACTIONS = "modelwright.ways_in.actions"

OPERATIONS: tuple[Operation, ...] = (
    Operation("init", "Look at a table and write modelwright.yaml.", "propose",
              given.InitArguments, made.InitResult, f"{_ACTIONS}:init"),
    Operation("check", "Check spec and data without training, or data against a model.", "read",
              given.CheckArguments, made.CheckResult, f"{_ACTIONS}:check"),
    Operation("compare", "What changed between two tables, or two judged models.", "read",
              given.CompareArguments, made.CompareResult, f"{_ACTIONS}:compare"),
    Operation("run", "From the table to a gated, registered release.", "propose",
              given.RunArguments, made.RunResult, f"{_ACTIONS}:run"),
    Operation("report", "A judged run: its verdict, leaderboard and HTML report.", "read",
              given.ReportArguments, made.ReportResult, f"{_ACTIONS}:report"),
    Operation("release", "Release a run that gates left undecided, on your word.", "propose",
              given.ReleaseArguments, made.ReleaseResult, f"{_ACTIONS}:release"),
    Operation("reproduce", "Make a run's model once more and compare the two.", "read",
              given.ReproduceArguments, made.ReproduceResult, f"{_ACTIONS}:reproduce"),
    Operation("serve", "Answer HTTP with a released model.", "act",
              given.ServeArguments, made.ServeResult, f"{_ACTIONS}:serve"),
    Operation("predict", "Answer the rows of a file.", "read",
              given.PredictArguments, made.PredictResult, f"{_ACTIONS}:predict"),
    Operation("promote", "Make a version the champion.", "act",
              given.PromoteArguments, made.ChangeResult, f"{_ACTIONS}:promote"),
    Operation("rollback", "Go back to the champion before.", "act",
              given.RollbackArguments, made.ChangeResult, f"{_ACTIONS}:rollback"),
    Operation("history", "Versions, and who was champion when and why.", "read",
              given.HistoryArguments, made.HistoryResult, f"{_ACTIONS}:history"),
    Operation("audit", "Who changed production and why; verify the chain.", "read",
              given.AuditArguments, made.AuditResult, f"{_ACTIONS}:audit"),
    Operation("gc", "Find what nothing refers to any more; --apply removes it.", "act",
              given.GcArguments, made.GcResult, f"{_ACTIONS}:gc"),
    Operation("keys", "Make a key pair to sign releases with.", "act",
              given.KeysArguments, made.KeysResult, f"{_ACTIONS}:keys"),
    Operation("spec", "Show the resolved spec, or its JSON Schema.", "read",
              given.SpecArguments, made.SpecResult, f"{_ACTIONS}:spec"),
    Operation("doctor", "Look for what is broken here, and say how to mend it.", "read",
              given.DoctorArguments, made.DoctorResult, f"{_ACTIONS}:doctor"),
)  # fmt: skip
