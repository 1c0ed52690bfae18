"""What we write into files, marked with its own digest: whoever edits it makes it theirs.

Line ends do not count, so that a checkout on another system changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from modelwright.core.store import sha256

Comment = Literal["html", "hash"]
_OPEN: dict[Comment, str] = {"html": "<!-- ", "hash": "# "}
_CLOSE: dict[Comment, str] = {"html": " -->", "hash": ""}
SAID = "by `modelwright agents install`; once edited, it is yours"


class NotOursError(ValueError):
    """What stands there was edited, or its marks are not in order."""


@dataclass(frozen=True)
class _Block:
    """A marked block: where it stands, its marks with it, and what is in it."""

    start: int
    end: int
    body: str


def digest(text: str) -> str:
    """Of a text, whatever its line ends.

    Example:
        >>> digest("a\\r\\n") == digest("a\\n")
        True
    """
    return sha256(text.replace("\r\n", "\n").encode())[:16]


def read_block(text: str, comment: Comment) -> str | None:
    """What is in the block of ours; None where there is none.

    Raises:
        NotOursError: it was edited, or its marks are not in order.
    """
    found = _find(text, comment)
    return None if found is None else found.body


def put_block(text: str, comment: Comment, body: str) -> str:
    """The text with the block, in the place of the one before or at the end.

    Raises:
        NotOursError: the block before was edited, or its marks are not in order.

    Example:
        >>> print(put_block("mine\\n", "hash", "ours\\n").splitlines()[-1])
        # modelwright:end
    """
    eol = "\r\n" if "\r\n" in text else "\n"
    begin = f"{_OPEN[comment]}modelwright:begin {digest(body)} {SAID}{_CLOSE[comment]}\n"
    block = f"{begin}{body}{_OPEN[comment]}modelwright:end{_CLOSE[comment]}".replace("\n", eol)
    found = _find(text, comment)
    if found is not None:
        return text[: found.start] + block + text[found.end :]
    if not text:
        return block + eol
    # The number of line ends says to drop_block how the text ended before.
    return text + (eol + block + eol if text.endswith("\n") else eol + eol + block)


def drop_block(text: str, comment: Comment) -> str:
    """The text as it was before put_block.

    Raises:
        NotOursError: the block was edited, or its marks are not in order.

    Example:
        >>> drop_block(put_block("mine", "html", "ours\\n"), "html")
        'mine'
    """
    found = _find(text, comment)
    if found is None:
        return text
    before, after = text[: found.start], text[found.end :]
    is_last = not after
    after = re.sub(r"\A\r?\n", "", after)
    before = re.sub(r"\r?\n\Z", "", before)
    if is_last:
        before = re.sub(r"\r?\n\Z", "", before)
    return before + after


def _find(text: str, comment: Comment) -> _Block | None:
    opened, closed = re.escape(_OPEN[comment]), re.escape(_CLOSE[comment])
    begins = list(re.finditer(rf"^{opened}modelwright:begin\b(.*)\r?\n", text, re.M))
    ends = list(re.finditer(rf"^{opened}modelwright:end{closed}(?=\r?$)", text, re.M))
    if not begins and not ends:
        return None
    if len(begins) != 1 or len(ends) != 1 or begins[0].end() > ends[0].start():
        raise NotOursError("its modelwright:begin and modelwright:end marks are not in order")
    [begin], [end] = begins, ends
    body = text[begin.end() : end.start()]
    if begin[1].split()[:1] != [digest(body)]:
        raise NotOursError("the marked block was edited")
    return _Block(begin.start(), end.end(), body.replace("\r\n", "\n"))


def whole(body: str) -> str:
    """A file that is all ours, with the mark in its last line.

    Example:
        >>> is_whole(whole("text\\n"))
        True
    """
    return f"{body}<!-- modelwright:file {digest(body)} {SAID} -->\n"


def is_whole(text: str) -> bool:
    """Whether a file is as we wrote it, in this version or another.

    Example:
        >>> is_whole(whole("text\\n") + "more")
        False
    """
    found = re.search(r"^<!-- modelwright:file (\w+) .*-->\r?\n?\Z", text, re.M)
    return found is not None and found[1] == digest(text[: found.start()])
