"""Results that fit an agent's window: long lists come in pages.

What did not fit stays in this process under a cursor that nobody can guess, so that the pages of
one result are of one moment.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from modelwright.core.errors import UsageError

MOST_BYTES = 8_000
"""Of one result as JSON; Codex cuts at 10 KiB."""
_OVERHEAD = 400
_SMALL = 300
_ATOM = 3_000
_KEPT = 64
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class _Rest:
    """What is left of a result."""

    tool: str
    who: str
    always: dict[str, Any]
    units: list[tuple[Path, Any]]


class Pages:
    """Cursors of one server."""

    def __init__(self) -> None:
        self._rests: OrderedDict[str, _Rest] = OrderedDict()
        self._lock = threading.Lock()

    def first(self, tool: str, who: str, result: dict[str, Any]) -> dict[str, Any]:
        """A result as it is, or its first page with `truncated` and a `cursor`.

        Args:
            tool, who: only the same caller of the same tool may go on with it.
            result: of JSON's types.
        """
        if _size(result) <= MOST_BYTES:
            return result | {"truncated": False, "cursor": ""}
        always: dict[str, Any] = {}
        units: list[tuple[Path, Any]] = []
        for key, value in result.items():
            is_long = isinstance(value, (list, dict)) and _size(value) > _SMALL
            if is_long and key not in ("next_actions", "untrusted"):
                always[key] = type(value)()
                units += _units(value, (key,))
            else:
                always[key] = value
        return self._page(_Rest(tool, who, always, units))

    def next(self, tool: str, who: str, cursor: str) -> dict[str, Any]:
        """The page that a cursor stands for; it can be asked for again.

        Raises:
            UsageError: nobody was given that cursor, or it is too old.
        """
        with self._lock:
            rest = self._rests.get(cursor)
        if rest is None or (rest.tool, rest.who) != (tool, who):
            raise UsageError(
                "That cursor is not one of this tool's, or its result is not kept any more.",
                hint=f"Call {tool} without a cursor.",
            )
        return self._page(rest)

    def _page(self, rest: _Rest) -> dict[str, Any]:
        left = MOST_BYTES - _OVERHEAD - _size(rest.always)
        taken = 0
        for path, value in rest.units:
            left -= _size(value) + sum(len(str(step)) + 6 for step in path)
            if left < 0 and taken:
                break
            taken += 1
        page = _rebuilt(rest.always, rest.units[:taken])
        more = rest.units[taken:]
        cursor = self._keep(_Rest(rest.tool, rest.who, rest.always, more)) if more else ""
        return page | {"truncated": bool(more), "cursor": cursor}

    def _keep(self, rest: _Rest) -> str:
        cursor = secrets.token_urlsafe(18)
        with self._lock:
            self._rests[cursor] = rest
            while len(self._rests) > _KEPT:
                self._rests.popitem(last=False)
        return cursor


def _size(value: Any) -> int:
    return len(msgspec.json.encode(value))


def _units(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """The smallest parts that a page is made of: items of lists and entries of mappings."""
    items = enumerate(value) if isinstance(value, list) else value.items()
    for step, inner in items:
        where = (*path, step)
        if isinstance(inner, (list, dict)) and inner and _size(inner) > _ATOM:
            yield from _units(inner, where)
        else:
            yield where, inner


def _rebuilt(always: dict[str, Any], units: list[tuple[Path, Any]]) -> dict[str, Any]:
    """Units at their places; lists close up."""
    made: dict[str, Any] = {
        k: type(v)() if isinstance(v, (list, dict)) and not v else v for k, v in always.items()
    }
    known: dict[Path, Any] = {}
    for path, value in units:
        holder: Any = made
        for depth, step in enumerate(path[:-1], start=1):
            inside = path[:depth]
            if inside not in known:
                known[inside] = _entered(holder, step, [] if isinstance(path[depth], int) else {})
            holder = known[inside]
        if isinstance(holder, list):
            holder.append(value)
        else:
            holder[path[-1]] = value
    return made


def _entered(holder: Any, step: str | int, empty: Any) -> Any:
    """The container at a step, made where there is none."""
    if isinstance(holder, list):
        holder.append(empty)
        return empty
    return holder.setdefault(step, empty)
