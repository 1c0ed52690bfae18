"""A look at a live model, as people read it at a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from modelwright.ways_in import results

STATES = {
    "well": "[green]✓ well[/]",
    "waits": "[dim]· waits[/]",
    "failed": "[red]✗ failed[/]",
    "error": "[red]✗ error[/]",
    "warning": "[yellow]! warning[/]",
    "info": "[dim]· note[/]",
}


def show_watch_result(result: results.WatchResult, console: Console) -> None:
    """Print what `watch` did."""
    if result.look is not None:
        show_watch(result.look, console)
    if result.labels is not None:
        found = result.labels
        console.print(
            f"{result.model}: {found.new:,} new labels, {found.changed:,} changed, "
            f"{found.repeated:,} known already, {found.older:,} older than what holds, "
            f"{found.refused:,} refused."
        )
        for problem in found.problems:
            console.print(f"[yellow]![/] {escape(problem)}")
    if result.report is not None:
        console.print(f"Report: {escape(result.report)}")


def show_watch(look: Mapping[str, Any], console: Console) -> None:
    """Print a look.

    Args:
        look: `watch.lines.as_plain` of it.
        console: where to.
    """
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(4):
        table.add_column(overflow="fold")
    lines = look["lines"]
    for line in lines:
        if line["kind"] == "part":
            table.add_row(f"[bold]{escape(line['name'])}[/]", STATES[line["state"]],
                          escape(line["says"]), "")  # fmt: skip
        elif line["kind"] == "episode":
            _episode(line, table)
    console.print(table)
    for line in lines:
        if line["kind"] == "advice":
            console.print(f"[bold]→ advised: {escape(line['name'])}[/]: {escape(line['says'])}")
    for done in look["done"]:
        console.print(f"[bold]→ done[/]: {escape(done)}")
    count = sum(line["kind"] == "episode" for line in lines)
    failed = sum(line["state"] == "failed" for line in lines)
    how = "[green]no open episode[/]" if not count else f"[red]{count} open episode(s)[/]"
    more = f", [red]{failed} part(s) could not look[/]" if failed else ""
    console.print(
        f"\n[bold]{escape(look['model'])}[/] {escape(look['version'])}: {how}{more}. "
        f"{look['files']:,} new file(s) of the journal."
    )


def _episode(line: Mapping[str, Any], table: Table) -> None:
    """What goes on, and below it what to do."""
    new = " [bold](new)[/]" if line["new"] else ""
    wanted = f"[dim]wanted[/] {escape(line['wanted'])}" if line["wanted"] else ""
    name = f"  {escape(line['name'])}{new}"
    table.add_row(name, STATES[line["state"]], escape(line["says"]), wanted)
    since = f"[dim]since {escape(line['began'][:16].replace('T', ' '))}[/]"
    advice = f"[dim]→ {escape(line['advice'])}[/]" if line["advice"] else ""
    table.add_row("", "", since, advice)
