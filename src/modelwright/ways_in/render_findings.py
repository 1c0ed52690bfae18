"""Findings as people read them at a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from modelwright.ways_in.results import FindingLine

SIGNS = {
    "pass": "[green]✓ pass[/]",
    "fail": "[red]✗ fail[/]",
    "undecided": "[yellow]? undecided[/]",
}


def print_findings(findings: Iterable[FindingLine], console: Console) -> None:
    """The one renderer of findings: a line each, with what to do under those that need it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(4):
        table.add_column(overflow="fold")
    names_rows, gaps = False, ""
    for f in findings:
        if f.check == "metric":
            continue  # for the report
        names_rows |= bool(f.rows)
        if f.check in ("broken rows", "blank rows"):
            gaps = "; behind a broken or blank one, without it"
        sign = SIGNS[f.verdict]
        if f.severity == "info":
            sign = "[dim]· note[/]"
        elif f.severity == "warning" and f.verdict != "pass":
            sign = "[yellow]! warning[/]"
        wanted = f"[dim]wanted[/] {escape(f.wanted)}" if f.wanted else escape(f.why)
        name = f"{f.check} [bold]{escape(f.subject)}[/]"
        table.add_row(sign, name, escape(f.measured), wanted)
        reason = f.why if f.verdict == "undecided" and f.wanted else ""
        advice = ": ".join(filter(None, (reason, f.advice)))
        if advice and f.verdict != "pass":
            table.add_row("", "", "", f"[dim]→ {escape(advice)}[/]")
    console.print(table)
    if names_rows:
        console.print(f"[dim]Rows are counted from 0, below the header{gaps}.[/]")


def print_ways_on(findings: Iterable[FindingLine], run: str, there: str, console: Console) -> None:
    """What to do about gates of a run that could not be decided."""
    open_ones = [f for f in findings if f.verdict == "undecided" and f.severity == "error"]
    gates = {f.check for f in open_ones}
    rows_help = any("more holdout rows" in f.advice for f in open_ones)
    words = " ".join(f"--allow '{gate}'" if " " in gate else f"--allow {gate}"
                     for gate in sorted(gates))  # fmt: skip
    console.print(
        f"Next: {'bring more rows, or ' * rows_help}let it through on your word: "
        f"[bold]modelwright release {escape(run)} {words} --why '...'{there}[/]"
    )
