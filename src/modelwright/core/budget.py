"""What agents use up: trials, calls and time, in a window that slides along.

A run reserves what it may take before it begins, and gives back what it did not need, so that one
that is killed has cost what it was allowed. People are not counted.
"""

from __future__ import annotations

import contextlib
import contextvars
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from modelwright.core.errors import Refused
from modelwright.core.policy import Budget, Policy
from modelwright.core.principal import acting
from modelwright.core.store import append_line, locked, write_atomic

FILE = Path(".modelwright") / "budget.jsonl"
MOST_LINES = 1_000
"""More are added up by the minute: each call reads them."""
WORDS = {"trials": "{:,.0f} trials", "calls": "{:,.0f} calls", "wall_time": "{:,.0f} s of runs"}


_MEMORY: contextvars.ContextVar[float | None] = contextvars.ContextVar("memory", default=None)


class Used(msgspec.Struct, frozen=True):
    """A line of the ledger; `amount` is below 0 where something was given back."""

    at: float
    who: str
    what: str
    amount: float


class Spent:
    """What a run has come to, set before `spending` ends."""

    trials: int = 0


def used(folder: Path, budget: Budget, what: str, now: float) -> float:
    """What agents used up of one kind in the window that ends now."""
    return sum(
        line.amount for line in _lines(folder) if line.what == what and now - line.at < budget.per
    )


def count_call(folder: Path, policy: Policy) -> None:
    """Count an agent's call of a tool.

    Raises:
        Refused: the calls are used up.
    """
    _reserve(folder, policy, {"calls": 1})


@contextlib.contextmanager
def spending(folder: Path, policy: Policy, *, trials: int, seconds: float) -> Iterator[Spent]:
    """Reserve what a run may take; what it did not need is given back at its end.

    Args:
        trials: most candidates; 0 where only time bounds them.
        seconds: most time; 0 where only trials bound it.

    Raises:
        Refused: less is left.
    """
    spent = Spent()
    if not policy.binds("budget"):
        yield spent
        return
    began = time.time()
    reserved = {"trials": max(1, trials), "wall_time": max(1.0, seconds)}
    _reserve(folder, policy, reserved)
    token = _MEMORY.set(policy.budget.memory)
    try:
        yield spent
    finally:
        _MEMORY.reset(token)
        taken = {"trials": spent.trials, "wall_time": time.time() - began}
        with locked(folder / FILE.with_suffix(".lock")):
            for what, amount in taken.items():
                back = amount - reserved[what]
                append_line(folder / FILE, Used(began, acting().name, what, back))


def memory_allowed() -> float | None:
    """Bytes that what runs now may plan to take; None for all that are free."""
    return _MEMORY.get()


def _reserve(folder: Path, policy: Policy, wanted: dict[str, float]) -> None:
    if not policy.binds("budget"):
        return
    now = time.time()
    with locked(folder / FILE.with_suffix(".lock")):
        _shorten(folder, now - policy.budget.per)
        for what, amount in wanted.items():
            most: float = getattr(policy.budget, what)
            left = most - used(folder, policy.budget, what, now)
            if amount > left:
                raise Refused(
                    f"The agents' budget has {WORDS[what].format(max(0.0, left))} left, "
                    f"{WORDS[what].format(amount)} are wanted.",
                    hint=f"Ask for less, wait (the window is {policy.budget.per:,.0f} s), or a "
                    f"person raises budget.{what} in modelwright.policy.yaml.",
                    rule="budget",
                    evidence={"what": what, "left": left, "wanted": amount, "most": most},
                )
        for what, amount in wanted.items():
            append_line(folder / FILE, Used(now, acting().name, what, amount))


def _shorten(folder: Path, since: float) -> None:
    """Add up the lines of each minute, and leave out those before the window; the lock is held."""
    lines = _lines(folder)
    if len(lines) <= MOST_LINES:
        return
    sums: dict[tuple[int, str, str], float] = {}
    for line in lines:
        if line.at >= since:
            key = int(line.at // 60), line.who, line.what
            sums[key] = sums.get(key, 0.0) + line.amount
    kept = [Used(60.0 * minute + 59, who, what, sum_) for (minute, who, what), sum_ in sums.items()]
    write_atomic(folder / FILE, b"".join(msgspec.json.encode(one) + b"\n" for one in kept))


def _lines(folder: Path) -> list[Used]:
    try:
        data = (folder / FILE).read_bytes()
    except FileNotFoundError:
        return []
    found = []
    for raw in data.splitlines():
        with contextlib.suppress(msgspec.DecodeError):  # a line that a kill cut short
            found.append(msgspec.json.decode(raw, type=Used))
    return found
