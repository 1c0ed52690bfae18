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


class Screen:
    """A live line on a terminal, plain lines elsewhere; always on standard error."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = self._stage_start = time.monotonic()
        self._name = self._detail = self._note = ""
        self._share = 0.0
        self._left: float | None = None
        self._board: Sequence[BoardLine] = ()
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
        """Show the leaderboard below the live line."""
        self._board = tuple(lines)

    @staticmethod
    def _best(note: str) -> str:
        """The part of a note that is worth a line where there is no live line."""
        return note.partition("best ")[2]

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(line, markup=False, highlight=False)

    def _finished(self) -> None:
        seconds = time.monotonic() - self._stage_start
        text = ", ".join(filter(None, (self._detail, self._note)))
        self._console.print(
            f"{self._name:<9}{seconds:6.1f} s  {text}", markup=False, highlight=False
        )

    def _line(self) -> Group:
        grid = Table.grid(padding=(0, 1))
        left = f"{self._left:.0f} s left" if self._left is not None else ""
        bar = ProgressBar(total=1.0, completed=self._share, width=24) if self._share else ""
        spent = f"{time.monotonic() - self._stage_start:.0f} s"
        grid.add_row(self._name, spent, bar, left, self._note or self._detail)
        board = Table.grid(padding=(0, 2))
        for line in self._board:
            board.add_row(f"[dim]{line.number}[/]", *map(escape, line[1:]))
        return Group(grid, board)
