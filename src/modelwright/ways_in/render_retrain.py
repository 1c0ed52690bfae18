"""What a model is trained on anew, as people read it at a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from modelwright.ways_in.results import RetrainResult


def print_plan(result: RetrainResult, console: Console) -> None:
    """A line for each kind of rows, and what they are for."""
    table = Table(box=None, pad_edge=False)
    for name in ("rows", "of", "from", "to", "what for"):
        table.add_column(name, overflow="fold")
    sealed = f"{result.sealed_rows:,}"
    learned = result.source_rows - result.sealed_rows
    table.add_row(f"{learned:,}", escape(result.source), "", "", "learned from")
    if result.data == "journal":
        table.add_row(f"{result.learned:,}", "journal, labelled", *result.window, "learned from")
    table.add_row(sealed, escape(result.source), "", "",
                  f"sealed by {result.champion_run}; judge once more")  # fmt: skip
    table.add_row(f"{result.judging:,}", "journal, labelled", *result.recent, "only judge")
    for why, count in result.left_out.items():
        table.add_row(f"{count:,}", "", "", "", f"[dim]left out: {escape(why)}[/]")
    console.print(table)
    if result.problem:
        console.print(f"[yellow]![/] No answered row can judge: {escape(result.problem)}")
    console.print(
        f"Compared with champion [bold]{escape(result.model)}[/] version {result.champion} on the "
        f"{sealed} sealed rows and on the {result.judging:,} recent ones; at most a challenger."
    )
    if result.run is None:
        console.print("Nothing was written: this was a dry run.")
