"""docs/mcp.md lists what there is."""

from __future__ import annotations

import importlib.util
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_tables_are_true() -> None:
    found = importlib.util.spec_from_file_location("agents_tables", DOCS / "agents_tables.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    page = (DOCS / "mcp.md").read_text(encoding="utf-8")
    assert module.filled(page) == page, "run: python docs/agents_tables.py"
    assert page.count("| `") >= 25
