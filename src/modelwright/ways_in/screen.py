"""Progress at a terminal: the stage, the best so far, the time left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from modelwright.core.progress import BoardLine

WIDE = 110
"""Columns of a terminal from which all figures of the leaderboard fit."""
HEADS = {
    "score": "score", "p95": "p95", "cost": "one row", "throughput": "throughput",
    "memory": "memory", "size": "size", "seconds": "fit",
}  # fmt: skip
GAP = 2
NARROW = ("score", "p95", "cost", "size", "seconds")
"""What fits into 80 columns; one row in process only until there is a p95."""


class Screen:
    """A live line on a terminal, plain lines elsewhere; always on standard error."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = self._stage_start = time.monotonic()
        self._name = self._detail = self._note = ""
        self._share = 0.0
        self._left: float | None = None
        self._board: Sequence[BoardLine] = ()
        self._told: set[str] = set()
        self._live = Live(console=console, get_renderable=self._line, refresh_per_second=8,
                          transient=True) if console.is_terminal else None  # fmt: skip

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._name and error is None:
            self._finished()
        if self._live:
            self._live.stop()

    def stage(self, name: str, detail: str = "") -> None:
        """Close the stage before, open this one.

        The live line begins with the first stage: before it, a passphrase may be asked for.
        """
        if self._live:
            self._live.start()
        if self._name:
            self._finished()
        self._name, self._detail, self._note = name, detail, ""
        self._board = ()
        self._share, self._left, self._stage_start = 0.0, None, time.monotonic()

    def step(self, done: float, total: float, note: str = "") -> None:
        """Move the bar; the time left follows from the share done."""
        if not self._live and note and self._best(note) != self._best(self._note):
            spent = time.monotonic() - self._stage_start
            self.say(f"{self._name:<9}{spent:6.1f}    {note}")
        self._note = note
        if 0 < total < float("inf"):
            self._share = min(1.0, done / total)
            spent = time.monotonic() - self._stage_start
            self._left = spent * (1 - self._share) / self._share if self._share else None

    def board(self, lines: Sequence[BoardLine]) -> None:
        """Show the leaderboard below the live line; elsewhere a line for each that was measured."""
        self._board = tuple(lines)
        if self._live:
            return
        for line in lines:
            if line.size and not line.size.startswith("~") and line.number not in self._told:
                self._told.add(line.number)
                spent = time.monotonic() - self._stage_start
                self.say(f"{self._name:<9}{spent:6.1f}    {_in_a_line(line)}")

    @staticmethod
    def _best(note: str) -> str:
        """The part of a note that is worth a line where there is no live line."""
        return note.partition("best ")[2]

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _finished(self) -> None:
        seconds = time.monotonic() - self._stage_start
        text = ", ".join(filter(None, (self._detail, self._note)))
        self._console.print(
            f"{self._name:<9}{seconds:6.1f} s  {text}", markup=False, highlight=False,
            soft_wrap=True,
        )  # fmt: skip

    def _line(self) -> Group:
        grid = Table.grid(padding=(0, 1))
        left = f"{self._left:.0f} s left" if self._left is not None else ""
        bar = ProgressBar(total=1.0, completed=self._share, width=24) if self._share else ""
        spent = f"{time.monotonic() - self._stage_start:.0f} s"
        grid.add_row(self._name, spent, bar, left, self._note or self._detail)
        return Group(grid, self._standings()) if self._board else Group(grid)

    def _standings(self) -> Table:
        """The leaderboard with the columns that there is room for and that anything is known of."""
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
        table.add_column("", no_wrap=True)
        table.add_column("#", justify="right", no_wrap=True, style="dim")
        wide = self._console.width >= WIDE
        known = [name for name in HEADS if any(getattr(line, name) for line in self._board)]
        if not wide:
            known = [name for name in known if name in NARROW]
            if "p95" in known and "cost" in known:
                known.remove("cost")
        room = self._console.width - sum(self._width(name) + GAP for name in ("number", *known)) - 5
        table.add_column("candidate", no_wrap=True, overflow="ellipsis", max_width=max(12, room))
        for name in known:
            table.add_column(HEADS[name], justify="right", no_wrap=True)
        if wide:
            table.add_column("", no_wrap=True, overflow="ellipsis", style="yellow")
        for line in self._board:
            cells = [_mark(line), line.number, escape(line.candidate)]
            cells += [escape(getattr(line, name)) for name in known]
            table.add_row(*cells, *([escape(line.note)] if wide else []))
        return table

    def _width(self, name: str) -> int:
        return max(len(HEADS.get(name, "")), *(len(getattr(line, name)) for line in self._board))


def _mark(line: BoardLine) -> str:
    """As in the table at the end: ! breaks a limit on cost, ~ is on the Pareto line."""
    if line.feasible == "no":
        return "[yellow]![/]"
    return "[dim]~[/]" if line.pareto else ""


def _in_a_line(line: BoardLine) -> str:
    """What was measured of a candidate, where there is no live table."""
    known = {head: getattr(line, name) for name, head in HEADS.items() if name != "score"}
    figures = [f"{head} {value}" for head, value in known.items() if value]
    first = f"{line.number} {line.candidate}: {line.score}"
    pareto = "on the Pareto line" if line.pareto else ""
    return ", ".join(filter(None, (first, *figures, line.note, pareto)))
