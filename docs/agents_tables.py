"""Write the tables of docs/mcp.md from the tools, resources and prompts that there are.

    python docs/agents_tables.py

tests/test_docs_mcp.py holds the page to it.
"""

from __future__ import annotations

from pathlib import Path

from modelwright.ways_in.mcp.offers import offers_of
from modelwright.ways_in.mcp.own_tools import own_tools
from modelwright.ways_in.mcp.prompts import WAYS
from modelwright.ways_in.mcp.resources import RESOURCES

PAGE = Path(__file__).resolve().parent / "mcp.md"
FIRST = {"read": "reader", "propose": "engineer", "act": "release"}


def tools() -> str:
    """A row a tool: from which persona on, its arguments, what it does."""
    rows = ["| tool | from | arguments | what it does |", "|---|---|---|---|"]
    for one in sorted(offers_of("release", own_tools()), key=lambda o: list(FIRST).index(o.effect)):
        fields = one.arguments.model_fields
        names = [f"**{n}**" if f.is_required() else n for n, f in fields.items() if n != "cursor"]
        rows.append(f"| `{one.name}` | {FIRST[one.effect]} | {', '.join(names)} | {one.help} |")
    return "\n".join(rows)


def resources() -> str:
    """A row a resource, then a row a prompt."""
    rows = ["| resource | what it holds |", "|---|---|"]
    rows += [f"| `{address}` | {text} |" for address, text in RESOURCES.items()]
    rows += ["", "| prompt | from | what for |", "|---|---|---|"]
    rows += [f"| `{name}` | {FIRST[way.effect]} | {way.help} |" for name, way in WAYS.items()]
    return "\n".join(rows)


def filled(page: str) -> str:
    """The page with its tables."""
    for name, text in (("tools", tools()), ("resources", resources())):
        before, begin, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not (begin and end):
            raise SystemExit(f"{PAGE.name} has no place for the table of {name}.")
        page = f"{before}{begin}{text}\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
