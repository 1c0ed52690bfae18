"""Every operation, once: its name, arguments, result and effect.

The CLI and the tools of the MCP server are derived from this table: same names, same arguments,
same refusals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from modelwright.ways_in import arguments as given
from modelwright.ways_in import results as made
from modelwright.ways_in import results_requests as asked
from modelwright.ways_in.agents import shapes as agents
from modelwright.ways_in.job_state import JobsResult

Effect = Literal["read", "propose", "act"]


@dataclass(frozen=True)
class Operation:
    """One thing that people and machines can ask for.

    Attributes:
        effect: read changes nothing; propose makes runs and challengers; act changes production.
        action: `module:function` that takes the arguments (and a Progress) and gives the result.
        offered: whether AI agents may ask for it over MCP; the others are for people, but for
            `jobs`, which has tools of its own there.
        long: it takes minutes: a job over MCP, and elsewhere where that is asked for.
        lasts: it goes on until somebody ends it.
        again: doing it once more with the same arguments changes nothing more.
        hidden: arguments that agents do not have.
        reads: arguments that name files or folders to read, or a model, or a run.
        writes: arguments that name files or folders to write.
    """

    name: str
    help: str
    effect: Effect
    arguments: type[BaseModel]
    result: type[BaseModel]
    action: str
    offered: bool = True
    long: bool = False
    lasts: bool = False
    again: bool = False
    hidden: tuple[str, ...] = ("project", "open", "overrides", "query")
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()

    @property
    def is_lasting(self) -> bool:
        """Whether the audit has its beginning as well as its end."""
        return self.long or self.lasts


_ACTIONS = "modelwright.ways_in.actions"
_APPROVALS = "modelwright.ways_in.approvals"

OPERATIONS: tuple[Operation, ...] = (
    Operation("init", "Look at a table and write modelwright.yaml.", "propose",
              given.InitArguments, made.InitResult, f"{_ACTIONS}:init",
              hidden=("query", "force"), reads=("data",), writes=("out",)),
    Operation("check", "Check spec and data without training, or data against a model.", "read",
              given.CheckArguments, made.CheckResult, f"{_ACTIONS}:check",
              reads=("spec", "against")),
    Operation("compare", "What changed between two tables, or two judged models.", "read",
              given.CompareArguments, made.CompareResult, f"{_ACTIONS}:compare",
              reads=("one", "two")),
    Operation("run", "From the table to a gated, registered release.", "propose",
              given.RunArguments, made.RunResult, f"{_ACTIONS}:run",
              long=True, reads=("spec",)),
    Operation("retrain", "Train a model anew on what was learned since; makes a challenger.",
              "propose", given.RetrainArguments, made.RetrainResult, f"{_ACTIONS}:retrain",
              long=True, reads=("spec",)),
    Operation("report", "A judged run: its verdict, leaderboard and HTML report.", "read",
              given.ReportArguments, made.ReportResult, f"{_ACTIONS}:report",
              reads=("reference",)),
    Operation("release", "Release a run that gates left undecided, on your word.", "propose",
              given.ReleaseArguments, made.ReleaseResult, f"{_ACTIONS}:release",
              reads=("run",)),
    Operation("reproduce", "Make a run's model once more and compare the two.", "propose",
              given.ReproduceArguments, made.ReproduceResult, f"{_ACTIONS}:reproduce",
              long=True, reads=("run",)),
    Operation("jobs", "Work that goes on by itself: look, wait, cancel, its log.", "propose",
              given.JobsArguments, JobsResult, "modelwright.ways_in.job_actions:jobs",
              offered=False, lasts=True),
    Operation("serve", "Answer HTTP with a released model.", "act",
              given.ServeArguments, made.ServeResult, f"{_ACTIONS}:serve",
              offered=False, lasts=True, reads=("models",)),
    Operation("dashboard", "Write a Grafana dashboard of a served model, and alert rules.", "read",
              given.DashboardArguments, made.DashboardResult, f"{_ACTIONS}:dashboard",
              reads=("model",), writes=("out", "rules")),
    Operation("predict", "Answer the rows of a file.", "read",
              given.PredictArguments, made.PredictResult, f"{_ACTIONS}:predict",
              reads=("model", "data"), writes=("out",)),
    Operation("client", "Write a typed client of a model, in Python or TypeScript.", "read",
              given.ClientArguments, made.ClientResult, f"{_ACTIONS}:client",
              offered=False, reads=("model",), writes=("out",)),
    Operation("promote", "Make a version the champion.", "act",
              given.PromoteArguments, made.ChangeResult, f"{_ACTIONS}:promote",
              again=True),
    Operation("rollback", "Go back to the champion before.", "act",
              given.RollbackArguments, made.ChangeResult, f"{_ACTIONS}:rollback"),
    Operation("traffic", "Canary, A/B test and shadow beside the champion.", "act",
              given.TrafficArguments, made.TrafficResult, f"{_ACTIONS}:traffic"),
    Operation("watch", "Watch a live model: drift, quality, limits, canary; tell and act.", "act",
              given.WatchArguments, made.WatchResult, "modelwright.ways_in.watch:watch",
              offered=False, lasts=True, reads=("spec", "file"), writes=("out",)),
    Operation("history", "Versions, and who was champion when and why.", "read",
              given.HistoryArguments, made.HistoryResult, f"{_ACTIONS}:history"),
    Operation("audit", "Who changed production and why; verify the chain.", "read",
              given.AuditArguments, made.AuditResult, f"{_ACTIONS}:audit"),
    Operation("requests", "What agents asked for and a person has to approve.", "read",
              given.RequestsArguments, asked.RequestsResult, f"{_APPROVALS}:requests"),
    Operation("approve", "Approve a request with your key, and carry it out.", "act",
              given.ApproveArguments, asked.ApproveResult, f"{_APPROVALS}:approve", offered=False),
    Operation("reject", "Say no to a request.", "act",
              given.RejectArguments, asked.RequestsResult, f"{_APPROVALS}:reject", offered=False),
    Operation("gc", "Find what nothing refers to any more; --apply removes it.", "act",
              given.GcArguments, made.GcResult, f"{_ACTIONS}:gc",
              again=True),
    Operation("keys", "Make a key pair: to sign releases, or to approve requests.", "act",
              given.KeysArguments, made.KeysResult, f"{_ACTIONS}:keys",
              offered=False),
    Operation("agents", "Set AI coding agents up to work in this project.", "act",
              agents.AgentsArguments, agents.AgentsResult,
              "modelwright.ways_in.agents.install:agents", offered=False),
    Operation("spec", "Show the resolved spec, or its JSON Schema.", "read",
              given.SpecArguments, made.SpecResult, f"{_ACTIONS}:spec",
              reads=("file",)),
    Operation("doctor", "Look for what is broken here, and say how to mend it.", "read",
              given.DoctorArguments, made.DoctorResult, f"{_ACTIONS}:doctor"),
    Operation("mcp", "Answer AI agents over MCP, on standard input or HTTP.", "act",
              given.McpArguments, made.ServeResult, "modelwright.ways_in.mcp.start:mcp",
              offered=False, lasts=True),
)  # fmt: skip
