"""The audit log as people read it at a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from modelwright.ways_in.mcp.untrusted import one_line
from modelwright.ways_in.results import AuditLineResult, AuditResult


def show_audit(result: AuditResult, console: Console) -> None:
    """The lines, and whether their chain is whole."""
    table = Table(box=None, pad_edge=False)
    for name in ("when", "what", "model", "version", "in place of", "by", "why"):
        table.add_column(name, overflow="fold")
    for line in result.lines:
        what = f"{line.action} {line.subject}".strip()
        cells = (line.at, what, line.model, line.version, line.replaces, by_of(line), why_of(line))
        table.add_row(*(escape(one_line(cell)) for cell in cells))
    if result.lines:
        console.print(table)
    hidden = result.calls - sum(line.action == "call" for line in result.lines)
    if result.lines and hidden:
        console.print(f"{hidden} calls of tools are not shown: --calls")
    if result.whole:
        console.print(f"[green]✓[/] {result.count} lines; each follows from the one before.")
    else:
        console.print(
            f"[red]✗[/] Line {result.broken_at} of .modelwright/audit.jsonl does not follow from "
            "the one before: somebody edited the file. Restore it from a backup."
        )


def by_of(line: AuditLineResult) -> str:
    """Who did it; for an approval the approver, whose key signed it.

    Example:
        >>> by_of(AuditLineResult(at="", by="root", action="approve", model="m", version="2",
        ...                       replaces="1", why="", detail={"decided_by": "ada"}))
        'ada (as root)'
    """
    approver = line.detail.get("decided_by", "")
    return f"{approver} (as {line.by})" if approver and approver != line.by else line.by


def why_of(line: AuditLineResult) -> str:
    """The reason of a line of the audit, with the request it belongs to; for a call its arguments.

    Example:
        >>> why_of(AuditLineResult(at="", by="", action="promote", model="m", version="2",
        ...                        replaces="1", why="better", detail={"request": "PR-7"}))
        'better (PR-7)'
    """
    if line.action == "call":
        known = line.detail
        return (f"{known.get('arguments', '')} -> {known.get('verdict', '')}, "
                f"{known.get('ms', '')} ms")  # fmt: skip
    request = line.detail.get("request", "")
    return f"{line.why} ({request})".strip() if request else line.why
