"""Arguments as they may stand in a log: no secrets, no rows of data, nothing endless."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST = 200
MOST = 30
DEEPEST = 6
HIDDEN = "***"
_SECRET = re.compile(
    r"token|passw|passphrase|secret|credential|authori[sz]ation|api[_-]?key|(^|[_.\- ])keys?($|_)",
    re.IGNORECASE,
)
_ROWS = re.compile(r"^(rows?|data|records?|instances|inputs?|frame|table|labels)$", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)(?:[^/@\s]*:\S*|[^/@\s]+)(?=@)")  # rather too much than too little
_SETTING = re.compile(r"([\w.\-]+)(\s*[=:]\s*)(?!//)(\S+)")


def redacted(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, without what a log must not hold.

    Example:
        >>> redacted({"token": "abc", "data": "postgresql://ada:pw@db/x", "rows": [{"a": 1}]})
        {'token': '***', 'data': 'postgresql://***@db/x', 'rows': '1 rows'}
        >>> redacted({"overrides": ["serve.token=abc", "fit.budget=3s"]})
        {'overrides': ['serve.token=***', 'fit.budget=3s']}
    """
    return {str(name)[:LONGEST]: _value(str(name), given, 0) for name, given in arguments.items()}


def _value(name: str, given: Any, depth: int) -> Any:
    if given is None or isinstance(given, bool):
        return given
    if _SECRET.search(name):
        return HIDDEN
    if isinstance(given, (int, float)):
        return given
    if isinstance(given, Mapping):
        return _mapping(name, given, depth)
    if isinstance(given, Sequence) and not isinstance(given, (str, bytes, bytearray)):
        return _sequence(name, given, depth)
    return redacted_text(given if isinstance(given, str) else repr(given))


def _mapping(name: str, given: Mapping[Any, Any], depth: int) -> Any:
    if depth >= DEEPEST:
        return f"{len(given)} keys"
    columns = [v for v in given.values() if isinstance(v, (list, tuple))]
    if _ROWS.match(name):
        return f"{max(map(len, columns))} rows" if columns else "1 rows"
    shown = list(given.items())[:MOST]
    found = {str(key)[:LONGEST]: _value(str(key), value, depth + 1) for key, value in shown}
    if len(given) > MOST:
        found["..."] = f"{len(given) - MOST} more"
    return found


def _sequence(name: str, given: Sequence[Any], depth: int) -> Any:
    if _ROWS.match(name) or any(isinstance(one, (Mapping, list, tuple)) for one in given):
        return f"{len(given)} rows"
    if len(given) > MOST or depth >= DEEPEST:
        return f"{len(given)} values"
    return [_value("", one, depth + 1) for one in given]


def redacted_text(text: str) -> str:
    """A text without logins in its URLs and values of settings that are secret, and not too long.

    Example:
        >>> redacted_text("api_key=abc x")
        'api_key=*** x'
    """
    cut = _LOGIN.sub(HIDDEN, text[: 20 * LONGEST])
    cut = _SETTING.sub(_setting, cut)
    if len(cut) <= LONGEST and len(text) <= 20 * LONGEST:
        return cut
    return f"{cut[:LONGEST]}... ({len(text)} characters)"


def _setting(found: re.Match[str]) -> str:
    name, sign, value = found.groups()
    return f"{name}{sign}{HIDDEN if _SECRET.search(name) else value}"
