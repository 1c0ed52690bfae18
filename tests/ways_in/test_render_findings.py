"""Findings at a terminal: what people need to find the place in their file."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from modelwright.ways_in.render_findings import print_findings
from modelwright.ways_in.results import FindingLine


def line(check: str, rows: list[int]) -> FindingLine:
    return FindingLine(
        check=check, subject="day", verdict="fail", severity="warning", measured="1", rows=rows
    )


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([line("mixed types", [3])], "counted from 0, below the header."),
        ([line("mixed types", [3]), line("broken rows", [1])], "behind a broken or blank one"),
        ([line("time order", [])], ""),
    ],
)
def test_how_rows_are_counted_is_said_where_rows_are_named(
    found: list[FindingLine], said: str
) -> None:
    out = io.StringIO()
    print_findings(found, Console(file=out, width=200))
    assert said in out.getvalue()
    assert bool(said) == ("Rows are counted" in out.getvalue())


def test_why_something_is_open_is_said_once() -> None:
    out = io.StringIO()
    told = FindingLine(
        check="not looked at", subject="", verdict="undecided", severity="info",
        measured="left out", why="Ctrl-C was pressed", advice="run again to have it",
    )  # fmt: skip
    print_findings([told], Console(file=out, width=200))
    assert out.getvalue().count("Ctrl-C was pressed") == 1 and "run again" in out.getvalue()
