"""The leaderboard while it runs: all that is known, in 80 columns too, and as lines without a
terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from modelwright.core.progress import BoardLine
from modelwright.ways_in.screen import Screen

MEASURED = BoardLine(
    "17", "lightgbm + xgboost + catboost blend", "0.9291 ± 0.0015", "41 µs", "", "0.61 ms",
    "9,120 /s", "212 MB", "1.16 MB", "21.4 s", "yes", "yes",
)  # fmt: skip
FORETOLD = BoardLine(
    "4", "lightgbm default", "0.9285 ± 0.0015", "~31 µs", "over memory", "~0.59 ms", "~9,300 /s",
    "~2210 MB", "~0.31 MB", "4.1 s", "no",
)  # fmt: skip
FRESH = BoardLine("5", "xgboost default", "0.9251 ± 0.0016", "", seconds="3.3 s")


def drawn(*lines: BoardLine, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    screen = Screen(console)
    screen.board(lines)
    with console.capture() as captured:
        console.print(screen._line())
    return captured.get()


def test_a_wide_terminal_shows_every_figure() -> None:
    shown = drawn(MEASURED, FORETOLD, FRESH, width=160)
    for line in (MEASURED, FORETOLD, FRESH):
        [row] = [r for r in shown.splitlines() if line.candidate in r]
        for word in line[:10]:
            assert word in row, word
    assert "throughput" in shown and "over memory" in shown


def test_80_columns_show_a_row_each_and_cut_no_figure() -> None:
    shown = drawn(MEASURED, FORETOLD, FRESH, width=80)
    rows = [row.rstrip() for row in shown.splitlines() if row.strip()]
    assert all(len(row) <= 80 for row in rows) and len(rows) == 5
    [blend] = [row for row in rows if "0.9291 ± 0.0015" in row]
    assert all(word in blend for word in ("~", "17", "0.61 ms", "1.16 MB", "21.4 s"))
    [over] = [row for row in rows if "lightgbm default" in row]
    assert over.startswith("!") and "~0.59 ms" in over and "~0.31 MB" in over
    assert "one row" not in shown and "memory" not in shown


def test_before_a_p95_is_known_one_row_in_process_is_shown() -> None:
    shown = drawn(FORETOLD._replace(p95=""), FRESH, width=80)
    assert "one row" in shown and "~31 µs" in shown and "p95" not in shown


@pytest.mark.parametrize("again", [1, 3])
def test_without_a_terminal_each_measured_candidate_is_one_plain_line(again: int) -> None:
    file = io.StringIO()
    with Screen(Console(file=file, width=300)) as screen:
        screen.stage("pack", "finalists")
        screen.board([FORETOLD, FRESH])
        assert not file.getvalue()
        for _ in range(again):
            screen.board([MEASURED, FORETOLD])
    [line, last] = file.getvalue().splitlines()
    assert line.startswith("pack") and last.startswith("pack")
    for word in ("17 lightgbm", "0.9291", "p95 0.61 ms", "throughput 9,120 /s", "memory 212 MB",
                 "size 1.16 MB", "fit 21.4 s", "on the Pareto line"):  # fmt: skip
        assert word in line, word
    assert "\x1b" not in line
