"""What of a spec is a person's: limits, gates and the split, which agents do not move until a model
passes, and what reaches out of the project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelwright.core.agent_paths import readable
from modelwright.core.errors import ModelwrightError, Refused
from modelwright.core.limits import Limit
from modelwright.core.runs import RELEASE
from modelwright.core.spec import Spec
from modelwright.core.spec_file import DEFAULT_NAME, parse_spec, read_spec
from modelwright.core.store import sha256, write_atomic

WRITTEN = Path(".modelwright") / "spec-of-agents"
"""sha256 of the last spec that an agent wrote: what differs from it is a person's."""
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
QUESTION = ("data.source", "data.target", "data.positive")
SAID = ("goal", "data.task")
"""What limits and gates are about: of the second, and of rules of `expect`, what was written."""
_LEAST = "name: model\ndata: {source: table.csv, target: y}\n"


def remember(folder: Path, text: str, before: str | None = None) -> None:
    """A spec that an agent wrote, unless it is a person's with changes.

    Args:
        before: text of the spec that it replaces; None for none.
    """
    if before is None or _is_agents(folder, before):
        write_atomic(folder / WRITTEN, sha256(text.encode()).encode())


def must_leave_to_people(path: Path, now: Spec) -> Spec | None:
    """Refuse a spec of an agent that changes what is a person's in the file that stands there.

    Args:
        path: of the spec file.
        now: the spec that an agent wrote, or that its settings beside the file make of it.

    Returns:
        The spec that stands there; None where there is none that can be read.

    Raises:
        Refused: it moves the goalposts, changes another key that is for people, or reads a table
            outside the project.
    """
    try:
        before, text = read_spec(path).spec, path.read_text(encoding="utf-8")
    except ModelwrightError:
        before, text = None, ""
    if before != now:
        _must_leave(path.resolve().parent, before, text, now)
    return before


def _must_leave(folder: Path, before: Spec | None, text: str, now: Spec) -> None:
    """Refuse a spec of an agent that changes what is a person's to set.

    Args:
        folder: of the project.
        before, text: the spec that stands there, and its text; None where there is none.
        now: the one that an agent wrote, or that its settings beside the file make of it.

    Raises:
        Refused: it moves the goalposts, changes another key that is for people, or reads a table
            outside the project.
    """
    old, new = ({} if one is None else flat(one) for one in (before, now))
    if new.get("data.source") != old.get("data.source"):
        readable(str(new.get("data.source")), folder)
    if before is not None:
        must_not_move(folder, before, text, now)
    old = old or flat(parse_spec(_LEAST, folder / DEFAULT_NAME).spec)
    # what `modelwright watch` does without asking, it does by all that stands there
    acts = ("watch",) if {*(old.get("watch.act") or ())} - {"roll back"} else ()
    # one that takes for ever stops this server, and the one that serves the model
    patterns = sorted(k for k in new if k.startswith("expect.") and k.endswith(".regex"))
    for key in (*FOR_PEOPLE, *MAY_GROW, *MAY_GO, *patterns, *acts):
        if not _may_be(key, _under(old, key), _under(new, key), folder):
            raise Refused(
                f"{key} is for people to set: it reaches out of the project, or lets through what "
                "gates stopped.",
                hint=f"Leave {key} as it stands, and tell the person what you would write there.",
                rule="human_approval",
                evidence={"key": key},
            )


def must_not_move(folder: Path, before: Spec, text: str, now: Spec) -> None:
    """Refuse a spec that asks for less, or judges by other rows, than the one before.

    An agent may rewrite its own spec as it likes until a run was judged by it.

    Args:
        folder: of the project.
        before, text: the spec that stands there, and its text.
        now: the one that is to replace it.

    Raises:
        Refused: a limit is looser or gone, the split is another, or what is predicted, or a rule
            of `expect`.
    """
    if _is_agents(folder, text) and not any((folder / "runs").glob(f"*/{RELEASE}")):
        return
    kept = {_what(limit): limit for limit in now.parsed_limits()}
    for limit in before.parsed_limits():
        new = kept.get(_what(limit))
        if new is None or not (limit.relative or limit.met_by(new.bound)):
            raise _refused("limits", f"{limit} would be {new or 'gone'}")
        if limit.relative and new.bound > limit.bound:
            raise _refused("limits", f"{limit} would be {new}")
    for key in ("split", "seed"):
        old, new_value = getattr(before.data, key), getattr(now.data, key)
        if old != new_value:
            raise _refused(f"data.{key}", f"other rows would be sealed: data.{key} is another")
    asked, asks = flat(before), flat(now)
    for key, value in asked.items():
        said = value not in (None, False, [], {}) and (key in SAID or key.startswith("expect."))
        if (said or key in QUESTION) and asks.get(key) != value:
            raise _refused(key, f"{key} would be {asks.get(key)!r} and not {value!r}")


def _is_agents(folder: Path, text: str) -> bool:
    try:
        return (folder / WRITTEN).read_text() == sha256(text.encode())
    except FileNotFoundError:
        return False


def _what(limit: Limit) -> tuple[str, str, str | None, bool]:
    return limit.metric, limit.direction, limit.slice_column, limit.relative


def _refused(key: str, found: str) -> Refused:
    return Refused(
        f"Agents do not move the goalposts: {found}.",
        hint="Keep it, or ask a person to change modelwright.yaml; tightening a limit is free.",
        rule="human_approval",
        evidence={"key": key},
    )


def flat(spec: Spec) -> dict[str, Any]:
    """A spec's values below dotted keys; lists stay whole."""
    return _flat(spec.model_dump(mode="json"))


def _may_be(key: str, old: dict[str, Any], new: dict[str, Any], folder: Path) -> bool:
    """Whether an agent may make one of the other of what stands below a key for people."""
    if key == "fit.families":
        return _of_ones_own(new) == _of_ones_own(old)
    if key in MAY_GO and not new:
        return True
    if key in MAY_GROW and set(old.get(key, ())) <= set(new.get(key, ())):
        return True
    return new == old or (key == "serve.journal.to" and _is_inside(new, folder))


def _flat(found: Any, where: str = "") -> dict[str, Any]:
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
