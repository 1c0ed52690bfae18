"""modelwright.policy.yaml: what agents may do alone, who approves, and what they may use up.

A project without the file has the defaults. Nothing in Modelwright writes it but
`modelwright keys approver`, which a person runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from modelwright.core.errors import SpecError, did_you_mean
from modelwright.core.principal import acting
from modelwright.core.rules import RULES, Scope
from modelwright.core.spec_data import Strict
from modelwright.core.spec_file import load_yaml, problems_of
from modelwright.core.spec_serve import Bytes, Seconds

FILE = "modelwright.policy.yaml"
Answer = Literal["ask", "allow", "never"]


class AgentsMay(Strict):
    """What agents may do. ask: a request that a person approves; allow: alone; never: no."""

    run: Answer = Field(
        "allow", description="Train and judge; a first release is champion where promote is allow."
    )
    retrain: Answer = Field("allow", description="Train anew; makes a challenger.")
    release: Answer = Field("ask", description="Let undecided gates through.")
    promote: Answer = Field("ask", description="Make a version the champion.")
    rollback: Answer = Field("ask", description="Go back to the champion before.")
    traffic: Answer = Field("ask", description="Canary, A/B test, shadow, and their end.")
    gc: Answer = Field("ask", description="Remove what nothing refers to.")


class Budget(Strict):
    """What agents may use up in `per`, all together."""

    trials: int = Field(2_000, ge=0, description="Candidates that are trained.")
    calls: int = Field(20_000, ge=0, description="Calls of tools.")
    wall_time: Seconds = Field(
        8 * 3600.0, gt=0, description="Time of runs and retrainings, such as 8 h."
    )
    memory: Bytes | None = Field(
        None, gt=0, description="Memory that a run may plan to take, such as 4 GB; default: free."
    )
    per: Seconds = Field(86_400.0, gt=0, description="The window that slides along, such as 1 d.")


class Policy(Strict):
    """modelwright.policy.yaml."""

    agents: AgentsMay = Field(AgentsMay(), description="What agents may do without a person.")
    approvers: dict[str, str] = Field(
        {}, description="name: public key, as written by: modelwright keys approver."
    )
    confirm: Literal["key", "client"] = Field(
        "key",
        description="key: only an approver's key approves. client: also whoever answers the "
        "question that the agent's program asks; that is as safe as that program.",
    )
    rules: dict[str, Scope] = Field(
        {}, description="rule: whom it binds, of those that may be changed: everyone, agents, off."
    )
    accuracy_drop_max: float = Field(
        0.01, ge=0, description="Most that pack.drop_at_most may ask for, in the goal metric."
    )
    budget: Budget = Field(Budget(), description="What agents may use up.")

    @field_validator("rules")
    @classmethod
    def _rules_may_be_changed(cls, rules: dict[str, Scope]) -> dict[str, Scope]:
        free = [rule.id for rule in RULES.values() if not rule.fixed]
        for name in rules:
            if name not in free:
                said = "always binds" if name in RULES else "is no rule"
                hint = did_you_mean(name, free) or f"to be changed: {', '.join(free)}"
                raise ValueError(f"{name} {said}; {hint}")
        return rules

    def binds(self, rule: str) -> bool:
        """Whether a rule binds whoever acts now.

        Example:
            >>> Policy(rules={"card_complete": "everyone"}).binds("card_complete")
            True
        """
        scope = self.rules.get(rule, RULES[rule].binds)
        return scope == "everyone" or (scope == "agents" and acting().is_agent)


def read_policy(folder: Path) -> Policy:
    """The policy of a project.

    Raises:
        SpecError: the file is there and wrong; `problems` lists everything found.
    """
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Policy()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"Cannot read {path}: {error}.", []) from error
    if all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines()):
        return Policy()
    content, places = load_yaml(text, path)
    try:
        return Policy.model_validate(content)
    except ValidationError as error:
        problems = problems_of(error, places, Policy)
        raise SpecError(f"{FILE} has {len(problems)} problem(s):", problems) from error
