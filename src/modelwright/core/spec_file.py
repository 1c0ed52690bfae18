"""Reading modelwright.yaml: every problem at once, each with its line and column."""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from modelwright.core.errors import SpecError, did_you_mean
from modelwright.core.spec import Spec
from modelwright.core.store import sha256, to_json

DEFAULT_NAME = "modelwright.yaml"
Position = tuple[int, int]
RULE_OF_KEY = {
    "data.split": "eval_split_required",
    "release.policy": "baseline_required",
    "fit.params": "spec_only_hparams",
    "fit.space": "spec_only_hparams",
}
"""Keys whose wrong values break a rule of the house (`core.rules`)."""
FROM_OPTION: Position = (0, 0)
MOST_REPEATED = 10_000
"""Entries that aliases (`*name`) may repeat, what they hold counted each time."""


@dataclass(frozen=True)
class SpecFile:
    """A spec with where it came from.

    Attributes:
        spec: the parsed spec, defaults resolved.
        path: the file; relative paths in the spec start at its folder.
        overrides: dotted key -> text, from `--set`.
    """

    spec: Spec
    path: Path
    overrides: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The project folder: the one that holds the spec file."""
        return self.path.resolve().parent

    @property
    def resuming(self) -> str:
        """The command that goes on with a run of it that was cut off.

        Example:
            >>> file = SpecFile(None, Path("a/shop.yaml"), {"fit.families": "[linear]"})
            >>> file.resuming
            "modelwright run a/shop.yaml --set 'fit.families=[linear]' --resume"
        """
        words = [] if self.path == Path(DEFAULT_NAME) else [str(self.path)]
        words += [
            word for key, text in self.overrides.items() for word in ("--set", f"{key}={text}")
        ]
        return " ".join(["modelwright run", *map(shlex.quote, words), "--resume"])

    @property
    def digest(self) -> str:
        """sha256 of the resolved spec, overrides included."""
        return sha256(to_json(self.spec.model_dump(mode="json")))


def read_spec(path: Path, overrides: Sequence[str] = ()) -> SpecFile:
    """Read, override and check a spec file.

    Args:
        path: the YAML file.
        overrides: ``key.path=value`` texts; the value is read as YAML.

    Raises:
        SpecError: the file is absent or wrong; `problems` lists everything found.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SpecError(
            f"No spec file {path}.",
            [],
            hint="Write one with: modelwright init data.csv --target COLUMN",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"Cannot read {path}: {error}.", []) from error
    return parse_spec(text, path, overrides)


def parse_spec(text: str, path: Path, overrides: Sequence[str] = ()) -> SpecFile:
    """Check the text of a spec; see `read_spec`."""
    content, places = load_yaml(text, path)
    applied = _apply(content, overrides)
    for key in applied:
        steps = tuple(key.split("."))
        for end in range(1, len(steps) + 1):
            places.setdefault(steps[:end], FROM_OPTION)
        places[steps] = FROM_OPTION
    try:
        spec = Spec.model_validate(content)
    except ValidationError as error:
        problems = problems_of(error, places, Spec)
        raise SpecError(
            f"{path.name} has {len(problems)} problem(s):",
            problems,
            hint="All keys: modelwright spec schema.",
            rule=_rule_of(error),
        ) from error
    return SpecFile(spec, path, applied)


def load_yaml(text: str, path: Path) -> tuple[dict[str, Any], dict[tuple[str, ...], Position]]:
    """The content of a YAML file, and line and column of each of its keys.

    Raises:
        SpecError: it is no YAML, or holds no keys.
    """
    try:
        root = YAML(typ="safe", pure=True).compose(io.StringIO(text))
        _must_not_swell(root)
        content = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise SpecError(f"{path.name} is not YAML:", [f"{place}{error.problem}"]) from error
    except (YAMLError, ValueError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SpecError(f"{path.name} is not YAML:", [first]) from error
    if not isinstance(content, dict):
        raise SpecError(f"{path.name} must hold keys such as name: and data:.", [])
    places: dict[tuple[str, ...], Position] = {(): (1, 1)}
    _collect(root, (), places)
    return content, places


def _must_not_swell(root: Node | None) -> None:
    """Refuse a text whose aliases make gigabytes of a few lines, or go in a circle."""
    seen, repeated, left = set[int](), 0, [] if root is None else [root]
    while left:
        node = left.pop()
        repeated += id(node) in seen
        if repeated > MOST_REPEATED:
            raise ValueError(f"its aliases repeat more than {MOST_REPEATED:,} entries")
        seen.add(id(node))
        if isinstance(node, MappingNode):
            left += [one for pair in node.value for one in pair]
        elif isinstance(node, SequenceNode):
            left += node.value


def _collect(node: Node, where: tuple[str, ...], places: dict[tuple[str, ...], Position]) -> None:
    """Remember where each key and list entry stands."""
    children: Iterable[tuple[str, Node, Node]] = ()
    if isinstance(node, MappingNode):
        children = ((str(key.value), key, value) for key, value in node.value)
    elif isinstance(node, SequenceNode):
        children = ((str(index), item, item) for index, item in enumerate(node.value))
    for name, marked, value in children:
        path = (*where, name)
        places[path] = (marked.start_mark.line + 1, marked.start_mark.column + 1)
        if len(path) < 16:
            _collect(value, path, places)


def _apply(content: dict[str, Any], overrides: Sequence[str]) -> dict[str, str]:
    applied: dict[str, str] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise SpecError("--set wants key=value:", [f"found {text!r}, such as fit.budget=60s"])
        try:
            parsed = YAML(typ="safe", pure=True).load(value)
        except (YAMLError, ValueError) as error:
            raise SpecError(
                "--set wants key=value:", [f"{text!r}: the value is no YAML"]
            ) from error
        *parents, last = key.strip().split(".")
        place: Any = content
        for parent in parents:
            if not isinstance(place.setdefault(parent, {}), dict):
                place[parent] = {}
            place = place[parent]
        place[last] = parsed
        applied[key.strip()] = value
    return applied


def problems_of(
    error: ValidationError, places: Mapping[tuple[str, ...], Position], kind: type[BaseModel]
) -> list[str]:
    """A line for each problem that pydantic found in a file, with line and column.

    Args:
        places: see `load_yaml`.
        kind: what the file should have held.
    """
    lines: dict[str, Position] = {}
    for item in error.errors():
        where = _in_file(item["loc"], places)
        found = [(where, _explain(".".join(where), item, kind))]
        if item["type"] == "limits":
            found = [((*where, name), text) for name, text in item["ctx"]["problems"]]
        for key, text in found:
            line, column = place = _nearest(key, places)
            source = "--set" if place == FROM_OPTION else f"line {line}, column {column}"
            lines.setdefault(f"{source}: {text}", place)
    return sorted(lines, key=lambda text: lines[text])


def _rule_of(error: ValidationError) -> str:
    """The rule that a wrong spec breaks, where it is one of the house."""
    places = [".".join(map(str, item["loc"])) for item in error.errors()]
    for start, rule in RULE_OF_KEY.items():
        if any(place.startswith(start) for place in places):
            return rule
    return ""


def _in_file(
    loc: tuple[int | str, ...], places: Mapping[tuple[str, ...], Position]
) -> tuple[str, ...]:
    """Drop the steps that pydantic adds for unions; keep the names that the file has."""
    where: tuple[str, ...] = ()
    for position, step in enumerate(map(str, loc)):
        last = position == len(loc) - 1
        if (*where, step) in places or (last and not _is_union_step(step)):
            where = (*where, step)
    return where


def _is_union_step(step: str) -> bool:
    return step in ("str", "int", "float", "bool", "LimitSpec") or "[" in step


def _nearest(where: tuple[str, ...], places: Mapping[tuple[str, ...], Position]) -> Position:
    while where not in places:
        where = where[:-1]
    return places[where]


def _explain(key: str, item: Any, model: type[BaseModel]) -> str:
    kind, given = item["type"], item.get("input")
    if kind == "extra_forbidden":
        hint = did_you_mean(key.rsplit(".", 1)[-1], _keys_beside(key, model))
        known = f"known here: {', '.join(_keys_beside(key, model))}"
        return f"unknown key {key!r}; {hint or known}"
    if kind == "missing":
        return f"{key!r} is missing"
    message = item["msg"].removeprefix("Value error, ")
    shown = "" if kind == "value_error" else f", found {str(given)[:60]!r}"
    start = message[:1].lower() + message[1:] if kind != "value_error" else message
    return f"{key}: {start}{shown}" if key else f"{start}{shown}"


def _keys_beside(key: str, model: type[BaseModel]) -> list[str]:
    """The keys that would be right next to an unknown one."""
    for name in key.split(".")[:-1]:
        info = model.model_fields.get(name)
        if info is None:
            break
        for candidate in (info.annotation, *get_args(info.annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
    return list(model.model_fields)


def spec_json_schema() -> dict[str, Any]:
    """JSON Schema of modelwright.yaml, for editors (`modelwright spec schema`)."""
    schema = Spec.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "modelwright.yaml"
    return schema
