"""The rules of the house, once: each has an id that refusals carry, and a heading in docs/rules.md.

Where a rule is kept is the operation itself, so no door can go round it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Scope = Literal["everyone", "agents", "off"]


class Rule(NamedTuple):
    """One rule. `binds`: whom, where the policy file is silent; `fixed`: no file changes that."""

    id: str
    title: str
    binds: Scope
    fixed: bool = False


RULES: dict[str, Rule] = {
    rule.id: rule
    for rule in (
        Rule("eval_split_required", "No training without a sealed test split", "everyone", True),
        Rule("test_sealed", "Sealed rows are only scored, and seen by nobody", "everyone", True),
        Rule("baseline_required", "No release without a baseline beside it", "everyone", True),
        Rule("spec_only_hparams", "Hyperparameters stand in the spec file", "agents"),
        Rule("repro_required", "No release without the records to make it again", "everyone", True),
        Rule("memory_preflight", "Memory is checked before it is taken", "everyone", True),
        Rule("artifact_immutable", "What was released never changes", "everyone", True),
        Rule("accuracy_drop_max", "A smaller model may cost only so much quality", "agents"),
        Rule("gates_all_pass", "Only what passed its gates goes to production", "everyone", True),
        Rule("card_complete", "The model card is filled in before production", "agents"),
        Rule("monitor_and_rollback_ready", "Production is watched, and has a way back", "agents"),
        Rule("human_approval", "Another person approves what an agent asks for", "agents"),
        Rule("one_writer", "One writer in a project at a time", "everyone", True),
        Rule("scratch_only", "Agents write to the spec and to scratch/ only", "agents", True),
        Rule("budget", "Agents have a budget of trials, calls and time", "agents"),
    )
}  # fmt: skip
"""By id, in the order of the lifecycle."""
