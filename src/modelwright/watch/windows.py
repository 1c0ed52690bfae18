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


def waits_for(
    rows: Mapping[int, int], after: int, *, seconds: float, least: int, settled: float
) -> str:
    """What the open window has of what it needs, in words; arguments as those of `closed`.

    Example:
        >>> waits_for({0: 600, 60: 600}, 0, seconds=3600, least=1000, settled=120)
        '1,200 of 1,000 answers and 120 of 3,600 s of a window'
    """
    begin = min((minute for minute in rows if minute >= after), default=settled)
    return (
        f"{waiting(rows, after):,} of {least:,} answers and {max(settled - begin, 0):,.0f} of "
        f"{seconds:,.0f} s of a window"
    )
