"""What of the spec an agent may write: what reaches out of the project, or lets a model through
that its gates stopped, is a person's to set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelwright.core.errors import ModelwrightError, Refused
from modelwright.core.spec_file import DEFAULT_NAME, SpecFile, parse_spec, read_spec
from modelwright.ways_in.goalposts import must_not_move
from modelwright.ways_in.paths import readable

FOR_PEOPLE = (
    "data.read.query", "data.accept", "fit.families", "release.policy", "release.undecided",
    "release.reason", "release.alpha", "release.champion_margin", "release.calibration_error",
    "release.fairness_difference", "serve.host", "serve.token_env", "serve.tokens", "serve.tls",
    "serve.journal.to", "watch.store_env", "watch.server", "watch.alerts", "watch.act",
)  # fmt: skip
"""Keys that agents leave as they stand; of families only those of one's own (`module:Name`)."""
MAY_GROW = ("data.private", "data.protected")
"""Columns that agents add, and take none away from: reports and gates look at them."""
MAY_GO = tuple(
    f"data.read.{key}" for key in ("skip_rows", "skip_footer", "header", "comment", "quote")
)
"""What is detected where it is absent; set at will, each would make a row the names of columns,
which are told."""
MOST_CHANGES = 40


def checked_spec(text: str, folder: Path) -> tuple[SpecFile, list[str]]:
    """The spec of a text that an agent wrote, and what it changes.

    Raises:
        SpecError: it is no spec; every problem is told.
        Refused: it changes what is for people, or reads a table outside the project.
    """
    path = folder / DEFAULT_NAME
    made = parse_spec(text, path)
    try:
        stands = read_spec(path).spec
        before = _flat(stands.model_dump(mode="json"))
    except ModelwrightError:
        before = {}
    else:
        must_not_move(folder, stands, path.read_text(encoding="utf-8"), made.spec)
    now = _flat(made.spec.model_dump(mode="json"))
    if now.get("data.source") != before.get("data.source"):
        readable(str(now.get("data.source")), folder)
    fresh = _flat(parse_spec(_LEAST, path).spec.model_dump(mode="json"))
    # what `modelwright watch` does without asking, it does by all that stands there
    acts = ("watch",) if {*((before or fresh).get("watch.act") or ())} - {"roll back"} else ()
    # one that takes for ever stops this server, and the one that serves the model
    patterns = sorted(k for k in now if k.startswith("expect.") and k.endswith(".regex"))
    for key in (*FOR_PEOPLE, *MAY_GROW, *MAY_GO, *patterns, *acts):
        old, new = (_under(found, key) for found in (before or fresh, now))
        if key == "fit.families" and _of_ones_own(new) == _of_ones_own(old):
            continue
        if key in MAY_GO and not new:
            continue
        if key in MAY_GROW and set(old.get(key, ())) <= set(new.get(key, ())):
            continue
        if new != old and not (key == "serve.journal.to" and _is_inside(new, folder)):
            raise Refused(
                f"{key} is for people to set: it reaches out of the project, or lets through what "
                "gates stopped.",
                hint=f"Leave {key} as it stands, and tell the person what you would write there.",
                rule="human_approval",
                evidence={"key": key},
            )
    keys = sorted({*before, *now})
    changed = [
        f"{key}: {before.get(key)!r} -> {now.get(key)!r}"
        for key in keys
        if before.get(key) != now.get(key)
    ]
    return made, changed[:MOST_CHANGES]


_LEAST = "name: model\ndata: {source: table.csv, target: y}\n"


def _flat(found: Any, where: str = "") -> dict[str, Any]:
    """Dotted keys; lists stay whole."""
    if not isinstance(found, dict) or not found:
        return {where: found} if where else {}
    made: dict[str, Any] = {}
    for key, value in found.items():
        made |= _flat(value, f"{where}.{key}" if where else str(key))
    return made


def _under(found: dict[str, Any], key: str) -> dict[str, Any]:
    return {
        name: value
        for name, value in found.items()
        if (name == key or name.startswith(f"{key}.")) and value not in (None, {}, [])
    }


def _of_ones_own(found: dict[str, Any]) -> list[str]:
    return [one for value in found.values() for one in value if ":" in str(one)]


def _is_inside(found: dict[str, Any], folder: Path) -> bool:
    try:
        for value in found.values():
            readable(str(value), folder)
    except Refused:
        return False
    return True
