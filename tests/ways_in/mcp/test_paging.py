"""Pages that are never too long and lose nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.errors import UsageError
from modelwright.ways_in.mcp.paging import MOST_BYTES, Pages

LEAF = st.text(max_size=300) | st.integers() | st.none()


def pages_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    pages = Pages()
    found = [pages.first("report", "ada", result)]
    while found[-1]["truncated"]:
        found.append(pages.next("report", "ada", found[-1]["cursor"]))
    return found


@settings(deadline=None)
@given(
    st.lists(st.fixed_dictionaries({"name": LEAF, "why": LEAF}), max_size=80),
    st.lists(LEAF, max_size=80),
)
def test_lists_come_whole_and_in_order(lines: list[Any], notes: list[Any]) -> None:
    result = {"verdict": "pass", "lines": lines, "notes": notes, "next_actions": ["x"]}
    found = pages_of(result)
    for name, whole in (("lines", lines), ("notes", notes)):
        if len(found) == 1 or len(msgspec.json.encode(whole)) <= 300:  # short ones are on each page
            assert all(page[name] == whole for page in found)
        else:
            assert [one for page in found for one in page[name]] == whole
    for page in found:
        assert len(msgspec.json.encode(page)) <= MOST_BYTES
        assert (page["verdict"], page["next_actions"]) == ("pass", ["x"])


def test_a_short_result_stays_whole() -> None:
    assert pages_of({"a": [1, 2]}) == [{"a": [1, 2], "truncated": False, "cursor": ""}]


def test_a_page_can_be_asked_for_again() -> None:
    pages = Pages()
    first = pages.first("report", "ada", {"lines": ["x" * 500] * 40})
    one = pages.next("report", "ada", first["cursor"])
    two = pages.next("report", "ada", first["cursor"])
    assert one["lines"] == two["lines"]


@pytest.mark.parametrize(("tool", "who"), [("check", "ada"), ("report", "bob")])
def test_a_cursor_is_of_one_tool_and_caller(tool: str, who: str) -> None:
    pages = Pages()
    cursor = pages.first("report", "ada", {"lines": ["x" * 500] * 40})["cursor"]
    with pytest.raises(UsageError, match="not one of this tool's"):
        pages.next(tool, who, cursor)
    for forged in (cursor[:-1], f"{cursor}x", cursor.swapcase(), "", "0"):
        with pytest.raises(UsageError):
            pages.next("report", "ada", forged)


def test_a_deep_result_is_cut_inside() -> None:
    deep = {"document": {f"key {n}": {"inner": {"list": ["y" * 100] * 60}} for n in range(5)}}
    found = pages_of(deep)
    assert all(len(msgspec.json.encode(page)) <= MOST_BYTES for page in found)
    seen = sum(
        len(value.get("inner", {}).get("list", []))
        for page in found
        for value in page["document"].values()
    )
    assert seen == 300
