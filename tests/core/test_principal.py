"""Who acts."""

from __future__ import annotations

import threading

import pytest

from modelwright.core.principal import AGENT, USER, Principal, acting, acting_as


def test_a_person_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(AGENT, raising=False)
    monkeypatch.setenv(USER, "ada")
    assert acting() == Principal("ada") and not acting().is_agent


def test_an_agents_shell_is_an_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USER, "ada")
    monkeypatch.setenv(AGENT, "claude-code")
    assert acting() == Principal("agent claude-code", "agent")


def test_what_a_way_in_says_goes_first_and_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(AGENT, "shell")
    with acting_as(Principal("ada")), pytest.raises(ValueError, match="stop"):
        assert acting().name == "ada"
        raise ValueError("stop")
    assert acting().name == "agent shell"


def test_a_thread_of_its_own_does_not_act_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(AGENT, raising=False)
    seen: list[bool] = []
    with acting_as(Principal("agent a", "agent")):
        other = threading.Thread(target=lambda: seen.append(acting().is_agent))
        other.start()
        other.join()
    assert seen == [False]
