"""Marked blocks and files: ours are told from what a user edited."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.ways_in.agents.marked import (
    Comment,
    NotOursError,
    drop_block,
    is_whole,
    put_block,
    read_block,
    whole,
)

TEXTS = st.text(st.sampled_from("ab#<!-> \n"), max_size=30)
COMMENTS: tuple[Comment, ...] = ("html", "hash")


@given(TEXTS, TEXTS, st.sampled_from(COMMENTS), st.booleans())
def test_any_text_is_as_before(text: str, below: str, comment: Comment, is_crlf: bool) -> None:
    text = text.replace("\n", "\r\n") if is_crlf else text
    edited = put_block(text, comment, "ours\n")
    assert read_block(edited, comment) == "ours\n"
    assert put_block(edited, comment, "ours\n") == edited
    assert drop_block(edited, comment) == text
    newer = put_block(edited, comment, "newer\n")
    assert read_block(newer, comment) == "newer\n"
    assert drop_block(newer, comment) == text
    if edited.endswith("\n"):
        assert drop_block(edited + below, comment) == text + below


def test_line_ends_are_the_files() -> None:
    edited = put_block("a\r\n", "html", "x\ny\n")
    assert edited.count("\r\n") == edited.count("\n") == 6
    assert read_block(edited.replace("\r\n", "\n"), "html") == "x\ny\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [("ours", "mine"), ("modelwright:end", "modelwright:fin"), ("# modelwright:begin", "# begin")],
)
def test_an_edited_block_is_not_ours(old: str, new: str) -> None:
    edited = put_block("a\n", "hash", "ours\n").replace(old, new)
    for change in (read_block, drop_block):
        with pytest.raises(NotOursError, match=r"edited|not in order"):
            change(edited, "hash")
    with pytest.raises(NotOursError):
        put_block(edited, "hash", "newer\n")


def test_two_blocks_are_not_in_order() -> None:
    twice = put_block("", "html", "ours\n") * 2
    with pytest.raises(NotOursError, match="not in order"):
        drop_block(twice, "html")


def test_a_whole_file() -> None:
    ours = whole("---\nname: x\n---\ntext\n")
    assert ours.startswith("---\n") and is_whole(ours) and is_whole(ours.replace("\n", "\r\n"))
    assert not any(map(is_whole, ("", "text\n", ours.replace("text", "texts"), ours + "more\n")))
