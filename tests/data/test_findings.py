"""Every warning and error has a name that `data.accept` takes."""

from __future__ import annotations

import ast
from pathlib import Path

import modelwright.data.findings as module
from modelwright.data.findings import CHECKS

MAKERS = {"Finding", "_warning", "_error", "error", "_odd", "_left_out"}
NOTES = {"_note"}
ABOUT_FILES_TO_SCORE = "against.py"


def named(*, notes: bool = False) -> set[str]:
    found = set()
    for path in Path(module.__file__).parent.rglob("*.py"):
        if path.name == ABOUT_FILES_TO_SCORE:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and node.args):
                continue
            first = node.args[0]
            maker = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if maker == "append" and isinstance(first, ast.Tuple):
                first, maker = first.elts[0], "Finding"
            if maker in MAKERS | (NOTES if notes else set()) and isinstance(first, ast.Constant):
                notes_only = any(isinstance(k.value, ast.Constant) and k.value.value == "info"
                                 for k in node.keywords)  # fmt: skip
                found |= set() if notes_only and not notes else {str(first.value)}
    return found


def test_every_finding_can_be_accepted() -> None:
    assert len(named()) > 25
    assert named() <= CHECKS


def test_every_name_is_of_a_finding() -> None:
    kinds_of_unused_columns = {"constant", "id", "text"}
    assert CHECKS - named(notes=True) == kinds_of_unused_columns
