"""JSON that people write: comments and trailing commas are understood, and every edit leaves all
other characters as they were.

An edit is read back before it is given out: if it changed anything but what it was to change, it is
refused, so that nothing a user wrote can be lost.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NONE: Mapping[str, str] = {}
MISSING: Any = object()
"""What `get` gives for a place that is not there."""
DEEPEST = 100
_NOISE = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)*", re.S)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_PLAIN = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")


class NotEditableError(ValueError):
    """The text is not JSON with comments, or the edit would change something else."""


@dataclass(frozen=True)
class _Element:
    """A member of an object (from the quote of its key), or an item of a list."""

    key: str
    start: int
    node: _Node


@dataclass(frozen=True)
class _Node:
    """A value and where it stands."""

    value: Any
    start: int
    end: int
    elements: tuple[_Element, ...] = ()


def parse(text: str) -> Any:
    """The value of a text.

    Raises:
        NotEditableError: the text is no JSON with comments.

    Example:
        >>> parse('{"a": [1, 2,], } // numbers')
        {'a': [1, 2]}
    """
    return _tree(text).value


def get(text: str, place: Sequence[str]) -> Any:
    """The value at a place, or MISSING.

    Raises:
        NotEditableError: the text is no JSON with comments.

    Example:
        >>> get('{"a": {"b": 1}}', ("a", "b"))
        1
    """
    value = parse(text)
    for key in place:
        if not isinstance(value, dict) or key not in value:
            return MISSING
        value = value[key]
    return value


def put(text: str, place: Sequence[str], value: Any) -> str:
    """The text with a value at a place; objects on the way are made where they are missing.

    Raises:
        NotEditableError: something on the way is no object, or stands there twice.

    Example:
        >>> put('{"a": 1} // mine', ("b", "c"), True)
        '{"a": 1, "b": {"c": true}} // mine'
    """
    node = _tree(text)
    wanted = copy.deepcopy(node.value)
    _set(wanted, place, value)
    rest = list(place)
    while rest:
        found = _member(node, rest[0])
        if found is None:
            return _as_wanted(_insert(text, node, _member_of(rest, value)), wanted)
        node, rest = found.node, rest[1:]
    if node.value == value:
        return text
    style = _style(text, node.start)
    return _as_wanted(text[: node.start] + style(value) + text[node.end :], wanted)


def append(text: str, place: Sequence[str], item: Any) -> str:
    """The text with one more item in the list at a place, which is made where it is missing.

    Raises:
        NotEditableError: there is something else than a list.

    Example:
        >>> append('{"a": [1]}', ("a",), 2)
        '{"a": [1, 2]}'
    """
    found = get(text, place)
    if found is MISSING:
        return put(text, place, [item])
    if not isinstance(found, list):
        raise NotEditableError(f"{'.'.join(place)} is no list")
    root = _tree(text)
    wanted = copy.deepcopy(root.value)
    _set(wanted, place, [*found, item])
    return _as_wanted(_insert(text, _down(root, place), lambda style: style(item)), wanted)


def drop(
    text: str, place: Sequence[str], item: Any = MISSING, *, kept: Mapping[str, str] = NONE
) -> str:
    """The text without what stands at a place, or without one item of the list there.

    Objects and lists that hold nothing any more go as well, but for the outermost, and for those
    that were there before: they become what they were.

    Args:
        kept: objects and lists that stay when they hold nothing, as `hollow` found them.

    Raises:
        NotEditableError: the text is no JSON with comments.

    Example:
        >>> drop('{"c": 2, "a": {"b": 1}}', ("a", "b"))
        '{"c": 2}'
        >>> drop('{"a": [1, 2]}', ("a",), 2)
        '{"a": [1]}'
    """
    found = get(text, place)
    if found is MISSING or (item is not MISSING and (type(found) is not list or item not in found)):
        return text
    root = _tree(text)
    wanted = copy.deepcopy(root.value)
    if item is MISSING:
        node, index = _parent(root, place)
        del _at(wanted, place[:-1])[place[-1]]
    else:
        node, index = _down(root, place), found.index(item)
        del _at(wanted, place)[index]
    edited = _as_wanted(_remove(text, node, index), wanted)
    around = place[:-1] if item is MISSING else place
    if not around or not _bare(edited, around):
        return edited
    if (before := kept.get(_name(around))) is None:
        return drop(edited, around, kept=kept)
    node = _down(_tree(edited), around)
    return _as_wanted(edited[: node.start] + before + edited[node.end :], parse(edited))


def hollow(text: str, place: Sequence[str]) -> dict[str, str]:
    """Objects and lists on the way to a place that are there and hold nothing, as they are written.

    Raises:
        NotEditableError: the text is no JSON with comments.

    Example:
        >>> hollow('{"a": {"b": [ ]}}', ("a", "b"))
        {'a/b': '[ ]'}
    """
    found = {}
    for depth in range(1, len(place) + 1):
        around = place[:depth]
        if not isinstance(get(text, around), (dict, list)):
            break
        if _bare(text, around):
            node = _down(_tree(text), around)
            found[_name(around)] = text[node.start : node.end]
    return found


def _name(place: Sequence[str]) -> str:
    return "/".join(place)


def _bare(text: str, place: Sequence[str]) -> bool:
    """Whether an object or list holds nothing, no comment either."""
    node = _down(_tree(text), place)
    return not text[node.start + 1 : node.end - 1].strip()


def _as_wanted(text: str, wanted: Any) -> str:
    if parse(text) != wanted:
        raise NotEditableError("the edit would change something else as well")
    return text


def _set(value: Any, place: Sequence[str], new: Any) -> None:
    for key in place[:-1]:
        if not isinstance(value, dict):
            break
        value = value.setdefault(key, {})
    if not isinstance(value, dict):
        raise NotEditableError(f"something around {'.'.join(place)} is no object")
    value[place[-1]] = new


def _at(value: Any, place: Sequence[str]) -> Any:
    for key in place:
        value = value[key]
    return value


def _member(node: _Node, key: str) -> _Element | None:
    if not isinstance(node.value, dict):
        raise NotEditableError(f"what should hold {key} is no object")
    found = [element for element in node.elements if element.key == key]
    if len(found) > 1:
        raise NotEditableError(f"{key} stands there {len(found)} times")
    return found[0] if found else None


def _down(node: _Node, place: Sequence[str]) -> _Node:
    for key in place:
        found = _member(node, key)
        assert found is not None
        node = found.node
    return node


def _parent(root: _Node, place: Sequence[str]) -> tuple[_Node, int]:
    node = _down(root, place[:-1])
    found = _member(node, place[-1])
    assert found is not None
    return node, node.elements.index(found)


Style = Callable[[Any], str]


def _member_of(place: Sequence[str], value: Any) -> Callable[[Style], str]:
    key, *deeper = place
    for name in reversed(deeper):
        value = {name: value}
    return lambda style: f"{json.dumps(key)}: {style(value)}"


def _indent_at(text: str, position: int) -> str:
    """The blanks at the beginning of a position's line."""
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _unit(text: str) -> str:
    found = re.search(r"\n([ \t]+)\S", text)
    return found[1] if found else "  "


def _eol(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _style(text: str, position: int) -> Style:
    """Values as the lines around a position are written."""
    indent = _indent_at(text, position)

    def written(value: Any) -> str:
        lines = json.dumps(value, indent=_unit(text), ensure_ascii=False).split("\n")
        return f"{_eol(text)}{indent}".join(lines)

    return written


def _in_one_line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _insert(text: str, node: _Node, body: Callable[[Style], str]) -> str:
    """A new element at the end of an object or list."""
    close, eol = node.end - 1, _eol(text)
    outer = _indent_at(text, node.start)
    tail = len(text[:close].rstrip())
    if not node.elements:
        inner = outer + _unit(text)
        head = f"{text[:tail]}{eol}{inner}"
        rest = text[close:] if tail == node.start + 1 else text[tail:].lstrip()
        return f"{head}{body(_style(head, len(head)))}{eol}{outer}{rest}"
    first, last = node.elements[0], node.elements[-1].node.end
    between = text[last:tail]
    in_lines = "\n" in text[node.start : first.start]
    comma = _comma_after(text, last)
    before = f"{text[:last]}{'' if comma is not None else ','}{between}"
    if in_lines or between.strip(","):
        before += eol + (_indent_at(text, first.start) if in_lines else outer + _unit(text))
        added = body(_style(before, len(before)))
    else:
        before, added = f"{before} ", body(_in_one_line)
    rest = text[tail:]
    return f"{before}{added}{',' if comma is not None else ''}{rest}"


def _remove(text: str, node: _Node, index: int) -> str:
    """Without an element, its comma and the blanks before it; comments around it stay."""
    start, end = node.elements[index].start, node.elements[index].node.end
    cut = len(text[:start].rstrip())
    previous = node.elements[index - 1].node.end if index else node.start + 1
    ends_comment = re.search(r"//[^\n]*\Z", text[previous:cut])
    if ends_comment and text[end:].lstrip(" \t,")[:1] not in ("\n", "\r"):
        cut = start  # what follows must not slip into the comment
    comma = _comma_after(text, end)
    if comma is not None:
        text = text[:comma] + text[comma + 1 :]
    text = text[:cut] + text[end:]
    if comma is None and index:
        before = _comma_after(text, node.elements[index - 1].node.end)
        assert before is not None
        text = text[:before] + text[before + 1 :]
    if len(node.elements) == 1:
        close = _NOISE.match(text, node.start + 1)
        assert close is not None
        if not close[0].strip():
            text = text[: node.start + 1] + text[close.end() :]
    return text


def _comma_after(text: str, position: int) -> int | None:
    at = _skip(text, position)
    return at if text[at : at + 1] == "," else None


def _skip(text: str, position: int) -> int:
    found = _NOISE.match(text, position)
    assert found is not None  # it matches nothing as well
    return found.end()


def _tree(text: str) -> _Node:
    node = _value(text, _skip(text, 0), 0)
    end = _skip(text, node.end)
    if end != len(text):
        raise _odd(text, end, "the end")
    return node


def _odd(text: str, position: int, wanted: str) -> NotEditableError:
    line = text.count("\n", 0, position) + 1
    found = repr(text[position : position + 12]) if position < len(text) else "its end"
    return NotEditableError(f"line {line}: wanted {wanted}, found {found}")


def _value(text: str, at: int, depth: int) -> _Node:
    if depth > DEEPEST:
        raise _odd(text, at, f"at most {DEEPEST} levels")
    if text[at : at + 1] in ("{", "["):
        return _container(text, at, depth)
    found = _STRING.match(text, at) or _PLAIN.match(text, at)
    if found is None:
        raise _odd(text, at, "a value")
    return _Node(_decoded(text, found), at, found.end())


def _decoded(text: str, found: re.Match[str]) -> Any:
    try:
        return json.loads(found[0])
    except ValueError as error:
        raise _odd(text, found.start(), "a value") from error


def _container(text: str, start: int, depth: int) -> _Node:
    is_object = text[start] == "{"
    closing = "}" if is_object else "]"
    elements: list[_Element] = []
    at = _skip(text, start + 1)
    while text[at : at + 1] != closing:
        begin, key = at, ""
        if is_object:
            name = _STRING.match(text, at)
            if name is None:
                raise _odd(text, at, "a key or }")
            key, at = _decoded(text, name), _skip(text, name.end())
            if text[at : at + 1] != ":":
                raise _odd(text, at, "a colon")
            at = _skip(text, at + 1)
        node = _value(text, at, depth + 1)
        elements.append(_Element(key, begin, node))
        at = _skip(text, node.end)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] != closing:
            raise _odd(text, at, f"a comma or {closing}")
    values: Any = {e.key: e.node.value for e in elements}
    if not is_object:
        values = [e.node.value for e in elements]
    return _Node(values, start, at + 1, tuple(elements))
