"""The `release` part of modelwright.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from modelwright.core.errors import did_you_mean
from modelwright.core.spec_data import Strict

Policy = Literal["block", "warn", "off"]

GATES: dict[str, Policy] = {
    "limit": "block",
    "slice": "block",
    "baseline": "block",
    "champion": "block",
    "recent": "block",
    "parity": "block",
    "data": "block",
    "interval": "block",
    "robustness": "block",
    "calibration": "warn",
    "weak slice": "warn",
    "fairness": "warn",
    "agreement": "warn",
    "card": "warn",
}
"""Every gate, and what it does where the spec says nothing."""

ALWAYS = ("parity", "baseline")
"""Gates that no policy takes back: without them a release proves nothing."""

SECTIONS = {"D": "data", "MD": "model", "I": "infrastructure", "M": "monitoring"}
PRACTICES = tuple(
    f"{letters}{number}"
    for letters, last in (("D", 7), ("MD", 7), ("I", 7), ("M", 7))
    for number in range(1, last + 1)
)
"""Tests of the ML Test Score: data, model development, infrastructure, monitoring."""


class ReleaseSpec(Strict):
    """How a model is judged."""

    alpha: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="Risk of passing a model that is in truth worse than a quality limit; several "
        "quality limits share it.",
    )
    policy: dict[str, Policy] = Field(
        {},
        description="gate: block (no release without it), warn, or off. Parity and baseline always "
        "block; baseline: block, written out, wants the linear model beaten for certain too.",
    )
    undecided: Literal["block", "allow"] = Field(
        "block", description="What an undecided gate does: data too few to tell, or not measured."
    )
    reason: str = Field(
        "",
        description="Why undecided gates are allowed, which needs one; goes into the audit with "
        "your name.",
    )
    champion_margin: float | None = Field(
        None,
        ge=0,
        description="Loss in the goal metric that is accepted against the champion; default 1 % of "
        "the champion's lead over the dummy.",
    )
    calibration_error: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="By how much probabilities may be off (root mean square, free of chance).",
    )
    fairness_difference: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="Largest difference between groups of a protected column in selection rate and "
        "in error rates.",
    )

    @field_validator("policy")
    @classmethod
    def _gates_are_known(cls, policy: dict[str, Policy]) -> dict[str, Policy]:
        for gate, wanted in policy.items():
            if gate not in GATES:
                hint = did_you_mean(gate, GATES) or f"known: {', '.join(GATES)}"
                raise ValueError(f"unknown gate {gate!r}; {hint}")
            if gate in ALWAYS and wanted != "block":
                raise ValueError(f"{gate} always blocks: a release without it proves nothing")
        return policy

    @model_validator(mode="after")
    def _allowing_has_a_reason(self) -> ReleaseSpec:
        if self.undecided == "allow" and not self.reason.strip():
            raise ValueError(
                "undecided: allow needs a reason, which goes into the audit; write release.reason"
            )
        return self

    def policy_of(self, gate: str) -> Policy:
        """What a gate does.

        Example:
            >>> ReleaseSpec(policy={"card": "block"}).policy_of("card")
            'block'
        """
        return self.policy.get(gate, GATES.get(gate, "block"))
