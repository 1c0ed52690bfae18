"""How much memory may be taken, before it is."""

from __future__ import annotations

from pathlib import Path

import psutil

from modelwright.core.budget import memory_allowed
from modelwright.core.errors import DataError

CGROUPS = Path("/sys/fs/cgroup")
V2 = ("memory.max", "memory.current", "memory.stat", "inactive_file")
V1 = (
    "memory/memory.limit_in_bytes",
    "memory/memory.usage_in_bytes",
    "memory/memory.stat",
    "total_inactive_file",
)


def refuse_if_too_large(needed: float, what: str) -> int:
    """Compare bytes with the memory that may be taken, before anything is copied; returns that.

    Args:
        needed: bytes.
        what: the beginning of the message, ``{}`` for the size.

    Raises:
        DataError: there is not that much free, or the agents' budget of memory is smaller.
    """
    free = free_memory()
    most = memory_allowed()
    if needed > free:
        raise DataError(
            f"{what.format(f'{needed / 1e9:.1f} GB')}, but {free / 1e9:.1f} GB of memory are free.",
            hint="Use a larger machine, fewer columns (data.drop), or a sample.",
            rule="memory_preflight",
            evidence={"needed": round(needed), "free": free},
        )
    if most is not None and needed > most:
        raise DataError(
            f"{what.format(f'{needed / 1e9:.3g} GB')}; agents may take {most / 1e9:.3g} GB.",
            hint="Use fewer columns (data.drop) or a sample; or a person runs it, or raises "
            "budget.memory in modelwright.policy.yaml.",
            rule="memory_preflight",
            evidence={"needed": round(needed), "free": free, "budget": round(most)},
        )
    return free if most is None else min(free, round(most))


def free_memory(cgroups: Path = CGROUPS) -> int:
    """Bytes that this process may still take: of the machine, and of its container.

    Args:
        cgroups: where the kernel shows the limits of control groups, version 2 or 1.
    """
    free: int = psutil.virtual_memory().available
    for most, used, stat, cache in (V2, V1):
        left = _left(cgroups / most, cgroups / used, cgroups / stat, cache)
        if left is not None:
            free = min(free, left)
    return free


def _left(most: Path, used: Path, stat: Path, cache: str) -> int | None:
    """What a control group has left; its file cache gives way. None without a limit."""
    try:
        limit, taken = int(most.read_text()), int(used.read_text())
        lines = dict(line.split() for line in stat.read_text().splitlines())
        return max(0, limit - taken + int(lines.get(cache, 0)))
    except (OSError, ValueError):  # no such file, or "max"
        return None
