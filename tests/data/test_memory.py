"""Memory that may be taken."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from modelwright.core.budget import spending
from modelwright.core.errors import DataError
from modelwright.core.policy import Budget, Policy
from modelwright.core.principal import Principal, acting_as
from modelwright.data.memory import V1, V2, free_memory, refuse_if_too_large


@pytest.mark.parametrize("files", [V1, V2])
def test_a_containers_limit_counts_without_its_file_cache(
    tmp_path: Path, files: tuple[str, str, str, str]
) -> None:
    most, used, stat, cache = files
    (tmp_path / most).parent.mkdir(exist_ok=True)
    (tmp_path / most).write_text("100000000\n")
    (tmp_path / used).write_text("70000000\n")
    (tmp_path / stat).write_text(f"anon 5\n{cache} 20000000\n")
    assert free_memory(tmp_path) == 50_000_000


@pytest.mark.parametrize("text", ["max\n", "", "9223372036854771712\n"])
def test_no_limit_leaves_what_the_machine_has(tmp_path: Path, text: str) -> None:
    (tmp_path / "memory.max").write_text(text)
    (tmp_path / "memory.current").write_text("1\n")
    (tmp_path / "memory.stat").write_text("")
    assert free_memory(tmp_path) == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_more_than_is_free_is_refused_with_both_figures() -> None:
    with pytest.raises(DataError, match=r"The table needs 9000000\.0 GB, but") as caught:
        refuse_if_too_large(9e15, "The table needs {}")
    assert caught.value.rule == "memory_preflight"
    assert caught.value.evidence["needed"] == 9e15 and caught.value.evidence["free"] > 0


def test_agents_may_have_less(tmp_path: Path) -> None:
    policy = Policy(budget=Budget(memory=1_000_000))
    with spending(tmp_path, policy, trials=1, seconds=1):
        assert refuse_if_too_large(2e6, "It needs {}") > 2e6
    agent = Principal("agent a", "agent")
    with acting_as(agent), spending(tmp_path, policy, trials=1, seconds=1):
        assert refuse_if_too_large(9e5, "It needs {}") == 1_000_000
        with pytest.raises(DataError, match=r"It needs 0\.002 GB; agents may take 0\.001 GB"):
            refuse_if_too_large(2e6, "It needs {}")
