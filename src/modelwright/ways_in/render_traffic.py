"""Who answers a model's requests, as people read it at a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from modelwright.ways_in.results import TrafficResult


def show_traffic(result: TrafficResult, console: Console) -> None:
    """A line a version with its share now, and how it goes on."""
    table = Table(box=None, pad_edge=False)
    for name in ("version", "is", "share now", ""):
        table.add_column(name)
    for version, share in result.shares.items():
        now = f"{share * 100:.4g} %"
        table.add_row(version, _role(result, version), now, _later(result, version))
    if result.shadow:
        table.add_row(result.shadow, "shadow", "a copy", "its answers are compared, never sent")
    console.print(table)
    if result.seed is not None:
        console.print(f"[dim]Keys are spread with seed {result.seed}.[/]")
    if result.changed:
        console.print(f"\nIn force, and in the audit log by {escape(result.by)}.")
    elif result.kind == "champion" and not result.shadow:
        console.print("\nNo rule: the champion answers everything.")
    if result.kind == "canary":
        name = f"{result.model} {result.canary}"
        console.print(f"Next: [bold]modelwright promote {name}[/], or the way back:")
    if result.kind != "champion" or result.shadow:
        console.print(f"[bold]modelwright traffic {result.model} stop[/]")


def _role(result: TrafficResult, version: str) -> str:
    if result.kind == "ab":
        return f"arm {'abcdefgh'[list(result.arms).index(version)]}"
    return "canary" if version == result.canary else "champion"


def _later(result: TrafficResult, version: str) -> str:
    if version != result.canary or not result.steps:
        return ""
    steps = ", ".join(f"{weight * 100:.4g} % for {_time(seconds)}"
                      for weight, seconds in result.steps)  # fmt: skip
    return f"{steps}, since {result.began}"


def _time(seconds: float) -> str:
    """Example:
    >>> _time(90), _time(600), _time(7200)
    ('90 s', '10 min', '2 h')
    """
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
