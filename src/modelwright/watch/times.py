"""Moments as the watcher writes them."""

from __future__ import annotations

import datetime as dt


def iso(at: float) -> str:
    """Unix time as ISO 8601 in UTC, which sorts by time.

    Example:
        >>> iso(0)
        '1970-01-01T00:00:00.000+00:00'
    """
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds")


def unix(at: str) -> float:
    """What `iso` was made of.

    Example:
        >>> unix(iso(1.5))
        1.5
    """
    return dt.datetime.fromisoformat(at).timestamp()


def minute_of(at: float) -> str:
    """Unix time as people read it; what no calendar has is shown as it is.

    Example:
        >>> minute_of(90)
        '1970-01-01 00:01 UTC'
    """
    try:
        return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):
        return f"{at:g}"


def lasted(minutes: float) -> str:
    """How long something has gone on.

    Example:
        >>> lasted(0.0833), lasted(1), lasted(7.5), lasted(180)
        ('5 seconds', '1 minute', '7.5 minutes', '180 minutes')
    """
    if minutes < 1:
        return f"{60 * minutes:.0f} seconds"
    return f"{minutes:.4g} minute{'' if minutes == 1 else 's'}"
