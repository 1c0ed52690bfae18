"""Headers of requests and answers in the OpenAPI document, and who answered as bodies say it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelwright.serve.fallback import BASELINE, CHAMPION, CONSTANT, PREVIOUS
from modelwright.serve.traffic import ARMS, CANARY

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_ID = "Of the request: in the log, in the journal, and what labels name."
MARKS: Json = {
    "arm": {
        "type": "string",
        "enum": [CANARY, *ARMS],
        "description": "Of a canary or an A/B test; absent where the champion was asked as usual, "
        "or a version by number.",
    },
    "fallback": {
        "type": "string",
        "enum": [CHAMPION, PREVIOUS, BASELINE, CONSTANT],
        "description": "Who stood in for a version that could not answer; absent where none did.",
    },
}
"""What an answer says of who gave it, where that is not the champion."""


def _asked(name: str, schema: Json, about: str) -> Json:
    return {"name": name, "in": "header", "required": False, "schema": schema,
            "description": about}  # fmt: skip


def _told(schema: Json, about: str, *, always: bool = False) -> Json:
    return {"description": about, "schema": schema, **({"required": True} if always else {})}


PARAMETERS: Json = {
    "RequestId": _asked(
        "x-request-id", _TEXT,
        "Comes back with the answer, if it is visible ASCII of at most 128 characters; else the "
        "server names one.",
    ),
    "TraceParent": _asked(
        "traceparent", _TEXT,
        "W3C trace context: continues a trace; its id is that of the request where x-request-id "
        "gives none.",
    ),
    "Timeout": _asked(
        "x-request-timeout-ms", {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e9},
        "A deadline shorter than the server's own, in milliseconds; what would be later is 504.",
    ),
    "Key": _asked(
        "x-modelwright-key", _TEXT,
        "Keeps a caller with one arm of a canary or A/B test, in place of the column that "
        "serve.key names.",
    ),
}  # fmt: skip
"""For `components.parameters`."""
HEADERS: Json = {
    "RequestId": _told({"type": "string", "pattern": "^[!-~]{1,128}$"}, _ID, always=True),
    "Version": _told(_TEXT, "The version that answered.", always=True),
    "Arm": _told({**MARKS["arm"]}, "As arm in JSON."),
    "Fallback": _told({**MARKS["fallback"]}, "As fallback in JSON."),
    "Cache": _told({"type": "string", "enum": ["hit"]}, "Where the answer was remembered."),
}
"""For `components.headers`."""
ID_OF_ERROR = _told(_TEXT, f"{_ID} Absent where the request could not be read so far.")
"""An error may come before the headers of the request were read."""


def _parameter(name: str) -> Json:
    return {"$ref": f"#/components/parameters/{name}"}


def _header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


IN_TIME = [_parameter("Timeout")]
"""Parameters of routes that keep a deadline."""
PINNED = {"x-modelwright-version": _header("Version"), "x-modelwright-cache": _header("Cache")}
"""Headers of an answer of the version that the path names."""
ANSWERED = {
    **PINNED,
    "x-modelwright-arm": _header("Arm"),
    "x-modelwright-fallback": _header("Fallback"),
}
"""Headers of an answer of the version that traffic chose."""


def choosing(versions: Sequence[str]) -> list[Json]:
    """Parameters of routes whose path names no version.

    Args:
        versions: those that can be asked for.
    """
    about = "Asks this version and no other: no traffic rule counts, and nobody stands in for it."
    one = _asked("x-modelwright-version", {"type": "string", "enum": list(versions)}, about)
    return [*IN_TIME, _parameter("Key"), one]


def under_id(paths: Json) -> Json:
    """The same routes, each of which takes an id and gives one back."""
    return {
        path: {method: _with_id(route) for method, route in methods.items()}
        for path, methods in paths.items()
    }


def _with_id(route: Json) -> Json:
    given = [*route.get("parameters", ()), _parameter("RequestId"), _parameter("TraceParent")]
    found = route["responses"]["200"]
    headers = {"x-request-id": _header("RequestId"), **found.get("headers", {})}
    responses = {**route["responses"], "200": {**found, "headers": headers}}
    return {**route, "parameters": given, "responses": responses}
