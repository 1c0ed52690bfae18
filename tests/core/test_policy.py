"""modelwright.policy.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelwright.core.errors import SpecError
from modelwright.core.policy import FILE, Policy, read_policy
from modelwright.core.principal import Principal, acting_as
from modelwright.core.rules import RULES


def test_without_a_file_agents_ask_for_production(tmp_path: Path) -> None:
    policy = read_policy(tmp_path)
    asked = {name for name, answer in policy.agents if answer == "ask"}
    assert asked == {"release", "promote", "rollback", "traffic", "gc"}
    assert policy.confirm == "key" and policy.approvers == {}
    assert not list(tmp_path.iterdir())


def test_the_file(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(
        "# ours\nagents: {rollback: allow}\nrules: {card_complete: everyone, budget: 'off'}\n"
        "budget: {wall_time: 2 h, per: 1 d}\n"
    )
    policy = read_policy(tmp_path)
    assert policy.agents.rollback == "allow" and policy.agents.promote == "ask"
    assert (policy.budget.wall_time, policy.budget.per) == (7200, 86400)
    assert policy.binds("card_complete") and not policy.binds("budget")


def test_an_empty_file_is_none(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("\n")
    assert read_policy(tmp_path) == Policy()


@pytest.mark.parametrize("rule", RULES)
def test_whom_a_rule_binds(rule: str) -> None:
    policy = Policy()
    assert policy.binds(rule) == (RULES[rule].binds == "everyone")
    with acting_as(Principal("agent a", "agent")):
        assert policy.binds(rule)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("agent: {}", "unknown key 'agent'; did you mean 'agents'?"),
        ("agents: {promote: yes please}", "line 1, column 10: agents.promote"),
        ("rules: {gates_all_pass: agents}", "gates_all_pass always binds"),
        ("rules: {card_complte: agents}", "did you mean 'card_complete'?"),
        ("budget: {per: 3 apples}", "apples"),
        ("accuracy_drop_max: -1", "greater than or equal to 0"),
        ("- a", "must hold keys"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_file_is_refused_whole(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(SpecError) as caught:
        read_policy(tmp_path)
    assert said in str(caught.value) and FILE in str(caught.value)
