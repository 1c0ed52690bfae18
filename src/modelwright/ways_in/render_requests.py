"""Requests as people read them at a terminal, before they approve."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from modelwright.ways_in.mcp.untrusted import one_line
from modelwright.ways_in.results_requests import ApproveResult, RequestLine, RequestsResult


def show_requests(result: RequestsResult, console: Console) -> None:
    """A list, or one whole."""
    if result.one:
        _one(result.requests[0], console)
        return
    if not result.requests:
        console.print("Nothing waits for approval. Decided and expired ones: --all")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("request", "state", "asks for", "in place of", "by", "why", "until"):
        table.add_column(name, overflow="fold")
    for one in result.requests:
        cells = (one.id, one.state, _asked(one), one.champion, one.by, one.why, one.expires)
        table.add_row(*map(_plain, cells))
    console.print(table)
    first = next((one for one in result.requests if one.state == "pending"), None)
    if first is not None:
        console.print(
            f"\nLook at one with its evidence: [bold]modelwright requests {first.id}[/]; then "
            f"[bold]modelwright approve {first.id} --key FILE[/] or "
            f"[bold]modelwright reject {first.id} --why TEXT[/]"
        )


def show_approved(result: ApproveResult, console: Console) -> None:
    """What became of a request; what its operation gave is shown after it."""
    one = result.request
    colour = "green" if one.state == "applied" else "red"
    console.print(
        f"[{colour}]{_plain(one.id)} is {one.state}[/]: {_plain(one.outcome)}. "
        f"Approved by {_plain(one.decided_by)}."
    )


def _one(one: RequestLine, console: Console) -> None:
    client = f" through {one.client}" if one.client else ""
    replaced = f", in place of {one.champion}" if one.champion else ""
    console.print(f"[bold]{_plain(one.id)}[/], {one.state}: {_plain(_asked(one))}{replaced}")
    console.print(f"Asked by {_plain(one.by)}{_plain(client)} at {one.at}, until {one.expires}.")
    console.print(f"Why: {_plain(one.why) or 'no reason was given'}")
    given = {name: value for name, value in one.arguments.items() if name != "model"}
    _print("arguments", given, console, 0)
    for name, value in one.evidence.items():
        _print(name.replace("_", " "), value, console, 0)
    if one.decided_by:
        console.print(
            f"Decided by {_plain(one.decided_by)} at {one.decided_at}: {_plain(one.reason)}"
        )
    if one.outcome:
        console.print(f"Outcome: {_plain(one.outcome)}")
    console.print(f"Next: {_plain(one.next)}")


def _asked(one: RequestLine) -> str:
    what = one.arguments.get("what", "") if one.action == "traffic" else ""
    return " ".join(filter(None, (one.action, one.model, str(what), one.version)))


def _print(name: str, value: Any, console: Console, depth: int) -> None:
    space = "  " * depth
    if isinstance(value, dict) and value:
        console.print(f"{space}{_plain(name)}:")
        for inner, one in value.items():
            _print(str(inner), one, console, depth + 1)
    elif isinstance(value, list) and value:
        console.print(f"{space}{_plain(name)}:")
        for one in value:
            console.print(f"{space}  - {_plain(str(one))}", highlight=False)
    else:
        shown = "none" if value in (None, "", [], {}) else str(value)
        console.print(f"{space}{_plain(name)}: {_plain(shown)}", highlight=False)


def _plain(text: str) -> str:
    return escape(one_line(text))
