"""What agents use up."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelwright.core.budget import FILE, MOST_LINES, Used, count_call, spending, used
from modelwright.core.errors import Refused
from modelwright.core.policy import Budget, Policy
from modelwright.core.principal import Principal, acting_as
from modelwright.core.store import append_line

AGENT = Principal("agent a", "agent")
SMALL = Policy(budget=Budget(trials=10, calls=3, wall_time=100.0, per=3600.0))


def left_of(folder: Path, what: str) -> float:
    return float(getattr(SMALL.budget, what)) - used(folder, SMALL.budget, what, time.time())


def test_people_are_not_counted(tmp_path: Path) -> None:
    with spending(tmp_path, SMALL, trials=99, seconds=9e9):
        count_call(tmp_path, SMALL)
    assert not (tmp_path / FILE).exists()


def test_calls_run_out(tmp_path: Path) -> None:
    with acting_as(AGENT):
        for _ in range(3):
            count_call(tmp_path, SMALL)
        with pytest.raises(Refused, match="has 0 calls left, 1 calls are wanted") as caught:
            count_call(tmp_path, SMALL)
    assert caught.value.rule == "budget"
    assert caught.value.evidence == {"what": "calls", "left": 0, "wanted": 1, "most": 3}


def test_a_run_reserves_and_gives_back(tmp_path: Path) -> None:
    with acting_as(AGENT):
        with spending(tmp_path, SMALL, trials=8, seconds=60) as spent:
            assert left_of(tmp_path, "trials") == 2 and left_of(tmp_path, "wall_time") == 40
            with pytest.raises(Refused, match="60 s of runs are wanted"):
                spending(tmp_path, SMALL, trials=1, seconds=60).__enter__()
            spent.trials = 5
        assert left_of(tmp_path, "trials") == 5
        assert 99 < left_of(tmp_path, "wall_time") <= 100


def test_a_run_that_failed_gives_back_as_well(tmp_path: Path) -> None:
    with (
        acting_as(AGENT),
        pytest.raises(ValueError),
        spending(tmp_path, SMALL, trials=8, seconds=9),
    ):
        raise ValueError
    assert left_of(tmp_path, "trials") == 10


def test_a_killed_run_has_cost_what_it_was_allowed(tmp_path: Path) -> None:
    script = (
        "import sys, time, pathlib\n"
        "from modelwright.core.budget import spending\n"
        "from modelwright.core.policy import Policy\n"
        "with spending(pathlib.Path(sys.argv[1]), Policy(), trials=8, seconds=60):\n"
        "    print(flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, env={"MODELWRIGHT_AGENT": "a"},
    )  # fmt: skip
    assert process.stdout and process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert left_of(tmp_path, "trials") == 2
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes() + b'{"at": 1, "wh')
    with acting_as(AGENT):
        count_call(tmp_path, SMALL)
    assert left_of(tmp_path, "wall_time") == 40 and left_of(tmp_path, "calls") == 2


def test_the_window_slides(tmp_path: Path) -> None:
    with acting_as(AGENT):
        count_call(tmp_path, SMALL)
    now = time.time()
    assert used(tmp_path, SMALL.budget, "calls", now) == 1
    assert used(tmp_path, SMALL.budget, "calls", now + 3600) == 0


def test_a_long_ledger_is_added_up(tmp_path: Path) -> None:
    policy = Policy(budget=Budget(calls=10_000, per=3600.0))
    now = time.time()
    with acting_as(AGENT):
        for number in range(MOST_LINES + 1):
            at = now - 3000 + number if number else now - 4000
            append_line(tmp_path / FILE, Used(at, "agent a", "calls", 1))
        before = used(tmp_path, policy.budget, "calls", now)
        assert before == MOST_LINES
        count_call(tmp_path, policy)
    assert used(tmp_path, policy.budget, "calls", now) == before + 1
    assert len((tmp_path / FILE).read_bytes().splitlines()) < 30
