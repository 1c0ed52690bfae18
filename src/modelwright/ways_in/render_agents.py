"""What agents install did, as people read it at a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from modelwright.ways_in.agents.shapes import AgentsResult


def show_agents(result: AgentsResult, console: Console) -> None:
    """A line a file, what to paste where we dared not write, and what comes next."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for file in result.files:
        table.add_row(file.state, escape(file.path), escape(file.why))
    console.print(table)
    for file in result.files:
        if file.paste:
            console.print(f"\n[bold]{escape(file.path)}[/]")
            console.print(file.paste.rstrip(), markup=False, highlight=False, soft_wrap=True)
    if result.note:
        console.print(f"\n{result.note}")
    if result.did == "uninstall" and not result.files:
        console.print("Nothing of ours was there.")
    elif result.did == "check" and not result.is_whole:
        console.print("\nNext: [bold]modelwright agents install[/]")
    elif result.did == "install":
        console.print(f"\nAgents have the persona {result.persona}.")
        if result.persona != "reader":
            console.print(
                "Next, to approve what they ask for: "
                "[bold]modelwright keys approver ~/.modelwright --name YOU[/]"
            )
