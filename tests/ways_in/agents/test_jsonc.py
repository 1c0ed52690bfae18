"""Edits of JSON that people wrote: what was to change has, and every other character is there."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from modelwright.ways_in.agents import jsonc

OURS = {"command": "python", "args": ["-m", "x"]}
PLACE = ("servers", "ours")
WRITTEN = [
    '{}',
    '{"a": 1}',
    '{\n  "servers": {\n    "theirs": {"url": "http://a//b"}\n  }\n}\n',
    '{\n\t"servers": {\n\t\t"theirs": {},\n\t},\n}',
    '{\r\n    "servers": {\r\n        "theirs": 1\r\n    }\r\n}\r\n',
    '// mine\n{\n  // before\n  "servers": {\n    "a": 1, // one\n    "b": [1, 2,], /* two */\n'
    '    // after\n  },\n  "z": "\\u00e9 /* no comment */"\n}\n// end',
    '{"servers": {"a": 1 // one\n}}',
    '{ "servers" : { "a" : 1 , } , }',
]  # fmt: skip


@pytest.mark.parametrize("text", WRITTEN)
def test_what_was_put_in_comes_out_and_nothing_else_changes(text: str) -> None:
    edited = jsonc.put(text, PLACE, OURS)
    assert jsonc.get(edited, PLACE) == OURS
    assert jsonc.put(edited, PLACE, OURS) == edited
    assert jsonc.drop(edited, PLACE) == text
    with_item = jsonc.append(text, ("list", "of"), "x")
    assert jsonc.get(with_item, ("list", "of")) == ["x"]
    assert jsonc.drop(with_item, ("list", "of"), "x") == text


def test_it_is_written_as_the_lines_around_it() -> None:
    edited = jsonc.put(WRITTEN[4], PLACE, {"command": "p"})
    assert edited.splitlines()[3:6] == [
        '        "ours": {', '            "command": "p"', '        }',
    ]  # fmt: skip
    assert "\r\n" in edited and not re.search(r"(?<!\r)\n", edited)
    assert jsonc.put('{"a": 1}', ("b",), [2]) == '{"a": 1, "b": [2]}'


def test_a_value_is_replaced_in_its_place() -> None:
    text = '{\n  "a": {"old": 1}, // keep\n  "b": 2\n}'
    assert jsonc.put(text, ("a",), 3) == '{\n  "a": 3, // keep\n  "b": 2\n}'


def test_what_a_user_put_below_stays() -> None:
    edited = jsonc.put('{\n  "a": 1\n}', ("ours",), 2)
    more = edited.replace("2\n", '2, // mine\n  "b": 3 /* also */\n')
    assert jsonc.drop(more, ("ours",)) == '{\n  "a": 1, // mine\n  "b": 3 /* also */\n}'


def test_a_comment_swallows_nothing() -> None:
    text = '{\n  "a": 1, // note\n  "ours": 2, "b": 3\n}'
    assert jsonc.parse(jsonc.drop(text, ("ours",))) == {"a": 1, "b": 3}
    assert "// note\n" in jsonc.drop(text, ("ours",))


def test_a_comment_keeps_the_object_around_it() -> None:
    edited = jsonc.put('{"servers": { /* none yet */ }}', PLACE, 1)
    assert "none yet" in jsonc.drop(edited, PLACE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found its end"),
        ("{", "a key or }"),
        ("{'a': 1}", "a key or }"),
        ('{"a" 1}', "a colon"),
        ('{\n"a": 1\n"b": 2}', "line 3: wanted a comma"),
        ('{"a": nan}', "a value"),
        ('{"a": "\\x"}', "a value"),
        ("{} {}", "wanted the end"),
        ("[" * 200, "at most 100 levels"),
        ('{"servers": {}, "servers": {}}', "stands there 2 times"),
        ('{"servers": []}', "no object"),
        ('{"servers": 1}', "no object"),
        ("[]", "no object"),
    ],
)
def test_what_cannot_be_edited_is_refused(text: str, said: str) -> None:
    with pytest.raises(jsonc.NotEditableError, match=said):
        jsonc.put(text, PLACE, OURS)


def test_no_list_takes_no_item() -> None:
    with pytest.raises(jsonc.NotEditableError, match="no list"):
        jsonc.append('{"a": 1}', ("a",), 2)
    assert jsonc.drop('{"a": 1}', ("a",), 2) == '{"a": 1}'


NOISE = st.sampled_from(["", " ", "\n", "\n    ", "\t", "/* c */", " // c\n", "\r\n"])
KEYS = st.sampled_from(["a", "servers", "ours2", "é", "//", 'q"'])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "x", 'é"', "// no", "}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def as_people_write(draw: st.DrawFn, value: Any) -> str:
    """A value as JSON with blanks, comments and trailing commas anywhere."""
    if not isinstance(value, (dict, list)) or not value:
        return json.dumps(value, ensure_ascii=False)
    parts = []
    for key in value:
        inner = draw(as_people_write(value[key] if isinstance(value, dict) else key))
        name = f"{json.dumps(key)}{draw(NOISE)}:{draw(NOISE)}" if isinstance(value, dict) else ""
        parts.append(f"{draw(NOISE)}{name}{inner}{draw(NOISE)}")
    text = ",".join(parts) + draw(st.sampled_from(["", f",{draw(NOISE)}"]))
    return f"{{{text}}}" if isinstance(value, dict) else f"[{text}]"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_text_survives(data: st.DataObject, value: dict[str, Any]) -> None:
    text = data.draw(as_people_write(value))
    assert jsonc.parse(text) == value
    inner = value.get("servers", {})
    assume(isinstance(inner, dict))
    edited = jsonc.put(text, PLACE, OURS)
    assert jsonc.parse(edited) == {**value, "servers": {**inner, "ours": OURS}}
    back = jsonc.drop(edited, PLACE)
    if inner or "servers" not in value:
        assert back == text
    else:
        assert jsonc.parse(back) == {k: v for k, v in value.items() if k != "servers"}
