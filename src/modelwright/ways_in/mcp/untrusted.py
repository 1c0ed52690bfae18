"""Text that came from data, made harmless and marked.

A column's name, a level or an error with a value in it may have been written to steer an agent.
What cannot be seen is taken out, each text is cut short, and the result names the fields whose text
nobody vouches for. A field is trusted only where its words are our own.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

LONGEST = 600
"""Most characters of one text."""
LONGEST_NAME = 200
OURS = frozenset({
    "action", "alias", "aliases", "approve_with", "artefact", "at", "began", "better", "by_rule",
    "champion", "champion_run", "challenger", "check", "code", "created", "cursor", "decided_at",
    "ended", "expires", "family", "fingerprint", "goal", "id", "job_id", "kind", "kinds",
    "language", "measured_on", "model", "name_of_model", "newest_run", "next_actions", "now",
    "operation", "out", "persona", "project", "replaces", "report", "request", "resume_with",
    "rule", "run", "severity", "spec", "stage", "state", "status", "task", "then", "truncated",
    "untrusted", "verdict", "version", "rules", "what", "gc", "promote", "rollback", "traffic",
    "retrain", "release", "binds", "confirm",
})  # fmt: skip
"""Fields whose text is made of our own words, ids and checked names."""
FREE = frozenset({
    "document", "evidence", "left_out", "look", "origin", "read", "answers", "arguments",
    "scrape", "profile",
})  # fmt: skip
"""Fields that hold whatever data or a spec holds, keys included; they are marked as a whole."""
UNSEEN = "unseen categories"
"""A finding that names levels, which only sealed rows of the table may have."""
_ANSI = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])|\x9b[0-?]*[ -/]*[@-~]"
)
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_VALUE_OF_A_ROW = re.compile(
    r"(\brows? [\d][\d, ]*(?:, [^:;]{1,200})?: )('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^;,\n]+)"
)
_LEVELS = re.compile(r"((?:^|; )(?:new|lost) levels ).*", re.DOTALL)
_FOUND_IN_A_ROW = re.compile(r"(\brow \d[\d,]*, column .*?\bfound ).*")


def clean(text: str, longest: int = LONGEST) -> str:
    r"""Text without what cannot be seen or steers a terminal, and no longer than that.

    Example:
        >>> clean("a\x1b[31mred\x1b[0m\u202eb\u200b\x00c")
        'aredbc'
    """
    seen = text[: 8 * longest]
    if not (seen.isascii() and seen.replace("\n", "").replace("\t", "").isprintable()):
        seen = "".join(
            c for c in _ANSI.sub("", seen)
            if c in "\n\t" or not (unicodedata.category(c) in _UNSEEN or _selects(c))
        )  # fmt: skip
    return seen if len(seen) <= longest else f"{seen[: longest - 1]}…"


def one_line(text: str) -> str:
    r"""Words of an agent for a person's terminal, which they do not steer, on one line, so that
    they look like none of ours.

    Example:
        >>> one_line("fine\x1b[2K\nDecided by ada: yes")
        'fine Decided by ada: yes'
    """
    return " ".join(clean(text, 2_000).split())


def _selects(character: str) -> bool:
    """Variation selectors carry bits that nobody sees."""
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def without_rows(text: str) -> str:
    """Text in which no value of a single row stands.

    Example:
        >>> without_rows("2 are no number: row 3: 'ann@example.org'; row 8: 'x'")
        '2 are no number: row 3: (value left out); row 8: (value left out)'
    """
    return _VALUE_OF_A_ROW.sub(r"\1(value left out)", text)


def fenced(result: dict[str, Any], longest: int | None = None) -> dict[str, Any]:
    """A result with clean text, without single rows, and with `untrusted`.

    Args:
        result: of JSON's types.
        longest: most characters of one text, where that is more than usual.
    """
    marks: set[str] = set()
    made: dict[str, Any] = _Fence(marks, longest or LONGEST).value(result, "")
    return made | {"untrusted": sorted(marks)}


class _Fence:
    """One walk through a result."""

    def __init__(self, marks: set[str], longest: int) -> None:
        self._marks, self._longest = marks, longest

    def value(self, value: Any, path: str, free: bool = False) -> Any:
        """What stands at a path; `free`: inside of what is marked as a whole."""
        if isinstance(value, str):
            name = path.rpartition(".")[2].removesuffix("[]")
            if not free and name not in OURS and value:
                self._marks.add(path)
            return clean(_FOUND_IN_A_ROW.sub(r"\1(value left out)", value), self._longest)
        if isinstance(value, (list, tuple)):
            return [self.value(one, path if free else f"{path}[]", free) for one in value]
        if isinstance(value, dict):
            return self._fields(value, path, free)
        return value

    def _fields(self, value: dict[Any, Any], path: str, free: bool) -> dict[str, Any]:
        """A record, or a mapping whose keys are data as well."""
        is_finding = {"check", "verdict", "severity"} <= set(value)
        is_column = {"kind", "values", "relation"} <= set(value)
        is_compared = {"distance", "equal", "why"} <= set(value)
        made: dict[str, Any] = {}
        for key, inner in value.items():
            name = clean(str(key), LONGEST_NAME)
            if is_finding and name == "rows":
                continue
            if is_column and name == "values":
                inner = ""
            if is_finding and value["check"] == UNSEEN and name == "measured":
                inner = str(inner).partition(":")[0]
            if is_compared and name == "why":
                inner = _LEVELS.sub(r"\1(left out)", str(inner))
            if is_finding and isinstance(inner, str):
                inner = without_rows(inner)
            where = path if free else f"{path}.{name}" if path else name
            is_free = free or (name in FREE and isinstance(inner, (dict, list)))
            if is_free and not free and inner:
                self._marks.add(where)
            made[name] = self.value(inner, where, is_free)
        return made
