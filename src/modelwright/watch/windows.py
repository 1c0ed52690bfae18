"""Windows of time over the minutes of a version."""

from __future__ import annotations

from collections.abc import Mapping


def closed(
    rows: Mapping[int, int], after: int, *, seconds: float, least: int, settled: float, grain: int
) -> list[tuple[int, int]]:
    """Windows that are over: each is at least so long and holds at least so many rows.

    Args:
        rows: Unix time of a minute's begin -> its rows.
        after: where the last window ended.
        seconds, least: both must be reached.
        settled: only minutes that ended before are looked at, since others may still grow.
        grain: seconds of a minute.

    Returns:
        (begin, end) of each, one behind the other, the end not included.

    Example:
        >>> closed({0: 600, 60: 600, 120: 900}, 0, seconds=60, least=1000, settled=180, grain=60)
        [(0, 120)]
    """
    found: list[tuple[int, int]] = []
    begin, held = None, 0
    for minute in sorted(m for m in rows if after <= m and m + grain <= settled):
        begin = minute if begin is None else begin
        held += rows[minute]
        if held >= least and minute + grain - begin >= seconds:
            found.append((begin, minute + grain))
            begin, held = None, 0
    return found


def waiting(rows: Mapping[int, int], after: int) -> int:
    """Rows of the window that is still open."""
    return sum(count for minute, count in rows.items() if minute >= after)
